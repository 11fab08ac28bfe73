package writer

import "time"

// Action is one kind of work on a cache PVC.
type Action string

// The actions, by rank.
const (
	WarmUp    Action = "warm-up"
	Cleanup   Action = "cleanup"
	Integrity Action = "integrity"
)

var ranks = map[Action]int{WarmUp: 0, Cleanup: 1, Integrity: 2}

// DueAction is an action that is due.
type DueAction struct {
	// Action that is due.
	Action Action
	// Cause of it, for a person.
	Cause string
	// Urgent: the content of the PVC is in doubt.
	Urgent bool
	// Since it is due: never before its own last start.
	Since time.Time
	// LastStart of such a run, of an urgent action the last urgent one; zero:
	// none.
	LastStart time.Time
}

// Decide returns the action to start next; false when none is due. Each action
// is due at most once.
func Decide(due []DueAction) (DueAction, bool) {
	var next DueAction
	found := false
	for _, w := range due {
		if givesWay(w, due) {
			continue
		}
		if !found || w.before(next) {
			next, found = w, true
		}
	}
	if !found && len(due) > 0 { // equal times, or a clock that jumps, may make each give way to another
		next, found = due[0], true
		for _, w := range due[1:] {
			if w.before(next) {
				next = w
			}
		}
	}
	return next, found
}

// givesWay reports whether an action had its turn while another waited.
func givesWay(w DueAction, due []DueAction) bool {
	for _, other := range due {
		if other.Action != w.Action && !w.LastStart.IsZero() && !other.Since.After(w.LastStart) {
			return true
		}
	}
	return false
}

func (w DueAction) before(other DueAction) bool {
	if w.Urgent != other.Urgent {
		return w.Urgent
	}
	return ranks[w.Action] < ranks[other.Action]
}
