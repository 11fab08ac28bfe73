package failover

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Use is what an instance is to be used for. The values are those of a
// router's intent.
type Use string

// The uses.
const (
	// UseReady gets its share.
	UseReady Use = "ready"
	// UseDrain gets nothing new while a ready one works.
	UseDrain Use = "drain"
	// UseDown gets nothing in any case.
	UseDown Use = "down"
)

// Decision is the desired state.
type Decision struct {
	// Desired has all instances, in the order of the facts.
	Desired []Desired
	// State is to be remembered.
	State State
	// WeightChange is set when the weights change.
	WeightChange *WeightChange
	// NoHealthy: no instance that serves is healthy. Weights stay.
	NoHealthy bool
	// AllQuarantined: no instance may serve.
	AllQuarantined bool
	// Unproven: no instance that may serve is known to be healthy, but none is known to
	// fail either: the proxy has only just started.
	Unproven bool
	// Wake is when time alone may change the decision; zero if it cannot.
	Wake time.Time
}

// Desired is the desired state of one instance.
type Desired struct {
	Name string
	Use  Use
	// Weight is 1 to 256 when ready, and 0 otherwise.
	Weight int
	// Standby is open, but not meant to serve while an active one works.
	Standby bool
	// Serving means that it is meant to serve now.
	Serving bool
	// Healthy by the probes.
	Healthy bool
	// Reason is for a person.
	Reason string
	// Fault is the integrity fault that stands, also when it is only reported.
	Fault *Fault
}

// WeightChange is a change of the weights.
type WeightChange struct {
	// From and To are the instances that were and are meant to serve, by name.
	From, To []string
	// Reason is the first instance's that changed.
	Reason string
	// Detected is when its cause began, as far as it is known.
	Detected time.Time
}

// Decide decides.
func Decide(observation Observation, now time.Time) Decision {
	d := &decider{observation: observation, now: now}
	d.state.RecentFailbacks = within(observation.Previous.RecentFailbacks, now)
	d.state.RecentWeightChanges = within(observation.Previous.RecentWeightChanges, now)
	for _, instance := range observation.Instances {
		d.candidates = append(d.candidates, d.judge(instance))
	}
	d.pin()
	for _, c := range d.candidates {
		d.comeBack(c)
	}
	d.choose()
	return d.conclude()
}

// decider holds one decision under way.
type decider struct {
	observation Observation
	now         time.Time
	state       State
	candidates  []*candidate
	pinned      string // the instance that serves alone, by mode or request
	decision    Decision
}

// candidate is an instance and what was found out about it.
type candidate struct {
	Instance
	state    InstanceState
	previous InstanceState
	isNew    bool
	healthy  bool // no probe kind is failing, and one is passing
	fault    *Fault
	serving  bool
	open     bool
}

// eligible reports whether it may serve at all.
func (c *candidate) eligible() bool { return c.state.Quarantined == nil && c.OutOfService == "" }

// held reports whether it waits for its hold-down to end.
func (c *candidate) held() bool { return c.state.Comeback != nil && c.state.Comeback.Step == 0 }

// in reports whether it is healthy and has begun to come back, or never left.
func (c *candidate) in() bool { return c.eligible() && c.healthy && !c.held() }

// judge turns the results of the probes into an instance's health.
func (d *decider) judge(instance Instance) *candidate {
	previous, known := d.observation.Previous.instance(instance.Name)
	c := &candidate{Instance: instance, state: previous, previous: previous, isNew: !known}
	c.state.Failing = nil // a kind that is no longer probed is forgotten
	proven := len(instance.Probes) == 0
	var recovered time.Time
	for _, kind := range slices.Sorted(maps.Keys(instance.Probes)) {
		streak := instance.Probes[kind]
		failing, since := d.confirm(kind, streak, previous)
		switch {
		case failing && kind.effect() == quarantines:
			if !since.After(instance.Reinstated) {
				since = streak.Last // it goes on after the reinstatement
			}
			d.quarantine(c, Fault{Reason: ChecksumMismatch, Evidence: streak.Message, Time: since})
		case failing:
			c.state.Failing = append(c.state.Failing, Failing{Kind: kind, Since: since, Message: d.message(kind, streak, previous)})
		case streak.Outcome == Passed:
			proven = true
			recovered = laterOf(recovered, streak.Since)
		}
	}
	d.applyStoreFault(c)
	c.healthy = len(c.state.Failing) == 0 && (proven || known && !previous.HealthySince.IsZero())
	d.since(c, recovered)
	return c
}

