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
	type facts = verification.Facts
	tests := []struct {
		name  string
		facts facts
		want  verification.Stage
	}{
		{"no source yet", facts{}, verification.AwaitSource},
		{"a source", facts{SourceReady: true}, verification.Admit},
		{"a CSI snapshot, and not admitted", facts{Asked: true, Cut: true, SourceReady: true}, verification.Admit},
		{"a CSI snapshot, and no source", facts{Asked: true}, verification.AwaitSource},
		{"admitted", facts{Started: now, SourceReady: true}, verification.Capture},
		{"admitted, and somebody writes", facts{Started: now, SourceBusy: true}, verification.AwaitQuiet},
		{"admitted, and written to for longer than the deadline", facts{Started: now.Add(-2 * time.Hour), Deadline: time.Hour, SourceBusy: true}, verification.AwaitQuiet},
		{"quiet after longer than the deadline", facts{Started: now.Add(-2 * time.Hour), Deadline: time.Hour}, verification.Capture},
		{"asked for again and again until the deadline", facts{Started: now.Add(-2 * time.Hour), Began: now.Add(-2 * time.Hour), Deadline: time.Hour}, verification.Expired},
		{"asked for", facts{Started: now, Asked: true}, verification.AwaitCut},
		{"asked for, deadline passed", facts{Started: now.Add(-2 * time.Hour), Began: now.Add(-2 * time.Hour), Deadline: time.Hour, Asked: true}, verification.Expired},
		{"cut", facts{Started: now, Asked: true, Cut: true}, verification.Check},
		{"cut, for an inquiry", facts{Started: now, Asked: true, Cut: true, Mode: v1alpha1.VerificationSkip}, verification.Done},
		{"cut for an inquiry long ago", facts{Started: now.Add(-time.Hour), Began: now.Add(-time.Hour), Deadline: time.Minute, Asked: true, Cut: true, Mode: v1alpha1.VerificationSkip}, verification.Done},
		{"the Job runs", facts{Started: now, Asked: true, Cut: true, Check: verification.Try{Job: true, Run: "1"}, Clone: true}, verification.AwaitJob},
		{"the Job ended", facts{Started: now, Asked: true, Cut: true, Check: verification.Try{Job: true, Run: "1", Ended: true}, Clone: true}, verification.Book},
		{"the Job ended while suspended", facts{Suspended: true, Asked: true, Cut: true, Check: verification.Try{Job: true, Run: "1", Ended: true}, Clone: true}, verification.Book},
		{"the Job ended after the deadline", facts{Started: now.Add(-2 * time.Hour), Began: now.Add(-2 * time.Hour), Deadline: time.Hour, Asked: true, Cut: true, Check: verification.Try{Job: true, Run: "1", Ended: true}, Clone: true}, verification.Book},
		{"booked Intact", facts{Asked: true, Cut: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Job: true, Run: "1", Ended: true, Booked: "1", Attempts: 1}, Clone: true}, verification.CleanUp},
		{"Intact, the clone is left", facts{Asked: true, Cut: true, Verdict: v1alpha1.VerdictIntact, Clone: true, Check: verification.Try{Booked: "1", Attempts: 1}}, verification.CleanUp},
		{"Intact", facts{Asked: true, Cut: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Booked: "1", Attempts: 1}}, verification.Done},
		{"Intact long after the deadline", facts{Started: now.Add(-9 * time.Hour), Began: now.Add(-9 * time.Hour), Deadline: time.Hour, Asked: true, Cut: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Attempts: 1}}, verification.Done},
		{"Corrupt", facts{Asked: true, Cut: true, Verdict: v1alpha1.VerdictCorrupt, Check: verification.Try{Attempts: 1}}, verification.Done},
		{"could not tell", facts{Started: now, Asked: true, Cut: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Job: true, Run: "1", Ended: true, Booked: "1", Attempts: 1}, Clone: true}, verification.CleanUp},
		{"could not tell, just now", facts{Started: now, Asked: true, Cut: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Booked: "1", BookedAt: now, Attempts: 1}}, verification.AwaitRetry},
		{"could not tell, a while ago", facts{Started: now, Asked: true, Cut: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Booked: "1", BookedAt: now.Add(-time.Minute), Attempts: 1}}, verification.Check},
		{"could not tell, too often", facts{Started: now, Asked: true, Cut: true, Verdict: v1alpha1.VerdictInconclusive, Check: verification.Try{Attempts: verification.MaxAttempts}}, verification.Done},
		{"the CSI snapshot was deleted", facts{Started: now, WasCut: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Attempts: 1}}, verification.SnapshotLost},
		{"the Job's clone was deleted", facts{Started: now, Asked: true, Cut: true, Check: verification.Try{Job: true, Run: "1"}}, verification.CleanUp},
		{"the Job was deleted, its pods are left", facts{Started: now, Asked: true, Cut: true, Clone: true, Pods: true}, verification.ClearJobs},
		{"the Job was deleted", facts{Started: now, Asked: true, Cut: true, Clone: true}, verification.Check},

		{"to be repaired, the check is left", mending(func(f *facts) { f.Check.Job = true }), verification.ClearJobs},
		{"to be repaired, pods are left", mending(func(f *facts) { f.Pods = true }), verification.ClearJobs},
		{"to be repaired", mending(nil), verification.Mend},
		{"to be repaired, the clone was deleted", mending(func(f *facts) { f.Clone = false }), verification.Mend},
		{"being repaired", mending(func(f *facts) { f.Repair.Job, f.Repair.Run = true, "m" }), verification.AwaitMend},
		{"repaired or not", mending(func(f *facts) { f.Repair.Job, f.Repair.Run, f.Repair.Ended = true, "m", true }), verification.BookMend},
		{"repaired or not, while suspended", mending(func(f *facts) { f.Repair.Job, f.Repair.Run, f.Repair.Ended, f.Suspended = true, "m", true, true }), verification.BookMend},
		{"could not tell whether it is repaired", mending(func(f *facts) {
			f.Repair.Try = verification.Try{Job: true, Run: "m", Booked: "m", Attempts: 1}
			f.Repair.Outcome = v1alpha1.WorkInconclusive
		}), verification.CleanUp},
		{"could not tell, and the clone may be half repaired", mending(func(f *facts) {
			f.Repair.Try = verification.Try{Booked: "m", Attempts: 1}
			f.Repair.Outcome = v1alpha1.WorkInconclusive
		}), verification.CleanUp},
		{"could not tell, again", mending(func(f *facts) {
			f.Repair.Try, f.Clone = verification.Try{Booked: "m", Attempts: 1}, false
			f.Repair.Outcome = v1alpha1.WorkInconclusive
		}), verification.Mend},
		{"could not be repaired", mending(func(f *facts) { f.Repair.Attempts, f.Repair.Outcome, f.Clone = 1, v1alpha1.WorkFailed, false }), verification.Done},
		{"could not be repaired, clone left", mending(func(f *facts) { f.Repair.Attempts, f.Repair.Outcome = 1, v1alpha1.WorkFailed }), verification.CleanUp},
		{"mended, the Job has the clone", mended(func(f *facts) { f.Repair.Job = true }), verification.ClearJobs},
		{"mended, a pod has the clone", mended(func(f *facts) { f.Pods = true }), verification.ClearJobs},
		{"mended, the clone was deleted", mended(func(f *facts) { f.Clone = false }), verification.Remend},
		{"mended", mended(nil), verification.Recapture},
		{"mended and asked for", mended(func(f *facts) { f.RecutAsked = true }), verification.AwaitRecut},
		{"mended, the first is lost", mended(func(f *facts) { f.Asked, f.Cut, f.Clone = false, false, false }), verification.SnapshotLost},
		{"captured again, the old clone is left", again(func(f *facts) { f.Spent = true }), verification.Drop},
		{"captured again", again(nil), verification.Check},
		{"captured again and lost", again(func(f *facts) { f.Asked, f.Cut = false, false }), verification.SnapshotLost},
		{"captured again and wrong again", again(func(f *facts) { f.Check.Attempts, f.Verdict = 1, v1alpha1.VerdictCorrupt }), verification.Done},
		{"captured again and intact", again(func(f *facts) { f.Check.Attempts, f.Verdict = 1, v1alpha1.VerdictIntact }), verification.Retire},
		{"captured again, intact, and cannot build", again(func(f *facts) {
			f.Check.Attempts, f.Verdict = 1, v1alpha1.VerdictIntact
			f.Drill.Called, f.Drill.Outcome = true, v1alpha1.WorkFailed
		}), verification.Done},
		{"published", again(func(f *facts) { f.Check.Attempts, f.Verdict, f.Original = 1, v1alpha1.VerdictIntact, false }), verification.Done},

		{"to be drilled, the check is left", drilling(func(f *facts) { f.Check.Job = true }), verification.ClearJobs},
		{"to be drilled", drilling(nil), verification.Drill},
		{"to be drilled after the deadline", drilling(func(f *facts) { f.Began, f.Deadline, f.Clone = now.Add(-time.Hour), time.Minute, false }), verification.Expired},
		{"drills", drilling(func(f *facts) { f.Drill.Job, f.Drill.Run = true, "d" }), verification.AwaitDrill},
		{"has drilled", drilling(func(f *facts) { f.Drill.Job, f.Drill.Run, f.Drill.Ended = true, "d", true }), verification.BookDrill},
		{"could not tell whether it builds", drilling(func(f *facts) { f.Drill.Attempts, f.Drill.Outcome = 1, v1alpha1.WorkInconclusive }), verification.CleanUp},
		{"does not build", drilling(func(f *facts) { f.Drill.Attempts, f.Drill.Outcome, f.Clone = 1, v1alpha1.WorkFailed, false }), verification.Done},
		{"builds", drilling(func(f *facts) { f.Drill.Attempts, f.Drill.Outcome, f.Clone = 1, v1alpha1.WorkSucceeded, false }), verification.Done},
		{"suspended", facts{Suspended: true, SourceReady: true}, verification.Suspended},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.facts.Now = now
			if got := verification.Decide(tt.facts).Stage; got != tt.want {
				t.Errorf("stage %s, want %s", got, tt.want)
			}
		})
	}
}

