package conditions

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/internal/kube/bounded"
)

// maxMessage is the longest message that the API accepts.
const maxMessage = 32768

// Set writes conditions of one object.
type Set struct {
	// Conditions that are written to.
	Conditions *[]metav1.Condition
	// Generation that the conditions are about.
	Generation int64
	// Now is the time of a transition.
	Now time.Time
}

// True sets a condition to True.
func (s Set) True(kind, reason, format string, args ...any) {
	s.set(kind, metav1.ConditionTrue, reason, format, args)
}

// False sets a condition to False.
func (s Set) False(kind, reason, format string, args ...any) {
	s.set(kind, metav1.ConditionFalse, reason, format, args)
}

// Unknown sets a condition to Unknown.
func (s Set) Unknown(kind, reason, format string, args ...any) {
	s.set(kind, metav1.ConditionUnknown, reason, format, args)
}

// Clear removes a condition: an abnormal-true one is absent in the normal case.
func (s Set) Clear(kind string) {
	meta.RemoveStatusCondition(s.Conditions, kind)
}

// Keep marks a condition as still valid, and reports whether it is present.
func (s Set) Keep(kind string) bool {
	c := meta.FindStatusCondition(*s.Conditions, kind)
	if c != nil {
		c.ObservedGeneration = s.Generation
	}
	return c != nil
}

func (s Set) set(kind string, status metav1.ConditionStatus, reason, format string, args []any) {
	message := bounded.Text(fmt.Sprintf(format, args...), maxMessage)
	meta.SetStatusCondition(s.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: s.Generation, LastTransitionTime: metav1.NewTime(s.Now.Truncate(time.Second)),
	})
}
