package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/event"
	run "gocache.dev/operator/internal/kube/pool"
	"gocache.dev/operator/internal/plan/pool"
	"gocache.dev/operator/internal/plan/snapshot"
)

const (
	// retryRefused is when what the cluster refused is tried again.
	retryRefused = time.Minute
	// lookAgain is when it is read again what keeps a volume from being ready.
	lookAgain = 30 * time.Second
	// slowDeletion is after how long it is reported that a PVC or a pod is still there.
	slowDeletion = time.Minute

	// Bounds of the schema.
	maxMessage       = 1024
	maxMemberMessage = 512
)

// Reconciler keeps the pool of a GoCache.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// FieldOwner of what is created.
	FieldOwner string
	// Image of the agent.
	Image string
}

// Result is how the pool stands.
type Result struct {
	pass.Result
	// Obstructed is which object has the name of a member and another owner; empty: none.
	Obstructed string
}

// turn is one pass over the pool of one cache.
type turn struct {
	run.Run
	cache *v1alpha1.GoCache
	now   time.Time
	out   *Result
	// waits is what the first member that is not ready waits for.
	waits string
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=create;delete
// +kubebuilder:rbac:groups="",resources=persistentvolumes,verbs=get
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=create;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=list
// +kubebuilder:rbac:groups="",resources=events,verbs=list
// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=get

// Reconcile takes each volume of the pool a step further.
func (r Reconciler) Reconcile(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) (Result, error) {
	var out Result
	if cache.Spec.Pool == nil && cache.Status.Pool == nil {
		return out, nil
	}
	if o.Stored.Status.Pool == nil { // it is where what is made is recorded, so it is stored first
		cache.Status.Pool = &v1alpha1.PoolStatus{Size: cache.Spec.Pool.Size, Capacity: &resource.Quantity{}}
		out.WakeIn(time.Second)
		return out, nil
	}
	t := &turn{Run: r.run(cache, o), cache: cache, now: o.Now, out: &out}
	members, err := t.Observe(ctx)
	if err != nil {
		return out, err
	}
	decision := pool.Decide(t.observation(members))
	if !decision.Asks() { // a refusal stands only while it is asked again
		t.cleared()
	}
	var errs []error
	for _, a := range decision.Acts {
		errs = append(errs, t.act(ctx, a, t.in(a.Slot, members)))
	}
	t.record(members)
	if cache.Spec.Pool == nil && len(members) == 0 {
		cache.Status.Pool = nil
	}
	if decision.Wake > 0 {
		out.WakeIn(decision.Wake)
	}
	return out, errors.Join(errs...)
}

func (r Reconciler) run(cache *v1alpha1.GoCache, o pass.Observed) run.Run {
	offered := snapshotOf(o, cache.Status.LatestVerifiedSnapshot)
	if offered != nil && (offered.Status.Source == nil || offered.Status.VolumeSnapshotName == "" || withdrawn(offered, offered.Name) != "") {
		offered = nil // the snapshots were read again after it was chosen
	}
	verification := pass.SnapshotPolicy(cache).Verification
	made := run.Run{
		Client: r.Client, Live: r.Live, FieldOwner: r.FieldOwner, Cache: cache, Snapshot: offered, Now: o.Now,
		Withdrawn: func(name string) string { return withdrawn(snapshotOf(o, name), name) },
		Image:     r.Image, Template: cache.Spec.PodTemplate, Resources: verification.Resources,
	}
	if verification.Deadline != nil {
		made.Deadline = &verification.Deadline.Duration
	}
	return made
}

func snapshotOf(o pass.Observed, name string) *v1alpha1.CacheSnapshot {
	at := slices.IndexFunc(o.Snapshots, func(s v1alpha1.CacheSnapshot) bool { return s.Name == name })
	if name == "" || at < 0 {
		return nil
	}
	return &o.Snapshots[at]
}

// withdrawn is why nothing that was made from a snapshot may be given to a consumer any
// more; empty: it may.
func withdrawn(s *v1alpha1.CacheSnapshot, name string) string {
	if snapshot.Candidate(s, snapshot.Use{BySource: true}).Proven {
		return ""
	}
	return fmt.Sprintf("CacheSnapshot %s is not a verified one any more", name)
}

// observation is what the decision is made from.
func (t *turn) observation(members []run.Member) pool.Observation {
	o := pool.Observation{Now: t.now, Suspended: t.cache.Spec.Suspend, MaxAge: run.MaxAge(t.cache), Failures: t.cache.Status.Pool.Failures}
	if spec := t.cache.Spec.Pool; spec != nil {
		o.Size = int(spec.Size)
	}
	if at := t.cache.Status.Pool.FailureTime; at != nil {
		o.LastFailure = at.Time
	}
	if t.Snapshot != nil {
		o.Snapshot = t.Snapshot.Name
	}
	for i := range members {
		o.Members = append(o.Members, members[i].Member)
	}
	return o
}

// act carries out the step for one slot, and records it in the status.
func (t *turn) act(ctx context.Context, a pool.Act, m run.Member) error {
	switch a.Step {
	case pool.Create:
		return t.create(ctx, a.Slot, m.Name)
	case pool.StartCheck:
		return t.startCheck(ctx, m)
	case pool.WaitForCheck:
		t.wait(m)
	case pool.Accept:
		t.accept(m)
	case pool.StartAgain:
		t.out.Events = append(t.out.Events, event.Normal("JobReplaced", "Replace", "Deleted Job %s, whose container has not run: %s", m.Name, "its pod template has changed"))
		t.state(m.Name, v1alpha1.PoolMemberReading, "")
		return t.Delete(ctx, m, true)
	case pool.Clear:
		t.lingers(m, m.Ready, v1alpha1.PoolMemberClearing, "it was read, and the pod that read it is still there: is its node lost?")
		return t.Delete(ctx, m, true)
	case pool.Keep:
		t.state(m.Name, v1alpha1.PoolMemberReady, "")
	case pool.WaitForConsumer:
		t.state(m.Name, v1alpha1.PoolMemberAssigned, "")
	case pool.Release:
		t.state(m.Name, v1alpha1.PoolMemberAssigned, "")
		return t.Delete(ctx, m, false)
	case pool.Discard:
		return t.discard(ctx, m, a.Why)
	case pool.Fail:
		return t.fail(ctx, m, a.Why)
	case pool.WaitForDeletion:
		t.waitForDeletion(m)
	case pool.Forget:
		t.forget(m.Name)
	case pool.Obstructed:
		t.out.Obstructed = a.Why
		t.forget(m.Name) // what is recorded is gone
	}
	return nil
}

// in is what exists in a slot, or its name alone.
func (t *turn) in(slot int, members []run.Member) run.Member {
	at := slices.IndexFunc(members, func(m run.Member) bool { return m.Slot == slot })
	if at < 0 {
		return run.Member{Name: run.Name(t.cache, slot)}
	}
	return members[at]
}

// create makes a member. Its uid is in the status before anything is made of it: one
// whose uid a crash has lost is deleted.
func (t *turn) create(ctx context.Context, slot int, name string) error {
	if t.refusedLately() {
		return nil
	}
	uid, err := t.Create(ctx, slot)
	if err := t.refused(err); err != nil || uid == "" {
		return err
	}
	t.out.WakeIn(time.Second)
	status := t.cache.Status.Pool
	status.Members = append(status.Members, v1alpha1.PoolMember{
		Name: name, UID: uid, State: v1alpha1.PoolMemberReading, Snapshot: t.Snapshot.Name,
	})
	slices.SortFunc(status.Members, func(a, b v1alpha1.PoolMember) int { // by slot
		return cmp.Or(cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return nil
}

func (t *turn) startCheck(ctx context.Context, m run.Member) error {
	if t.refusedLately() {
		return nil
	}
	made, err := t.StartCheck(ctx, m)
	if refused := t.refused(err); refused != nil || err != nil {
		return refused
	}
	t.out.WakeIn(lookAgain)
	if made.Untrusted != "" {
		t.out.Events = append(t.out.Events, event.Warning("UntrustedJob", "Pool", "%s", made.Untrusted))
	}
	if of := t.member(m.Name); of != nil && made.UID != "" {
		of.JobUID = made.UID
	}
	t.wait(m)
	return nil
}

// refused records whether the cluster refuses an object. It is no error of the pass: the
// cache can be used all the same.
func (t *turn) refused(err error) error {
	var refused *run.RefusedError
	if !errors.As(err, &refused) {
		t.cleared()
		return err
	}
	status := t.cache.Status.Pool
	status.RefusedTime = ptr.To(metav1.NewTime(t.now))
	status.RefusedMessage = bounded.Text(refused.Message, maxMessage)
	t.out.WakeIn(retryRefused)
	return nil
}

// cleared records that the cluster refuses nothing.
func (t *turn) cleared() {
	t.cache.Status.Pool.RefusedTime, t.cache.Status.Pool.RefusedMessage = nil, ""
}

// refusedLately reports whether it is too early to ask again for what was refused.
func (t *turn) refusedLately() bool {
	at := t.cache.Status.Pool.RefusedTime
	if at == nil || t.now.Sub(at.Time) >= retryRefused {
		return false
	}
	t.out.WakeIn(retryRefused - t.now.Sub(at.Time))
	return true
}

// wait records what a volume that is being read waits for.
func (t *turn) wait(m run.Member) {
	t.waitsFor(m, v1alpha1.PoolMemberReading, m.Waits)
	if m.Check.Exists { // its end wakes us, and what it waits for does not
		t.out.WakeIn(lookAgain)
	}
}

// lingers records what a member waits for that is to be gone since some time.
func (t *turn) lingers(m run.Member, since time.Time, state v1alpha1.PoolMemberState, why string) {
	if since.IsZero() || t.now.Sub(since) < slowDeletion {
		why = ""
	} else {
		why = fmt.Sprintf("PVC %s: %s", m.Name, cmp.Or(m.Lost, why))
	}
	t.waitsFor(m, state, why)
}

func (t *turn) waitForDeletion(m run.Member) {
	if m.PVC == nil {
		t.waitsFor(m, v1alpha1.PoolMemberDeleting, fmt.Sprintf("PVC %s is gone, and its volume %s is not deleted yet: see the events of the PersistentVolume", m.Name, t.member(m.Name).VolumeName))
		return
	}
	t.lingers(m, m.PVC.DeletionTimestamp.Time, v1alpha1.PoolMemberDeleting, "it is being deleted and is still there: a pod uses it, or a finalizer holds it")
}

func (t *turn) waitsFor(m run.Member, state v1alpha1.PoolMemberState, why string) {
	t.state(m.Name, state, why)
	if t.waits == "" {
		t.waits = why
	}
}

func (t *turn) accept(m run.Member) {
	of := t.member(m.Name)
	if of == nil {
		return
	}
	of.State, of.Message, of.JobUID = v1alpha1.PoolMemberClearing, "", string(m.Job.UID)
	of.ReadyTime = ptr.To(metav1.NewTime(t.now))
	of.Bytes = m.Verdict.Bytes
	of.Duration = &metav1.Duration{Duration: time.Duration(m.Verdict.DurationSeconds * float64(time.Second)).Truncate(time.Millisecond)}
	status := t.cache.Status.Pool
	status.Failures, status.FailureTime = 0, nil
}

func (t *turn) discard(ctx context.Context, m run.Member, why string) error {
	if why != "" {
		t.out.Events = append(t.out.Events, event.Normal("PoolVolumeDiscarded", "Pool", "Discarded volume %s of the pool: %s", m.Name, why))
	}
	t.state(m.Name, v1alpha1.PoolMemberDeleting, why)
	return t.Delete(ctx, m, false)
}

func (t *turn) fail(ctx context.Context, m run.Member, why string) error {
	why = bounded.Text(why, maxMemberMessage)
	status := t.cache.Status.Pool
	status.Failures++
	status.FailureTime = ptr.To(metav1.NewTime(t.now))
	status.Message = bounded.Text(fmt.Sprintf("volume %s was discarded: %s", m.Name, why), maxMessage)
	t.out.Events = append(t.out.Events, event.Warning(v1alpha1.ReasonPoolFailing, "Pool", "Discarded volume %s of the pool: %s", m.Name, why))
	t.state(m.Name, v1alpha1.PoolMemberDeleting, why)
	return t.Delete(ctx, m, false)
}

// member is the record of a member; nil: there is none.
func (t *turn) member(name string) *v1alpha1.PoolMember {
	members := t.cache.Status.Pool.Members
	if at := slices.IndexFunc(members, func(m v1alpha1.PoolMember) bool { return m.Name == name }); at >= 0 {
		return &members[at]
	}
	return nil
}

func (t *turn) state(name string, state v1alpha1.PoolMemberState, message string) {
	if m := t.member(name); m != nil {
		if state == v1alpha1.PoolMemberDeleting && message == "" {
			message = m.Message // why it is
		}
		m.State, m.Message = state, bounded.Text(message, maxMemberMessage)
	}
}

func (t *turn) forget(name string) {
	status := t.cache.Status.Pool
	status.Members = slices.DeleteFunc(status.Members, func(m v1alpha1.PoolMember) bool { return m.Name == name })
}

// record copies into the status how the pool stands, and what it costs.
func (t *turn) record(members []run.Member) {
	status := t.cache.Status.Pool
	status.Size, status.Ready = 0, 0
	if t.cache.Spec.Pool != nil {
		status.Size = t.cache.Spec.Pool.Size
	}
	var capacity resource.Quantity
	for i := range members {
		if members[i].Capacity != nil {
			capacity.Add(*members[i].Capacity)
		}
		if of := t.member(members[i].Name); of != nil && members[i].Volume == pool.Held {
			of.VolumeName = members[i].PVC.Spec.VolumeName
		}
	}
	for i := range status.Members {
		if status.Members[i].State == v1alpha1.PoolMemberReady {
			status.Ready++
		}
	}
	status.Capacity = &capacity
	if status.Failures == 0 {
		status.Message = bounded.Text(t.waits, maxMessage)
	}
}
