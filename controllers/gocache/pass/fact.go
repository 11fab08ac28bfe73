package pass

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fact is what a part found, for one condition. The controller alone sets
// conditions; a part never reads them.
type Fact struct {
	Status          metav1.ConditionStatus
	Reason, Message string
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

// At continues a sentence with when something is done next; a zero time adds
// nothing.
func At(what string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return fmt.Sprintf("; %s at %s", what, t.UTC().Format(time.RFC3339))
}