// TestNothingIsLeftAtTheEnd holds that whatever ends a snapshot waits for each of
// the things that its Jobs need, if that is the only one left: a pod that still
// runs has the clone mounted.
func TestNothingIsLeftAtTheEnd(t *testing.T) {
	type facts = verification.Facts
	hourAgo := now.Add(-time.Hour)
	ends := map[verification.Stage]facts{
		verification.Done:         {Asked: true, Cut: true, WasCut: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Attempts: 1, Booked: "1", Run: "1"}},
		verification.SnapshotLost: {WasCut: true, Verdict: v1alpha1.VerdictIntact, Check: verification.Try{Attempts: 1, Booked: "1", Run: "1"}},
		verification.Expired:      {Started: hourAgo, Began: hourAgo, Deadline: time.Hour, Asked: true, Check: verification.Try{Run: "1"}},
		verification.Retire: {
			Asked: true, Cut: true, WasCut: true, Original: true, Repaired: true, Verdict: v1alpha1.VerdictIntact,
			Check: verification.Try{Attempts: 1, Booked: "1", Run: "1"},
		},
	}
	left := map[string]func(*facts){
		"the Job of the check":        func(f *facts) { f.Check.Job = true },
		"the Job of the repair":       func(f *facts) { f.Repair.Job = true },
		"the Job of the build":        func(f *facts) { f.Drill.Job = true },
		"pods alone":                  func(f *facts) { f.Pods = true },
		"the clone":                   func(f *facts) { f.Clone = true },
		"the clone that was repaired": func(f *facts) { f.Spent = true },
		"the reference":               func(f *facts) { f.Reference = true },
	}
	for end, f := range ends {
		f.Now = now
		if got := verification.Decide(f).Stage; got != end {
			t.Errorf("nothing left: stage %s, want %s", got, end)
		}
		for name, leave := range left {
			f := f
			leave(&f)
			if got := verification.Decide(f); got.Stage != verification.CleanUp || got.Wake <= 0 {
				t.Errorf("%s, left is %s: %+v, want stage CleanUp and a wake-up", end, name, got)
			}
		}
	}
}