// confirm applies the thresholds, and finds out since when.
func (d *decider) confirm(kind Kind, streak Streak, previous InstanceState) (failing bool, since time.Time) {
	thresholds, ok := d.observation.Policy.Thresholds[kind]
	if !ok {
		thresholds = d.observation.Policy.Default
	}
	before := slices.IndexFunc(previous.Failing, func(f Failing) bool { return f.Kind == kind })
	switch {
	case !streak.Confirmed(before >= 0, thresholds):
		return false, time.Time{}
	case before < 0:
		return true, streak.Since
	case streak.Outcome == Failed:
		return true, earliest(streak.Since, previous.Failing[before].Since)
	}
	return true, previous.Failing[before].Since
}

// message is the last one that is known: a decider that has just started has
// not probed yet.
func (d *decider) message(kind Kind, streak Streak, previous InstanceState) string {
	if streak.Outcome == Failed {
		return streak.Message
	}
	i := slices.IndexFunc(previous.Failing, func(f Failing) bool { return f.Kind == kind })
	return previous.Failing[i].Message
}

// applyStoreFault takes the store's fault and the reinstatement into account.
func (d *decider) applyStoreFault(c *candidate) {
	spared := c.StoreFault != nil && c.StoreFault.Contained && !d.othersServe(c.Name)
	if c.StoreFault != nil && !spared {
		d.quarantine(c, *c.StoreFault)
	}
	if c.state.Quarantined != nil && c.reinstatedAfter(*c.state.Quarantined) {
		c.state.Quarantined = nil
	}
	c.fault = c.state.Quarantined
	if c.fault == nil && spared && !c.reinstatedAfter(*c.StoreFault) {
		c.fault = c.StoreFault
	}
	if d.observation.Policy.ReportOnly {
		c.state.Quarantined = nil
	}
}

// othersServe reports whether an instance may be lost: another one was healthy
// and had nothing against it at the last decision, and has not since.
func (d *decider) othersServe(name string) bool {
	return slices.ContainsFunc(d.observation.Instances, func(other Instance) bool {
		before, known := d.observation.Previous.instance(other.Name)
		return other.Name != name && known && other.OutOfService == "" && other.StoreFault == nil && other.Probes[Checksum].Outcome != Failed &&
			before.Quarantined == nil && !before.HealthySince.IsZero()
	})
}

// quarantine keeps the first fault after the last reinstatement.
func (d *decider) quarantine(c *candidate, fault Fault) {
	standing := c.state.Quarantined != nil && !c.reinstatedAfter(*c.state.Quarantined)
	if !standing && !c.reinstatedAfter(fault) {
		c.state.Quarantined = &fault
	}
}

// reinstatedAfter reports whether a fault lies before the last reinstatement.
func (c *candidate) reinstatedAfter(fault Fault) bool {
	return !c.Reinstated.IsZero() && !fault.Time.After(c.Reinstated)
}

// since keeps HealthySince, and begins a comeback for an instance that left
// service just now.
func (d *decider) since(c *candidate, recovered time.Time) {
	fit := c.healthy && c.eligible()
	switch {
	case !fit:
		c.state.HealthySince = time.Time{}
	case c.state.HealthySince.IsZero():
		c.state.HealthySince = d.now
		// Probes that passed while it was out, or served corrupt content, do not count.
		if !recovered.IsZero() && recovered.Before(d.now) && !c.previous.Out && c.previous.Quarantined == nil {
			c.state.HealthySince = recovered
		}
	}
	c.state.Out = c.OutOfService != ""
	unproven := c.eligible() && len(c.state.Failing) == 0
	if fit || c.isNew || unproven { // an instance that never worked has not left
		return
	}
	had := !c.previous.HealthySince.IsZero() || c.previous.State == UseReady
	away := c.previous.Comeback != nil && c.previous.Comeback.Step == 0
	if !had || away {
		return
	}
	relapses := 0
	if c.previous.Comeback != nil {
		relapses = c.previous.Comeback.Relapses
		if len(c.state.Failing) > 0 {
			relapses++
		}
	}
	c.state.Comeback = &Comeback{Step: 0, Since: d.now, Relapses: relapses}
}

// pin finds the instance that serves alone.
func (d *decider) pin() {
	policy := d.observation.Policy
	if policy.Manual && slices.ContainsFunc(d.candidates, func(c *candidate) bool { return c.Name == policy.ActiveInstance }) {
		d.pinned = policy.ActiveInstance
		return
	}
	d.state.Pinned = d.observation.Previous.Pinned
	if d.observation.Request.Failover != "" {
		d.state.Pinned = d.observation.Request.Failover
	}
	if d.observation.Request.Failback {
		d.state.Pinned = ""
	}
	for _, c := range d.candidates {
		// It was chosen because it is fit; when it is not, that ends.
		if c.Name == d.state.Pinned && c.eligible() && c.healthy {
			d.pinned = c.Name
		}
	}
	d.state.Pinned = d.pinned
}

