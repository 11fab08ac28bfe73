package verification_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/verification"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	type observation = verification.Observation
	tests := []struct {
		name        string
		observation observation
		want        verification.Stage
	}{
		{"no source yet", observation{}, verification.WaitForSource},
		{"a source", observation{SourceReady: true}, verification.Admit},
		{"a CSI snapshot, and not admitted", observation{Asked: true, SnapshotReady: true, SourceReady: true}, verification.Admit},
		{"a CSI snapshot, and no source", observation{Asked: true}, verification.WaitForSource},
		{"admitted", observation{Started: now, SourceReady: true}, verification.CreateSnapshot},
		{"admitted, and somebody writes", observation{Started: now, SourceBusy: true}, verification.WaitForWriter},
		{"admitted, and written to for longer than the deadline", observation{Started: now.Add(-2 * time.Hour), Deadline: time.Hour, SourceBusy: true}, verification.WaitForWriter},
		{"quiet after longer than the deadline", observation{Started: now.Add(-2 * time.Hour), Deadline: time.Hour}, verification.CreateSnapshot},
		{"asked for again and again until the deadline", observation{Started: now.Add(-2 * time.Hour), Began: now.Add(-2 * time.Hour), Deadline: time.Hour}, verification.Expired},
		{"asked for", observation{Started: now, Asked: true}, verification.WaitForSnapshot},
		{"asked for, deadline passed", observation{Started: now.Add(-2 * time.Hour), Began: now.Add(-2 * time.Hour), Deadline: time.Hour, Asked: true}, verification.Expired},
		{"a foreign Job before it is asked for", observation{Started: now, Check: verification.Try{Job: true, Run: "1", Ended: true}}, verification.ClearJobs},
		{"a foreign Job before it is ready", observation{Started: now, Asked: true, Check: verification.Try{Job: true, Run: "1", Ended: true}}, verification.ClearJobs},
		{"cut", observation{Started: now, Asked: true, SnapshotReady: true}, verification.Check},
		{"cut, for an inquiry", observation{Started: now, Asked: true, SnapshotReady: true, Mode: v1alpha1.VerificationSkip}, verification.Done},
		{"cut for an inquiry long ago", observation{Started: now.Add(-time.Hour), Began: now.Add(-time.Hour), Deadline: time.Minute, Asked: true, SnapshotReady: true, Mode: v1alpha1.VerificationSkip}, verification.Done},
		{"the Job runs", observation{Started: now, Asked: true, SnapshotReady: true, Check: verification.Try{Job: true, Run: "1"}, Clone: true}, verification.WaitForJob},
		{"the Job ended", observation{Started: now, Asked: true, SnapshotReady: true, Check: verification.Try{Job: true, Run: "1", Ended: true}, Clone: true}, verification.RecordVerdict},
		{"the Job ended while suspended", observation{Suspended: true, Asked: true, SnapshotReady: true, Check: verification.Try{Job: true, Run: "1", Ended: true}, Clone: true}, verification.RecordVerdict},
		{"the Job ended after the deadline", observation{Started: now.Add(-2 * time.Hour), Began: now.Add(-2 * time.Hour), Deadline: time.Hour, Asked: true, SnapshotReady: true, Check: verification.Try{Job: true, Run: "1", Ended: true}, Clone: true}, verification.RecordVerdict},
		{"booked Intact", observation{Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Job: true, Run: "1", Ended: true, Recorded: "1", Attempts: 1}, Clone: true}, verification.CleanUp},
		{"Intact, the clone is left", observation{Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictIntact, Clone: true, Check: verification.Try{Recorded: "1", Attempts: 1}}, verification.CleanUp},
		{"Intact", observation{Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Recorded: "1", Attempts: 1}}, verification.Done},
		{"Intact long after the deadline", observation{Started: now.Add(-9 * time.Hour), Began: now.Add(-9 * time.Hour), Deadline: time.Hour, Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Attempts: 1}}, verification.Done},
		{"Corrupt", observation{Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictCorrupt, Check: verification.Try{Attempts: 1}}, verification.Done},
		{"could not tell", observation{Started: now, Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Job: true, Run: "1", Ended: true, Recorded: "1", Attempts: 1}, Clone: true}, verification.CleanUp},
		{"could not tell, just now", observation{Started: now, Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Recorded: "1", RecordedAt: now, Attempts: 1}}, verification.WaitForRetry},
		{"could not tell, a while ago", observation{Started: now, Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Recorded: "1", RecordedAt: now.Add(-time.Minute), Attempts: 1}}, verification.Check},
		{"could not tell, the clone is left", observation{Started: now, Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Recorded: "1", RecordedAt: now.Add(-time.Minute), Attempts: 1}, Clone: true}, verification.CleanUp},
		{"could not tell, there are new clones", observation{Started: now, Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Recorded: "1", RecordedAt: now.Add(-time.Minute), Attempts: 1}, Clone: true, Reference: true, Fresh: true}, verification.Check},
		{"could not tell, there are new clones and a pod", observation{Started: now, Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Recorded: "1", RecordedAt: now.Add(-time.Minute), Attempts: 1}, Clone: true, Fresh: true, Pods: true}, verification.CleanUp},
		{"could not tell, too often", observation{Started: now, Asked: true, SnapshotReady: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Attempts: verification.MaxAttempts}}, verification.Done},
		{"the CSI snapshot was deleted", observation{Started: now, WasReady: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Attempts: 1}}, verification.SnapshotLost},
		{"the Job's clone was deleted", observation{Started: now, Asked: true, SnapshotReady: true, Check: verification.Try{Job: true, Run: "1"}}, verification.CleanUp},
		{"the Job was deleted, its pods are left", observation{Started: now, Asked: true, SnapshotReady: true, Clone: true, Pods: true}, verification.ClearJobs},
		{"the Job was deleted", observation{Started: now, Asked: true, SnapshotReady: true, Clone: true}, verification.Check},

		{"to be repaired, the check is left", repairing(func(f *observation) { f.Check.Job = true }), verification.ClearJobs},
		{"to be repaired, pods are left", repairing(func(f *observation) { f.Pods = true }), verification.ClearJobs},
		{"to be repaired", repairing(nil), verification.Repair},
		{"to be repaired, the clone was deleted", repairing(func(f *observation) { f.Clone = false }), verification.Repair},
		{"being repaired", repairing(func(f *observation) { f.Repair.Job, f.Repair.Run = true, "m" }), verification.WaitForRepair},
		{"repaired or not", repairing(func(f *observation) { f.Repair.Job, f.Repair.Run, f.Repair.Ended = true, "m", true }), verification.RecordRepair},
		{"repaired or not, while suspended", repairing(func(f *observation) { f.Repair.Job, f.Repair.Run, f.Repair.Ended, f.Suspended = true, "m", true, true }), verification.RecordRepair},
		{"could not tell whether it is repaired", repairing(func(f *observation) {
			f.Repair.Try = verification.Try{Job: true, Run: "m", Recorded: "m", Attempts: 1}
			f.Repair.Outcome = v1alpha1.WorkInconclusive
		}), verification.CleanUp},
		{"could not tell, and the clone may be half repaired", repairing(func(f *observation) {
			f.Repair.Try = verification.Try{Recorded: "m", Attempts: 1}
			f.Repair.Outcome = v1alpha1.WorkInconclusive
		}), verification.CleanUp},
		{"could not tell, again", repairing(func(f *observation) {
			f.Repair.Try, f.Clone = verification.Try{Recorded: "m", Attempts: 1}, false
			f.Repair.Outcome = v1alpha1.WorkInconclusive
		}), verification.Repair},
		{"could not be repaired", repairing(func(f *observation) { f.Repair.Attempts, f.Repair.Outcome, f.Clone = 1, v1alpha1.WorkFailed, false }), verification.Done},
		{"could not be repaired, clone left", repairing(func(f *observation) { f.Repair.Attempts, f.Repair.Outcome = 1, v1alpha1.WorkFailed }), verification.CleanUp},
		{"mended, the Job has the clone", repaired(func(f *observation) { f.Repair.Job = true }), verification.ClearJobs},
		{"mended, a pod has the clone", repaired(func(f *observation) { f.Pods = true }), verification.ClearJobs},
		{"mended, the clone was deleted", repaired(func(f *observation) { f.Clone = false }), verification.RestartRepair},
		{"mended", repaired(nil), verification.SnapshotRepaired},
		{"mended and asked for", repaired(func(f *observation) { f.RepairedAsked = true }), verification.WaitForRepairedSnapshot},
		{"mended, the first is lost", repaired(func(f *observation) { f.Asked, f.SnapshotReady, f.Clone = false, false, false }), verification.SnapshotLost},
		{"captured again, the old clone is left", again(func(f *observation) { f.Spent = true }), verification.DeleteRepairedClone},
		{"captured again", again(nil), verification.Check},
		{"captured again and lost", again(func(f *observation) { f.Asked, f.SnapshotReady = false, false }), verification.SnapshotLost},
		{"captured again and wrong again", again(func(f *observation) { f.Check.Attempts, f.Verdict = 1, v1alpha1.VerdictCorrupt }), verification.Done},
		{"captured again and intact", again(func(f *observation) { f.Check.Attempts, f.Verdict = 1, v1alpha1.VerdictIntact }), verification.DeleteOriginalSnapshot},
		{"captured again, intact, and cannot build", again(func(f *observation) {
			f.Check.Attempts, f.Verdict = 1, v1alpha1.VerdictIntact
			f.OfflineBuild.Called, f.OfflineBuild.Outcome = true, v1alpha1.WorkFailed
		}), verification.Done},
		{"published", again(func(f *observation) { f.Check.Attempts, f.Verdict, f.Original = 1, v1alpha1.VerdictIntact, false }), verification.Done},

		{"to be drilled, the check is left", offlineBuilding(func(f *observation) { f.Check.Job = true }), verification.ClearJobs},
		{"to be drilled", offlineBuilding(nil), verification.OfflineBuild},
		{"to be drilled after the deadline", offlineBuilding(func(f *observation) { f.Began, f.Deadline, f.Clone = now.Add(-time.Hour), time.Minute, false }), verification.Expired},
		{"drills", offlineBuilding(func(f *observation) { f.OfflineBuild.Job, f.OfflineBuild.Run = true, "d" }), verification.WaitForOfflineBuild},
		{"has drilled", offlineBuilding(func(f *observation) { f.OfflineBuild.Job, f.OfflineBuild.Run, f.OfflineBuild.Ended = true, "d", true }), verification.RecordOfflineBuild},
		{"could not tell whether it builds", offlineBuilding(func(f *observation) { f.OfflineBuild.Attempts, f.OfflineBuild.Outcome = 1, v1alpha1.WorkInconclusive }), verification.CleanUp},
		{"does not build", offlineBuilding(func(f *observation) {
			f.OfflineBuild.Attempts, f.OfflineBuild.Outcome, f.Clone = 1, v1alpha1.WorkFailed, false
		}), verification.Done},
		{"builds", offlineBuilding(func(f *observation) {
			f.OfflineBuild.Attempts, f.OfflineBuild.Outcome, f.Clone = 1, v1alpha1.WorkSucceeded, false
		}), verification.Done},
		{"suspended", observation{Suspended: true, SourceReady: true}, verification.Suspended},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.observation.Now = now
			if got := verification.Decide(tt.observation).Stage; got != tt.want {
				t.Errorf("stage %s, want %s", got, tt.want)
			}
		})
	}
}

