package replacement

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/replacement"
)

// Act carries out a step that changes the cluster. Steps that wait, or that
// change the intent, are none of its business. It returns what objects to an
// eviction, if anything does.
func (r Run) Act(ctx context.Context, o Observed, d replacement.Decision) (objection string, err error) {
	switch d.Step {
	case replacement.MakeNext:
		return "", r.MakeNext(ctx, r.Content)
	case replacement.ClearCheck:
		return "", r.clearCheck(ctx, o)
	case replacement.TakeHold:
		return "", r.hold(ctx)
	case replacement.SecureNew:
		return "", o.claims.Secure(ctx, r.Client, o.New, r.FieldOwner)
	case replacement.SecureOld:
		return "", o.claims.Secure(ctx, r.Client, o.Old, r.FieldOwner)
	case replacement.DropNext:
		return "", apply.Delete(ctx, r.Client, o.Next)
	case replacement.ReserveNew:
		return "", o.claims.Reserve(ctx, r.Client, o.New, r.Claim, r.FieldOwner)
	case replacement.RevertOld:
		return "", o.claims.Reserve(ctx, r.Client, o.Old, r.Claim, r.FieldOwner)
	case replacement.DropLive:
		// Not if it changed since it was looked at: it may have got a volume.
		_, err := apply.DeleteUnchanged(ctx, r.Client, o.Live)
		return "", err
	case replacement.Evict:
		return r.evict(ctx, o.Consumers)
	case replacement.MakeLive:
		if d.Volume == r.Intent.NextVolume {
			return "", r.createOn(ctx, r.Claim, o.New, r.Intent.Size)
		}
		return "", r.createOn(ctx, r.Claim, o.Old, nil)
	case replacement.FreeNew:
		return "", o.claims.Free(ctx, r.Client, o.New, r.FieldOwner)
	case replacement.FreeOld:
		return "", o.claims.Free(ctx, r.Client, o.Old, r.FieldOwner)
	case replacement.DropPrevious:
		return "", apply.Delete(ctx, r.Client, o.Previous)
	case replacement.ReserveOld:
		return "", o.claims.Reserve(ctx, r.Client, o.Old, r.PreviousName(), r.FieldOwner)
	case replacement.MakePrevious:
		return "", r.createOn(ctx, r.PreviousName(), o.Old, nil)
	case replacement.WaitForSource, replacement.WaitForAdmission, replacement.WaitForCheck, replacement.WaitForRetry, replacement.WaitForIdle, replacement.WaitForConsumers, replacement.WaitForNextDeleted, replacement.WaitForLiveDeleted,
		replacement.WaitForLive, replacement.WaitForPreviousDeleted, replacement.WaitForPrevious, replacement.RecordCheck, replacement.RecordOld, replacement.GiveUp, replacement.Finish, replacement.Abandon:
	}
	return "", nil
}

// createOn makes a PVC on a volume, as large as was asked for, or as the
// volume if nil.
func (r Run) createOn(ctx context.Context, name string, pv *corev1.PersistentVolume, size *resource.Quantity) error {
	capacity := pv.Spec.Capacity[corev1.ResourceStorage]
	if size == nil || size.Cmp(capacity) > 0 {
		size = &capacity
	}
	modes := r.AccessModes
	if name != r.Claim {
		modes = pv.Spec.AccessModes
	}
	var controller client.Object
	if !r.Detached {
		controller = r.Owner
	}
	// The class must be the volume's, even if that is none.
	return volume.CreateOn(ctx, r.Client, controller, volume.Claim{
		Namespace: r.Owner.GetNamespace(), Name: name, Labels: r.Labels,
		Class: &pv.Spec.StorageClassName, AccessModes: modes, Size: *size,
	}, pv.Name, r.FieldOwner+"-replacement")
}

// clearCheck removes the Job; when its pods are gone too, what it copied from.
func (r Run) clearCheck(ctx context.Context, o Observed) error {
	switch {
	case o.Job != nil:
		return apply.Delete(ctx, r.Client, o.Job)
	case o.pods || o.Source == nil:
		return nil // garbage collection is at it
	default:
		return apply.Delete(ctx, r.Client, o.Source)
	}
}

func (r Run) evict(ctx context.Context, pods []corev1.Pod) (objection string, err error) {
	for i := range pods {
		why, err := volume.Evict(ctx, r.Client, &pods[i])
		if err != nil {
			return objection, err
		}
		if why != "" && objection == "" {
			objection = fmt.Sprintf("pod %s: %s", pods[i].Name, why)
		}
	}
	return objection, nil
}

func (r Run) hold(ctx context.Context) error {
	return changeFinalizers(ctx, r.Client, r.Owner, controllerutil.AddFinalizer)
}

// Release takes the finalizer of a replacement from an object that has none in
// progress.
func Release(ctx context.Context, c client.Client, owner client.Object) error {
	return changeFinalizers(ctx, c, owner, controllerutil.RemoveFinalizer)
}

// changeFinalizers writes the finalizers alone, on top of what was read, and
// updates the owner so that it can be written again.
func changeFinalizers(ctx context.Context, c client.Client, owner client.Object, change func(client.Object, string) bool) error {
	after := owner.DeepCopyObject().(client.Object)
	if !change(after, v1alpha1.VolumeReplacementFinalizer) {
		return nil
	}
	patch := client.MergeFromWithOptions(owner, client.MergeFromWithOptimisticLock{})
	if err := c.Patch(ctx, after, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the finalizers of %s/%s: %w", owner.GetNamespace(), owner.GetName(), err)
	}
	owner.SetFinalizers(after.GetFinalizers())
	owner.SetResourceVersion(after.GetResourceVersion())
	return nil
}