// TestDeadline holds what a deadline bounds, that none is none, and how much of
// it a Job gets.
func TestDeadline(t *testing.T) {
	type facts = verification.Facts
	hourAgo := now.Add(-time.Hour)
	for name, tt := range map[string]struct {
		facts facts
		want  verification.Decision
	}{
		"none, being captured for an hour": {
			facts{Started: hourAgo, Began: hourAgo, Asked: true},
			verification.Decision{Stage: verification.AwaitCut, Wake: 10 * time.Second},
		},
		"none, to be checked": {
			facts{Started: hourAgo, Began: hourAgo, Asked: true, Cut: true},
			verification.Decision{Stage: verification.Check},
		},
		"a minute left, being captured": {
			facts{Started: hourAgo, Began: hourAgo, Deadline: time.Hour + time.Minute, Asked: true},
			verification.Decision{Stage: verification.AwaitCut, Wake: 10 * time.Second},
		},
		"a second left, being captured": {
			facts{Started: hourAgo, Began: hourAgo, Deadline: time.Hour + time.Second, Asked: true},
			verification.Decision{Stage: verification.AwaitCut, Wake: time.Second},
		},
		"a minute left, to be checked": {
			facts{Started: hourAgo, Began: hourAgo, Deadline: time.Hour + time.Minute, Asked: true, Cut: true},
			verification.Decision{Stage: verification.Check, Wake: time.Minute, Remaining: time.Minute},
		},
		"nothing left": {
			facts{Started: hourAgo, Began: hourAgo, Deadline: time.Hour, Asked: true, Cut: true},
			verification.Decision{Stage: verification.Expired},
		},
		"nothing left, exempt from verification, captured": {
			facts{Started: hourAgo, Began: hourAgo, Deadline: time.Hour, Asked: true, Cut: true, Mode: v1alpha1.VerificationSkip},
			verification.Decision{Stage: verification.Done},
		},
		"nothing left, exempt from verification, being captured": {
			facts{Started: hourAgo, Began: hourAgo, Deadline: time.Hour, Asked: true, Mode: v1alpha1.VerificationSkip},
			verification.Decision{Stage: verification.Expired},
		},
	} {
		tt.facts.Now = now
		if got := verification.Decide(tt.facts); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

// mending is a snapshot whose wrong bytes are to be pruned.
func mending(change func(*verification.Facts)) verification.Facts {
	f := verification.Facts{
		Started: now, Asked: true, Cut: true, WasCut: true, Clone: true, Original: true,
		Check: verification.Try{Attempts: 1, Booked: "1", Run: "1"}, Verdict: v1alpha1.VerdictCorrupt,
		Repair: verification.Work{Called: true},
	}
	if change != nil {
		change(&f)
	}
	return f
}

// mended is one whose clone holds no wrong bytes any more.
func mended(change func(*verification.Facts)) verification.Facts {
	return mending(func(f *verification.Facts) {
		f.Repair.Try, f.Repair.Outcome = verification.Try{Attempts: 1, Booked: "m", Run: "m"}, v1alpha1.WorkSucceeded
		if change != nil {
			change(f)
		}
	})
}

// again is one whose repaired clone was captured.
func again(change func(*verification.Facts)) verification.Facts {
	return mended(func(f *verification.Facts) {
		f.Repaired, f.RecutAsked, f.Clone, f.Verdict, f.Check = true, true, false, "", verification.Try{}
		if change != nil {
			change(f)
		}
	})
}

// drilling is an intact snapshot from which a program is to be built.
func drilling(change func(*verification.Facts)) verification.Facts {
	f := verification.Facts{
		Started: now, Asked: true, Cut: true, WasCut: true, Clone: true, Original: true,
		Check: verification.Try{Attempts: 1, Booked: "1", Run: "1"}, Verdict: v1alpha1.VerdictIntact,
		Drill: verification.Work{Called: true},
	}
	if change != nil {
		change(&f)
	}
	return f
}

// TestEveryPathEnds simulates whole lives with seeded misfortune: each ends,
// with nothing left behind, no more than the allowed attempts, every outcome
// booked exactly once, and what is published verified since it was captured.
func TestEveryPathEnds(t *testing.T) {
	published := 0
	for seed := range uint64(400) {
		l := &life{t: t, r: rand.New(rand.NewPCG(seed, 1)), seed: seed}
		l.f = verification.Facts{Now: now, Mode: v1alpha1.VerificationRequired, Deadline: 2 * time.Hour, SourceReady: true}
		l.f.Drill.Called = seed%2 == 0
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
	t           *testing.T
	r           *rand.Rand
	seed        uint64
	f           verification.Facts
	ran, booked int
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
	if f.Check.Job || f.Repair.Job || f.Drill.Job || f.Pods {
		l.fatal("%s beside another Job: %+v", d.Stage, f)
	}
	l.ran++
	t.Job, t.Ended, t.Run, f.Clone, f.Reference = true, false, fmt.Sprint(l.ran), true, true
}

func (l *life) await(t *verification.Try) {
	switch l.r.IntN(12) {
	case 0: // somebody deletes the Job
		t.Job, l.f.Pods = false, true
	case 1: // or the clone
		l.f.Clone = false
	case 2, 3, 4, 5, 6, 7:
		t.Ended = l.f.Clone
	}
}

func (l *life) book(t *verification.Try) {
	l.booked++
	t.Attempts++
	t.Booked, t.BookedAt = t.Run, l.f.Now
}

func (l *life) outcome() v1alpha1.WorkOutcome {
	return []v1alpha1.WorkOutcome{v1alpha1.WorkSucceeded, v1alpha1.WorkSucceeded, v1alpha1.WorkFailed, v1alpha1.WorkInconclusive}[l.r.IntN(4)]
}

// clear deletes the Jobs, or lets their pods go.
func (l *life) clear() bool {
	f := &l.f
	for _, t := range []*verification.Try{&f.Check, &f.Repair.Try, &f.Drill.Try} {
		if t.Job && t.Ended && t.Run != t.Booked {
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
	case verification.Capture:
		f.Began, f.Asked = f.Now, true
	case verification.AwaitCut:
		f.Cut = l.r.IntN(3) == 0
		f.WasCut, f.Original = f.Cut, f.Cut
	case verification.Check:
		l.begin(d, &f.Check)
	case verification.Mend:
		l.begin(d, &f.Repair.Try)
	case verification.Drill:
		l.begin(d, &f.Drill.Try)
	case verification.AwaitJob:
		l.await(&f.Check)
	case verification.AwaitMend:
		l.await(&f.Repair.Try)
	case verification.AwaitDrill:
		l.await(&f.Drill.Try)
	case verification.Book:
		l.book(&f.Check)
		f.Verdict = []v1alpha1.Verdict{v1alpha1.VerdictIntact, v1alpha1.VerdictCorrupt, v1alpha1.VerdictInconclusive}[l.r.IntN(3)]
		f.Repair.Called = f.Repair.Called || f.Verdict == v1alpha1.VerdictCorrupt && l.r.IntN(4) > 0
	case verification.BookMend:
		l.book(&f.Repair.Try)
		f.Repair.Outcome = l.outcome()
	case verification.BookDrill:
		l.book(&f.Drill.Try)
		f.Drill.Outcome = l.outcome()
	case verification.Remend:
		f.Repair.Outcome = ""
	case verification.Recapture:
		if f.Pods || f.Repair.Job || f.Check.Job || !f.Clone {
			l.fatal("captured while somebody has it mounted: %+v", f)
		}
		f.RecutAsked = true
	case verification.AwaitRecut:
		if l.r.IntN(2) == 0 {
			f.Repaired, f.Spent, f.Clone, f.Verdict, f.Check = true, true, false, "", verification.Try{}
		}
	case verification.Drop:
		f.Spent = false
	case verification.ClearJobs:
		l.clear()
	case verification.CleanUp:
		if !l.clear() {
			f.Clone, f.Spent, f.Reference = false, false, false
		}
	case verification.Retire:
		if !f.Repaired || f.Verdict != v1alpha1.VerdictIntact {
			l.fatal("the first CSI snapshot is removed, and nothing published: %+v", f)
		}
		f.Original = false
	case verification.Done, verification.Expired:
		l.ended(d.Stage)
		return true
	case verification.Suspended, verification.AwaitSource, verification.AwaitQuiet, verification.AwaitRetry, verification.SnapshotLost:
		// time passes
	}
	return false
}

func (l *life) ended(stage verification.Stage) {
	f := l.f
	if f.Check.Job || f.Repair.Job || f.Drill.Job || f.Pods || f.Clone || f.Spent || f.Reference {
		l.fatal("%s with something left: %+v", stage, f)
	}
	if f.Check.Attempts > verification.MaxAttempts || f.Drill.Attempts > verification.MaxAttempts || l.booked > l.ran {
		l.fatal("%d booked of %d: %+v", l.booked, l.ran, f)
	}
	if stage == verification.Done && f.Repaired && f.Verdict == "" {
		l.fatal("what the repair left was never verified")
	}
}