// TestNothingIsLeftAtTheEnd holds that whatever ends a snapshot waits for each of
// the things that its Jobs need, if that is the only one left: a pod that still
// runs has the clone mounted.
func TestNothingIsLeftAtTheEnd(t *testing.T) {
	type observation = verification.Observation
	hourAgo := now.Add(-time.Hour)
	ends := map[verification.Stage]observation{
		verification.Done:         {Asked: true, SnapshotReady: true, WasReady: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Attempts: 1, Recorded: "1", Run: "1"}},
		verification.SnapshotLost: {WasReady: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Attempts: 1, Recorded: "1", Run: "1"}},
		verification.Expired:      {Started: hourAgo, Began: hourAgo, Deadline: time.Hour, Asked: true, Check: verification.Try{Run: "1"}},
		verification.DeleteOriginalSnapshot: {
			Asked: true, SnapshotReady: true, WasReady: true, Original: true, Repaired: true, Verdict: v1alpha1.VerdictIntact,
			Check: verification.Try{Attempts: 1, Recorded: "1", Run: "1"},
		},
	}
	left := map[string]func(*observation){
		"the Job of the check":        func(f *observation) { f.Check.Job = true },
		"the Job of the repair":       func(f *observation) { f.Repair.Job = true },
		"the Job of the build":        func(f *observation) { f.OfflineBuild.Job = true },
		"pods alone":                  func(f *observation) { f.Pods = true },
		"the clone":                   func(f *observation) { f.Clone = true },
		"the clone that was repaired": func(f *observation) { f.Spent = true },
		"the reference":               func(f *observation) { f.Reference = true },
	}
	for end, f := range ends {
		f.Now = now
		if got := verification.Decide(f).Stage; got != end {
			t.Errorf("nothing left: stage %s, want %s", got, end)
		}
		for name, finish := range left {
			f := f
			finish(&f)
			if got := verification.Decide(f); got.Stage != verification.CleanUp || got.Wake <= 0 {
				t.Errorf("%s, left is %s: %+v, want stage CleanUp and a wake-up", end, name, got)
			}
		}
	}
}

