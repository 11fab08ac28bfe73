package modproxy

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/refusal"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/plan/naming"
)

// refusedInterval is when a pod that cannot be created is looked for again: no
// watch reports that.
const refusedInterval = 5 * time.Second

// +kubebuilder:rbac:groups="",resources=events,verbs=list

// refused returns why pods of a proxy cannot be created, such as that a quota is
// used up: of its instances from the events of their StatefulSets, and of its
// router from the status of its Deployment.
func (r *Reconciler) refused(ctx context.Context, p *v1alpha1.ModProxy) ([]string, error) {
	var all []string
	for i := range p.Spec.Instances {
		instance := &p.Spec.Instances[i]
		if instance.External != nil {
			continue
		}
		set, err := read.Object[appsv1.StatefulSet](ctx, r.Client, p.Namespace, naming.Child(p.Name, instance.Name))
		if err != nil {
			return nil, err
		}
		if set == nil || !metav1.IsControlledBy(set, p) || set.Status.Replicas > 0 || ptr.Deref(set.Spec.Replicas, 1) == 0 {
			continue
		}
		warning, err := refusal.Newest(ctx, r.Live, set.Namespace, set.UID)
		if err != nil {
			return nil, err
		}
		if warning != "" {
			all = append(all, fmt.Sprintf("the pod of instance %s cannot be created: %s", instance.Name, refusal.Pod(warning)))
		}
	}
	router, err := read.Object[appsv1.Deployment](ctx, r.Client, p.Namespace, haproxy.RouterName(p.Name))
	if err != nil || router == nil || !metav1.IsControlledBy(router, p) {
		return all, err
	}
	for _, c := range router.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			all = append(all, "a pod of the router cannot be created: "+refusal.Pod(c.Message))
		}
	}
	return all, nil
}

// because is why pods cannot be created, as the end of a message.
func because(refused []string) string {
	if len(refused) == 0 {
		return ""
	}
	return ": " + strings.Join(refused, "; ")
}
