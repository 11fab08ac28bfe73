package populator

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/populate"
)

// act carries a decision out. It returns the decision to report: a
// refusal by the API server is a state like any other.
func (r *Reconciler) act(ctx context.Context, s *scope, d populate.Decision) (populate.Decision, error) {
	switch d.Action {
	case populate.Wait:
		return d, nil
	case populate.CreateShare:
		return r.share(ctx, s, d)
	case populate.DeleteShare:
		return d, r.deleteShare(ctx, s)
	case populate.CreateIntermediate:
		return r.makeIntermediate(ctx, s, d)
	case populate.TakeFromPool:
		return r.takeFromPool(ctx, s, d)
	case populate.HandOver:
		return d, r.handOver(ctx, s, d)
	case populate.FreeNode:
		return d, r.freeNode(ctx, s, d.Rejections)
	case populate.DeleteIntermediate:
		return d, r.dropIntermediate(ctx, s)
	default:
		return d, fmt.Errorf("unknown action %q", d.Action)
	}
}

// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshots;volumesnapshotcontents,verbs=create

// share carries the chosen snapshot into the namespace of the PVC.
func (r *Reconciler) share(ctx context.Context, s *scope, d populate.Decision) (populate.Decision, error) {
	err := s.crossing(d.Snapshot).Create(ctx, r.Client, s.pair, fieldOwner)
	if apply.Refused(err) {
		return populate.Refused(d, err.Error()), nil
	}
	return d, err
}

// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshots;volumesnapshotcontents,verbs=delete

// deleteShare deletes what carried the snapshot into the namespace. The CSI snapshot
// stays.
func (r *Reconciler) deleteShare(ctx context.Context, s *scope) error {
	return s.pair.Own(s.claim).Delete(ctx, r.Client)
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=create
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims/finalizers,verbs=update

func (r *Reconciler) makeIntermediate(ctx context.Context, s *scope, d populate.Decision) (populate.Decision, error) {
	intermediate := volume.IntermediatePVC{For: s.claim, From: d.Snapshot, Snapshot: s.snapshot, Node: d.Node}
	err := intermediate.Create(ctx, r.Client, fieldOwner)
	if apply.Refused(err) {
		return populate.Refused(d, err.Error()), nil
	}
	if err == nil {
		countPool(s, miss)
	}
	return d, err
}

// takeFromPool is handOver of a volume that was made and read before. The write is on top
// of what was read, so that one PVC alone gets the volume. The PVC that held it is
// deleted by the controller of the cache, once the user's PVC is bound.
func (r *Reconciler) takeFromPool(ctx context.Context, s *scope, d populate.Decision) (populate.Decision, error) {
	if err := volume.NoteClone(ctx, r.Client, s.origin, s.now, fieldOwner); err != nil {
		return d, err
	}
	err := volume.HandOver(ctx, r.Client, s.volume, s.member, s.claim, d.Snapshot, fieldOwner)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return populate.AssignedElsewhere(d), nil
	}
	if err == nil {
		countPool(s, hit)
	}
	return d, err
}

// +kubebuilder:rbac:groups="",resources=persistentvolumes,verbs=patch

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots,verbs=patch

// handOver is one write, after the snapshot was marked as in use: once the intermediate
// PVC is gone, nothing else shows that. After it the volume is the user's PVC's, whatever
// becomes of this process: the cluster binds the two, and a later pass finds
// the intermediate PVC of a bound PVC and drops it.
func (r *Reconciler) handOver(ctx context.Context, s *scope, d populate.Decision) error {
	if err := volume.NoteClone(ctx, r.Client, s.origin, s.now, fieldOwner); err != nil {
		return err
	}
	err := volume.HandOver(ctx, r.Client, s.volume, s.intermediate, s.claim, d.Snapshot, fieldOwner)
	if err == nil {
		handedOver(s)
	}
	return err
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=patch

// freeNode takes the node from the user's PVC first. Were the intermediate PVC dropped
// first, a crash in between would have it made again for the same node; this
// way what is left is an intermediate PVC for a node without a request, and it is dropped.
func (r *Reconciler) freeNode(ctx context.Context, s *scope, rejections int) error {
	if err := volume.FreeNode(ctx, r.Client, s.claim, rejections, s.now, fieldOwner); err != nil {
		return err
	}
	return r.dropIntermediate(ctx, s)
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=delete

func (r *Reconciler) dropIntermediate(ctx context.Context, s *scope) error {
	return apply.Delete(ctx, r.Client, s.intermediate)
}
