package verification_test

import (
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
		{"the Job runs", facts{Started: now, Asked: true, Cut: true, Job: true, Run: "1"}, verification.AwaitJob},
		{"the Job ended", facts{Started: now, Asked: true, Cut: true, Job: true, Run: "1", JobEnded: true}, verification.Book},
		{"the Job ended while suspended", facts{Suspended: true, Asked: true, Cut: true, Job: true, Run: "1", JobEnded: true}, verification.Book},
		{"the Job ended after the deadline", facts{Started: now.Add(-2 * time.Hour), Began: now.Add(-2 * time.Hour), Deadline: time.Hour, Asked: true, Cut: true, Job: true, Run: "1", JobEnded: true}, verification.Book},
		{"booked Intact", facts{Asked: true, Cut: true, Job: true, Run: "1", JobEnded: true, Booked: "1", Attempts: 1, Verdict: v1alpha1.VerdictIntact}, verification.CleanUp},
		{"Intact, the clone is left", facts{Asked: true, Cut: true, Booked: "1", Attempts: 1, Verdict: v1alpha1.VerdictIntact, Leftovers: true}, verification.CleanUp},
		{"Intact", facts{Asked: true, Cut: true, Booked: "1", Attempts: 1, Verdict: v1alpha1.VerdictIntact}, verification.Done},
		{"Intact long after the deadline", facts{Started: now.Add(-9 * time.Hour), Began: now.Add(-9 * time.Hour), Deadline: time.Hour, Asked: true, Cut: true, Attempts: 1, Verdict: v1alpha1.VerdictIntact}, verification.Done},
		{"Corrupt", facts{Asked: true, Cut: true, Attempts: 1, Verdict: v1alpha1.VerdictCorrupt}, verification.Done},
		{"could not tell", facts{Started: now, Asked: true, Cut: true, Job: true, Run: "1", JobEnded: true, Booked: "1", Attempts: 1, Verdict: v1alpha1.VerdictInconclusive}, verification.CleanUp},
		{"could not tell, just now", facts{Started: now, Asked: true, Cut: true, Booked: "1", BookedAt: now, Attempts: 1, Verdict: v1alpha1.VerdictInconclusive}, verification.AwaitRetry},
		{"could not tell, a while ago", facts{Started: now, Asked: true, Cut: true, Booked: "1", BookedAt: now.Add(-time.Minute), Attempts: 1, Verdict: v1alpha1.VerdictInconclusive}, verification.Check},
		{"could not tell, too often", facts{Started: now, Asked: true, Cut: true, Attempts: verification.MaxAttempts, Verdict: v1alpha1.VerdictInconclusive}, verification.Done},
		{"the CSI snapshot was deleted", facts{Started: now, WasCut: true, Attempts: 1, Verdict: v1alpha1.VerdictIntact}, verification.SnapshotLost},
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

// TestEveryPathEnds simulates whole lives with seeded misfortune: each ends,
// with nothing left behind, no more than the allowed attempts, and every
// outcome booked exactly once.
func TestEveryPathEnds(t *testing.T) {
	for seed := range uint64(200) {
		live(t, rand.New(rand.NewPCG(seed, 1)), seed)
	}
}

func live(t *testing.T, r *rand.Rand, seed uint64) {
	t.Helper()
	f := verification.Facts{Now: now, Mode: v1alpha1.VerificationRequired, Deadline: time.Hour, SourceReady: true}
	ran, booked := 0, 0
	for step := range 2000 {
		d := verification.Decide(f)
		switch d.Stage {
		case verification.Admit:
			f.Started = f.Now
		case verification.Capture:
			f.Began, f.Asked = f.Now, true
		case verification.AwaitCut:
			f.Cut = r.IntN(3) == 0
			f.WasCut = f.Cut
		case verification.Check:
			if d.Remaining <= 0 {
				t.Fatalf("seed %d: a Job is started with %v left", seed, d.Remaining)
			}
			ran++
			f.Job, f.Leftovers, f.JobEnded, f.Run = true, true, false, string(rune('a'+ran))
		case verification.AwaitJob:
			f.JobEnded = r.IntN(2) == 0
		case verification.Book:
			booked++
			f.Attempts++
			f.Booked, f.BookedAt = f.Run, f.Now
			f.Verdict = []v1alpha1.Verdict{v1alpha1.VerdictIntact, v1alpha1.VerdictCorrupt, v1alpha1.VerdictInconclusive, v1alpha1.VerdictInconclusive}[r.IntN(4)]
		case verification.CleanUp:
			if f.Job && f.Run != f.Booked && f.JobEnded {
				t.Fatalf("seed %d: an outcome is thrown away", seed)
			}
			if r.IntN(2) == 0 {
				f.Job = false
			} else if !f.Job {
				f.Leftovers = false
			}
		case verification.Done, verification.Expired:
			if f.Job || f.Leftovers {
				t.Fatalf("seed %d: %s with something left", seed, d.Stage)
			}
			if f.Attempts > verification.MaxAttempts || booked > ran {
				t.Fatalf("seed %d: %d attempts, %d booked of %d", seed, f.Attempts, booked, ran)
			}
			return
		case verification.Suspended, verification.AwaitSource, verification.AwaitQuiet, verification.AwaitRetry, verification.SnapshotLost:
			// time passes
		}
		f.Now = f.Now.Add(time.Duration(1+r.IntN(60)) * time.Second)
		if step == 1999 {
			t.Fatalf("seed %d: no end; last stage %s", seed, d.Stage)
		}
	}
}
