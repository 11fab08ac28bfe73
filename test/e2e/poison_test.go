package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/test/scenario"
)

// poisonable is a proxy of a primary and a standby that rolls back what is
// poisoned, and notices and forgives in seconds.
var poisonable = map[string]any{
	"instances": []any{
		map[string]any{"name": "blue", "role": "Active", "storage": map[string]any{"size": "512Mi", "deletionPolicy": "Delete"}},
		map[string]any{"name": "green", "role": "Standby", "storage": map[string]any{"size": "512Mi", "deletionPolicy": "Delete"}},
	},
	"integrity": map[string]any{"onCorrupt": "Rollback"},
	"snapshots": map[string]any{"schedule": "@yearly", "deletionPolicy": "Delete"},
	"probes":    map[string]any{"interval": "2s", "timeout": "2s", "failureThreshold": int64(2), "successThreshold": int64(1)},
	"failover": map[string]any{
		"failback": map[string]any{"holdDown": "3s", "maxHoldDown": "6s", "steps": []any{int64(50), int64(100)}, "stepInterval": "2s"},
	},
}

// TestPoisonedStore corrupts the content of the stores of a proxy that real go
// commands use all the time. The operator reacts without a request: the instance is
// quarantined, the other serves, its store is replaced, checked as a
// whole, and it comes back with its whole weight. First the standby's, of which
// there is no snapshot, by an empty store; then the primary's, by a snapshot.
func TestPoisonedStore(t *testing.T) {
	namespace := fmt.Sprintf("poison-%x", time.Now().Unix()&0xfffff)
	s := inOwn(t, namespace, func() (*scenario.Scenario, error) {
		return suite.cluster.BeginProxy(suite.ctx, namespace, suite.narrator, poisonable)
	})
	proxy := s.proxyUntil(3*time.Minute, "blue to serve and green to stand by", func(p *v1alpha1.ModProxy) bool {
		return p.Status.Healthy == "2/2" && p.Status.Serving == "blue" && settled(p)
	})
	alerts := s.monitored()
	clients, err := s.Clients(s.ctx, 2, proxy.Status.GOPROXY)
	s.must(err)
	s.until(time.Minute, "downloads to fill the store", func(context.Context) (bool, string, error) {
		n := len(clients.Commands())
		return n >= 4, fmt.Sprintf("%d commands", n), nil
	})

	s.sub("standby, without a snapshot", func(s *fixture) {
		poisoned(s, clients, "green", "")
		s.alerted(alerts, "GocacheInstanceQuarantined", map[string]string{"name": scenario.Proxy, "instance": "green"})
	})
	s.sub("primary, with a snapshot", func(s *fixture) {
		s.request(v1alpha1.RequestSnapshot)
		proxy := s.proxyUntil(2*time.Minute, "a verified snapshot of blue", func(p *v1alpha1.ModProxy) bool {
			return instance(p, "blue").LatestVerifiedSnapshot != ""
		})
		poisoned(s, clients, "blue", instance(proxy, "blue").LatestVerifiedSnapshot)
	})
	_, err = clients.Stop()
	s.must(err)
}

// poisoned corrupts the store of an instance and follows it until
// it serves as before.
func poisoned(s *fixture, clients *scenario.Clients, name, snapshot string) {
	before := s.boundTo(scenario.Proxy + "-" + name)
	steps := s.steps(name)
	files, at, err := s.Poison(s.ctx, name)
	s.must(err)
	s.Logf("poisoned %s", strings.Join(files, ", "))
	proxy := s.proxyUntil(4*time.Minute, name+" to be as before", func(p *v1alpha1.ModProxy) bool {
		i := instance(p, name)
		if i.Rollback != nil && i.Rollback.Failed {
			s.Fatalf("it was given up: %s", i.Rollback.Message)
		}
		return i.Rollback != nil && i.Rollback.CompletionTime != nil && p.Status.Serving == "blue" && p.Status.Healthy == "2/2" && settled(p)
	})
	seen := steps()
	for _, step := range seen {
		s.Logf("%6.1fs  %s", step.at.Sub(at).Seconds(), step.name)
	}
	i := instance(proxy, name)
	switch {
	case i.Quarantined != nil || i.VolumeReplacement != nil:
		s.Errorf("%s is convicted %v, its volume on its way %v", name, i.Quarantined, i.VolumeReplacement)
	case i.Rollback.Attempt != 1 || i.Rollback.Snapshot != snapshot:
		s.Errorf("attempt %d, from snapshot %q, want the first from %q", i.Rollback.Attempt, i.Rollback.Snapshot, snapshot)
	case i.Content == nil || i.Content.Snapshot != snapshot || i.StoreCheck == nil || i.StoreCheck.Verdict != v1alpha1.VerdictIntact:
		s.Errorf("the store holds %+v, its check says %+v", i.Content, i.StoreCheck)
	case s.boundTo(scenario.Proxy+"-"+name) == before:
		s.Errorf("the claim is still on %s", before)
	}
	s.recorded(v1alpha1.ModProxyKind, scenario.Proxy, "InstanceQuarantined", "RollbackStarted", "StoreReplaced", "RollbackVerified", "RollbackCompleted")
	unharmed(s, clients, at, seen.of("convicted"), seen.of("weight 0 read back"))
}