// comeBack moves a fit instance on: from held to the first step, from step to
// step, and at last to forgetting.
func (d *decider) comeBack(c *candidate) {
	comeback := c.state.Comeback
	if comeback == nil || !c.eligible() || !c.healthy {
		return
	}
	steps := d.steps()
	if comeback.Step == 0 {
		if !d.mayReturn(c) {
			return
		}
		*comeback = Comeback{Step: 1, Since: d.now, Relapses: comeback.Relapses}
		d.state.RecentFailbacks = append(d.state.RecentFailbacks, d.now)
	}
	for comeback.Step <= len(steps) {
		next := comeback.Since.Add(d.observation.Policy.Failback.StepInterval)
		if comeback.Step < len(steps) && d.now.Before(next) {
			d.wake(next)
			return
		}
		if comeback.Step == len(steps) {
			comeback.Step++ // fully back; the last step has no end
			break
		}
		comeback.Step, comeback.Since = comeback.Step+1, next
	}
	forget := comeback.Since.Add(d.observation.Policy.Failback.MaxHoldDown)
	if d.now.Before(forget) {
		d.wake(forget)
		return
	}
	c.state.Comeback = nil
}

// mayReturn reports whether a held instance may begin to come back, and asks
// to be woken when that may change by itself.
func (d *decider) mayReturn(c *candidate) bool {
	if d.observation.Request.Failback {
		return true
	}
	if d.observation.Policy.Failback.Manual {
		return false
	}
	until := laterOf(c.state.HealthySince, c.state.Comeback.Since).Add(d.holdDown(c.state.Comeback.Relapses))
	if d.now.Before(until) {
		d.wake(until)
		return false
	}
	limit := d.observation.Policy.MaxFailbacksPerHour
	if limit > 0 && len(d.state.RecentFailbacks) >= limit {
		d.wake(d.state.RecentFailbacks[len(d.state.RecentFailbacks)-limit].Add(time.Hour))
		return false
	}
	return true
}

// holdDown doubles with each relapse.
func (d *decider) holdDown(relapses int) time.Duration {
	policy := d.observation.Policy.Failback
	hold, longest := policy.HoldDown, max(policy.HoldDown, policy.MaxHoldDown)
	for range relapses {
		if hold *= 2; hold >= longest {
			return longest
		}
	}
	return hold
}

func (d *decider) steps() []int {
	if len(d.observation.Policy.Failback.Steps) == 0 {
		return []int{100}
	}
	return d.observation.Policy.Failback.Steps
}

// choose decides which instances serve, and which are open.
func (d *decider) choose() {
	if d.pinned != "" {
		for _, c := range d.candidates {
			c.serving = c.Name == d.pinned && c.eligible()
			c.open = c.serving
		}
		return
	}
	for _, group := range groups {
		members := slices.DeleteFunc(slices.Clone(d.candidates), func(c *candidate) bool { return !c.eligible() || !group.has(c) })
		if d.observation.Policy.OneAtATime && len(members) > 1 {
			members = []*candidate{sole(members)}
		}
		for _, c := range members {
			c.serving = true
			if group.promotes && c.held() {
				// It serves in full now, and there is no other to share with; but
				// that it left is not forgotten.
				c.state.Comeback.Step, c.state.Comeback.Since = len(d.steps())+1, d.now
				d.wake(d.now.Add(d.observation.Policy.Failback.MaxHoldDown))
			}
		}
		if len(members) > 0 {
			d.decision.NoHealthy = !group.healthy
			break
		}
	}
	for _, c := range d.candidates {
		c.open = c.serving || c.in() && !d.observation.Policy.OnlyServing
	}
}

// sole is the instance that serves where only one can: the one that does already,
// so that clients are not moved without need, else the one with the largest share.
func sole(members []*candidate) *candidate {
	best := members[0]
	for _, c := range members[1:] {
		if c.previous.Serving && !best.previous.Serving ||
			c.previous.Serving == best.previous.Serving && c.Instance.Weight > best.Instance.Weight {
			best = c
		}
	}
	return best
}

// groups are the instances that may serve, the best first.
var groups = []struct {
	has      func(*candidate) bool
	healthy  bool
	promotes bool
}{
	{has: func(c *candidate) bool { return c.Role != Standby && c.in() }, healthy: true},
	{has: func(c *candidate) bool { return c.Role == Standby && c.in() }, healthy: true},
	{has: func(c *candidate) bool { return c.Role != Standby && c.healthy }, healthy: true, promotes: true},
	{has: func(c *candidate) bool { return c.healthy }, healthy: true, promotes: true},
	{has: func(c *candidate) bool { return c.previous.State == UseReady }},
	{has: func(*candidate) bool { return true }},
}

