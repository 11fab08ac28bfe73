package failover

import "time"

// Role of an instance.
type Role string

// The roles.
const (
	// Active serves its share while healthy.
	Active Role = "Active"
	// Standby serves only when no active instance can.
	Standby Role = "Standby"
)

// Kind is what a probe looks at.
type Kind string

// The kinds of probe.
const (
	Ready            Kind = "Ready"
	Protocol         Kind = "Protocol"
	Checksum         Kind = "Checksum"
	Consistency      Kind = "Consistency"
	ChecksumDatabase Kind = "ChecksumDatabase"
	Disk             Kind = "Disk"
)

// effect is the consequence of a confirmed failure of a kind.
type effect int

const (
	movesWeight effect = iota
	quarantines
)

func (k Kind) effect() effect {
	switch k {
	case Checksum:
		return quarantines
	case Ready, Protocol, Consistency, ChecksumDatabase, Disk:
		return movesWeight
	}
	return movesWeight
}

// Observation is the observed state of a proxy now.
type Observation struct {
	Policy    Policy
	Instances []Instance
	// Previous is the State of the last decision.
	Previous State
	// Request is what a person asked for since.
	Request Request
}

// Policy is the policy in the spec.
type Policy struct {
	// Thresholds of kinds that differ from Default.
	Thresholds map[Kind]Thresholds
	Default    Thresholds
	// Manual lets ActiveInstance serve alone.
	Manual         bool
	ActiveInstance string
	Failback       Failback
	// MaxFailbacksPerHour limits how often instances begin to come back;
	// 0 is no limit.
	MaxFailbacksPerHour int
	// ReportOnly: integrity faults are reported, and quarantine no instance.
	ReportOnly bool
	// OnlyServing opens only the instances that serve: the router has no last
	// resort for the case that all of them fail.
	OnlyServing bool
	// OneAtATime lets one instance serve, the others of its kind stand by.
	OneAtATime bool
}

// Thresholds are how many outcomes in a row confirm a state. Less than one is
// one.
type Thresholds struct{ Failure, Success int }

// Failback is how instances come back.
type Failback struct {
	// Manual waits for a person's request.
	Manual bool
	// HoldDown and MaxHoldDown bound how long recovery must last.
	HoldDown, MaxHoldDown time.Duration
	// Steps are percentages of the weight; none means 100 at once.
	Steps        []int
	StepInterval time.Duration
}

// Request is a person's.
type Request struct {
	// Failover names the instance that is to serve alone.
	Failover string
	// Failback ends that, and lets healthy instances come back without delay.
	Failback bool
}

// Instance is what is known of one instance.
type Instance struct {
	Name string
	Role Role
	// Weight is its share while healthy, 1 to 256.
	Weight int
	// Probes are the streaks by kind. A kind that is not probed is absent.
	Probes map[Kind]Streak
	// StoreFault is set when a check of the store found corrupt content.
	StoreFault *Fault
	// Reinstated is when the store's content was last replaced by verified
	// content or found intact completely, or when a user reinstated the
	// instance. It ends every quarantine that is older.
	Reinstated time.Time
	// OutOfService is why the instance must not serve although nothing is
	// wrong with it: its store is being replaced, it is being removed.
	OutOfService string
}

// ChecksumMismatch is the reason of the faults that probes find.
const ChecksumMismatch = "ChecksumMismatch"

// Fault is an integrity fault.
type Fault struct {
	Reason, Evidence string
	Time             time.Time
	// Contained: the instance's server gives nothing of it to any client. Such a
	// fault never takes away the last instance.
	Contained bool
}

// Outcome of a probe.
type Outcome int

// The outcomes.
const (
	// Unknown: it could not be found out.
	Unknown Outcome = iota
	Passed
	Failed
)

// Streak is how often a probe ended in the same way, lately. Outcomes that
// are Unknown neither extend nor end it.
type Streak struct {
	Outcome Outcome
	Count   int
	// Since is the time of the first of them, Last of the last.
	Since, Last time.Time
	// Message of the last failure.
	Message string
}

// Add returns the streak after one more outcome.
func (s Streak) Add(outcome Outcome, message string, at time.Time) Streak {
	if outcome == Unknown {
		return s
	}
	if outcome != s.Outcome {
		s = Streak{Outcome: outcome, Since: at}
	}
	s.Count++
	s.Last = at
	if outcome == Failed {
		s.Message = message
	}
	return s
}

// Confirmed reports whether a failure is confirmed after a streak: a confirmed
// state stays until as many outcomes in a row contradict it.
func (s Streak) Confirmed(before bool, t Thresholds) bool {
	if before {
		return s.Outcome != Passed || s.Count < max(t.Success, 1)
	}
	return s.Outcome == Failed && s.Count >= max(t.Failure, 1)
}
