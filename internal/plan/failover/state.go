package failover

import (
	"slices"
	"time"
)

// State is what must be remembered between decisions, also across a restart
// of the decider.
type State struct {
	Instances []InstanceState
	// Pinned serves alone, on a person's request.
	Pinned string
	// RecentFailbacks are when instances began to come back, in the last hour.
	RecentFailbacks []time.Time
	// RecentWeightChanges are when the desired weights changed, in the last
	// hour, at most maxWeightChanges.
	RecentWeightChanges []time.Time
}

// maxWeightChanges bounds RecentWeightChanges.
const maxWeightChanges = 120

// InstanceState is what must be remembered of one instance.
type InstanceState struct {
	Name string
	// Quarantined is why it must not serve.
	Quarantined *Fault
	// Failing are the confirmed failures, by kind.
	Failing []Failing
	// HealthySince is when the last failure ended; zero while one is confirmed,
	// and while there is no result yet.
	HealthySince time.Time
	// Comeback is set from leaving until the relapse is forgotten.
	Comeback *Comeback
	// Out means that OutOfService was set.
	Out bool
	// State, Weight and Serving are the desired ones of the last decision.
	State   Use
	Weight  int
	Serving bool
}

// Failing is a confirmed failure.
type Failing struct {
	Kind    Kind
	Since   time.Time
	Message string
}

// Comeback is how far an instance has come back.
type Comeback struct {
	// Step in force: 0 is held, n is the nth, and above the last it is fully
	// back.
	Step int
	// Since is when the step began; of step 0, when it left.
	Since time.Time
	// Relapses so far.
	Relapses int
}

func (s State) instance(name string) (InstanceState, bool) {
	i := slices.IndexFunc(s.Instances, func(i InstanceState) bool { return i.Name == name })
	if i < 0 {
		return InstanceState{Name: name}, false
	}
	return s.Instances[i].clone(), true
}

// clone makes the decision free to change it.
func (s InstanceState) clone() InstanceState {
	s.Failing = slices.Clone(s.Failing)
	if s.Comeback != nil {
		comeback := *s.Comeback
		s.Comeback = &comeback
	}
	if s.Quarantined != nil {
		fault := *s.Quarantined
		s.Quarantined = &fault
	}
	return s
}

// within drops times that are an hour old or more.
func within(times []time.Time, now time.Time) []time.Time {
	var recent []time.Time
	for _, at := range times {
		if now.Sub(at) < time.Hour {
			recent = append(recent, at)
		}
	}
	return recent
}
