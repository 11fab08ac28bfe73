package pass

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fact is what was found, for one condition. Only setConditions of the controller
// sets conditions; nothing is decided from them.
type Fact struct {
	Status          metav1.ConditionStatus
	Reason, Message string
	// Unchanged: nothing was found that differs from what was reported last. The
	// condition stays as it is; the rest of the fact is for a proxy without one.
	Unchanged bool
}

// True is a fact for a condition that is True.
func True(reason, format string, args ...any) *Fact {
	return &Fact{Status: metav1.ConditionTrue, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// False is a fact for a condition that is False.
func False(reason, format string, args ...any) *Fact {
	return &Fact{Status: metav1.ConditionFalse, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Unknown is a fact for a condition that is Unknown.
func Unknown(reason, format string, args ...any) *Fact {
	return &Fact{Status: metav1.ConditionUnknown, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Unchanged is a fact for a condition that stays as it was reported, or is Unknown
// if it was not reported yet.
func Unchanged(reason, format string, args ...any) *Fact {
	f := Unknown(reason, format, args...)
	f.Unchanged = true
	return f
}