// unharmed counts the commands by when they began. Corrupt content with status 200
// fail those that meet them before they are found; none may fail once the
// quarantined instance has no weight.
func unharmed(s *fixture, clients *scenario.Clients, poisoned, quarantined, out time.Time) {
	s.Helper()
	if poisoned.IsZero() || quarantined.IsZero() || out.IsZero() {
		s.Fatalf("poisoned at %v, quarantined at %v, without weight at %v", poisoned, quarantined, out)
	}
	s.until(2*time.Minute, "commands to end that began without the convicted instance", func(context.Context) (bool, string, error) {
		n := 0
		for _, c := range clients.Commands() {
			if c.Began.After(out) {
				n++
			}
		}
		return n >= 4, fmt.Sprintf("%d have", n), nil
	})
	var ran, failed [4]int
	for _, c := range clients.Commands() {
		phase := 0
		for i, mark := range []time.Time{poisoned, quarantined, out} {
			if c.Ended.After(mark) && (i == 0 || c.Began.After(mark)) {
				phase = i + 1
			}
		}
		if ran[phase]++; c.Failed == "" {
			continue
		}
		text := fmt.Sprintf("begun %.1fs after the poison, it failed: %s", c.Began.Sub(poisoned).Seconds(), c.Failed)
		if failed[phase]++; phase == 0 || phase == 3 {
			s.Error(text)
		} else if failed[phase] == 1 {
			s.Log(text)
		}
	}
	s.Logf("commands failed: %d of %d before the poison, %d of %d under way until the conviction, %d of %d begun until its weight was 0, %d of %d since",
		failed[0], ran[0], failed[1], ran[1], failed[2], ran[2], failed[3], ran[3])
}

// step is something that was first seen at a time.
type step struct {
	name string
	at   time.Time
}

type stepList []step

func (l stepList) of(name string) time.Time {
	for _, s := range l {
		if s.name == name {
			return s.at
		}
	}
	return time.Time{}
}

// steps notes from now on when an instance comes to each step of a rollback.
func (s *fixture) steps(name string) (stop func() stepList) {
	s.Helper()
	watcher, err := client.NewWithWatch(s.Config, client.Options{Scheme: s.Client.Scheme()})
	s.must(err)
	ctx, cancel := context.WithCancel(s.ctx)
	events, err := watcher.Watch(ctx, &v1alpha1.ModProxyList{}, client.InNamespace(s.Namespace), client.MatchingFields{"metadata.name": scenario.Proxy})
	if err != nil {
		cancel()
		s.Fatal(err)
	}
	var seen stepList
	note := func(name string, holds bool) {
		if holds && seen.of(name).IsZero() {
			seen = append(seen, step{name, time.Now()})
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var began time.Time
		for e := range events.ResultChan() {
			p, ok := e.Object.(*v1alpha1.ModProxy)
			if !ok {
				continue
			}
			i := instance(p, name)
			note("convicted", i.Quarantined != nil)
			if seen.of("convicted").IsZero() {
				continue
			}
			routed := condition(p.Status.Conditions, v1alpha1.RoutedCondition) == "True "+v1alpha1.ReasonRouterConfigured
			note("weight 0 read back", i.DesiredWeight == 0 && i.ObservedWeight == 0 && routed)
			note("another serves", p.Status.Serving != name && routed)
			rb := i.Rollback
			if rb == nil {
				continue
			}
			if began.IsZero() {
				began = rb.StartTime.Time
			}
			if rb.StartTime.Time.Before(began) {
				continue
			}
			note("rollback begun", true)
			note("store replaced", rb.ReplacedTime != nil)
			note("proven: canaries and a check of the whole store", rb.VerifiedTime != nil)
			note("first weight", rb.VerifiedTime != nil && i.DesiredWeight > 0 && i.ObservedWeight > 0)
			note("whole weight", rb.CompletionTime != nil)
			if i.VolumeReplacement != nil {
				note("swap: "+i.VolumeReplacement.Step, true)
			}
		}
	}()
	var once sync.Once
	end := func() {
		once.Do(func() {
			cancel()
			events.Stop()
			<-done
		})
	}
	s.Cleanup(end)
	return func() stepList { end(); return seen }
}
