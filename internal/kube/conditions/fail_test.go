package conditions_test

import (
	"errors"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
)

// TestFailReportsWhetherThereWasAnError holds what callers stop at, and that the
// error's text reaches the user.
func TestFailReportsWhetherThereWasAnError(t *testing.T) {
	conflict := &apply.ConflictError{Kind: "Job", Namespace: "n", Name: "j", Reason: "r"}
	for name, tt := range map[string]struct {
		err     error
		failed  bool
		message string // of Ready
	}{
		"none":                   {nil, false, ""},
		"transient":              {errors.New("oh"), true, "oh"},
		"transient, wrapped":     {fmt.Errorf("a: %w", errors.New("oh")), true, "a: oh"},
		"stalled":                {invalid, true, "spec.x: no"},
		"stalled and transient":  {errors.Join(errors.New("oh"), invalid), true, "spec.x: no"},
		"a conflict":             {fmt.Errorf("a: %w", conflict), true, conflict.Error()},
		"a percent sign in text": {errors.New("100%d"), true, "100%d"},
	} {
		var list []metav1.Condition
		if got := (conditions.Set{Conditions: &list, Now: now}).Fail(tt.err); got != tt.failed {
			t.Errorf("%s: %v, want %v", name, got, tt.failed)
		}
		message := ""
		if c := meta.FindStatusCondition(list, v1alpha1.ReadyCondition); c != nil {
			message = c.Message
		}
		if message != tt.message {
			t.Errorf("%s: message %q, want %q", name, message, tt.message)
		}
	}
}

// TestUpdating holds that an object that is being changed still is ready.
func TestUpdating(t *testing.T) {
	var list []metav1.Condition
	set := conditions.Set{Conditions: &list, Now: now}
	set.Stall("S", "")
	set.Updating("U", "%d of %d", 1, 2)
	if got := state(list); got != "Ready=True/U Reconciling=True/U" {
		t.Errorf("got %s", got)
	}
	for _, c := range list {
		if c.Message != "1 of 2" {
			t.Errorf("condition %+v", c)
		}
	}
}
