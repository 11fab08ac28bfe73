package failover

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reach is how an instance answered for the checksum database, which lies
// behind all of them.
type Reach struct {
	Outcome Outcome
	// Absent: it reports that it does not proxy the database. Clients then ask
	// the database themselves.
	Absent  bool
	Message string
}

// Reached compares how the instances answered for the checksum database in one
// round. An instance fails only where another one does better: a database that
// no instance reaches is no fault of any of them, so its outage moves no
// weight. Then trouble describes the failure.
//
// An instance that does not proxy it fails if another one does: the go command
// that learned from one that it may ask the proxy asks the next one too.
func Reached(answers map[string]Reach) (outcomes map[string]Reach, trouble string) {
	served := ""
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		if answers[name].Outcome == Passed && served == "" {
			served = name
		}
	}
	outcomes = map[string]Reach{}
	var failed []string
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		a := answers[name]
		switch {
		case a.Absent && served != "":
			a = Reach{Outcome: Failed, Absent: true, Message: fmt.Sprintf("%s, and %s does", a.Message, served)}
		case a.Absent:
			a.Outcome = Passed // all leave it to the client, or the outcome is unknown
		case a.Outcome == Failed:
			failed = append(failed, name+": "+a.Message)
		}
		outcomes[name] = a
	}
	if served != "" || len(failed) == 0 {
		return outcomes, ""
	}
	for name, o := range outcomes {
		o.Outcome = Unknown
		outcomes[name] = o
	}
	return outcomes, strings.Join(failed, "; ")
}
