package failover_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/plan/failover"
)

var update = flag.Bool("update", false, "write the golden day")

// day lives through 24 hours with random faults, and checks after each
// decision what must hold in any case.
type day struct {
	*scenario
	rand   *rand.Rand
	log    strings.Builder
	faults int
}

func newDay(t *testing.T, seed uint64) *day {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 17))
	names := []string{"blue", "green", "red", "spare*"}[:2+r.IntN(3)]
	d := &day{rand: r, scenario: &scenario{t: t, policy: policy(), now: start, sick: map[string]failover.Kind{}}}
	for _, name := range names {
		d.add(name)
	}
	if seed%7 == 3 {
		d.policy.Failback.Manual = true
	}
	return d
}

var faultKinds = []failover.Kind{failover.Ready, failover.Protocol, failover.Disk, failover.Checksum, failover.Consistency}

func (d *day) live() {
	d.rounds(4)
	for d.now.Before(start.Add(24 * time.Hour)) {
		d.strike()
		d.rounds(1)
		d.check()
		d.write()
	}
}

// strike makes something happen, seldom.
func (d *day) strike() {
	i := d.instances[d.rand.IntN(len(d.instances))]
	switch n := d.rand.IntN(400); {
	case n < 6: // falls sick
		kind := faultKinds[min(d.rand.IntN(12), len(faultKinds)-1)]
		if kind == failover.Checksum && d.rand.IntN(4) > 0 {
			kind = failover.Ready
		}
		d.sick[i.Name] = kind
		d.faults++
	case n < 20: // recovers
		delete(d.sick, i.Name)
	case n < 22:
		i.OutOfService = "its store is being replaced"
	case n < 40:
		i.OutOfService = ""
	case n < 41:
		i.StoreFault = &failover.Fault{Reason: "StoreCorrupt", Time: d.now}
	case n < 50: // its store is replaced
		i.StoreFault, i.Reinstated = nil, d.now
		delete(d.sick, i.Name)
	case n < 52:
		d.silent = !d.silent
	case n == 60:
		d.request.Failover = i.Name
	case n == 61 || n == 62:
		d.request.Failback = true
	case n == 63: // the manager restarts
		for _, i := range d.instances {
			for kind := range i.Probes {
				i.Probes[kind] = failover.Streak{}
			}
		}
	}
}

// check holds the rules of the package comment against a decision.
func (d *day) check() {
	d.t.Helper()
	eligible, open := 0, 0
	for n, w := range d.last.Desired {
		state, fact := d.state.Instances[n], d.instances[n]
		switch {
		case state.Quarantined != nil || fact.OutOfService != "":
			if w.Use != failover.UseDown || w.Weight != 0 {
				d.t.Fatalf("%s: %s must not serve and is wanted as %+v", d.at(), w.Name, w)
			}
			continue
		case w.Use == failover.UseDown:
			d.t.Fatalf("%s: %s is down without a conviction: %+v", d.at(), w.Name, w)
		}
		eligible++
		if w.Use == failover.UseReady {
			open++
			if w.Weight < 1 || w.Weight > 256 {
				d.t.Fatalf("%s: weight %d", d.at(), w.Weight)
			}
		} else if w.Weight != 0 || w.Serving {
			d.t.Fatalf("%s: %s is drained and wanted as %+v", d.at(), w.Name, w)
		}
	}
	if eligible > 0 && open == 0 {
		d.t.Fatalf("%s: the router is empty although %d may serve: %+v", d.at(), eligible, d.last.Desired)
	}
	if wake := d.last.Wake; !wake.IsZero() && !wake.After(d.now) {
		d.t.Fatalf("%s: wakes in the past: %s", d.at(), wake)
	}
	d.checkPreference()
	if limit := d.policy.MaxFailbacksPerHour; len(d.state.RecentFailbacks) > limit+len(d.instances) {
		// A person's requests are not limited; there are few of them.
		d.t.Fatalf("%s: %d fail-backs within an hour", d.at(), len(d.state.RecentFailbacks))
	}
}

// checkPreference: no instance serves with failing probes while another one
// is healthy, except one that a person chose.
func (d *day) checkPreference() {
	d.t.Helper()
	healthy := 0
	for _, w := range d.last.Desired {
		if w.Healthy {
			healthy++
		}
	}
	for n, w := range d.last.Desired {
		if w.Serving && len(d.state.Instances[n].Failing) > 0 && healthy > 0 {
			d.t.Fatalf("%s: %s serves and fails while %d are healthy: %+v", d.at(), w.Name, healthy, d.last.Desired)
		}
	}
	if d.last.NoHealthy != (healthy == 0) {
		d.t.Fatalf("%s: NoHealthy = %v with %d healthy: %+v", d.at(), d.last.NoHealthy, healthy, d.last.Desired)
	}
}

