package failover_test

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/plan/failover"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func policy() failover.Policy {
	return failover.Policy{
		Default:             failover.Thresholds{Failure: 3, Success: 2},
		Thresholds:          map[failover.Kind]failover.Thresholds{failover.Checksum: {Failure: 1, Success: 2}},
		Failback:            failover.Failback{HoldDown: time.Minute, MaxHoldDown: 8 * time.Minute, Steps: []int{10, 50, 100}, StepInterval: 30 * time.Second},
		MaxFailbacksPerHour: 6,
	}
}

// scenario drives decisions through time, by rounds of probes.
type scenario struct {
	t         *testing.T
	policy    failover.Policy
	interval  time.Duration // of the rounds; 0: ten seconds
	now       time.Time
	instances []*failover.Instance
	sick      map[string]failover.Kind // instance → what fails
	silent    bool                     // the prober finds nothing out
	request   failover.Request
	state     failover.State
	last      failover.Decision
}

// newScenario begins with instances like "blue", or "spare*" for a standby, all
// healthy and probed.
func newScenario(t *testing.T, names ...string) *scenario {
	t.Helper()
	s := &scenario{t: t, policy: policy(), now: start, sick: map[string]failover.Kind{}}
	for _, name := range names {
		s.add(name)
	}
	s.rounds(4)
	return s
}

func (s *scenario) add(name string) {
	name, standby := strings.CutSuffix(name, "*")
	i := &failover.Instance{Name: name, Role: failover.Active, Weight: 100, Probes: map[failover.Kind]failover.Streak{
		failover.Ready: {}, failover.Protocol: {}, failover.Checksum: {}, failover.Disk: {}, failover.Consistency: {},
	}}
	if standby {
		i.Role = failover.Standby
	}
	s.instances = append(s.instances, i)
}

func (s *scenario) instance(name string) *failover.Instance {
	for _, i := range s.instances {
		if i.Name == name {
			return i
		}
	}
	s.t.Fatalf("there is no instance %s", name)
	return nil
}

func (s *scenario) rounds(n int) {
	for range n {
		s.now = s.now.Add(cmp.Or(s.interval, 10*time.Second))
		for _, i := range s.instances {
			for kind, streak := range i.Probes {
				outcome := failover.Passed
				if s.sick[i.Name] == kind {
					outcome = failover.Failed
				}
				if s.silent {
					outcome = failover.Unknown
				}
				i.Probes[kind] = streak.Add(outcome, string(kind)+" says no", s.now)
			}
		}
		s.decide()
	}
}

func (s *scenario) decide() {
	observation := failover.Observation{Policy: s.policy, Previous: s.state, Request: s.request}
	s.request = failover.Request{}
	for _, i := range s.instances {
		observation.Instances = append(observation.Instances, *i)
	}
	s.last = failover.Decide(observation, s.now)
	s.state = s.last.State
	// Without changes there is no change.
	observation.Previous, observation.Request = s.state, failover.Request{}
	again := failover.Decide(observation, s.now)
	if again.WeightChange != nil || !reflect.DeepEqual(s.last.Desired, again.Desired) {
		s.t.Fatalf("%s: deciding again changes the decision (flip %v):\n%s", s.at(), again.WeightChange, gocmp.Diff(s.last.Desired, again.Desired))
	}
}

func (s *scenario) at() string { return s.now.Sub(start).String() }

// sees asserts the desired weights, like "blue=100 green=drain".
func (s *scenario) sees(want string) {
	s.t.Helper()
	if got := show(s.last); got != want {
		s.t.Fatalf("%s: wanted %q, want %q (%+v)", s.at(), got, want, s.last.Desired)
	}
}

func show(d failover.Decision) string {
	var words []string
	for _, w := range d.Desired {
		value := string(w.Use)
		if w.Use == failover.UseReady {
			value = fmt.Sprint(w.Weight)
		}
		if w.Standby && !w.Serving && w.Use == failover.UseReady {
			value += "(standby)"
		}
		words = append(words, w.Name+"="+value)
	}
	if d.NoHealthy {
		words = append(words, "nobody-healthy")
	}
	return strings.Join(words, " ")
}

