package rollback_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/rollback"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// TestNext holds each step, and when there is nothing left to try.
func TestNext(t *testing.T) {
	at := func(minutes int) metav1.Time { return metav1.NewTime(now.Add(time.Duration(minutes) * time.Minute)) }
	convicted := func(minutes int) *v1alpha1.Quarantine { return &v1alpha1.Quarantine{Time: at(minutes)} }
	state := func(change func(*v1alpha1.StoreRollbackStatus)) *v1alpha1.StoreRollbackStatus {
		s := &v1alpha1.StoreRollbackStatus{QuarantinedTime: at(-5), StartTime: at(-5), Attempt: 1, Snapshot: "s"}
		change(s)
		return s
	}
	waiting := func(minutes int) *v1alpha1.StoreRollbackStatus {
		return &v1alpha1.StoreRollbackStatus{QuarantinedTime: at(-5), StartTime: at(-5), Relapses: 1, NotBefore: ptr.To(at(minutes)), Message: "so"}
	}
	replaced := func(s *v1alpha1.StoreRollbackStatus) { s.ReplacedTime = ptr.To(at(-3)) }
	for name, tt := range map[string]struct {
		facts            rollback.Facts
		begin            bool
		snapshot         string
		failed, proven   bool
		complete, absent bool
		says             string
	}{
		"not wanted":           {facts: rollback.Facts{Convicted: convicted(-5)}, absent: true},
		"not convicted":        {facts: rollback.Facts{Wanted: true}, absent: true},
		"a snapshot":           {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5), Snapshot: "s", MayBeEmpty: true}, begin: true, snapshot: "s"},
		"no snapshot":          {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5), MayBeEmpty: true}, begin: true},
		"nothing at all":       {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5)}, failed: true, says: "upstream.proxy is off"},
		"could not replace":    {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5), Snapshot: "s", MayBeEmpty: true, SwapFailure: "no", Status: state(func(*v1alpha1.StoreRollbackStatus) {})}, begin: true},
		"waits for proof":      {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5), Status: state(replaced), Waits: "the canaries"}, snapshot: "s", says: "waits for the canaries"},
		"wrong again":          {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5), Snapshot: "s", MayBeEmpty: true, Status: state(replaced), Wrong: "x"}, begin: true},
		"wrong again, offline": {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5), Snapshot: "s", Status: state(replaced), Wrong: "x"}, snapshot: "s", failed: true, says: "wrong too: x"},
		"no longer wanted":     {facts: rollback.Facts{Convicted: convicted(-5), Snapshot: "s", MayBeEmpty: true, Status: state(replaced), Wrong: "x"}, snapshot: "s", failed: true, says: "no longer Rollback"},
		"sound":                {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5), Status: state(replaced), Sound: true}, snapshot: "s", proven: true},
		"let in by a person":   {facts: rollback.Facts{Wanted: true, Status: state(replaced), Wrong: "x"}, snapshot: "s", proven: true},
		"whole again": {facts: rollback.Facts{Wanted: true, Whole: true, Status: state(func(s *v1alpha1.StoreRollbackStatus) {
			replaced(s)
			s.VerifiedTime = ptr.To(at(-2))
		})}, snapshot: "s", proven: true, complete: true},
		"convicted anew": {facts: rollback.Facts{Wanted: true, Convicted: convicted(-1), MayBeEmpty: true, Status: state(func(s *v1alpha1.StoreRollbackStatus) {
			replaced(s)
			s.VerifiedTime = ptr.To(at(-2 - 24*60))
		})}, begin: true},
		"bad again, too soon": {facts: rollback.Facts{Wanted: true, Convicted: convicted(-1), Snapshot: "s", Status: state(func(s *v1alpha1.StoreRollbackStatus) {
			s.VerifiedTime = ptr.To(at(-2))
		})}, says: "postponed until 2026-11-21T12:05:00Z: the store turned bad again 1m0s after it was proven sound (relapse 1 in a row)"},
		"bad again, after the pause": {facts: rollback.Facts{Wanted: true, Convicted: convicted(-1), Snapshot: "s", Status: state(func(s *v1alpha1.StoreRollbackStatus) {
			s.StartTime, s.VerifiedTime = at(-10), ptr.To(at(-2))
		})}, begin: true, snapshot: "s"},
		"postponed":                   {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5), Snapshot: "s", SwapFailure: "of the last", Status: waiting(1)}, says: "so"},
		"postponed, and it is time":   {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5), Snapshot: "s", SwapFailure: "of the last", Status: waiting(0)}, begin: true, snapshot: "s"},
		"postponed, and not wanted":   {facts: rollback.Facts{Convicted: convicted(-5), Snapshot: "s", Status: waiting(0)}, says: "so"},
		"postponed, and let in":       {facts: rollback.Facts{Wanted: true, Status: waiting(1)}, proven: true},
		"failed, and still convicted": {facts: rollback.Facts{Wanted: true, Convicted: convicted(-5), MayBeEmpty: true, Status: state(func(s *v1alpha1.StoreRollbackStatus) { s.Failed = true })}, snapshot: "s", failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := rollback.Next(tt.facts, now)
			if tt.absent {
				if d.Status != nil || d.Begin {
					t.Errorf("%+v", d)
				}
				return
			}
			st := d.Status
			if st == nil || d.Begin != tt.begin || st.Snapshot != tt.snapshot || st.Failed != tt.failed ||
				(st.VerifiedTime != nil) != tt.proven || (st.CompletionTime != nil) != tt.complete || !strings.Contains(st.Message, tt.says) {
				t.Errorf("begin %v, status %+v", d.Begin, st)
			}
		})
	}
}

// TestRelapses lets a store turn bad again as soon as it is sound, for a month:
// it is replaced ever more rarely, and at once again when it stayed sound long
// enough.
func TestRelapses(t *testing.T) {
	var status *v1alpha1.StoreRollbackStatus
	var begun []time.Duration
	f := rollback.Facts{Wanted: true, Snapshot: "s"}
	at := now
	for ; at.Before(now.Add(30 * 24 * time.Hour)); at = at.Add(time.Minute) {
		if f.Status = status; f.Convicted == nil {
			f.Convicted = &v1alpha1.Quarantine{Time: metav1.NewTime(at)}
		}
		d := rollback.Next(f, at)
		if status = d.Status; d.Begin { // and sound within no time
			begun = append(begun, at.Sub(now))
			status.ReplacedTime, status.VerifiedTime, f.Convicted = ptr.To(metav1.NewTime(at)), ptr.To(metav1.NewTime(at)), nil
		}
	}
	want := []time.Duration{0, 10, 30, 70, 150, 310, 630, 990}
	for i, minutes := range want {
		if begun[i] != minutes*time.Minute {
			t.Fatalf("rollbacks begun after %v, want %v minutes first", begun, want)
		}
	}
	if n := len(begun); n > 7+4*30 {
		t.Errorf("%d rollbacks in 30 days", n)
	}
	f.Convicted = &v1alpha1.Quarantine{Time: metav1.NewTime(at)}
	f.Status = &v1alpha1.StoreRollbackStatus{
		Attempt: 1, Relapses: status.Relapses, StartTime: metav1.NewTime(at.Add(-rollback.Forget)), VerifiedTime: ptr.To(metav1.NewTime(at.Add(-rollback.Forget))),
	}
	if d := rollback.Next(f, at); !d.Begin || d.Status.Relapses != 0 {
		t.Errorf("sound for long, and then %+v", d.Status)
	}
}