func (d *day) write() {
	if d.last.WeightChange == nil {
		return
	}
	fmt.Fprintf(&d.log, "%-10s %-60s %s\n", d.now.Sub(start), show(d.last), d.last.WeightChange.Reason)
}

// TestGoldenDay shows one whole day to a reader.
func TestGoldenDay(t *testing.T) {
	d := newDay(t, 0)
	d.live()
	golden := filepath.Join("testdata", "day.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(d.log.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), d.log.String()); diff != "" {
		t.Errorf("the day differs; -update accepts it (-want +got):\n%s", diff)
	}
}

func TestDays(t *testing.T) {
	days := uint64(25)
	if testing.Short() {
		days = 5
	}
	changes, faults := 0, 0
	for seed := range days {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			d := newDay(t, seed+1)
			d.live()
			changes += strings.Count(d.log.String(), "\n")
			faults += d.faults
		})
	}
	if changes == 0 || faults == 0 {
		t.Errorf("nothing happened in %d days: %d flips, %d faults", days, changes, faults)
	}
}

// TestFlapping: an instance that fails every twenty seconds is moved a
// bounded number of times, and its hold-down grows.
func TestFlapping(t *testing.T) {
	s := newScenario(t, "blue", "green")
	changes := 0
	for round := range 360 { // an hour
		delete(s.sick, "blue")
		if round%8 < 4 {
			s.sick["blue"] = failover.Ready
		}
		s.rounds(1)
		if s.last.WeightChange != nil {
			changes++
		}
		if w := s.last.Desired[1]; w.Use != failover.UseReady {
			t.Fatalf("the steady instance is wanted as %+v", w)
		}
	}
	if changes > 4 {
		t.Errorf("%d flips within an hour", changes)
	}
}

// TestFlappingForTenMinutes: an instance that fails for six seconds out of every
// twenty serves again after hold-downs that double, until it does not hold
// out for one: the moves are few, and the clients are with the steady one.
func TestFlappingForTenMinutes(t *testing.T) {
	s := newScenario(t, "blue", "green")
	s.interval = 2 * time.Second
	s.policy.Default = failover.Thresholds{Failure: 2, Success: 1}
	s.policy.Failback = failover.Failback{HoldDown: 5 * time.Second, MaxHoldDown: 2 * time.Minute, Steps: []int{100}}
	s.policy.MaxFailbacksPerHour = 60
	changes := 0
	for begin := s.now; s.now.Sub(begin) < 10*time.Minute; {
		delete(s.sick, "blue")
		if s.now.Sub(begin)%(20*time.Second) < 6*time.Second {
			s.sick["blue"] = failover.Ready
		}
		s.rounds(1)
		if w := s.last.Desired[1]; w.Use != failover.UseReady || w.Weight != 100 {
			t.Fatalf("the steady instance is wanted as %+v", w)
		}
		if s.last.WeightChange != nil {
			changes++
		}
	}
	s.sees("blue=drain green=100")
	comeback := s.state.Instances[0].Comeback
	if changes > 6 || comeback == nil || comeback.Relapses < 2 {
		t.Errorf("%d moves, comeback %+v", changes, comeback)
	}
	s.sick["blue"] = failover.Ready
	s.rounds(2)
	delete(s.sick, "blue")
	if took := s.until("blue=100 green=100", 100); took < 4*s.policy.Failback.HoldDown {
		t.Errorf("after %d relapses it came back within %s", comeback.Relapses, took)
	}
}

// TestTimeDoesNotMatterOnlyDifferences: the decision depends on no absolute
// time.
func TestTimeDoesNotMatterOnlyDifferences(t *testing.T) {
	run := func(begin time.Time) string {
		d := newDay(t, 5)
		d.now = begin
		for range 500 {
			d.strike()
			d.rounds(1)
			fmt.Fprintln(&d.log, show(d.last))
		}
		return d.log.String()
	}
	if diff := cmp.Diff(run(start), run(start.Add(12345*time.Hour))); diff != "" {
		t.Error(diff)
	}
}
