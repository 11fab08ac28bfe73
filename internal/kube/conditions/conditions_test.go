package conditions_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 999, time.UTC)

var invalid = &conditions.StalledError{Reason: v1alpha1.ReasonInvalidSpec, Message: "spec.x: no"}

// state is the three conditions of kstatus in short: reason of Ready, and of
// those that are present only while true.
func state(list []metav1.Condition) string {
	var text string
	for _, kind := range []string{v1alpha1.ReadyCondition, v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition, v1alpha1.SuspendedCondition} {
		if c := meta.FindStatusCondition(list, kind); c != nil {
			text += fmt.Sprintf(" %s=%s/%s", kind, c.Status, c.Reason)
		}
	}
	return strings.TrimSpace(text)
}

// TestKstatus goes from each state to each other: nothing of the last is left.
func TestKstatus(t *testing.T) {
	states := []struct {
		set  func(conditions.Set)
		want string
	}{
		{func(s conditions.Set) { s.Ready("R", "") }, "Ready=True/R"},
		{func(s conditions.Set) { s.Progress("P", "") }, "Ready=False/P Reconciling=True/P"},
		{func(s conditions.Set) { s.Stall("S", "") }, "Ready=False/S Stalled=True/S"},
		{func(s conditions.Set) { s.Suspend(true, "") }, "Ready=True/Suspended Suspended=True/Suspended"},
		{func(s conditions.Set) { s.Suspend(false, "") }, "Suspended=True/Suspended"},
		{func(s conditions.Set) { s.Fail(errors.New("oh")) }, "Ready=False/Error Reconciling=True/Error"},
		{func(s conditions.Set) { s.Fail(invalid) }, "Ready=False/InvalidSpec Stalled=True/InvalidSpec"},
		{func(s conditions.Set) {
			s.Fail(errors.Join(errors.New("oh"), fmt.Errorf("a: %w", &apply.ConflictError{})))
		}, "Ready=False/Conflict Stalled=True/Conflict"},
	}
	for _, from := range states {
		for _, to := range states {
			var list []metav1.Condition
			set := conditions.Set{Conditions: &list, Generation: 7, Now: now}
			from.set(set)
			to.set(set)
			if got := state(list); got != to.want {
				t.Errorf("from %s: %s, want %s", from.want, got, to.want)
			}
			for _, c := range list {
				if c.ObservedGeneration != 7 || c.LastTransitionTime.Nanosecond() != 0 {
					t.Errorf("condition %+v", c)
				}
			}
		}
	}
}

// TestStallBeside holds that Stalled beside Ready keeps the time since when it is
// true, or each pass would change the object.
func TestStallBeside(t *testing.T) {
	var list []metav1.Condition
	for pass := range 3 {
		before := append([]metav1.Condition(nil), list...)
		set := conditions.Set{Conditions: &list, Generation: 7, Now: now.Add(time.Duration(pass) * time.Hour)}
		set.Ready("R", "")
		set.StallBeside(before, "S", "")
	}
	if got := state(list); got != "Ready=True/R Stalled=True/S" {
		t.Error(got)
	}
	if since := meta.FindStatusCondition(list, v1alpha1.StalledCondition).LastTransitionTime; !since.Time.Equal(now.Truncate(time.Second)) {
		t.Errorf("stalled since %s, want %s", since, now)
	}
}

func TestFailWithoutError(t *testing.T) {
	var list []metav1.Condition
	if (conditions.Set{Conditions: &list}).Fail(nil) || len(list) > 0 {
		t.Errorf("no error is a failure: %+v", list)
	}
}

func TestKeep(t *testing.T) {
	var list []metav1.Condition
	conditions.Set{Conditions: &list, Generation: 7, Now: now}.False("A", "R", "text")
	before := list[0]
	before.ObservedGeneration = 8
	later := conditions.Set{Conditions: &list, Generation: 8, Now: now.Add(time.Hour)}
	later.Keep("A")
	later.Keep("B")
	if len(list) != 1 || list[0] != before {
		t.Errorf("kept %+v, want %+v", list, before)
	}
}

func TestMessageIsBounded(t *testing.T) {
	var list []metav1.Condition
	conditions.Set{Conditions: &list}.True("A", "R", "%s", "a"+strings.Repeat("é", 40000))
	if got := list[0].Message; len(got) > 32768 || !utf8.ValidString(got) || len(got) < 32000 {
		t.Errorf("a message of %d bytes", len(got))
	}
}
