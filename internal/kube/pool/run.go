package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
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
	// Capacity of its volume; nil: it has none.
	Capacity *resource.Quantity
}

// Observe reads what exists of the pool.
func (r Run) Observe(ctx context.Context) ([]Member, error) {
	slots, err := r.slots(ctx)
	if err != nil {
		return nil, err
	}
	held := map[string]*Member{}
	members := make([]Member, len(slots))
	for i, slot := range slots {
		m := &members[i]
		if *m, err = r.observe(ctx, slot); err != nil {
			return nil, err
		}
		if m.Volume == pool.Held {
			held[m.Name] = m
		}
	}
	for mount, err := range volume.Mounts(ctx, r.Live, r.Cache.Namespace, slices.Collect(maps.Keys(held))) {
		if err != nil {
			return nil, err
		}
		if m := held[mount.Claim]; !r.reads(mount.Controller, m) {
			m.MountedBy = mount.Pod
		}
	}
	return members, nil
}

// reads reports whether the controller of a pod is the Job that reads a member.
func (r Run) reads(controller *metav1.OwnerReference, m *Member) bool {
	if controller == nil {
		return false
	}
	record := r.record(m.Name)
	return m.Job != nil && controller.UID == m.Job.UID || record != nil && string(controller.UID) == record.JobUID
}

// slots are those that are recorded, and those that an object is seen in.
func (r Run) slots(ctx context.Context) ([]int, error) {
	var all []int
	add := func(name string) {
		if slot, ok := slotOf(r.Cache.Name, name); ok && !slices.Contains(all, slot) {
			all = append(all, slot)
		}
	}
	if r.Cache.Status.Pool != nil {
		for i := range r.Cache.Status.Pool.Members {
			add(r.Cache.Status.Pool.Members[i].Name)
		}
	}
	var pvcs corev1.PersistentVolumeClaimList
	var jobs batchv1.JobList
	for _, list := range []client.ObjectList{&pvcs, &jobs} {
		if err := r.Client.List(ctx, list, client.InNamespace(r.Cache.Namespace), client.MatchingLabels(Labels(r.Cache.Name))); err != nil {
			return nil, fmt.Errorf("list the pool of GoCache %s: %w", r.Cache.Name, err)
		}
	}
	for i := range pvcs.Items {
		add(pvcs.Items[i].Name)
	}
	for i := range jobs.Items {
		add(jobs.Items[i].Name)
	}
	slices.Sort(all)
	return all, nil
}

// record is what the status holds of a member; nil: nothing.
func (r Run) record(name string) *v1alpha1.PoolMember {
	if r.Cache.Status.Pool == nil {
		return nil
	}
	for i := range r.Cache.Status.Pool.Members {
		if m := &r.Cache.Status.Pool.Members[i]; m.Name == name {
			return m
		}
	}
	return nil
}

func (r Run) observe(ctx context.Context, slot int) (Member, error) {
	m := Member{Name: Name(r.Cache.Name, slot), Member: pool.Member{Slot: slot}}
	pvc, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Live, r.Cache.Namespace, m.Name)
	if err != nil {
		return m, err
	}
	job, err := read.Object[batchv1.Job](ctx, r.Live, r.Cache.Namespace, m.Name)
	if err != nil {
		return m, err
	}
	for _, o := range []struct {
		kind   string
		object client.Object
		exists bool
	}{{"PersistentVolumeClaim", pvc, pvc != nil}, {"Job", job, job != nil}} {
		if !o.exists {
			continue
		}
		if !metav1.IsControlledBy(o.object, r.Cache) || o.object.GetLabels()[v1alpha1.PoolLabel] != r.Cache.Name {
			m.Foreign = fmt.Sprintf("%s %s exists and was not made for this GoCache: rename or remove it", o.kind, m.Name)
			return m, nil
		}
	}
	record := r.record(m.Name)
	if pvc != nil {
		if err := r.observePVC(ctx, &m, pvc, record); err != nil {
			return m, err
		}
	}
	return m, r.observeJob(ctx, &m, job, record)
}