// until advances round by round until the weights are as given, and returns
// how long that took.
func (s *scenario) until(want string, atMost int) time.Duration {
	s.t.Helper()
	begin := s.now
	for range atMost {
		s.rounds(1)
		if show(s.last) == want {
			return s.now.Sub(begin)
		}
	}
	s.t.Fatalf("%s: after %d rounds %q, want %q", s.at(), atMost, show(s.last), want)
	return 0
}

func TestBeginning(t *testing.T) {
	s := &scenario{t: t, policy: policy(), now: start, sick: map[string]failover.Kind{}}
	s.add("blue")
	s.add("green")
	s.decide()
	s.sees("blue=100 green=100 nobody-healthy")
	if !s.last.Unproven {
		t.Error("nothing is known yet, and that is not said")
	}
	s.rounds(1)
	s.sees("blue=100 green=100")
	if s.last.WeightChange != nil {
		t.Errorf("the beginning is a flip: %+v", s.last.WeightChange)
	}
	s.add("red")
	s.silent = true
	s.rounds(1)
	s.sees("blue=100 green=100 red=drain")
	s.silent = false
	s.rounds(1)
	s.sees("blue=100 green=100 red=100")
}

// TestBeginningInTurns holds that an instance which is seen to work only after
// another was has not left, and so has nothing to come back from.
func TestBeginningInTurns(t *testing.T) {
	s := &scenario{t: t, policy: policy(), now: start, sick: map[string]failover.Kind{}}
	s.add("blue")
	s.add("green")
	s.decide()
	s.decide()
	s.instance("blue").Probes[failover.Ready] = failover.Streak{Outcome: failover.Passed, Count: 1, Since: s.now, Last: s.now}
	s.decide()
	s.sees("blue=100 green=drain")
	s.rounds(1)
	s.sees("blue=100 green=100")
}

func TestHealthFaultMovesWeightAndComesBackInSteps(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.sick["blue"] = failover.Protocol
	s.rounds(2)
	s.sees("blue=100 green=100")
	s.rounds(1)
	s.sees("blue=drain green=100")
	change := s.last.WeightChange
	if change == nil || change.Reason != "blue: probe Protocol fails" || s.now.Sub(change.Detected) != 20*time.Second {
		t.Errorf("flip = %+v", change)
	}
	if diff := gocmp.Diff([]string{"green"}, change.To); diff != "" {
		t.Error(diff)
	}
	s.rounds(30)
	s.sees("blue=drain green=100")
	delete(s.sick, "blue")
	if took := s.until("blue=10 green=100", 20); took < time.Minute || took > 80*time.Second {
		t.Errorf("the first step came after %s, hold-down is 1m", took)
	}
	if took := s.until("blue=50 green=100", 5); took != 30*time.Second {
		t.Errorf("the second step came after %s", took)
	}
	if took := s.until("blue=100 green=100", 5); took != 30*time.Second {
		t.Errorf("the third step came after %s", took)
	}
}

func TestHoldDownDoublesWithRelapses(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.policy.MaxFailbacksPerHour = 0
	var waits []time.Duration
	for range 6 {
		s.sick["blue"] = failover.Ready
		s.until("blue=drain green=100", 5)
		delete(s.sick, "blue")
		waits = append(waits, s.until("blue=10 green=100", 80).Round(time.Minute))
	}
	want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 8 * time.Minute, 8 * time.Minute}
	if diff := gocmp.Diff(want, waits); diff != "" {
		t.Errorf("hold-downs (-want +got):\n%s", diff)
	}
	// Long enough in full health, and it is forgotten.
	s.rounds(6 * 12)
	s.sick["blue"] = failover.Ready
	s.until("blue=drain green=100", 5)
	delete(s.sick, "blue")
	if got := s.until("blue=10 green=100", 80).Round(time.Minute); got != time.Minute {
		t.Errorf("after a long healthy time the hold-down is %s", got)
	}
}

func TestFailbacksAreLimitedAndFailoversAreNot(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.policy.MaxFailbacksPerHour = 2
	s.policy.Failback.HoldDown, s.policy.Failback.MaxHoldDown = 0, 0
	for range 2 {
		s.sick["blue"] = failover.Ready
		s.until("blue=drain green=100", 5)
		delete(s.sick, "blue")
		s.until("blue=100 green=100", 20)
	}
	s.sick["blue"] = failover.Ready
	s.until("blue=drain green=100", 5)
	delete(s.sick, "blue")
	s.rounds(60)
	s.sees("blue=drain green=100")
	if wait := s.last.Wake.Sub(s.now); wait <= 0 || wait > time.Hour {
		t.Errorf("wakes after %s", wait)
	}
	s.until("blue=10 green=100", 6*60)
}

