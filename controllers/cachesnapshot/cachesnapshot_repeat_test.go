package cachesnapshot

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/queue"
	"gocache.dev/operator/internal/plan/snapshot"
	"gocache.dev/operator/internal/plan/verification"
	"gocache.dev/operator/internal/testing/cluster"
)

// aWeek advances the clock until the next repetition is due by default.
func (w *world) aWeek() { w.now = w.now.Add(168 * time.Hour * 11 / 10) }

// repeats makes the Jobs of repetitions end so.
func (w *world) repeats(ending cluster.Ending) {
	w.endings(map[string]cluster.Ending{"verify": {Message: intactReport}, "repeat": ending})
}

// published creates a snapshot that is offered.
func (w *world) published(change ...func(*v1alpha1.CacheSnapshotSpec)) {
	w.t.Helper()
	w.cache()
	w.snapshot(change...)
	w.settle()
	w.ready(v1alpha1.ReasonIntact, "")
	w.reported()
}

func (w *world) standing() snapshot.Standing {
	w.t.Helper()
	return snapshot.Candidate(w.get(), snapshot.Use{BySource: true}).Standing
}

// TestRepeated holds what each end of a repetition makes of a snapshot that is
// offered, without a setting in its spec.
func TestRepeated(t *testing.T) {
	t.Parallel()
	inconclusive := strings.Replace(corruptReport, `"verdict":"Corrupt"`, `"verdict":"Inconclusive"`, 1)
	unreadable := strings.NewReplacer(`"findings":{"Corrupt":1}`, `"findings":{"Unreadable":1}`).Replace(inconclusive)
	for name, tt := range map[string]struct {
		ending   cluster.Ending
		attempts int32
		verdict  v1alpha1.Verdict
		standing snapshot.Standing
		reason   string
		event    string
	}{
		"Intact":  {cluster.Ending{Message: intactReport}, 1, v1alpha1.VerdictIntact, snapshot.Usable, v1alpha1.ReasonIntact, "VerifiedAgain"},
		"Corrupt": {cluster.Ending{Exit: 3, Message: corruptReport}, 1, v1alpha1.VerdictCorrupt, snapshot.Corrupt, v1alpha1.ReasonCorrupt, "SnapshotWithdrawn"},
		"killed":  {cluster.Ending{Exit: 137}, verification.MaxAttempts, v1alpha1.VerdictInconclusive, snapshot.Usable, v1alpha1.ReasonIntact, "RepeatInconclusive"},
		"unreadable": {
			cluster.Ending{Exit: 4, Message: unreadable}, verification.MaxAttempts, v1alpha1.VerdictInconclusive, snapshot.NotReady, v1alpha1.ReasonSnapshotFailed, "RepeatInconclusive",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.repeats(tt.ending)
			w.published(repairable) // which is not for a snapshot that was published
			w.aWeek()
			w.settle()
			s := w.get().Status
			if r := s.Repeat; r == nil || r.EndTime == nil || r.Attempts != tt.attempts || r.Verdict != tt.verdict {
				t.Fatalf("repetition %+v", r)
			}
			if got := w.standing(); got != tt.standing {
				t.Errorf("standing %s, want %s", got, tt.standing)
			}
			withdrawn := tt.verdict == v1alpha1.VerdictCorrupt
			if (s.Verification.Verdict == v1alpha1.VerdictIntact) == withdrawn || s.Repair != nil {
				t.Errorf("verification %+v, repair %+v", s.Verification, s.Repair)
			}
			w.ready(tt.reason, map[bool]string{true: "withdrawn"}[withdrawn])
			if events := w.reported(); strings.Count(events, tt.event) != 1 {
				t.Errorf("events %q, want one %s", events, tt.event)
			}
			if left := w.left(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// notCloned has a repetition reach its deadline, while the driver reports of its clone.
func (w *world) notCloned(complaint string) {
	w.t.Helper()
	w.endings(nil)
	w.cluster.Stuck = &corev1.PodStatus{Phase: corev1.PodPending}
	w.aWeek()
	w.until("s-repeat", &batchv1.Job{})
	_, err := w.cluster.Step(w.t.Context())
	w.must(err)
	var clone corev1.PersistentVolumeClaim
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.clone()}, &clone))
	clone.Status.Phase = corev1.ClaimPending
	w.must(server.Client.Status().Update(w.t.Context(), &clone))
	w.must(server.Client.Create(w.t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, Name: "complaint"},
		InvolvedObject: corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: w.namespace, Name: clone.Name, UID: clone.UID},
		Type:           corev1.EventTypeWarning, Reason: "ProvisioningFailed", Message: complaint,
		FirstTimestamp: metav1.NewTime(w.now), LastTimestamp: metav1.NewTime(w.now),
	}))
	w.now = w.now.Add(time.Hour)
	w.passes(1)
}

