package storerollback

import (
	"context"
	"errors"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/images"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/rollback"
)

// Reconciler creates snapshots of the stores and rolls stores back to them.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// FieldOwner of what is applied.
	FieldOwner string
	// Images of the Jobs' pods.
	Images images.Images
}

// Result is what a pass did about the stores.
type Result struct {
	pass.Result
	// Created are the snapshots that were created.
	Created []string
}

// Reconcile records which snapshots a store could be rolled back to, creates the
// snapshots that are due, and takes the next step of each rollback. A step that
// fails does not keep the others from theirs. It runs after the decision on the
// weights: an instance that is quarantined in this pass must not be snapshotted.
func (r Reconciler) Reconcile(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed) (Result, error) {
	var out Result
	recordSnapshots(p, o) // first, as a rollback begins with the newest
	err := errors.Join(
		r.keepSnapshots(ctx, p, o, &out),
		r.release(ctx, p, o), // before a rollback that begins now, which takes it again
		r.rollBack(ctx, p, o, &out),
	)
	return out, err
}

// Held reports whether a proxy that is being deleted waits for its stores.
func Held(p *v1alpha1.ModProxy) bool { return len(p.Finalizers) > 0 }

// ReconcileDelete brings the replacements in progress of a proxy that is being
// deleted to an end, and releases it. Everything else is owned by the proxy, and
// is deleted with it.
func (r Reconciler) ReconcileDelete(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed) (Result, error) {
	var out Result
	if err := r.release(ctx, p, o); err != nil {
		return out, err
	}
	var errs []error
	for i := range p.Status.Instances {
		if status := &p.Status.Instances[i]; status.VolumeReplacement != nil {
			errs = append(errs, r.advance(ctx, p, o, status, &out))
		}
	}
	return out, errors.Join(errs...)
}

// release removes the finalizer when no store is being replaced any more.
func (r Reconciler) release(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed) error {
	if slices.ContainsFunc(o.Stored.Status.Instances, func(i v1alpha1.InstanceStatus) bool { return i.VolumeReplacement != nil }) {
		return nil
	}
	return replacementrun.Release(ctx, r.Client, p)
}

// rollBack replaces the stores of quarantined instances, and records how far each
// of them is. What is to be done is stored in the status before it is begun.
func (r Reconciler) rollBack(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, out *Result) error {
	var errs []error
	for i := range p.Status.Instances {
		status := &p.Status.Instances[i]
		if status.VolumeReplacement != nil {
			errs = append(errs, r.advance(ctx, p, o, status, out))
			continue
		}
		errs = append(errs, r.decide(ctx, p, o, status))
	}
	return errors.Join(errs...)
}

// decide takes the next step of a rollback in which no volume is on its
// way.
func (r Reconciler) decide(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, status *v1alpha1.InstanceStatus) error {
	d := rollback.Decide(observation(p, o, status), o.Now)
	if d.Status != nil {
		d.Status.Message = bounded.Text(d.Status.Message, pass.MaxText)
	}
	if d.Begin { // both are written at once, or neither
		intent, err := r.intent(ctx, p, o, status.Name, d.Status.Snapshot)
		if err != nil {
			return err
		}
		status.VolumeReplacement = intent
	}
	status.Rollback = d.Status
	return nil
}

// observation is what the next step is decided on.
func observation(p *v1alpha1.ModProxy, o pass.Observed, status *v1alpha1.InstanceStatus) rollback.Observation {
	f := rollback.Observation{
		Requested: p.Spec.Integrity.OnCorrupt == v1alpha1.StoreRollback && pass.HasStore(p, status.Name),
		Status:    status.Rollback.DeepCopy(), Quarantined: status.Quarantined,
		Snapshot: status.LatestVerifiedSnapshot, MayBeEmpty: !pass.Offline(p),
		FullyServing: fullyServing(p, o, status),
	}
	if status.LastVolumeReplacement != nil {
		f.ReplacementFailure = status.LastVolumeReplacement.Failure
	}
	if status.Rollback != nil && status.Rollback.ReplacedTime != nil {
		proof := Prove(p, o, status.Name, status.Rollback.ReplacedTime.Add(time.Second))
		f.Intact, f.Wrong, f.Waits = proof.Intact, proof.Wrong, proof.Waits
	}
	return f
}

// fullyServing reports whether an instance serves with its whole weight, as read
// back.
func fullyServing(p *v1alpha1.ModProxy, o pass.Observed, status *v1alpha1.InstanceStatus) bool {
	for _, i := range p.Spec.Instances {
		if i.Name == status.Name {
			return status.Quarantined == nil && status.DesiredWeight == i.Weight && o.Arrived
		}
	}
	return false
}
