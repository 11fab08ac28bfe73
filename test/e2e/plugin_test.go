package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli"
	"gocache.dev/operator/internal/cli/status"
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
		{[]string{"report-build", scenario.Cache, "--hits", "213", "--misses", "0"}, ""},
		{[]string{"snapshot", scenario.Cache}, scenario.Cache + "-"},
		{[]string{"rollback", scenario.Cache, good.Name}, good.Name},
	} {
		if message := s.succeeds(c.args...); !strings.Contains(message, c.want) {
			s.Errorf("%v is answered %q, want %q in it", c.args, message, c.want)
		}
	}
	s.logs()
	s.approves()
}

// logs has the plugin print what a warm-up writes, while its Job exists.
func (s *fixture) logs() {
	s.Helper()
	if out, err := s.plugin("warm-up", scenario.Cache); err != nil {
		s.Fatalf("warm-up: %v\n%s", err, out)
	}
	s.until(2*time.Minute, "logs of the warm-up", func(context.Context) (bool, string, error) {
		out, err := s.plugin("logs", scenario.Cache)
		return err == nil && out != "", fmt.Sprintf("%q, error %v", out, err), nil
	})
	s.succeeds("warm-up", scenario.Cache) // behind it: nothing runs any more
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
		`GoCache/ci +Ready `, `├─ PVC/ci +Bound +\S+ +\S+, \d+% used, (\d+ of \d+ inodes used, )?class `,
		`[├└]─ CacheSnapshot/`+snap.Name+` +Intact +\S+ +source of new PVCs; proven: \d+ of \d+ modules`,
		`ModProxy/goproxy +Ready `, `├─ Instance/blue +Serving +\S+ +weight 100`, `[├└]─ Instance/green +Serving `)
	shows([]string{"status", "modproxy/goproxy", "-o", "yaml"}, `  kind: ModProxy$`)
	var report status.Report
	shown, err := s.plugin("status", scenario.Cache, "-o", "json")
	s.must(errors.Join(err, json.Unmarshal([]byte(shown), &report)))
	if len(report.Items) != 1 || report.Items[0].Name != scenario.Cache || report.Items[0].State != "Ready" || len(report.Items[0].Children) < 2 {
		s.Errorf("the status as JSON is %+v", report)
	}
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
	watched := s.watchPlugin("status", "modproxy/"+scenario.Proxy, "--watch")
	s.succeeds("failover", scenario.Proxy, "green")
	s.proxyUntil(time.Minute, "green alone to serve", func(p *v1alpha1.ModProxy) bool { return p.Status.Serving == "green" && settled(p) })
	watched(`Instance/blue +Serving .*weight 100(?s:.*)Instance/blue +Standby .*weight 0`)
	s.succeeds("failback", scenario.Proxy)
	s.balanced(time.Minute)
	s.succeeds("reinstate", scenario.Proxy, "blue") // it is not quarantined

	program := s.pluginProgram()
	dir := filepath.Dir(program)
	s.must(os.Symlink(program, filepath.Join(dir, "kubectl_complete-gocache")))
	s.completed(dir, "status ", scenario.Cache, "modproxy/"+scenario.Proxy)
	s.completed(dir, "failover "+scenario.Proxy+" ", "blue", "green")
}

// pluginProgram builds the plugin.
func (s *fixture) pluginProgram() string {
	s.Helper()
	file := filepath.Join(s.TempDir(), "kubectl-gocache")
	build := exec.CommandContext(s.ctx, "go", "build", "-C", scenario.Root(), "-o", file, "./internal/cmd/kubectl-gocache") //nolint:gosec // of this tree
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("build the plugin: %v\n%s", err, out)
	}
	return file
}

// watchPlugin starts a command of the plugin that shows changes until it is interrupted. The
// function that it returns waits until the output matches an expression, and interrupts it.
func (s *fixture) watchPlugin(args ...string) (shows func(expression string)) {
	s.Helper()
	ctx, interrupt := context.WithCancel(s.ctx)
	var mutex sync.Mutex
	var out strings.Builder
	shown := func() string { mutex.Lock(); defer mutex.Unlock(); return out.String() }
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), ErrOut: io.Discard, Out: writer(func(p []byte) (int, error) {
		mutex.Lock()
		defer mutex.Unlock()
		return out.Write(p)
	})}
	ended := make(chan error, 1)
	go func() { ended <- s.execute(ctx, streams, args...) }()
	s.Cleanup(interrupt)
	s.until(time.Minute, fmt.Sprintf("%v to show something", args), func(context.Context) (bool, string, error) { return shown() != "", "", nil })
	return func(expression string) {
		s.Helper()
		s.until(time.Minute, fmt.Sprintf("%v to show %s", args, expression), func(context.Context) (bool, string, error) {
			return regexp.MustCompile(expression).MatchString(shown()), shown(), nil
		})
		interrupt()
		if err := <-ended; err != nil {
			s.Errorf("%v, interrupted, ended with %v", args, err)
		}
	}
}

// writer is a function that writes.
type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

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