func TestNoHealthyInstanceKeepsTheWeights(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.sick["blue"] = failover.Disk
	s.until("blue=drain green=100", 5)
	s.sick["green"] = failover.Disk
	s.rounds(10)
	s.sees("blue=drain green=100 nobody-healthy")
	// The first to recover serves at once: no other is better.
	delete(s.sick, "blue")
	if took := s.until("blue=100 green=drain", 4); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestAllFailAtOnceKeepsTheWeights(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.sick["blue"], s.sick["green"] = failover.Protocol, failover.Ready
	s.rounds(20)
	s.sees("blue=100 green=100 nobody-healthy")
}

func TestChecksumQuarantinesEvenTheLast(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.sick["blue"] = failover.Checksum
	s.rounds(1) // the first wrong answer is enough
	s.sees("blue=down green=100")
	delete(s.sick, "blue")
	s.rounds(100)
	s.sees("blue=down green=100") // good answers do not reinstate
	s.instance("green").StoreFault = &failover.Fault{Reason: "StoreCorrupt", Time: s.now}
	s.rounds(1)
	s.sees("blue=down green=down nobody-healthy")
	if !s.last.AllQuarantined {
		t.Error("that all are convicted is not said")
	}
	s.instance("green").StoreFault = nil
	s.rounds(1)
	s.sees("blue=down green=down nobody-healthy")
	s.instance("blue").Reinstated = s.now
	s.rounds(1)
	s.sees("blue=100 green=down") // no other is better, so it does not wait
	s.instance("green").Reinstated = s.now
	s.rounds(1)
	s.sees("blue=100 green=drain")
	s.until("blue=100 green=10", 10)
}

// TestAllQuarantined holds that AllConvicted is set only if each instance has an
// integrity fault: one that is out for another reason comes back by itself.
func TestAllQuarantined(t *testing.T) {
	instance := func(name string, changes ...func(*failover.Instance)) failover.Instance {
		i := failover.Instance{Name: name, Role: failover.Active, Weight: 100, Probes: map[failover.Kind]failover.Streak{
			failover.Ready: {Outcome: failover.Passed, Count: 9, Since: start, Last: start},
		}}
		for _, change := range changes {
			change(&i)
		}
		return i
	}
	corrupt := func(i *failover.Instance) { i.StoreFault = &failover.Fault{Reason: "StoreCorrupt", Time: start} }
	out := func(i *failover.Instance) { i.OutOfService = "its store is being replaced" }
	failing := func(i *failover.Instance) {
		i.Probes[failover.Ready] = failover.Streak{Outcome: failover.Failed, Count: 9, Since: start, Last: start}
	}
	for _, tt := range []struct {
		name              string
		instances         []failover.Instance
		reportOnly        bool
		all, noneEligible bool
	}{
		{name: "no instance", noneEligible: true},
		{name: "one, intact", instances: []failover.Instance{instance("blue")}},
		{name: "one, corrupt", instances: []failover.Instance{instance("blue", corrupt)}, all: true, noneEligible: true},
		{name: "one, corrupt, only reported", instances: []failover.Instance{instance("blue", corrupt)}, reportOnly: true},
		{name: "one of two", instances: []failover.Instance{instance("blue", corrupt), instance("green")}},
		{name: "the other of two", instances: []failover.Instance{instance("blue"), instance("green", corrupt)}},
		{name: "one of two, the other fails", instances: []failover.Instance{instance("blue", corrupt), instance("green", failing)}},
		{name: "one of two, the other is out of service", instances: []failover.Instance{instance("blue", corrupt), instance("green", out)}, noneEligible: true},
		{name: "both", instances: []failover.Instance{instance("blue", corrupt), instance("green", corrupt)}, all: true, noneEligible: true},
		{name: "both, one of them out of service too", instances: []failover.Instance{instance("blue", corrupt, out), instance("green", corrupt)}, all: true, noneEligible: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := policy()
			p.ReportOnly = tt.reportOnly
			d := failover.Decide(failover.Observation{Policy: p, Instances: tt.instances}, start.Add(time.Hour))
			if d.AllQuarantined != tt.all {
				t.Errorf("all are convicted: %v, want %v", d.AllQuarantined, tt.all)
			}
			if tt.noneEligible && !d.NoHealthy {
				t.Error("no instance may serve, and NoHealthy is false")
			}
		})
	}
}