func (r Run) observePVC(ctx context.Context, m *Member, pvc *corev1.PersistentVolumeClaim, record *v1alpha1.PoolMember) error {
	m.PVC, m.Exists, m.Deleting = pvc, true, !pvc.DeletionTimestamp.IsZero()
	m.Recorded = record != nil && record.UID == string(pvc.UID)
	m.Snapshot = pvc.Annotations[v1alpha1.PopulatedFromAnnotation]
	if m.Recorded {
		m.Snapshot = record.Snapshot // nothing that another client can write
		if record.ReadyTime != nil {
			m.Ready = record.ReadyTime.Time
		}
	}
	m.Withdrawn = r.Withdrawn(m.Snapshot)
	if r.Snapshot != nil && r.Snapshot.Name == m.Snapshot {
		m.Misfit = StorageOf(r.Cache, r.Snapshot).misfit(pvc)
	}
	if pvc.Spec.VolumeName == "" {
		return r.observePending(ctx, m, pvc)
	}
	pv, err := read.Object[corev1.PersistentVolume](ctx, r.Live, "", pvc.Spec.VolumeName)
	switch {
	case err != nil:
		return err
	case pv == nil:
		m.Volume = pool.Lost
		return nil
	case volume.HeldBy(pv, pvc) && volume.Preexisting(pv, pvc):
		m.Volume = pool.Preexisting
		return nil
	case volume.HeldBy(pv, pvc):
		m.Volume = pool.Held
		capacity := pv.Spec.Capacity[corev1.ResourceStorage]
		m.Capacity = &capacity
		return nil
	}
	m.Volume, err = r.taker(ctx, pv)
	return err
}

// observePending reads what the provisioner reports of a volume that is not there yet.
func (r Run) observePending(ctx context.Context, m *Member, pvc *corev1.PersistentVolumeClaim) error {
	requested := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
	m.Capacity = &requested // what it will cost, and may already
	if r.Now.Sub(pvc.CreationTimestamp.Time) < jobrun.StartTimeout {
		return nil
	}
	complaint, err := volume.Complaint(ctx, r.Live, pvc)
	if complaint != "" {
		m.Waits = fmt.Sprintf("PVC %s waits for its volume: %s", pvc.Name, complaint)
	}
	return err
}

// taker is whether the PVC that a volume was given to has it, or had it, by now.
func (r Run) taker(ctx context.Context, pv *corev1.PersistentVolume) (pool.Volume, error) {
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return pool.Assigned, nil
	}
	taker, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Live, ref.Namespace, ref.Name)
	if err != nil {
		return pool.Given, err
	}
	if taker != nil && taker.UID == ref.UID && taker.Status.Phase == corev1.ClaimPending {
		return pool.Given, nil
	}
	return pool.Assigned, nil
}

func (r Run) observeJob(ctx context.Context, m *Member, job *batchv1.Job, record *v1alpha1.PoolMember) error {
	m.Job = job
	m.Check.Exists = job != nil
	if job == nil {
		if record == nil || record.State != v1alpha1.PoolMemberClearing {
			return nil // it has no pod yet, or none any more
		}
		var err error
		m.Check.Pods, err = jobrun.AnyPods(ctx, r.Live, r.Cache.Namespace, Labels(r.Cache.Name), m.Name)
		return err
	}
	m.Check.Pods = true
	if !m.Ready.IsZero() || !m.Recorded || r.Snapshot == nil || r.Snapshot.Name != m.Snapshot {
		return nil // its report is recorded, or of no use
	}
	run, err := jobrun.Observe(ctx, r.Live, job)
	if err != nil {
		return err
	}
	run, err = jobrun.Authenticate(ctx, r.Live, job, run, record.JobUID, func() (*batchv1.Job, error) {
		spec, err := r.job(ctx, m.Name)
		return spec.Object(), err
	})
	if err != nil {
		return err
	}
	if run.Phase == jobrun.Ended {
		m.Check.Ended = true
		m.Verdict = check.Verdict(run)
		m.Check.Refused = refused(m.Verdict, r.Snapshot)
		return nil
	}
	hindrance, err := jobrun.Hindrance(ctx, r.Live, job, run, r.Now)
	if hindrance != "" && m.Waits == "" {
		m.Waits = fmt.Sprintf("Job %s: %s", job.Name, hindrance)
	}
	return err
}

// RefusedError means that the cluster refuses an object of the pool.
type RefusedError struct{ Message string }

// Error is why.
func (e *RefusedError) Error() string { return e.Message }

// refusal turns what a person has to change into a RefusedError.
func refusal(err error) error {
	var conflict *apply.ConflictError
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || errors.As(err, &conflict) {
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
	made, err := r.applier().Create(ctx, apply.ControlledBy(r.Cache), r.claim(slot))
	return string(made), refusal(err)
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
