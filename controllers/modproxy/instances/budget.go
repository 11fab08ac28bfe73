package instances

import (
	"context"
	"slices"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/naming"
)

// recoveryTimeout is how long evictions wait for an instance that is not ready. One
// that takes longer, such as one whose volume is on a node that is gone, no longer keeps
// the others from being evicted: a node could never be drained.
const recoveryTimeout = 15 * time.Minute

// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch;delete

// LimitEvictions lets one instance at a time be evicted, as when nodes are drained one
// after the other: the next waits until the one before is ready again. An instance
// without another beside it has no budget, since it would keep its node from being
// drained.
func (r Reconciler) LimitEvictions(ctx context.Context, p *v1alpha1.ModProxy, now time.Time) error {
	name := naming.Child(p.Name, "instances")
	own, lost := 0, 0
	for i := range p.Spec.Instances {
		if p.Spec.Instances[i].External != nil {
			continue
		}
		own++
		if isLost(pass.Instance(p, p.Spec.Instances[i].Name), now) {
			lost++
		}
	}
	if own > 1 {
		_, err := r.applier().Apply(ctx, apply.ControlledBy(p), budget(p, name, max(0, own-1-lost)))
		return err
	}
	found, err := read.Object[policyv1.PodDisruptionBudget](ctx, r.Client, p.Namespace, name)
	if err != nil || found == nil || !metav1.IsControlledBy(found, p) {
		return err
	}
	return apply.Delete(ctx, r.Client, found)
}

// isLost reports whether evictions no longer wait for an instance.
func isLost(i v1alpha1.InstanceStatus, now time.Time) bool {
	return slices.ContainsFunc(i.FailingProbes, func(f v1alpha1.FailingProbe) bool {
		// Either may be left out of spec.probes.kinds.
		return (f.Kind == v1alpha1.ProbeReady || f.Kind == v1alpha1.ProbeProtocol) && now.Sub(f.Since.Time) >= recoveryTimeout
	})
}

// budget of the pods of all instances. It is a number of pods that stay, and not of
// those that may go: an instance whose store is being replaced has no pod, and counts.
func budget(p *v1alpha1.ModProxy, name string, stay int) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: policyv1.SchemeGroupVersion.String(), Kind: "PodDisruptionBudget"},
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: name, Labels: map[string]string{v1alpha1.ProxyLabel: p.Name}},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(int32(stay))), //nolint:gosec // at most as many as the spec has instances
			Selector:     peersOf(p),
			// One that is not ready is not missed.
			UnhealthyPodEvictionPolicy: ptr.To(policyv1.AlwaysAllow),
		},
	}
}
