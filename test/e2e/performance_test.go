package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/test/scenario"
)

// restVariable sets how long the operator is watched while it has nothing to
// do; this long test is run only when it is set.
const restVariable = "PERF_REST"

// TestPerformance measures what a person waits for, and what the operator costs
// the API server, and prints a line for each: name, value, baseline or limit. What
// depends on the machine is printed and not judged.
func TestPerformance(t *testing.T) {
	rest, err := time.ParseDuration(os.Getenv(restVariable))
	if err != nil {
		t.Skipf("%s is not set to a duration: this is run by 'make perf'", restVariable)
	}
	if suite.cluster.Kind != scenario.Local {
		t.Skip("the manager runs on this machine, from which only the local cluster's pods can be reached")
	}
	s := onFull(t)
	_, err = s.Offered(s.ctx, "")
	s.must(err)

	cold, err := s.ColdBuild(s.ctx)
	s.must(err)
	for _, n := range []int{1, 20} {
		var all []scenario.Consumer
		for range max(1, 5/n) { // one measurement varies too much
			some, err := s.Consumers(s.ctx, n)
			s.must(err)
			all = append(all, some...)
		}
		s.consumers(n, all, cold)
	}

	small := onOwn(t, "perf")
	_, err = small.Offered(small.ctx, "")
	small.must(err)
	m := small.takeOver()
	small.start(m)
	small.cycle(m)
	small.rest(m, rest)
}

// line prints one measurement.
func line(name, value, against string) { fmt.Printf("perf: %-52s %14s   %s\n", name, value, against) }

func brief(d time.Duration) string { return d.Round(10 * time.Millisecond).String() }

// consumers prints the slowest and the median of each step.
func (s *fixture) consumers(n int, all []scenario.Consumer, cold time.Duration) {
	pick := func(of func(scenario.Consumer) time.Duration) (median, most time.Duration) {
		var list []time.Duration
		for _, c := range all {
			list = append(list, of(c))
		}
		slices.Sort(list)
		return list[len(list)/2], list[len(list)-1]
	}
	name := fmt.Sprintf("%d at once: ", n)
	median, most := pick(func(c scenario.Consumer) time.Duration { return c.Bound })
	line(name+"claim bound, median and slowest", brief(median)+", "+brief(most), "limit 10s")
	median, most = pick(func(c scenario.Consumer) time.Duration { return c.Started })
	line(name+"pod started, median and slowest", brief(median)+", "+brief(most), "limit 10s, to a second")
	first, _ := pick(func(c scenario.Consumer) time.Duration { return c.First })
	again, _ := pick(func(c scenario.Consumer) time.Duration { return c.Again })
	line(name+"first build on a clone, median", brief(first), fmt.Sprintf("warm local build %s: %.2f times, limit 1.3", brief(again), first.Seconds()/again.Seconds()))
	if n == 1 { // a cold build beside nineteen others was not measured
		line(name+"first build on a clone", brief(first), fmt.Sprintf("cold build %s: %.1f times faster, aim 10", brief(cold), cold.Seconds()/first.Seconds()))
	}
}

// cycle creates a snapshot and prints its stages, and what it cost.
func (s *fixture) cycle(m *managers) {
	s.quiet(m)
	_ = m.wrote()
	began := time.Now()
	asked := s.demand(v1alpha1.GoCacheKind, scenario.Cache, s.unique("perf"), v1alpha1.RequestSnapshot)
	var snap v1alpha1.CacheSnapshot
	name := naming.Child(scenario.Cache, "request-"+naming.Hash(string(asked.UID)))
	s.until(3*time.Minute, "the snapshot to be offered", func(ctx context.Context) (bool, string, error) {
		var c v1alpha1.GoCache
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: scenario.Cache}, &c); err != nil {
			return false, "", err
		}
		return c.Status.LatestVerifiedSnapshot == name, c.Status.LatestVerifiedSnapshot, nil
	})
	took := time.Since(began)
	s.cleanedUp(name)
	s.quiet(m)
	s.get(name, &snap)
	for _, stage := range snap.Status.Stages {
		if stage.Duration != nil {
			line("snapshot cycle: stage "+fmt.Sprint(stage.Name), brief(stage.Duration.Duration), "")
		}
	}
	line("snapshot cycle: from the request to the offer", brief(took), "")
	writes, events := 0, 0
	var all []string
	for _, w := range m.wrote() {
		if strings.HasSuffix(w, "/events") || strings.Contains(w, "/events/") {
			events++
			continue
		}
		writes++
		all = append(all, w)
	}
	line("snapshot cycle: API writes", fmt.Sprint(writes), fmt.Sprintf("limit 12; beside %d events", events))
	if writes > 12 {
		s.Errorf("a snapshot cycle costs %d writes:\n%s", writes, strings.Join(all, "\n"))
	}
}

// quiet waits until the manager has written nothing for a while.
func (s *fixture) quiet(m *managers) {
	s.Helper()
	last, since := -1, time.Now()
	s.until(2*time.Minute, "the manager to have nothing to do", func(context.Context) (bool, string, error) {
		if n := m.written(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 10*time.Second, fmt.Sprintf("%d writes", last), nil
	})
}

// rest makes objects that have nothing to do, and counts what the operator
// writes for them.
func (s *fixture) rest(m *managers, rest time.Duration) {
	const objects = 200
	var cache v1alpha1.GoCache
	s.get(scenario.Cache, &cache)
	for i := range objects {
		idle := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: fmt.Sprintf("idle-%d", i)}, Spec: *cache.Spec.DeepCopy()}
		idle.Spec.Suspend = true
		s.must(s.Client.Create(s.ctx, idle))
	}
	s.quiet(m)
	_ = m.wrote()
	select {
	case <-time.After(rest):
	case <-s.ctx.Done():
		s.Fatal("the tests are being stopped")
	}
	writes := slices.DeleteFunc(m.wrote(), func(w string) bool { return strings.Contains(w, "/leases/") })
	line(fmt.Sprintf("at rest: API writes in %s with %d objects", rest, objects+1), fmt.Sprint(len(writes)), "limit 0, but the Lease")
	if len(writes) > 0 {
		s.Errorf("at rest the manager wrote:\n%s", strings.Join(writes, "\n"))
	}
}