// conclude writes the decision down.
func (d *decider) conclude() Decision {
	eligible, failing, unproven := 0, 0, 0
	for _, c := range d.candidates {
		if c.eligible() {
			eligible++
		}
		failing += len(c.state.Failing)
		if c.eligible() && !c.healthy && (d.pinned == "" || d.pinned == c.Name) {
			unproven++
		}
		w := d.want(c)
		c.state.State, c.state.Weight, c.state.Serving = w.Use, w.Weight, w.Serving
		d.decision.Desired = append(d.decision.Desired, w)
		d.state.Instances = append(d.state.Instances, c.state)
	}
	if d.pinned != "" {
		d.decision.NoHealthy = !slices.ContainsFunc(d.candidates, func(c *candidate) bool { return c.serving && c.healthy })
	}
	d.decision.AllQuarantined = len(d.candidates) > 0 && !slices.ContainsFunc(d.candidates, func(c *candidate) bool { return c.state.Quarantined == nil })
	d.decision.NoHealthy = d.decision.NoHealthy || eligible == 0
	d.decision.Unproven = d.decision.NoHealthy && failing == 0 && unproven > 0
	d.changeWeights()
	d.decision.State = d.state
	return d.decision
}

func (d *decider) want(c *candidate) Desired {
	w := Desired{Name: c.Name, Use: UseDrain, Healthy: c.healthy && c.eligible(), Standby: c.Role == Standby,
		Serving: c.serving, Reason: d.reason(c), Fault: c.fault}
	switch {
	case !c.eligible():
		w.Use = UseDown
	case c.open:
		w.Use, w.Weight = UseReady, d.weight(c)
		if !c.healthy && c.previous.Weight > 0 {
			w.Weight = c.previous.Weight // with nothing better, weights stay
		}
	}
	return w
}

// weight is the instance's share at its step. An instance that serves alone has its full weight.
func (d *decider) weight(c *candidate) int {
	full := min(max(c.Instance.Weight, 1), 256)
	comeback := c.state.Comeback
	if d.observation.Policy.OneAtATime || comeback == nil || comeback.Step == 0 || comeback.Step > len(d.steps()) {
		return full
	}
	return max(full*d.steps()[comeback.Step-1]/100, 1)
}

// reason returns in a few words why an instance is used as it is.
func (d *decider) reason(c *candidate) string {
	comeback := c.state.Comeback
	switch {
	case c.state.Quarantined != nil:
		return "quarantined: " + c.state.Quarantined.Reason
	case c.OutOfService != "":
		return c.OutOfService
	case d.pinned == c.Name:
		return "chosen by a person"
	case d.pinned != "":
		return d.pinned + " was chosen by a person"
	case len(c.state.Failing) > 0 && c.serving:
		return fmt.Sprintf("probe %s fails, and no instance is better", c.state.Failing[0].Kind)
	case len(c.state.Failing) > 0:
		return fmt.Sprintf("probe %s fails", c.state.Failing[0].Kind)
	case !c.healthy && c.serving:
		return "no probe has passed yet, and no instance is better"
	case !c.healthy:
		return "no probe has passed yet"
	case c.held() && d.observation.Policy.Failback.Manual:
		return "recovered; waits for the failback request"
	case c.held():
		return "recovered; held down"
	case comeback != nil && comeback.Step < len(d.steps()):
		return fmt.Sprintf("coming back, step %d of %d", comeback.Step, len(d.steps()))
	case c.Role == Standby && !c.serving, d.observation.Policy.OneAtATime && !c.serving:
		return "stands by"
	}
	return "healthy"
}

// changeWeights compares with the desired weights of before.
func (d *decider) changeWeights() {
	var from, to []string
	var first *candidate
	for i, c := range d.candidates {
		if c.previous.Serving {
			from = append(from, c.Name)
		}
		if c.serving {
			to = append(to, c.Name)
		}
		w := d.decision.Desired[i]
		if first == nil && !c.isNew && (c.previous.State != w.Use || c.previous.Weight != w.Weight) {
			first = c
		}
	}
	if first == nil {
		return
	}
	d.state.RecentWeightChanges = append(d.state.RecentWeightChanges, d.now)
	d.state.RecentWeightChanges = d.state.RecentWeightChanges[max(0, len(d.state.RecentWeightChanges)-maxWeightChanges):]
	d.decision.WeightChange = &WeightChange{From: from, To: to, Reason: first.Name + ": " + d.reason(first), Detected: d.detected(first)}
}

// detected is when the cause of a change began.
func (d *decider) detected(c *candidate) time.Time {
	switch {
	case c.state.Quarantined != nil:
		return c.state.Quarantined.Time
	case len(c.state.Failing) > 0:
		return slices.MinFunc(c.state.Failing, func(a, b Failing) int { return a.Since.Compare(b.Since) }).Since
	}
	return d.now
}

func (d *decider) wake(at time.Time) {
	if d.decision.Wake.IsZero() || at.Before(d.decision.Wake) {
		d.decision.Wake = at
	}
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
