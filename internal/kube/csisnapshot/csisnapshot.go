package csisnapshot

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
)

// Policy is what an object declares of the snapshots of its volumes.
type Policy struct {
	// Of is the object.
	Of client.Object
	// Spec of the policy; nil for an object whose snapshots are created only on
	// request.
	Spec *v1alpha1.SnapshotPolicy
	// PodTemplate of the Jobs that verify.
	PodTemplate *v1alpha1.PodTemplate
}

// owner of the snapshots: they go with the object, or outlive it.
func (p Policy) owner() apply.Owner {
	if ptr.Deref(p.Spec, v1alpha1.SnapshotPolicy{}).DeletionPolicy == v1alpha1.DeletionDelete {
		return apply.ControlledBy(p.Of)
	}
	return apply.DetachedFrom(p.Of)
}

// Take makes a snapshot of one of the object's volumes. One that exists already is left as
// it is: a pass made it and could not record that, and most of its spec is immutable,
// while the policy may have been edited since. [Policy.Own] keeps its ownership in step.
func (p Policy) Take(ctx context.Context, a apply.Applier, name string, source v1alpha1.SnapshotSource, labels map[string]string) error {
	spec := ptr.Deref(p.Spec, v1alpha1.SnapshotPolicy{})
	if ptr.Deref(spec.VolumeSnapshotClassName, "") == "" {
		spec.VolumeSnapshotClassName = nil // a policy of an earlier version may have an empty name
	}
	_, err := a.Create(ctx, p.owner(), &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Of.GetNamespace(), Name: name, Labels: labels},
		Spec: v1alpha1.CacheSnapshotSpec{
			SourceRef:               source,
			VolumeSnapshotClassName: spec.VolumeSnapshotClassName,
			Verification:            spec.Verification,
			PodTemplate:             p.PodTemplate,
		},
	})
	return err
}

// Own keeps the ownership of those snapshots that the policy made in step with
// it.
func (p Policy) Own(ctx context.Context, c client.Client, all []v1alpha1.CacheSnapshot) error {
	var errs []error
	for i := range all {
		s := &all[i]
		if !s.DeletionTimestamp.IsZero() || s.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue {
			continue
		}
		_, err := apply.Own(ctx, c, p.owner(), s)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Drop deletes those of the snapshots that are named, unless they were changed
// since they were read: a user may have pinned them. It returns the deleted
// ones.
func Drop(ctx context.Context, c client.Client, names []string, all []v1alpha1.CacheSnapshot) (dropped []string, err error) {
	var errs []error
	for _, name := range names {
		for i := range all {
			if all[i].Name != name {
				continue
			}
			deleted, err := apply.DeleteUnchanged(ctx, c, &all[i])
			errs = append(errs, err)
			if deleted {
				dropped = append(dropped, name)
			}
		}
	}
	return dropped, errors.Join(errs...)
}