// TestContainedFault holds that damage which reaches no client takes out an
// instance only while another one serves, and that it is reported in any case.
func TestContainedFault(t *testing.T) {
	contained := func(s *scenario) *failover.Fault {
		return &failover.Fault{Reason: "StoreCorrupt", Time: s.now, Contained: true}
	}
	s := newScenario(t, "blue", "green")
	s.instance("blue").StoreFault = contained(s)
	s.rounds(1)
	s.sees("blue=down green=100")
	s.instance("green").StoreFault = contained(s)
	s.rounds(5)
	s.sees("blue=down green=100")
	if fault := s.last.Desired[1].Fault; fault == nil || fault.Reason != "StoreCorrupt" {
		t.Errorf("the fault that is spared is not said: %+v", fault)
	}

	s = newScenario(t, "blue", "green")
	s.instance("blue").StoreFault, s.instance("green").StoreFault = contained(s), contained(s)
	s.rounds(5)
	s.sees("blue=100 green=100") // both at once: neither can be spared the other
	s.instance("green").StoreFault = nil
	s.rounds(1)
	s.sees("blue=down green=100")

	s = newScenario(t, "only")
	s.instance("only").StoreFault = contained(s)
	s.rounds(5)
	s.sees("only=100")
	s.instance("only").StoreFault = &failover.Fault{Reason: "StoreCorrupt", Time: s.now} // it is served
	s.rounds(1)
	s.sees("only=down nobody-healthy")
}

func TestFaultAfterReinstatingQuarantinesAgain(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.sick["blue"] = failover.Checksum
	s.until("blue=down green=100", 5)
	s.instance("blue").Reinstated = s.now
	s.decide()
	s.sees("blue=drain green=100")
	s.rounds(1) // it still answers wrongly
	s.sees("blue=down green=100")
}

func TestReportOnlyQuarantinesNone(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.policy.ReportOnly = true
	s.sick["blue"] = failover.Checksum
	s.rounds(5)
	s.sees("blue=100 green=100")
	if s.last.Desired[0].Fault == nil {
		t.Error("the fault is not reported")
	}
}

// TestConsistencyQuarantinesNone: an instance that the others single out loses its
// clients, and comes back by itself: only trust data quarantines.
func TestConsistencyQuarantinesNone(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.sick["blue"] = failover.Consistency
	s.rounds(2)
	s.sees("blue=100 green=100")
	s.rounds(1)
	s.sees("blue=drain green=100")
	delete(s.sick, "blue")
	s.until("blue=100 green=100", 30)
}

func TestStandby(t *testing.T) {
	s := newScenario(t, "blue", "spare*")
	s.sees("blue=100 spare=100(standby)")
	s.sick["blue"] = failover.Ready
	s.until("blue=drain spare=100", 5)
	delete(s.sick, "blue")
	s.rounds(3)
	s.sees("blue=drain spare=100") // the standby serves while blue is held
	s.until("blue=10 spare=100(standby)", 10)
	s.sick["spare"] = failover.Ready
	s.rounds(3)
	if w := s.last.Desired[1]; w.Use != failover.UseDrain || w.Serving {
		t.Errorf("a sick standby is wanted as %+v", w)
	}
}

func TestManual(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.policy.Manual, s.policy.ActiveInstance = true, "green"
	s.rounds(1)
	s.sees("blue=drain green=100")
	s.sick["green"] = failover.Ready
	s.rounds(10)
	s.sees("blue=drain green=100 nobody-healthy") // the person decides
	s.instance("green").StoreFault = &failover.Fault{Reason: "StoreCorrupt", Time: s.now}
	s.rounds(1)
	s.sees("blue=drain green=down nobody-healthy")
	s.policy.Manual, s.policy.ActiveInstance = false, ""
	s.rounds(1)
	s.sees("blue=100 green=down") // blue never left: no hold-down
}

