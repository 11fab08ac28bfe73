package verification_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/verification"
)

const week = 168 * time.Hour

// published is a snapshot that is offered, and whose verification is due again.
func published(change func(*verification.Observation)) verification.Observation {
	f := verification.Observation{
		Now: now, Started: now.Add(-8 * 24 * time.Hour), Began: now.Add(-8 * 24 * time.Hour), Deadline: time.Hour,
		Asked: true, SnapshotReady: true, WasReady: true, Verdict: v1alpha1.VerdictIntact, Mode: v1alpha1.VerificationRequired,
		Check:  verification.Try{Attempts: 1, Recorded: "1"},
		Repeat: verification.Repetition{Due: now, Interval: week, Selected: true},
	}
	if change != nil {
		change(&f)
	}
	return f
}

func TestRepeat(t *testing.T) {
	type observation = verification.Observation
	runs := func(change func(*observation)) observation {
		return published(func(f *observation) {
			f.Repeat.Running, f.Repeat.Started = true, now.Add(-time.Minute)
			if change != nil {
				change(f)
			}
		})
	}
	for name, tt := range map[string]struct {
		observation observation
		want        verification.Decision
	}{
		"due":     {published(nil), verification.Decision{Stage: verification.BeginRepeat}},
		"not due": {published(func(f *observation) { f.Repeat.Due = now.Add(time.Hour) }), verification.Decision{Stage: verification.Done, Wake: time.Hour}},
		"never":   {published(func(f *observation) { f.Repeat.Due = time.Time{} }), verification.Decision{Stage: verification.Done}},
		"due, and another one is offered": {
			published(func(f *observation) { f.Repeat.Selected = false }), verification.Decision{Stage: verification.Done, Wake: 7 * time.Hour},
		},
		"suspended":                        {published(func(f *observation) { f.Suspended = true }), verification.Decision{Stage: verification.Done}},
		"the CSI snapshot is not ready":    {published(func(f *observation) { f.SnapshotReady = false }), verification.Decision{Stage: verification.Done}},
		"the CSI snapshot is gone":         {published(func(f *observation) { f.Asked, f.SnapshotReady = false, false }), verification.Decision{Stage: verification.SnapshotLost}},
		"Corrupt":                          {published(func(f *observation) { f.Verdict = v1alpha1.VerdictCorrupt }), verification.Decision{Stage: verification.Done}},
		"cannot build":                     {published(func(f *observation) { f.OfflineBuild.Called, f.OfflineBuild.Outcome = true, v1alpha1.WorkFailed }), verification.Decision{Stage: verification.Done}},
		"exempt from verification":         {published(func(f *observation) { f.Mode = v1alpha1.VerificationSkip }), verification.Decision{Stage: verification.Done}},
		"the first clone is not removed":   {published(func(f *observation) { f.Clone = true }), verification.Decision{Stage: verification.CleanUp, Wake: time.Second}},
		"a Job of the name that is no one": {published(func(f *observation) { f.Repeat.Try = verification.Try{Job: true, Run: "x", Ended: true} }), verification.Decision{Stage: verification.CleanUp, Wake: time.Second}},

		"begun":   {runs(nil), verification.Decision{Stage: verification.Repeat, Wake: 59 * time.Minute, Remaining: 59 * time.Minute}},
		"the Job": {runs(func(f *observation) { f.Repeat.Job, f.Repeat.Run, f.Clone = true, "r", true }), verification.Decision{Stage: verification.WaitForRepeat, Wake: 59 * time.Minute}},
		"the Job ended": {
			runs(func(f *observation) { f.Repeat.Job, f.Repeat.Run, f.Repeat.Ended, f.Clone = true, "r", true, true }),
			verification.Decision{Stage: verification.RecordRepeat},
		},
		"the Job ended, while suspended": {
			runs(func(f *observation) {
				f.Repeat.Job, f.Repeat.Run, f.Repeat.Ended, f.Clone, f.Suspended = true, "r", true, true, true
			}),
			verification.Decision{Stage: verification.RecordRepeat},
		},
		"begun, and suspended": {runs(func(f *observation) { f.Suspended = true }), verification.Decision{Stage: verification.Suspended}},
		"the clone was deleted": {
			runs(func(f *observation) { f.Repeat.Job, f.Repeat.Run = true, "r" }), verification.Decision{Stage: verification.CleanUp, Wake: time.Second},
		},
		"inconclusive": {
			runs(func(f *observation) {
				f.Repeat.Try, f.Clone = verification.Try{Job: true, Run: "r", Recorded: "r", Ended: true, Attempts: 1, RecordedAt: now}, true
			}),
			verification.Decision{Stage: verification.CleanUp, Wake: time.Second},
		},
		"inconclusive, just now": {
			runs(func(f *observation) { f.Repeat.Try = verification.Try{Recorded: "r", Attempts: 1, RecordedAt: now} }),
			verification.Decision{Stage: verification.WaitForRetry, Wake: 10 * time.Second},
		},
		"inconclusive, too often": {
			runs(func(f *observation) {
				f.Repeat.Try = verification.Try{Recorded: "r", Attempts: verification.MaxAttempts}
			}),
			verification.Decision{Stage: verification.EndRepeat},
		},
		"the deadline has passed": {
			runs(func(f *observation) {
				f.Repeat.Started, f.Repeat.Job, f.Repeat.Run, f.Clone = now.Add(-time.Hour), true, "r", true
			}),
			verification.Decision{Stage: verification.EndRepeat},
		},
		"ended, the clone is left": {
			published(func(f *observation) {
				f.Repeat = verification.Repetition{Due: now.Add(week), Interval: week, Started: now, Try: verification.Try{Job: true, Run: "r", Recorded: "r", Ended: true}}
				f.Clone = true
			}),
			verification.Decision{Stage: verification.CleanUp, Wake: time.Second},
		},
		"the CSI snapshot is deleted meanwhile": {
			runs(func(f *observation) { f.Asked, f.SnapshotReady, f.Clone = false, false, true }), verification.Decision{Stage: verification.CleanUp, Wake: time.Second},
		},
	} {
		if got := verification.Decide(tt.observation); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// verified is a CacheSnapshot that was found Intact a time ago.
func verified(ago time.Duration, change func(*v1alpha1.CacheSnapshot)) *v1alpha1.CacheSnapshot {
	c := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{UID: "u"}}
	c.Status.Verification = v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictIntact, CompletionTime: ptr.To(metav1.NewTime(now.Add(-ago)))}
	if change != nil {
		change(c)
	}
	return c
}