// TestReadableAgain holds that a snapshot that could not be read is offered again when
// a later repetition finds it Intact.
func TestReadableAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.published()
	w.notCloned("dataset does not exist")
	w.ready(v1alpha1.ReasonSnapshotFailed, "dataset does not exist")
	if got := w.standing(); got != snapshot.NotReady {
		t.Errorf("standing %s, want %s", got, snapshot.NotReady)
	}
	w.cluster.Stuck = nil
	w.repeats(cluster.Ending{Message: intactReport})
	w.settle()
	w.now = w.now.Add(25 * time.Hour)
	w.settle()
	w.ready(v1alpha1.ReasonIntact, "verified again at")
	if got := w.standing(); got != snapshot.Usable {
		t.Errorf("standing %s, want %s", got, snapshot.Usable)
	}
}

// TestRepeatOfASlowClone holds that a snapshot stays what it is if its driver is still
// creating the clone at the deadline of a repetition.
func TestRepeatOfASlowClone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.published()
	w.notCloned("rpc error: code = Aborted desc = clone in progress")
	w.ready(v1alpha1.ReasonIntact, "clone in progress")
	if r, got := w.get().Status.Repeat, w.standing(); r.EndTime == nil || r.Unreadable || got != snapshot.Usable {
		t.Errorf("repetition %+v, standing %s, want %s", r, got, snapshot.Usable)
	}
}

// TestSuspendedWhenVerified holds that condition Suspended is True while spec.suspend is
// set of a snapshot that is offered, and that it stays offered.
func TestSuspendedWhenVerified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.published()
	suspend := func(on bool) *v1alpha1.CacheSnapshot {
		s := w.get()
		s.Spec.Suspend = on
		w.must(server.Client.Update(t.Context(), s))
		w.passes(1)
		return w.get()
	}
	s := suspend(true)
	w.condition(v1alpha1.SuspendedCondition, v1alpha1.ReasonSuspended, "spec.suspend is set")
	w.ready(v1alpha1.ReasonSuspended, "3 module versions and 7 build entries are intact")
	if got := w.standing(); got != snapshot.Usable || !meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ReadyCondition) {
		t.Errorf("standing %s, conditions %+v", got, s.Status.Conditions)
	}
	w.now = w.now.Add(time.Minute)
	w.passes(1)
	if again := w.get(); again.ResourceVersion != s.ResourceVersion {
		t.Errorf("each pass writes the status: %+v", again.Status.Conditions)
	}
	if s := suspend(false); meta.FindStatusCondition(s.Status.Conditions, v1alpha1.SuspendedCondition) != nil {
		t.Errorf("conditions %+v", s.Status.Conditions)
	}
	w.ready(v1alpha1.ReasonIntact, "intact")
}

