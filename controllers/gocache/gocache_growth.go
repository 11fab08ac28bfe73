package gocache

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/growth"
)

// grow decides on the size that the claim is asked to grow to. It is written
// into the status first: ensureClaim asks for it once it stands there.
func (r *Reconciler) grow(_ context.Context, s *scope) error {
	if s.Replacing(s.cache) {
		return nil // for a claim that is about to be another one
	}
	d := s.growth()
	s.wakeAt(d.Wake)
	if d.State != growth.Grow {
		return nil
	}
	status := &s.cache.Status.Storage
	if g := status.Growth; g != nil && g.Refused == "" && g.Size.Cmp(d.Size) == 0 {
		return nil // is asked for
	}
	status.Growth = &v1alpha1.GrowthStatus{Size: d.Size, Time: metav1.NewTime(s.Now)}
	return nil
}

// growth is how the claim stands by the rule of its growth; no state without
// one.
func (s *scope) growth() growth.Decision {
	rule, claim, status := s.cache.Spec.Storage.Growth, s.PVC, s.cache.Status.Storage
	if rule == nil || !volume.Bound(claim) || status.Capacity == nil {
		return growth.Decision{}
	}
	f := growth.Observation{
		Now: s.Now, UsedPercent: rule.UsedPercent, Step: rule.Step, Limit: rule.Limit,
		Requested: claim.Spec.Resources.Requests[corev1.ResourceStorage], Capacity: *status.Capacity,
		Used: status.UsedPercent, Measured: status.MeasuredCapacity,
	}
	if g := status.Growth; g != nil && g.Refused != "" {
		f.RefusedAt, f.RefusedSize = g.Time.Time, g.Size
	}
	return growth.Decide(f)
}

// grownSize is the size that the claim has grown to, or is to grow to, as it
// stands in the status; nil when the spec's says it all.
func (s *scope) grownSize() *resource.Quantity {
	g := s.Stored.Status.Storage.Growth
	if g == nil || g.Refused != "" || s.cache.Status.Storage.Growth == nil {
		return nil
	}
	return &g.Size
}

// noteRefusedGrowth notes that the API server does not let the claim grow to the
// size that the rule wants, and says whether it was that.
func (s *scope) noteRefusedGrowth(asked resource.Quantity, err error) bool {
	g := s.cache.Status.Storage.Growth
	if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) || g == nil || s.grownSize() == nil || asked.Cmp(g.Size) != 0 || asked.Cmp(s.cache.Spec.Storage.Size) <= 0 {
		return false
	}
	g.Refused, g.Time = bounded.Text(err.Error(), 1024), metav1.NewTime(s.Now)
	return true
}

// expansion is what the claim says of an expansion that is under way, and
// whether it was given up.
func expansion(claim *corev1.PersistentVolumeClaim) (says string, infeasible bool) {
	stage := claim.Status.AllocatedResourceStatuses[corev1.ResourceStorage]
	infeasible = stage == corev1.PersistentVolumeClaimControllerResizeInfeasible || stage == corev1.PersistentVolumeClaimNodeResizeInfeasible
	var all []string
	for _, c := range claim.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		if c.Type == corev1.PersistentVolumeClaimFileSystemResizePending {
			all = append(all, "the next run on it finishes that")
		}
		if c.Type == corev1.PersistentVolumeClaimControllerResizeError || c.Type == corev1.PersistentVolumeClaimNodeResizeError {
			all = append(all, "the driver says: "+c.Message)
		}
	}
	return strings.Join(all, "; "), infeasible
}