func TestRepeatAt(t *testing.T) {
	at := func(ago time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(now.Add(-ago))) }
	weekly := &v1alpha1.RepeatPolicy{Snapshots: v1alpha1.RepeatNewest, Interval: &metav1.Duration{Duration: week}}
	never := &v1alpha1.RepeatPolicy{Snapshots: v1alpha1.RepeatNone, Interval: &metav1.Duration{Duration: week}}
	for name, tt := range map[string]struct {
		snapshot *v1alpha1.CacheSnapshot
		policy   *v1alpha1.RepeatPolicy
		from     time.Time // the earliest time; zero: never
	}{
		"no policy":      {verified(week, nil), nil, time.Time{}},
		"never":          {verified(week, nil), never, time.Time{}},
		"no verdict yet": {verified(week, func(c *v1alpha1.CacheSnapshot) { c.Status.Verification.Verdict = "" }), weekly, time.Time{}},
		"once":           {verified(time.Hour, nil), weekly, now.Add(week - time.Hour)},
		"again": {verified(9*week, func(c *v1alpha1.CacheSnapshot) {
			c.Status.Repeat = &v1alpha1.RepeatStatus{Verdict: v1alpha1.VerdictIntact, IntactTime: at(time.Hour), EndTime: at(time.Hour)}
		}), weekly, now.Add(week - time.Hour)},
		"inconclusive": {verified(9*week, func(c *v1alpha1.CacheSnapshot) {
			c.Status.Repeat = &v1alpha1.RepeatStatus{Verdict: v1alpha1.VerdictInconclusive, EndTime: at(time.Hour)}
		}), weekly, now.Add(23 * time.Hour)},
	} {
		got := verification.RepeatAt(tt.snapshot, tt.policy)
		if tt.from.IsZero() != got.IsZero() || got.Before(tt.from) || got.After(tt.from.Add(week/10+time.Second)) {
			t.Errorf("%s: %v, want from %v on", name, got, tt.from)
		}
	}
	spread := map[time.Time]bool{}
	for i := range 100 {
		spread[verification.RepeatAt(verified(0, func(c *v1alpha1.CacheSnapshot) { c.UID = types.UID(fmt.Sprint("u", i)) }), weekly).Truncate(time.Hour)] = true
	}
	if len(spread) < 8 {
		t.Errorf("100 snapshots that were verified together are verified again in %d hours", len(spread))
	}
}

