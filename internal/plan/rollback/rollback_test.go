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

// TestDecide holds each step, and when there is nothing left to try.
func TestDecide(t *testing.T) {
	at := func(minutes int) metav1.Time { return metav1.NewTime(now.Add(time.Duration(minutes) * time.Minute)) }
	quarantined := func(minutes int) *v1alpha1.Quarantine { return &v1alpha1.Quarantine{Time: at(minutes)} }
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
		observation      rollback.Observation
		begin            bool
		snapshot         string
		failed, proven   bool
		complete, absent bool
		message          string
	}{
		"not wanted":           {observation: rollback.Observation{Quarantined: quarantined(-5)}, absent: true},
		"not convicted":        {observation: rollback.Observation{Requested: true}, absent: true},
		"a snapshot":           {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5), Snapshot: "s", MayBeEmpty: true}, begin: true, snapshot: "s"},
		"no snapshot":          {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5), MayBeEmpty: true}, begin: true},
		"nothing at all":       {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5)}, failed: true, message: "upstream.proxy is off"},
		"could not replace":    {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5), Snapshot: "s", MayBeEmpty: true, ReplacementFailure: "no", Status: state(func(*v1alpha1.StoreRollbackStatus) {})}, begin: true},
		"waits for proof":      {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5), Status: state(replaced), Waits: "the canaries"}, snapshot: "s", message: "waits for the canaries"},
		"wrong again":          {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5), Snapshot: "s", MayBeEmpty: true, Status: state(replaced), Wrong: "x"}, begin: true},
		"wrong again, offline": {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5), Snapshot: "s", Status: state(replaced), Wrong: "x"}, snapshot: "s", failed: true, message: "wrong too: x"},
		"no longer wanted":     {observation: rollback.Observation{Quarantined: quarantined(-5), Snapshot: "s", MayBeEmpty: true, Status: state(replaced), Wrong: "x"}, snapshot: "s", failed: true, message: "no longer Rollback"},
		"sound":                {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5), Status: state(replaced), Intact: true}, snapshot: "s", proven: true},
		"let in by a person":   {observation: rollback.Observation{Requested: true, Status: state(replaced), Wrong: "x"}, snapshot: "s", proven: true},
		"whole again": {observation: rollback.Observation{Requested: true, FullyServing: true, Status: state(func(s *v1alpha1.StoreRollbackStatus) {
			replaced(s)
			s.VerifiedTime = ptr.To(at(-2))
		})}, snapshot: "s", proven: true, complete: true},
		"convicted anew": {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-1), MayBeEmpty: true, Status: state(func(s *v1alpha1.StoreRollbackStatus) {
			replaced(s)
			s.VerifiedTime = ptr.To(at(-2 - 24*60))
		})}, begin: true},
		"bad again, too soon": {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-1), Snapshot: "s", Status: state(func(s *v1alpha1.StoreRollbackStatus) {
			s.VerifiedTime = ptr.To(at(-2))
		})}, message: "postponed until 2026-11-21T12:05:00Z: the store was Corrupt again 1m0s after it was proven intact (relapse 1 in a row)"},
		"bad again, after the pause": {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-1), Snapshot: "s", Status: state(func(s *v1alpha1.StoreRollbackStatus) {
			s.StartTime, s.VerifiedTime = at(-10), ptr.To(at(-2))
		})}, begin: true, snapshot: "s"},
		"postponed":                   {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5), Snapshot: "s", ReplacementFailure: "of the last", Status: waiting(1)}, message: "so"},
		"postponed, and it is time":   {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5), Snapshot: "s", ReplacementFailure: "of the last", Status: waiting(0)}, begin: true, snapshot: "s"},
		"postponed, and not wanted":   {observation: rollback.Observation{Quarantined: quarantined(-5), Snapshot: "s", Status: waiting(0)}, message: "so"},
		"postponed, and let in":       {observation: rollback.Observation{Requested: true, Status: waiting(1)}, proven: true},
		"failed, and still convicted": {observation: rollback.Observation{Requested: true, Quarantined: quarantined(-5), MayBeEmpty: true, Status: state(func(s *v1alpha1.StoreRollbackStatus) { s.Failed = true })}, snapshot: "s", failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := rollback.Decide(tt.observation, now)
			if tt.absent {
				if d.Status != nil || d.Begin {
					t.Errorf("%+v", d)
				}
				return
			}
			st := d.Status
			if st == nil || d.Begin != tt.begin || st.Snapshot != tt.snapshot || st.Failed != tt.failed ||
				(st.VerifiedTime != nil) != tt.proven || (st.CompletionTime != nil) != tt.complete || !strings.Contains(st.Message, tt.message) {
				t.Errorf("begin %v, status %+v", d.Begin, st)
			}
		})
	}
}

// TestRelapses lets a store turn bad again as soon as it is intact, for a month:
// it is replaced ever more rarely, and at once again when it stayed intact long
// enough.
func TestRelapses(t *testing.T) {
	var status *v1alpha1.StoreRollbackStatus
	var begun []time.Duration
	f := rollback.Observation{Requested: true, Snapshot: "s"}
	at := now
	for ; at.Before(now.Add(30 * 24 * time.Hour)); at = at.Add(time.Minute) {
		if f.Status = status; f.Quarantined == nil {
			f.Quarantined = &v1alpha1.Quarantine{Time: metav1.NewTime(at)}
		}
		d := rollback.Decide(f, at)
		if status = d.Status; d.Begin { // and intact within no time
			begun = append(begun, at.Sub(now))
			status.ReplacedTime, status.VerifiedTime, f.Quarantined = ptr.To(metav1.NewTime(at)), ptr.To(metav1.NewTime(at)), nil
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
	f.Quarantined = &v1alpha1.Quarantine{Time: metav1.NewTime(at)}
	f.Status = &v1alpha1.StoreRollbackStatus{
		Attempt: 1, Relapses: status.Relapses, StartTime: metav1.NewTime(at.Add(-rollback.Forget)), VerifiedTime: ptr.To(metav1.NewTime(at.Add(-rollback.Forget))),
	}
	if d := rollback.Decide(f, at); !d.Begin || d.Status.Relapses != 0 {
		t.Errorf("sound for long, and then %+v", d.Status)
	}
}