// TestDeadline holds what a deadline bounds, that none is none, and how much of
// it a Job gets.
func TestDeadline(t *testing.T) {
	type observation = verification.Observation
	hourAgo := now.Add(-time.Hour)
	for name, tt := range map[string]struct {
		observation observation
		want        verification.Decision
	}{
		"none, being captured for an hour": {
			observation{Started: hourAgo, Began: hourAgo, Asked: true},
			verification.Decision{Stage: verification.WaitForSnapshot, Wake: 10 * time.Second},
		},
		"none, to be checked": {
			observation{Started: hourAgo, Began: hourAgo, Asked: true, SnapshotReady: true},
			verification.Decision{Stage: verification.Check},
		},
		"a minute left, being captured": {
			observation{Started: hourAgo, Began: hourAgo, Deadline: time.Hour + time.Minute, Asked: true},
			verification.Decision{Stage: verification.WaitForSnapshot, Wake: 10 * time.Second},
		},
		"a second left, being captured": {
			observation{Started: hourAgo, Began: hourAgo, Deadline: time.Hour + time.Second, Asked: true},
			verification.Decision{Stage: verification.WaitForSnapshot, Wake: time.Second},
		},
		"a minute left, to be checked": {
			observation{Started: hourAgo, Began: hourAgo, Deadline: time.Hour + time.Minute, Asked: true, SnapshotReady: true},
			verification.Decision{Stage: verification.Check, Wake: time.Minute, Remaining: time.Minute},
		},
		"nothing left": {
			observation{Started: hourAgo, Began: hourAgo, Deadline: time.Hour, Asked: true, SnapshotReady: true},
			verification.Decision{Stage: verification.Expired},
		},
		"waits for its first check for longer than the deadline": {
			observation{Started: hourAgo, Began: hourAgo, Created: hourAgo.Add(time.Minute), Deadline: 30 * time.Minute, Asked: true, SnapshotReady: true},
			verification.Decision{Stage: verification.Check, Wake: 29 * time.Minute, Remaining: 29 * time.Minute},
		},
		"waits, and there is a newer one": {
			observation{Started: hourAgo, Began: hourAgo, Created: hourAgo.Add(time.Minute), Deadline: 30 * time.Minute, Superseded: true, Asked: true, SnapshotReady: true},
			verification.Decision{Stage: verification.Expired},
		},
		"waits, and is not ready to use any more": {
			observation{Started: hourAgo, Began: hourAgo, Created: hourAgo.Add(time.Minute), Deadline: 30 * time.Minute, Asked: true, WasReady: true},
			verification.Decision{Stage: verification.Expired},
		},
		"waited, and its first check began": {
			observation{Started: hourAgo, Began: hourAgo, Created: hourAgo.Add(time.Minute), Checked: hourAgo.Add(50 * time.Minute), Deadline: 30 * time.Minute, Superseded: true, Asked: true, SnapshotReady: true},
			verification.Decision{Stage: verification.Check, Wake: 19 * time.Minute, Remaining: 19 * time.Minute},
		},
		"waited, and its first check began long ago": {
			observation{Started: hourAgo, Began: hourAgo, Created: hourAgo.Add(time.Minute), Checked: hourAgo.Add(20 * time.Minute), Deadline: 30 * time.Minute, Asked: true, SnapshotReady: true},
			verification.Decision{Stage: verification.Expired},
		},
		"nothing left, exempt from verification, captured": {
			observation{Started: hourAgo, Began: hourAgo, Deadline: time.Hour, Asked: true, SnapshotReady: true, Mode: v1alpha1.VerificationSkip},
			verification.Decision{Stage: verification.Done},
		},
		"nothing left, exempt from verification, being captured": {
			observation{Started: hourAgo, Began: hourAgo, Deadline: time.Hour, Asked: true, Mode: v1alpha1.VerificationSkip},
			verification.Decision{Stage: verification.Expired},
		},
	} {
		tt.observation.Now = now
		if got := verification.Decide(tt.observation); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// repairing is a snapshot whose corrupt content is to be removed.
func repairing(change func(*verification.Observation)) verification.Observation {
	f := verification.Observation{
		Started: now, Asked: true, SnapshotReady: true, WasReady: true, Clone: true, Original: true,
		Check: verification.Try{Attempts: 1, Recorded: "1", Run: "1"}, Verdict: v1alpha1.VerdictCorrupt,
		Repair: verification.Work{Called: true},
	}
	if change != nil {
		change(&f)
	}
	return f
}

// repaired is one whose clone holds no corrupt content any more.
func repaired(change func(*verification.Observation)) verification.Observation {
	return repairing(func(f *verification.Observation) {
		f.Repair.Try, f.Repair.Outcome = verification.Try{Attempts: 1, Recorded: "m", Run: "m"}, v1alpha1.WorkSucceeded
		if change != nil {
			change(f)
		}
	})
}

// again is one whose repaired clone has a snapshot.
func again(change func(*verification.Observation)) verification.Observation {
	return repaired(func(f *verification.Observation) {
		f.Repaired, f.RepairedAsked, f.Clone, f.Verdict, f.Check = true, true, false, "", verification.Try{}
		if change != nil {
			change(f)
		}
	})
}

// offlineBuilding is an intact snapshot from which a program is to be built.
func offlineBuilding(change func(*verification.Observation)) verification.Observation {
	f := verification.Observation{
		Started: now, Asked: true, SnapshotReady: true, WasReady: true, Clone: true, Original: true,
		Check: verification.Try{Attempts: 1, Recorded: "1", Run: "1"}, Verdict: v1alpha1.VerdictIntact,
		OfflineBuild: verification.Work{Called: true},
	}
	if change != nil {
		change(&f)
	}
	return f
}

// TestEveryPathEnds simulates whole lives with seeded misfortune: each ends,
// with nothing left behind, no more than the allowed attempts, every outcome
// recorded exactly once, and what is published verified after it was created.
func TestEveryPathEnds(t *testing.T) {
	published := 0
	for seed := range uint64(400) {
		l := &life{t: t, r: rand.New(rand.NewPCG(seed, 1)), seed: seed}
		l.f = verification.Observation{Now: now, Mode: v1alpha1.VerificationRequired, Deadline: 2 * time.Hour, SourceReady: true}
		l.f.OfflineBuild.Called = seed%2 == 0
		if l.live(); l.f.Repaired && l.f.Verdict == v1alpha1.VerdictIntact {
			published++
		}
	}
	if published < 20 {
		t.Errorf("only %d lives lead through a repair", published)
	}
}

// life is a snapshot's, with the rest of the world.
type life struct {
	t             *testing.T
	r             *rand.Rand
	seed          uint64
	f             verification.Observation
	ran, recorded int
}

func (l *life) fatal(format string, args ...any) {
	l.t.Helper()
	l.t.Fatalf("seed %d: "+format, append([]any{l.seed}, args...)...)
}

func (l *life) live() {
	for range 3000 {
		d := verification.Decide(l.f)
		if l.step(d) {
			return
		}
		l.f.Now = l.f.Now.Add(time.Duration(1+l.r.IntN(60)) * time.Second)
	}
	l.fatal("no end: %+v", l.f)
}

// begin starts a Job on the clone.
func (l *life) begin(d verification.Decision, t *verification.Try) {
	f := &l.f
	if d.Remaining <= 0 {
		l.fatal("a Job is started with %v left", d.Remaining)
	}
	if f.Check.Job || f.Repair.Job || f.OfflineBuild.Job || f.Pods {
		l.fatal("%s beside another Job: %+v", d.Stage, f)
	}
	l.ran++
	t.Job, t.Ended, t.Run, f.Clone, f.Reference = true, false, fmt.Sprint(l.ran), true, true
}

func (l *life) wait(t *verification.Try) {
	switch l.r.IntN(12) {
	case 0: // a user deletes the Job
		t.Job, l.f.Pods = false, true
	case 1: // or the clone
		l.f.Clone = false
	case 2, 3, 4, 5, 6, 7:
		t.Ended = l.f.Clone
	}
}

func (l *life) record(t *verification.Try) {
	l.recorded++
	t.Attempts++
	t.Recorded, t.RecordedAt = t.Run, l.f.Now
}

func (l *life) outcome() v1alpha1.WorkOutcome {
	return []v1alpha1.WorkOutcome{v1alpha1.WorkSucceeded, v1alpha1.WorkSucceeded, v1alpha1.WorkFailed, v1alpha1.WorkInconclusive}[l.r.IntN(4)]
}

// clear deletes the Jobs, or lets their pods go.
func (l *life) clear() bool {
	f := &l.f
	for _, t := range []*verification.Try{&f.Check, &f.Repair.Try, &f.OfflineBuild.Try} {
		if t.Job && t.Ended && t.Run != t.Recorded {
			l.fatal("an outcome is thrown away")
		}
		if t.Job {
			t.Job, f.Pods = false, true
			return true
		}
	}
	if f.Pods {
		f.Pods = l.r.IntN(2) == 0
		return true
	}
	return false
}

func (l *life) step(d verification.Decision) (ended bool) {
	f := &l.f
	switch d.Stage {
	case verification.Admit:
		f.Started = f.Now
	case verification.CreateSnapshot:
		f.Began, f.Asked = f.Now, true
	case verification.WaitForSnapshot:
		f.SnapshotReady = l.r.IntN(3) == 0
		f.WasReady, f.Original = f.SnapshotReady, f.SnapshotReady
	case verification.Check:
		l.begin(d, &f.Check)
	case verification.Repair:
		l.begin(d, &f.Repair.Try)
	case verification.OfflineBuild:
		l.begin(d, &f.OfflineBuild.Try)
	case verification.WaitForJob:
		l.wait(&f.Check)
	case verification.WaitForRepair:
		l.wait(&f.Repair.Try)
	case verification.WaitForOfflineBuild:
		l.wait(&f.OfflineBuild.Try)
	case verification.RecordVerdict:
		l.record(&f.Check)
		f.Verdict = []v1alpha1.Verdict{v1alpha1.VerdictIntact, v1alpha1.VerdictCorrupt, v1alpha1.VerdictInconclusive}[l.r.IntN(3)]
		f.Repair.Called = f.Repair.Called || f.Verdict == v1alpha1.VerdictCorrupt && l.r.IntN(4) > 0
	case verification.RecordRepair:
		l.record(&f.Repair.Try)
		f.Repair.Outcome = l.outcome()
	case verification.RecordOfflineBuild:
		l.record(&f.OfflineBuild.Try)
		f.OfflineBuild.Outcome = l.outcome()
	case verification.RestartRepair:
		f.Repair.Outcome = ""
	case verification.SnapshotRepaired:
		if f.Pods || f.Repair.Job || f.Check.Job || !f.Clone {
			l.fatal("captured while somebody has it mounted: %+v", f)
		}
		f.RepairedAsked = true
	case verification.WaitForRepairedSnapshot:
		if l.r.IntN(2) == 0 {
			f.Repaired, f.Spent, f.Clone, f.Verdict, f.Check = true, true, false, "", verification.Try{}
		}
	case verification.DeleteRepairedClone:
		f.Spent = false
	case verification.ClearJobs:
		l.clear()
	case verification.CleanUp:
		if !l.clear() {
			f.Clone, f.Spent, f.Reference = false, false, false
		}
	case verification.DeleteOriginalSnapshot:
		if !f.Repaired || f.Verdict != v1alpha1.VerdictIntact {
			l.fatal("the first CSI snapshot is removed, and nothing published: %+v", f)
		}
		f.Original = false
	case verification.Done, verification.Expired:
		l.ended(d.Stage)
		return true
	case verification.Suspended, verification.WaitForSource, verification.WaitForWriter, verification.WaitForRetry, verification.SnapshotLost:
		// time passes
	case verification.BeginRepeat, verification.Repeat, verification.WaitForRepeat, verification.RecordRepeat, verification.EndRepeat:
		l.fatal("%s without a policy: %+v", d.Stage, f)
	}
	return false
}

func (l *life) ended(stage verification.Stage) {
	f := l.f
	if f.Check.Job || f.Repair.Job || f.OfflineBuild.Job || f.Pods || f.Clone || f.Spent || f.Reference {
		l.fatal("%s with something left: %+v", stage, f)
	}
	if f.Check.Attempts > verification.MaxAttempts || f.OfflineBuild.Attempts > verification.MaxAttempts || l.recorded > l.ran {
		l.fatal("%d booked of %d: %+v", l.recorded, l.ran, f)
	}
	if stage == verification.Done && f.Repaired && f.Verdict == "" {
		l.fatal("what the repair left was never verified")
	}
}
