package conditions

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
)

// StalledError means that only a person can help.
type StalledError struct {
	// Reason of condition Stalled.
	Reason string
	// Message is what is wrong, where, and what to do.
	Message string
	// RetryAfter is when the object is reconciled again; 0: after a minute.
	RetryAfter time.Duration
}

// Error is the message.
func (e *StalledError) Error() string { return e.Message }

// Stalled returns why only a user can help, if the error is a [StalledError].
func Stalled(err error) *StalledError {
	var stalled *StalledError
	if errors.As(err, &stalled) {
		return stalled
	}
	var conflict *apply.ConflictError
	if errors.As(err, &conflict) {
		return &StalledError{Reason: v1alpha1.ReasonConflict, Message: conflict.Error()}
	}
	return nil
}

// Fail sets Ready, Reconciling and Stalled by the error of a pass, and reports
// whether there was one.
func (s Set) Fail(err error) bool {
	if err == nil {
		return false
	}
	if stalled := Stalled(err); stalled != nil {
		s.Stall(stalled.Reason, "%s", stalled.Message)
		return true
	}
	s.Clear(v1alpha1.SuspendedCondition)
	s.False(v1alpha1.ReadyCondition, v1alpha1.ReasonError, "%s", err)
	s.True(v1alpha1.ReconcilingCondition, v1alpha1.ReasonError, "Tried again: %s", err)
	s.Clear(v1alpha1.StalledCondition)
	return true
}

// Stall means that only a person can help.
func (s Set) Stall(reason, format string, args ...any) {
	s.Clear(v1alpha1.SuspendedCondition)
	s.False(v1alpha1.ReadyCondition, reason, format, args...)
	s.True(v1alpha1.StalledCondition, reason, format, args...)
	s.Clear(v1alpha1.ReconcilingCondition)
}

// StallBeside means that only a person can help with something that Ready, which is
// set already, does not depend on. The time of the transition is that of the
// conditions before: to set Ready removes Stalled.
func (s Set) StallBeside(before []metav1.Condition, reason, format string, args ...any) {
	s.True(v1alpha1.StalledCondition, reason, format, args...)
	if was := meta.FindStatusCondition(before, v1alpha1.StalledCondition); was != nil && was.Status == metav1.ConditionTrue {
		meta.FindStatusCondition(*s.Conditions, v1alpha1.StalledCondition).LastTransitionTime = was.LastTransitionTime
	}
}

// Progress means that the operator is on its way.
func (s Set) Progress(reason, format string, args ...any) {
	s.Clear(v1alpha1.SuspendedCondition)
	s.False(v1alpha1.ReadyCondition, reason, format, args...)
	s.True(v1alpha1.ReconcilingCondition, reason, format, args...)
	s.Clear(v1alpha1.StalledCondition)
}

// Ready means that the object does its job.
func (s Set) Ready(reason, format string, args ...any) {
	s.Clear(v1alpha1.SuspendedCondition)
	s.True(v1alpha1.ReadyCondition, reason, format, args...)
	s.Clear(v1alpha1.ReconcilingCondition)
	s.Clear(v1alpha1.StalledCondition)
}

// Updating means that the object does its job while it is being changed.
func (s Set) Updating(reason, format string, args ...any) {
	s.Clear(v1alpha1.SuspendedCondition)
	s.True(v1alpha1.ReadyCondition, reason, format, args...)
	s.True(v1alpha1.ReconcilingCondition, reason, format, args...)
	s.Clear(v1alpha1.StalledCondition)
}

// Suspend means that spec.suspend is set, so that nothing is under way. Usable
// reports whether the object does its job all the same. Otherwise Ready is
// absent: by kstatus, an object with Ready=False is in progress, and a
// suspended one is not.
func (s Set) Suspend(usable bool, format string, args ...any) {
	s.True(v1alpha1.SuspendedCondition, v1alpha1.ReasonSuspended, format, args...)
	if usable {
		s.True(v1alpha1.ReadyCondition, v1alpha1.ReasonSuspended, format, args...)
	} else {
		s.Clear(v1alpha1.ReadyCondition)
	}
	s.Clear(v1alpha1.ReconcilingCondition)
	s.Clear(v1alpha1.StalledCondition)
}
