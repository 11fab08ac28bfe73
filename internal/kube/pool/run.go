package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/pool"
)

// Run is one pass over the pool of one cache.
type Run struct {
	// Client writes, and reads what the operator owns from its cache. Live reads past it.
	Client client.Client
	Live   client.Reader
	// FieldOwner names the controller.
	FieldOwner string
	// Cache that the pool is of. Its status is that which was stored.
	Cache *v1alpha1.GoCache
	// Snapshot that consumers get now; nil: none is offered.
	Snapshot *v1alpha1.CacheSnapshot
	// Withdrawn is why a snapshot of a name may not be used any more; empty: it may.
	Withdrawn func(snapshot string) string
	// Image of the agent, and Template, Resources and Deadline of the pods; all but the
	// image may be nil.
	Image     string
	Template  *v1alpha1.PodTemplate
	Resources *v1alpha1.Resources
	Deadline  *time.Duration
	// Now is the time of the pass.
	Now time.Time
}

// Member is what exists in a slot.
type Member struct {
	pool.Member
	// Name of the slot.
	Name string
	// PVC of it; nil: there is none.
	PVC *corev1.PersistentVolumeClaim
	// Job that reads it; nil: there is none.
	Job *batchv1.Job
	// Verdict of that Job, once it has ended.
	Verdict integrity.Verdict
	// Waits is what keeps the Job, or the PVC, from going on; empty: nothing is known.
	Waits string
	// Lost is what to do about a pod that mounts it and whose node does not answer; empty:
	// there is none.
	Lost string
	// Capacity of its volume; nil: it has none.
	Capacity *resource.Quantity
}

// RefusedError means that the cluster refuses an object of the pool.
type RefusedError struct{ Message string }

// Error is why.
func (e *RefusedError) Error() string { return e.Message }

// refusal turns what a person has to change into a RefusedError.
func refusal(err error) error {
	var conflict *apply.ConflictError
	if apply.Refused(err) || errors.As(err, &conflict) {
		return &RefusedError{Message: err.Error()}
	}
	return err
}

func (r Run) applier() apply.Applier {
	return apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: r.FieldOwner}
}

// Create makes the PVC of a free slot, and returns its uid. Empty: one of the name
// came first, which the next pass reads.
func (r Run) Create(ctx context.Context, slot int) (uid string, err error) {
	if err := r.discardable(ctx); err != nil {
		return "", err
	}
	made, err := r.applier().Create(ctx, apply.ControlledBy(r.Cache), r.claim(slot))
	return string(made), refusal(err)
}

// discardable refuses a class whose volumes stay when their PVC is deleted: each volume
// that is discarded would be paid for without end.
func (r Run) discardable(ctx context.Context) error {
	name := ptr.Deref(StorageOf(r.Cache, r.Snapshot).Class, "")
	class, err := read.Object[storagev1.StorageClass](ctx, r.Live, "", name)
	if err != nil || class == nil || ptr.Deref(class.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete) == corev1.PersistentVolumeReclaimDelete {
		return err
	}
	return &RefusedError{Message: fmt.Sprintf("StorageClass %s has reclaimPolicy %s, so each volume that the pool discards would stay and cost: set spec.pool.storage.storageClassName to a class with Delete", name, *class.ReclaimPolicy)}
}

// StartCheck starts the Job that reads a member, and returns its uid.
func (r Run) StartCheck(ctx context.Context, m Member) (jobrun.Started, error) {
	spec, err := r.job(ctx, m.Name)
	if err != nil {
		return jobrun.Started{}, err
	}
	made, err := jobrun.Start(ctx, r.applier(), r.Cache, spec.Object())
	return made, refusal(err)
}

// Delete deletes the Job of a member and, unless only that is to go, its PVC.
func (r Run) Delete(ctx context.Context, m Member, jobAlone bool) error {
	var errs []error
	if m.Job != nil {
		errs = append(errs, apply.Delete(ctx, r.Client, m.Job))
	}
	if m.PVC != nil && !jobAlone {
		errs = append(errs, apply.Delete(ctx, r.Client, m.PVC))
	}
	return errors.Join(errs...)
}
