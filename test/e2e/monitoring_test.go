package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/test/scenario"
)

// observedVariable has Prometheus run beside the tests, and the tests of what a person
// sees of a cluster. They are not a part of every run: Prometheus is large to build.
const observedVariable = "OBSERVED"

// observed ends a test in other runs.
func observed(t *testing.T) {
	t.Helper()
	if os.Getenv(observedVariable) == "" {
		t.Skipf("%s is not set: this is run by 'make test-observed'", observedVariable)
	}
}

// monitored starts Prometheus, unless it runs already. A test that provokes an alert
// calls it before it does. nil: alerts are not tested in this run.
func (s *fixture) monitored() *scenario.Prometheus {
	s.Helper()
	if os.Getenv(observedVariable) == "" {
		return nil
	}
	p, err := suite.prometheus()
	s.must(err)
	return p
}

// alerted waits until an alert of config/prometheus has fired for an object of the
// fixture's namespace. It may have ended since.
func (s *fixture) alerted(p *scenario.Prometheus, alert string, labels map[string]string) {
	s.Helper()
	if p == nil {
		return
	}
	all := map[string]string{"namespace": s.Namespace}
	for name, value := range labels {
		all[name] = value
	}
	began := time.Now()
	s.until(45*time.Second, fmt.Sprintf("alert %s to fire for %v", alert, all), func(ctx context.Context) (bool, string, error) {
		fired, err := p.Fired(ctx, alert, all)
		if err != nil || fired {
			return fired, fmt.Sprint(err), nil
		}
		pending, err := p.Query(ctx, fmt.Sprintf("ALERTS{alertname=%q}", alert))
		return false, fmt.Sprintf("it has not fired; now: %v (%v)", pending, err), nil
	})
	s.Logf("alert %s has fired for %v (asked for %s)", alert, all, since(began))
}

// TestMetrics scrapes the manager, instances, agents and routers as the monitors of
// config/prometheus have a Prometheus of the Prometheus operator do it, with the rights
// and the label of docs/install.md. All alerts and all panels of the dashboard can be
// evaluated over what it gets.
func TestMetrics(t *testing.T) {
	observed(t)
	s := onFull(t)
	p := s.monitored()
	s.balanced(4 * time.Minute)

	// Each monitor has a target, and each target of these can be scraped.
	want := []string{"manager/0", "instances/0", "instances/1", "routers/0", "routers/1"}
	var targets []scenario.Target
	s.until(2*time.Minute, "all targets to be scraped", func(ctx context.Context) (bool, string, error) {
		var err error
		if targets, err = p.Targets(ctx); err != nil {
			return false, err.Error(), nil //nolint:nilerr // it is asked again
		}
		up := map[string]int{}
		for _, target := range targets {
			if ns := target.Labels["namespace"]; ns != s.Namespace && ns != scenario.SystemNamespace {
				continue // another test's, which may be killed meanwhile
			}
			if target.Health != "up" {
				return false, fmt.Sprintf("%s %s is %s: %s", target.Job, target.ScrapeURL, target.Health, target.LastError), nil
			}
			up[strings.TrimPrefix(target.Job[strings.LastIndex(target.Job, "/gocache-")+1:], "gocache-")]++
		}
		missing := slices.DeleteFunc(slices.Clone(want), func(job string) bool { return up[job] > 0 })
		return len(missing) == 0, fmt.Sprintf("nothing is scraped for %v; scraped: %v", missing, up), nil
	})
	for _, target := range targets {
		s.Logf("%s %s %s", target.Job, target.ScrapeURL, target.Health)
		if strings.Contains(target.Job, "manager") && !strings.HasPrefix(target.ScrapeURL, "https://") {
			s.Errorf("the manager is scraped without TLS: %s", target.ScrapeURL)
		}
	}

	// The labels that alerts and the dashboard select by are those of the objects.
	for _, series := range []string{
		`gocache_build_info`,
		`gocache_cache_entries{namespace=%[1]q,name="ci",layer="Build"}`,
		`gocache_modproxy_instance_state{namespace=%[1]q,name="goproxy",instance="blue",state="Serving"} == 1`,
		`gocache_proxy_ready{namespace=%[1]q,proxy="goproxy",proxy_instance="blue"} == 1`,
		`gocache_store_used_bytes{namespace=%[1]q,proxy="goproxy",proxy_instance="green"} > 0`,
		`gocache_router_weights_generation{namespace=%[1]q,proxy="goproxy"} > 0`,
		`haproxy_process_uptime_seconds{namespace=%[1]q,proxy="goproxy"}`,
	} {
		if strings.Contains(series, "%") {
			series = fmt.Sprintf(series, s.Namespace)
		}
		if samples, err := p.Query(s.ctx, series); err != nil || len(samples) == 0 {
			s.Errorf("there is no series %s: %v", series, err)
		}
	}
	s.until(30*time.Second, "all alerts to be evaluated", func(ctx context.Context) (bool, string, error) {
		failed, evaluated, err := p.RuleErrors(ctx)
		if len(failed) > 0 {
			return false, "", fmt.Errorf("alerts cannot be evaluated: %v", failed)
		}
		return evaluated >= 20, fmt.Sprintf("%d were (%v)", evaluated, err), nil
	})
	s.panels(p)
}

// panels evaluates each query of the dashboard, as Grafana does for one namespace.
func (s *fixture) panels(p *scenario.Prometheus) {
	s.Helper()
	data, err := os.ReadFile(filepath.Join(scenario.Root(), "config", "prometheus", "dashboard.json"))
	s.must(err)
	type panel struct {
		Title   string
		Targets []struct{ Expr string }
		Panels  []json.RawMessage
	}
	var dashboard panel
	s.must(json.Unmarshal(data, &dashboard))
	queries, empty := 0, []string{}
	for len(dashboard.Panels) > 0 {
		var next panel
		s.must(json.Unmarshal(dashboard.Panels[0], &next))
		dashboard.Panels = append(dashboard.Panels[1:], next.Panels...)
		for _, target := range next.Targets {
			queries++
			expression := strings.ReplaceAll(target.Expr, "$namespace", s.Namespace)
			samples, err := p.Query(s.ctx, expression)
			if err != nil {
				s.Errorf("panel %q: %s: %v", next.Title, expression, err)
			}
			if len(samples) == 0 {
				empty = append(empty, next.Title)
			}
		}
	}
	if queries < 20 {
		s.Errorf("the dashboard has %d queries", queries)
	}
	s.Logf("%d queries of the dashboard were evaluated; %d have no series in this namespace: %s", queries, len(empty), strings.Join(empty, ", "))
}
