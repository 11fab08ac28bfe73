package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli"
	"gocache.dev/operator/test/scenario"
)

// command requests an action by a command of the kubectl plugin and waits for it.
func (s *fixture) command(args ...string) v1alpha1.CacheRequestStatus {
	s.Helper()
	out, failed := s.plugin(append(args, "--wait", "--timeout", "5m")...)
	name, ok := strings.CutSuffix(strings.TrimSpace(out), " created")
	if !ok {
		s.Fatalf("%v created no request: %v", args, failed)
	}
	var q v1alpha1.CacheRequest
	s.get(strings.TrimPrefix(name, "cacherequest."+v1alpha1.GroupName+"/"), &q)
	if (failed == nil) != (q.Status.Outcome == v1alpha1.RequestSucceeded) {
		s.Errorf("%v ended with %v, and its request with %s: %s", args, failed, q.Status.Outcome, q.Status.Message)
	}
	return q.Status
}

// succeeds requests an action that has to succeed, and returns the answer.
func (s *fixture) succeeds(args ...string) string {
	s.Helper()
	answer := s.command(args...)
	if answer.Outcome != v1alpha1.RequestSucceeded {
		s.Errorf("%v is answered %s %q", args, answer.Outcome, answer.Message)
	}
	return answer.Message
}

// TestPluginRequests requests every action on a cache by the kubectl plugin.
func TestPluginRequests(t *testing.T) {
	observed(t)
	t.Parallel()
	s := onOwn(t, "plugin")
	good, err := s.Offered(s.ctx, "")
	s.must(err)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"warm-up", scenario.Cache}, ""},
		{[]string{"verify", scenario.Cache}, "Intact: "},
		{[]string{"report-failure", scenario.Cache}, "Intact: "},
		{[]string{"snapshot", scenario.Cache}, scenario.Cache + "-"},
		{[]string{"rollback", scenario.Cache, good.Name}, good.Name},
	} {
		if message := s.succeeds(c.args...); !strings.Contains(message, c.want) {
			s.Errorf("%v is answered %q, want %q in it", c.args, message, c.want)
		}
	}
	s.approves()
	if out, err := s.plugin("logs", scenario.Cache); err != nil && !strings.Contains(err.Error(), "has no Job now") {
		s.Errorf("logs: %v\n%s", err, out)
	}
}

// approves has the plugin show a cleanup plan, and approve it and no other.
func (s *fixture) approves() {
	s.Helper()
	s.edit(func(c *v1alpha1.GoCache) {
		c.Spec.Cleanup = &v1alpha1.Cleanup{MaxAge: &metav1.Duration{Duration: 240 * time.Hour}, Approval: v1alpha1.ApprovalRequired}
	})
	s.succeeds("cleanup", scenario.Cache) // nothing is that old
	if _, err := s.plugin("approve", scenario.Cache); err == nil || !strings.Contains(err.Error(), "no cleanup plan that waits") {
		s.Errorf("approve without a plan: %v", err)
	}

	// As in TestCleanup: what a warm-up of more packages wrote becomes old.
	more := time.Now()
	var packages []string
	s.edit(func(c *v1alpha1.GoCache) {
		source := &c.Spec.WarmUp.Sources[0]
		packages = source.Packages
		source.Packages = append(slices.Clone(packages), "encoding/csv", "text/tabwriter")
	})
	s.succeeds("warm-up", scenario.Cache)
	less := time.Now()
	s.edit(func(c *v1alpha1.GoCache) { c.Spec.WarmUp.Sources[0].Packages = packages })
	s.succeeds("warm-up", scenario.Cache)
	_, err := s.Age(s.ctx, more, less)
	s.must(err)
	if message := s.succeeds("cleanup", scenario.Cache); !strings.Contains(message, "waits for approval") {
		s.Fatalf("the cleanup is answered %q", message)
	}
	_, shown := s.plugin("approve", scenario.Cache)
	digest := regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(fmt.Sprint(shown))
	if digest == "" {
		s.Fatalf("approve shows no plan: %v", shown)
	}
	if answer := s.command("approve", scenario.Cache, "sha256:other"); answer.Outcome != v1alpha1.RequestRefused {
		s.Errorf("the approval of another plan is answered %s %q", answer.Outcome, answer.Message)
	}
	s.succeeds("approve", scenario.Cache, digest)
	var cache v1alpha1.GoCache
	s.get(scenario.Cache, &cache)
	if status := cache.Status.Cleanup; status == nil || status.Removed == 0 || status.LastPlan.Open {
		s.Errorf("after the approval the cleanup is %+v", status)
	}
}