// TestRepeatPolicy holds whose setting applies.
func TestRepeatPolicy(t *testing.T) {
	own, sources := &v1alpha1.RepeatPolicy{Snapshots: v1alpha1.RepeatAll}, &v1alpha1.RepeatPolicy{Snapshots: v1alpha1.RepeatNone}
	policy := &v1alpha1.SnapshotPolicy{Verification: v1alpha1.Verification{Repeat: sources}}
	byHand := verified(0, func(c *v1alpha1.CacheSnapshot) { c.Spec.Verification.Repeat = own })
	byPolicy := byHand.DeepCopy()
	byPolicy.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	for name, tt := range map[string]struct {
		snapshot *v1alpha1.CacheSnapshot
		source   *v1alpha1.SnapshotPolicy
		want     v1alpha1.RepeatedSnapshots
	}{
		"by hand":                    {byHand, policy, v1alpha1.RepeatAll},
		"by policy":                  {byPolicy, policy, v1alpha1.RepeatNone},
		"by a policy that was unset": {byPolicy, nil, v1alpha1.RepeatAll},
	} {
		if got := verification.RepeatPolicy(tt.snapshot, tt.source).Snapshots; got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestEveryRepetitionEnds simulates repetitions with seeded misfortune: each ends in
// time with nothing left behind, and its snapshot is offered until it is Corrupt.
func TestEveryRepetitionEnds(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		f := published(nil)
		runs, ended := 0, false
		for range 2000 {
			switch d := verification.Decide(f); d.Stage { //nolint:exhaustive // default fails the test
			case verification.BeginRepeat:
				f.Repeat.Running, f.Repeat.Started, f.Repeat.Attempts = true, f.Now, 0
			case verification.Repeat:
				if f.Repeat.Job || f.Pods || d.Remaining <= 0 {
					t.Fatalf("seed %d: begun with something left: %+v", seed, f)
				}
				if runs++; r.IntN(10) > 0 { // or a quota refuses it
					f.Repeat.Job, f.Repeat.Ended, f.Repeat.Run, f.Clone = true, false, fmt.Sprint("r", runs), true
				}
			case verification.WaitForRepeat:
				switch r.IntN(8) {
				case 0:
					f.Repeat.Job, f.Pods = false, true
				case 1:
					f.Clone = false
				case 2, 3:
					f.Repeat.Ended = true
				}
			case verification.RecordRepeat:
				f.Repeat.Attempts++
				f.Repeat.Recorded, f.Repeat.RecordedAt = f.Repeat.Run, f.Now
				if r.IntN(4) == 0 {
					f.Repeat.Running, f.Repeat.Due = false, f.Now.Add(week)
					f.Verdict = []v1alpha1.Verdict{v1alpha1.VerdictIntact, v1alpha1.VerdictCorrupt}[r.IntN(2)]
				}
			case verification.EndRepeat:
				f.Repeat.Running, f.Repeat.Due = false, f.Now.Add(week/7)
			case verification.CleanUp, verification.ClearJobs:
				switch {
				case f.Repeat.Job && f.Repeat.Running && f.Repeat.Ended && f.Repeat.Run != f.Repeat.Recorded:
					t.Fatalf("seed %d: an outcome is thrown away: %+v", seed, f)
				case f.Repeat.Job:
					f.Repeat.Job, f.Pods = false, true
				case f.Pods:
					f.Pods = r.IntN(2) == 0
				case d.Stage == verification.CleanUp:
					f.Clone = false
				}
			case verification.Done:
				ended = true
			case verification.WaitForRetry:
			default:
				t.Fatalf("seed %d: stage %s: %+v", seed, d.Stage, f)
			}
			if ended {
				break
			}
			f.Now = f.Now.Add(time.Duration(1+r.IntN(60)) * time.Second)
		}
		if !ended || f.Repeat.Job || f.Pods || f.Clone || f.Repeat.Running || f.Repeat.Attempts > verification.MaxAttempts {
			t.Fatalf("seed %d: no end: %+v", seed, f)
		}
	}
}

// TestRepeated holds what is read from the status: a new process goes on
// with the repetition that the last one has begun.
func TestRepeated(t *testing.T) {
	c := &v1alpha1.CacheSnapshot{}
	c.Status.Verification = v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictIntact, CompletionTime: ptr.To(metav1.NewTime(now.Add(-2 * week)))}
	policy := &v1alpha1.RepeatPolicy{Snapshots: v1alpha1.RepeatNewest, Interval: &metav1.Duration{Duration: week}}
	if got := verification.Repeated(c, policy); got.Running || !got.Started.IsZero() || got.Interval != week || got.Due.IsZero() || got.Due.After(now) {
		t.Errorf("none has begun: %+v", got)
	}
	began, ended := metav1.NewTime(now.Add(-time.Hour)), metav1.NewTime(now.Add(-time.Minute))
	c.Status.Repeat = &v1alpha1.RepeatStatus{StartTime: began, Attempts: 2, Run: "r", CompletionTime: &ended}
	want := verification.Try{Attempts: 2, Recorded: "r", RecordedAt: ended.Time}
	if got := verification.Repeated(c, policy); !got.Running || !got.Started.Equal(began.Time) || got.Try != want {
		t.Errorf("one runs: %+v, want %+v", got, want)
	}
	c.Status.Repeat.EndTime = &ended
	if got := verification.Repeated(c, policy); got.Running || !got.Started.Equal(began.Time) {
		t.Errorf("one has ended: %+v", got)
	}
	for name, none := range map[string]*v1alpha1.RepeatPolicy{
		"no policy": nil, "of no snapshot": {Snapshots: v1alpha1.RepeatNone, Interval: policy.Interval}, "no interval": {Snapshots: v1alpha1.RepeatNewest},
	} {
		if got := verification.Repeated(c, none); !got.Due.IsZero() || got.Interval != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