// TestNotRepeated holds what keeps a repetition from starting.
func TestNotRepeated(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spec   func(*v1alpha1.CacheSnapshotSpec)
		change func(*testing.T, *world)
	}{
		"by its spec": {spec: func(s *v1alpha1.CacheSnapshotSpec) {
			s.Verification.Repeat = &v1alpha1.RepeatPolicy{Snapshots: v1alpha1.RepeatNone}
		}},
		"suspended": {change: func(t *testing.T, w *world) {
			s := w.get()
			s.Spec.Suspend = true
			w.must(server.Client.Update(t.Context(), s))
		}},
		"the source is suspended": {change: func(t *testing.T, w *world) {
			var c v1alpha1.GoCache
			w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, &c))
			c.Spec.Suspend = true
			w.must(server.Client.Update(t.Context(), &c))
		}},
		"a newer one is offered": {change: func(_ *testing.T, w *world) {
			w.other("newer", func(s *v1alpha1.CacheSnapshot) {
				later := metav1.NewTime(w.now.Add(time.Hour))
				s.Status.CreationTime = &later
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.published(tt.spec)
			if tt.change != nil {
				tt.change(t, w)
			}
			w.aWeek()
			w.settle()
			if r := w.get().Status.Repeat; r != nil {
				t.Errorf("repeated: %+v", r)
			}
		})
	}
}

// TestRepeatWaitsForItsTrustData holds that trust data that does not exist any more
// ends a repetition, and changes nothing about the snapshot.
func TestRepeatWaitsForItsTrustData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sums := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "sums"}, Data: map[string]string{"go.sum": "example.com/m v1.0.0 h1:aa=\n"}}
	w.must(server.Client.Create(t.Context(), sums))
	w.published(func(s *v1alpha1.CacheSnapshotSpec) {
		s.Verification.Trust = &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}}
	})
	w.must(server.Client.Delete(t.Context(), sums))
	w.aWeek()
	w.settle()
	if r := w.get().Status.Repeat; r == nil || r.Verdict != v1alpha1.VerdictInconclusive || !strings.Contains(r.Message, "sums") {
		t.Errorf("repetition %+v", r)
	}
	w.ready(v1alpha1.ReasonIntact, "inconclusive at")
	if got := w.standing(); got != snapshot.Usable {
		t.Errorf("standing %s, want %s", got, snapshot.Usable)
	}
}

// TestRepetitionsWaitTheirTurn holds that a repetition takes one of the places of
// verifications. It is not run beside other tests, whose snapshots take places, too.
func TestRepetitionsWaitTheirTurn(t *testing.T) {
	w := newWorld(t)
	w.published()
	w.reconciler.lines = lines{verifications: queue.New(1)}
	other := newWorld(t)
	other.cache()
	other.snapshot()
	other.reconciler = w.reconciler
	w.aWeek()
	other.now = w.now
	w.endings(nil) // its Job does not end
	w.passes(3)
	if r := w.get().Status.Repeat; r == nil || r.EndTime != nil {
		t.Fatalf("repetition %+v", r)
	}
	state := verifying(w.get(), jobState{runs: true}, w.now)
	if state != queue.Inside {
		t.Errorf("a repetition is %v in the line of verifications", state)
	}
	for range 6 {
		other.passes(1)
		_, err := other.cluster.Step(t.Context())
		other.must(err)
	}
	var jobs batchv1.JobList
	other.must(server.Client.List(t.Context(), &jobs, client.InNamespace(other.namespace)))
	if len(jobs.Items) > 0 {
		t.Errorf("there is one place, and beside the repetition runs %s", jobs.Items[0].Name)
	}
	// Nor does it take a place from the tests that follow.
	s := w.get()
	s.Spec.Suspend = true
	w.must(server.Client.Update(t.Context(), s))
}

// TestRepeatOfStore holds that the snapshots of the stores of proxies are verified
// again, too.
func TestRepeatOfStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.repeats(cluster.Ending{Exit: 3, Message: corruptReport})
	w.proxy(v1alpha1.ProxyInstance{Storage: storage()})
	w.snapshot(ofStore)
	w.settle()
	w.aWeek()
	w.settle()
	w.ready(v1alpha1.ReasonCorrupt, "withdrawn")
}