// TestPlugin shows all objects of the samples by the kubectl plugin, moves the clients of
// the proxy to one instance and back, and completes command lines as kubectl does.
func TestPlugin(t *testing.T) {
	observed(t)
	s := onFull(t)
	snap, err := s.Offered(s.ctx, "")
	s.must(err)
	s.balanced(4 * time.Minute)

	shows := func(args []string, lines ...string) {
		s.Helper()
		out, err := s.plugin(args...)
		if err != nil {
			s.Errorf("%v: %v", args, err)
		}
		for _, line := range lines {
			if !regexp.MustCompile(`(?m)^` + line).MatchString(out) {
				s.Errorf("%v shows no line like %s:\n%s", args, line, out)
			}
		}
	}
	shows([]string{"status"},
		`GoCache/ci +Ready `, `├─ PVC/ci +Bound +\S+ +\S+, \d+% used, class `, `[├└]─ CacheSnapshot/`+snap.Name+` +Intact +\S+ +source of new PVCs; \d+ modules`,
		`ModProxy/goproxy +Ready `, `├─ Instance/blue +Serving +\S+ +weight 100`, `[├└]─ Instance/green +Serving `)
	shows([]string{"status", "modproxy/goproxy", "-o", "yaml"}, `  kind: ModProxy$`)
	shows([]string{"logs", "modproxy/goproxy", "blue", "--tail", "5"}, `.`)
	shows([]string{"env", scenario.Cache}, `export GOMODCACHE='/`, `export GOPROXY='http`)
	shows([]string{"env", scenario.Cache, "--offline", "--shell", "dotenv"}, `GOPROXY=off`)

	// Of a cluster that is set up, only objects may have findings.
	out, _ := s.plugin("doctor")
	before, _, found := strings.Cut(out, "\nObjects in namespace")
	if !found || strings.Contains(before, "✗") || strings.Count(before, "✓") < 10 {
		s.Errorf("doctor finds something wrong with the cluster:\n%s", out)
	}

	goEnv := filepath.Join(s.TempDir(), "go-env.json")
	data, err := exec.CommandContext(s.ctx, "go", "env", "-json").Output()
	s.must(err)
	s.must(os.WriteFile(goEnv, data, 0o600))
	if out, err := s.plugin("why-cold", scenario.Cache, "--go-env", goEnv); err != nil && !errors.Is(err, cli.ErrReported) || !strings.Contains(out, snap.Name) {
		s.Errorf("why-cold: %v\n%s", err, out)
	}

	s.succeeds("verify", "modproxy/"+scenario.Proxy)
	s.succeeds("failover", scenario.Proxy, "green")
	s.proxyUntil(time.Minute, "green alone to serve", func(p *v1alpha1.ModProxy) bool { return p.Status.Serving == "green" && settled(p) })
	s.succeeds("failback", scenario.Proxy)
	s.balanced(time.Minute)
	s.succeeds("reinstate", scenario.Proxy, "blue") // it is not quarantined

	dir := s.TempDir()
	program := filepath.Join(dir, "kubectl-gocache")
	build := exec.CommandContext(s.ctx, "go", "build", "-C", scenario.Root(), "-o", program, "./internal/cmd/kubectl-gocache") //nolint:gosec // of this tree
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("build the plugin: %v\n%s", err, out)
	}
	s.must(os.Symlink(program, filepath.Join(dir, "kubectl_complete-gocache")))
	s.completed(dir, "status ", scenario.Cache, "modproxy/"+scenario.Proxy)
	s.completed(dir, "failover "+scenario.Proxy+" ", "blue", "green")
}

// completed has kubectl complete a command line of the plugin in dir, as its scripts for
// all shells do.
func (s *fixture) completed(dir, line string, want ...string) {
	s.Helper()
	args := append([]string{"__complete", "gocache"}, strings.Split(line, " ")...)
	args = slices.Insert(args, len(args)-1, "--namespace", s.Namespace) // kubectl passes on what follows the plugin's name
	cmd := exec.CommandContext(s.ctx, s.Kubectl, args...)               //nolint:gosec // what is tested
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	if s.Kubeconfig != "" {
		cmd.Env = append(cmd.Env, "KUBECONFIG="+s.Kubeconfig)
	}
	out, err := cmd.Output()
	if err != nil {
		s.Errorf("kubectl %v: %v", args, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, w := range want {
		if !slices.Contains(lines, w) {
			s.Errorf("kubectl %v completes %q, and not %s", args, lines, w)
		}
	}
}