// TestManualOfAQuarantined holds that a chosen instance which is quarantined is not taken for
// one that has only just started.
func TestManualOfAQuarantined(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.policy.Manual, s.policy.ActiveInstance = true, "green"
	s.rounds(1)
	s.sees("blue=drain green=100")
	s.instance("green").StoreFault = &failover.Fault{Reason: "StoreCorrupt", Time: s.now}
	s.rounds(1)
	s.sees("blue=drain green=down nobody-healthy")
	if s.last.Unproven {
		t.Error("no probe is said to have passed yet")
	}
}

func TestRequests(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.request.Failover = "green"
	s.decide()
	s.sees("blue=drain green=100")
	s.rounds(20)
	s.sees("blue=drain green=100")
	s.request.Failback = true
	s.decide()
	s.sees("blue=100 green=100")

	s.request.Failover = "green"
	s.decide()
	s.sick["green"] = failover.Ready
	s.until("blue=100 green=drain", 5) // the choice ends with the fitness

	s.policy.Failback.Manual = true
	delete(s.sick, "green")
	s.rounds(100)
	s.sees("blue=100 green=drain")
	if !strings.Contains(s.last.Desired[1].Reason, "failback request") {
		t.Errorf("reason %q", s.last.Desired[1].Reason)
	}
	s.request.Failback = true
	s.decide()
	s.sees("blue=100 green=10")
}

func TestOutOfService(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.instance("blue").OutOfService = "its store is being replaced"
	s.rounds(1)
	s.sees("blue=down green=100")
	s.rounds(60)
	s.instance("blue").OutOfService = ""
	s.rounds(1)
	s.sees("blue=drain green=100")
	if took := s.until("blue=10 green=100", 10); took < 50*time.Second {
		t.Errorf("it came back after %s, without a hold-down", took)
	}
}

// TestRestart: the decider forgets its streaks, not its decisions.
func TestRestart(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.sick["blue"] = failover.Protocol
	s.until("blue=drain green=100", 5)
	for _, i := range s.instances {
		for kind := range i.Probes {
			i.Probes[kind] = failover.Streak{}
		}
	}
	s.decide()
	s.sees("blue=drain green=100")
	s.silent = true
	s.rounds(50)
	s.sees("blue=drain green=100")
	s.silent = false
	s.rounds(50)
	s.sees("blue=drain green=100")
	delete(s.sick, "blue")
	s.until("blue=100 green=100", 50)
}

func TestWakeIsEnough(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.sick["blue"] = failover.Ready
	s.until("blue=drain green=100", 5)
	delete(s.sick, "blue")
	s.rounds(2)
	var seen []string
	for !s.last.Wake.IsZero() && len(seen) < 20 {
		s.now = s.last.Wake
		s.decide()
		seen = append(seen, show(s.last))
	}
	want := []string{"blue=10 green=100", "blue=50 green=100", "blue=100 green=100", "blue=100 green=100"}
	if diff := gocmp.Diff(want, seen); diff != "" {
		t.Errorf("deciding only when woken (-want +got):\n%s", diff)
	}
}

// TestOneAtATime: where the router leads to one instance, the others stand by
// and take over, and the one that has taken over keeps its clients.
func TestOneAtATime(t *testing.T) {
	s := newScenario(t)
	s.policy.OneAtATime, s.policy.OnlyServing = true, true
	for _, name := range []string{"blue", "green", "spare*"} {
		s.add(name)
	}
	s.rounds(4)
	s.sees("blue=100 green=drain spare=drain")
	s.sick["blue"] = failover.Ready
	s.until("blue=drain green=100 spare=drain", 5)
	delete(s.sick, "blue")
	s.rounds(60)
	s.sees("blue=drain green=100 spare=drain")
	s.sick["green"] = failover.Checksum
	s.until("blue=100 green=down spare=drain", 5)
	s.sick["blue"] = failover.Ready
	s.until("blue=drain green=down spare=100", 5)
	s.sick["spare"] = failover.Ready
	s.rounds(5)
	s.sees("blue=drain green=down spare=100 nobody-healthy")
}

// TestOnlyServing: a router without standby gets no standby.
func TestOnlyServing(t *testing.T) {
	s := newScenario(t)
	s.policy.OnlyServing = true
	for _, name := range []string{"blue", "green", "spare*"} {
		s.add(name)
	}
	s.rounds(4)
	s.sees("blue=100 green=100 spare=drain")
	s.sick["blue"], s.sick["green"] = failover.Ready, failover.Ready
	s.until("blue=drain green=drain spare=100", 5)
}
