package pool

import (
	"context"
	"fmt"
	"maps"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/pool"
)

// Observe reads what exists of the pool.
func (r Run) Observe(ctx context.Context) ([]Member, error) {
	slots, err := r.slots(ctx)
	if err != nil {
		return nil, err
	}
	members := make([]Member, len(slots))
	for i, slot := range slots {
		if members[i], err = r.observe(ctx, slot); err != nil {
			return nil, err
		}
	}
	return members, r.observeMounts(ctx, members)
}

// slots are those that are recorded, and those that an object is seen in.
func (r Run) slots(ctx context.Context) ([]int, error) {
	found := map[int]bool{}
	add := func(name string) {
		if slot, ok := slotOf(r.Cache, name); ok {
			found[slot] = true
		}
	}
	if r.Cache.Status.Pool != nil {
		for i := range r.Cache.Status.Pool.Members {
			add(r.Cache.Status.Pool.Members[i].Name)
		}
	}
	reader := client.Reader(r.Client)
	if r.Cache.Spec.Pool == nil { // nothing looks again once the status is gone: a cache that is behind would leave a PVC for ever
		reader = r.Live
	}
	var pvcs corev1.PersistentVolumeClaimList
	var jobs batchv1.JobList
	for _, list := range []client.ObjectList{&pvcs, &jobs} {
		if err := reader.List(ctx, list, client.InNamespace(r.Cache.Namespace), client.MatchingLabels(Labels(r.Cache.Name))); err != nil {
			return nil, fmt.Errorf("list the pool of GoCache %s: %w", r.Cache.Name, err)
		}
	}
	for i := range pvcs.Items {
		add(pvcs.Items[i].Name)
	}
	for i := range jobs.Items {
		add(jobs.Items[i].Name)
	}
	return slices.Sorted(maps.Keys(found)), nil
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
	m := Member{Name: Name(r.Cache, slot), Member: pool.Member{Slot: slot}}
	pvc, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Live, r.Cache.Namespace, m.Name)
	if err != nil {
		return m, err
	}
	job, err := read.Object[batchv1.Job](ctx, r.Live, r.Cache.Namespace, m.Name)
	if err != nil {
		return m, err
	}
	record := r.record(m.Name)
	own := record != nil && pvc != nil && record.UID == string(pvc.UID)
	switch {
	case own: // whatever is written to it since
	case pvc != nil && !r.made(pvc):
		m.Foreign = fmt.Sprintf("PersistentVolumeClaim %s exists and was not made for this GoCache: remove it", m.Name)
		return m, nil
	case job != nil && !r.made(job):
		m.Foreign = fmt.Sprintf("Job %s exists and was not made for this GoCache: remove it", m.Name)
		return m, nil
	}
	if job != nil && !r.made(job) {
		job = nil // it is refused when that of the check is to be started
	}
	if own && !r.made(pvc) {
		m.Tampered = fmt.Sprintf("another client changed the label or the owner of PersistentVolumeClaim %s", m.Name)
	}
	switch {
	case pvc != nil:
		err = r.observePVC(ctx, &m, pvc, record)
	case record != nil:
		err = r.observeLeft(ctx, &m, record)
	}
	if err != nil {
		return m, err
	}
	return m, r.observeJob(ctx, &m, job, record)
}

// made reports whether an object has the marks of one that was made for the cache.
func (r Run) made(o client.Object) bool {
	return metav1.IsControlledBy(o, r.Cache) && o.GetLabels()[v1alpha1.PoolLabel] == r.Cache.Name
}

// observeLeft reads whether the volume of a member is there whose PVC is gone.
func (r Run) observeLeft(ctx context.Context, m *Member, record *v1alpha1.PoolMember) error {
	pv, err := read.Object[corev1.PersistentVolume](ctx, r.Live, "", record.VolumeName)
	if err != nil || pv == nil || pv.Spec.ClaimRef == nil || string(pv.Spec.ClaimRef.UID) != record.UID {
		return err
	}
	capacity := pv.Spec.Capacity[corev1.ResourceStorage]
	m.Left, m.Capacity = true, &capacity
	return nil
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
	case pv == nil, volume.HeldBy(pv, pvc) && !pv.DeletionTimestamp.IsZero(): // no other PVC would be bound to it
		m.Volume = pool.Lost
	case !volume.HeldBy(pv, pvc):
		m.Volume, err = r.taker(ctx, pv)
	case volume.Preexisting(pv, pvc):
		m.Volume = pool.Preexisting
	default:
		m.Volume = pool.Held
		capacity := pv.Spec.Capacity[corev1.ResourceStorage]
		m.Capacity = &capacity
	}
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
	if ref == nil || !pv.DeletionTimestamp.IsZero() {
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
	m.Job, m.Check.Exists = job, job != nil
	if job == nil || !m.Ready.IsZero() || !m.Recorded || r.Snapshot == nil || r.Snapshot.Name != m.Snapshot {
		return nil // its report is recorded, or of no use
	}
	run, err := jobrun.Observe(ctx, r.Live, job)
	if err != nil {
		return err
	}
	now, err := r.job(ctx, m.Name)
	if err != nil {
		return err
	}
	run, err = jobrun.Authenticate(ctx, r.Live, job, run, record.JobUID, func() (*batchv1.Job, error) { return now.Object(), nil })
	if err != nil {
		return err
	}
	if m.Check.Outdated, err = jobrun.Outdated(ctx, r.Live, job, run, now.Object()); err != nil {
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

// observeMounts reads which pods name the PVCs of members that have their volume.
func (r Run) observeMounts(ctx context.Context, members []Member) error {
	held := map[string]*Member{}
	for i := range members {
		if m := &members[i]; m.Volume == pool.Held {
			held[m.Name] = m
		}
	}
	for mount, err := range volume.Mounts(ctx, r.Live, r.Cache.Namespace, slices.Collect(maps.Keys(held))...) {
		if err != nil {
			return err
		}
		m := held[mount.Claim]
		if lost := jobrun.Lost(mount.Pod, r.Now); lost != "" {
			m.Lost = lost
		}
		if r.reads(mount.Pod, m) {
			m.Check.Pods = true
			m.Stuck = m.Stuck || m.Lost != ""
		} else {
			m.MountedBy = mount.Pod.Name
		}
	}
	return nil
}

// reads reports whether a pod is that of the check of a member, and has nothing else in
// it: a container that was added while it runs can mount the volume writable. Of one that
// is ready there is none any more, whatever the marks of a pod.
func (r Run) reads(pod *corev1.Pod, m *Member) bool {
	record := r.record(m.Name)
	if record == nil || record.State == v1alpha1.PoolMemberReady || len(pod.Spec.EphemeralContainers) > 0 {
		return false
	}
	return jobrun.IsPodOf(pod, types.UID(record.JobUID)) || m.Job != nil && jobrun.IsPodOf(pod, m.Job.UID)
}
