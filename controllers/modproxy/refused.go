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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/refusal"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/plan/naming"
)

// refusedInterval is when a pod that cannot be created is looked for again: no
// watch reports that.
const refusedInterval = 5 * time.Second

// +kubebuilder:rbac:groups="",resources=events,verbs=list

// refused returns why pods of a proxy do not run, such as that a quota is used up
// or no node has room: of its instances from the events of their StatefulSets or
// their pods, and of its router from its Deployment or its pods. Nothing is read
// of what is ready.
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
		if set == nil || !metav1.IsControlledBy(set, p) || set.Status.ReadyReplicas > 0 || ptr.Deref(set.Spec.Replicas, 1) == 0 {
			continue
		}
		why, err := r.refusedInstance(ctx, set)
		if err != nil {
			return nil, err
		}
		if why != "" {
			all = append(all, "instance "+instance.Name+": "+why)
		}
	}
	router, err := read.Object[appsv1.Deployment](ctx, r.Client, p.Namespace, haproxy.RouterName(p.Name))
	if err != nil || router == nil || !metav1.IsControlledBy(router, p) {
		return all, err
	}
	why, err := r.refusedRouter(ctx, router)
	if why != "" {
		all = append(all, "router: "+why)
	}
	return all, err
}

// refusedInstance is why an instance has no pod, or its pod does not run.
func (r *Reconciler) refusedInstance(ctx context.Context, set *appsv1.StatefulSet) (string, error) {
	pod, err := read.Object[corev1.Pod](ctx, r.Live, set.Namespace, set.Name+"-0")
	if err != nil {
		return "", err
	}
	if pod != nil {
		return r.hindered(pod), nil
	}
	warning, err := refusal.Newest(ctx, r.Live, set.Namespace, set.UID)
	if err != nil || warning == "" {
		return "", err
	}
	return "its pod cannot be created: " + refusal.Pod(warning), nil
}

// refusedRouter is why a router lacks a pod, or none of its pods runs.
func (r *Reconciler) refusedRouter(ctx context.Context, router *appsv1.Deployment) (string, error) {
	for _, c := range router.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return "a pod cannot be created: " + refusal.Pod(c.Message), nil
		}
	}
	if router.Status.ReadyReplicas > 0 || router.Spec.Selector == nil {
		return "", nil
	}
	for pod, err := range read.All[corev1.Pod](ctx, r.Live, &corev1.PodList{}, client.InNamespace(router.Namespace), client.MatchingLabels(router.Spec.Selector.MatchLabels)) {
		if err != nil {
			return "", fmt.Errorf("list the pods of the router: %w", err)
		}
		if why := r.hindered(pod); why != "" {
			return why, nil
		}
	}
	return "", nil
}

// hindered is why a pod does not run that should by now.
func (r *Reconciler) hindered(pod *corev1.Pod) string {
	if r.Clock().Sub(pod.CreationTimestamp.Time) < jobrun.StartTimeout {
		return ""
	}
	return jobrun.PodHindrance(pod, r.Clock())
}

// because is why pods cannot be created, as the end of a message.
func because(refused []string) string {
	if len(refused) == 0 {
		return ""
	}
	return ": " + strings.Join(refused, "; ")
}
