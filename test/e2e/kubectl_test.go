package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli"
	"gocache.dev/operator/test/scenario"
)

// What kubectl get gocaching shows, a regular expression for each line; spaces
// stand for any number of them.
const (
	cacheHeader    = `NAME READY GO USED CAPACITY WARMED SNAPSHOT AGE`
	cacheRow       = `gocache\.cache\.gocache\.dev/ci True 1\.\d+\.\d+ \d+Mi \d+[MG]i \S+ ci-\S+ \S+`
	snapshotHeader = `NAME READY SOURCE VERDICT MODULES SIZE AGE`
	snapshotRow    = `cachesnapshot\.cache\.gocache\.dev/ci-\S+ True ci Intact \d+ \S+ \S+`
	proxyHeader    = `NAME READY HEALTHY SERVING URL AGE`
	proxyRow       = `modproxy\.cache\.gocache\.dev/goproxy True 2/2 blue,green http://goproxy\S+ \S+`
)

// TestKubectl checks the output of kubectl, without any other tool.
func TestKubectl(t *testing.T) {
	s := onFull(t)
	snap, err := s.Offered(s.ctx, "")
	s.must(err)
	s.balanced(4 * time.Minute)

	out, err := s.KubectlOutput(s.ctx, "-n", s.Namespace, "get", "gocaching")
	s.must(err)
	s.Logf("kubectl get gocaching\n%s", out)
	for _, want := range []string{cacheHeader, cacheRow, snapshotHeader, snapshotRow, proxyHeader, proxyRow} {
		line := regexp.MustCompile(`(?m)^` + strings.ReplaceAll(want, " ", ` +`) + ` *$`)
		if !line.MatchString(out) {
			s.Errorf("kubectl get gocaching shows no line like\n%s", want)
		}
	}
	for line := range strings.Lines(out) {
		if len(line) > 140 {
			s.Errorf("a line of %d characters does not fit a screen: %s", len(line), line)
		}
	}

	for object, events := range map[string][]string{
		"gocache/" + scenario.Cache:  {"WarmUpStarted", "Warmed", "SnapshotRequested", "SnapshotOffered"},
		"cachesnapshot/" + snap.Name: {"SnapshotCreated", "Verified"},
		"modproxy/" + scenario.Proxy: {"InstanceHealthy", "WeightsChanged", "WeightsConfirmed"},
	} {
		s.described(object, events)
	}
	if wide, err := s.KubectlOutput(s.ctx, "-n", s.Namespace, "get", v1alpha1.GoCacheKind, "-o", "wide"); err != nil || !strings.Contains(wide, "consumers get "+snap.Name) {
		s.Errorf("kubectl get gocache -o wide does not say what consumers get: %v\n%s", err, wide)
	}
}

// TestPrintedCommands pastes what the demo prints at its end into a shell.
func TestPrintedCommands(t *testing.T) {
	s := onFull(t)
	_, err := s.OfflineBuilds(s.ctx) // the last command shows the log of a builder
	s.must(err)
	out, err := exec.CommandContext(s.ctx, "sh", "-e", "-c", s.LookAround()).CombinedOutput() //nolint:gosec // what is tested
	if err != nil {
		s.Errorf("%s%v\n%s", s.LookAround(), err, out)
	}
}

// described checks that kubectl describe shows events, and a sentence in each.
func (s *fixture) described(object string, events []string) {
	s.Helper()
	out, err := s.KubectlOutput(s.ctx, "-n", s.Namespace, "describe", object)
	s.must(err)
	_, shown, _ := strings.Cut(out, "\nEvents:")
	for _, reason := range events {
		if !regexp.MustCompile(`(?m)^ +(Normal|Warning) +` + reason + ` +\S.* (gocache|cachesnapshot|modproxy)-controller +\S+ \S+`).MatchString(shown) {
			s.Errorf("kubectl describe %s shows no event %s:%s", object, reason, shown)
		}
	}
}

// plugin runs a command of the kubectl plugin in the namespace of the fixture.
func (s *fixture) plugin(args ...string) (string, error) {
	s.Helper()
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	err := s.execute(s.ctx, streams, args...)
	s.Logf("kubectl gocache %s\n%s%s", strings.Join(args, " "), errOut, out)
	return out.String(), err
}

// execute runs a command of the kubectl plugin with its output to the streams.
func (s *fixture) execute(ctx context.Context, streams genericiooptions.IOStreams, args ...string) error {
	cmd := cli.New(streams, cli.Options{Version: "e2e", Now: time.Now})
	cmd.SetArgs(append(slices.Clone(args), s.ofCluster()...))
	return cmd.ExecuteContext(ctx)
}

// ofCluster are the flags that choose the cluster and the namespace of the fixture.
func (s *fixture) ofCluster() []string {
	flags := []string{"--namespace", s.Namespace}
	if s.Kubeconfig != "" {
		flags = append(flags, "--kubeconfig", s.Kubeconfig)
	}
	return flags
}

// TestPluginOnVolumes checks the StorageClass of the caches, and compares two
// snapshots of one state of a cache. Nothing of both stays.
func TestPluginOnVolumes(t *testing.T) {
	t.Parallel()
	s := onSmall(t)
	var cache v1alpha1.GoCache
	s.get(scenario.Cache, &cache)
	out, err := s.plugin("csicheck", cache.Status.Storage.AppliedClass)
	if err != nil || strings.Count(out, "✓") != 5 {
		s.Errorf("csicheck: %v\n%s", err, out)
	}
	s.showsProgress("csicheck", cache.Status.Storage.AppliedClass)

	offered, err := s.Offered(s.ctx, "")
	s.must(err)
	again := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "to-compare"}}
	again.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: scenario.Cache}
	again.Spec.Verification.Mode = v1alpha1.VerificationSkip // or no Job would be needed to compare them
	s.must(s.Client.Create(s.ctx, again))
	t.Cleanup(func() { s.must(s.Client.Delete(context.WithoutCancel(s.ctx), again)) })
	s.until(time.Minute, "the snapshot to be created", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(again), again)
		return again.Status.VolumeSnapshotUID != "", fmt.Sprintf("%+v", again.Status), err
	})
	if out, err = s.plugin("diff", offered.Name, again.Name, "--timeout", "3m"); err != nil || !strings.HasPrefix(out, "Their manifests list the same content: sha256:") {
		s.Errorf("diff: %v\n%s", err, out)
	}
	s.leftNothing()
}

// showsProgress runs a command of the plugin on a terminal, where a bar shows each step until
// the result takes its place.
func (s *fixture) showsProgress(args ...string) {
	s.Helper()
	line := strings.Join(append(append([]string{s.pluginProgram()}, args...), s.ofCluster()...), " ")
	out, err := exec.CommandContext(s.ctx, "script", "--quiet", "--return", "--echo", "never", "--command", line, os.DevNull).CombinedOutput() //nolint:gosec // of this tree
	before, result, found := strings.Cut(string(out), "StorageClass ")
	if err != nil || !found || !strings.Contains(before, "█") || strings.Contains(result, "█") || strings.Count(result, "✓") != 5 {
		s.Errorf("%v on a terminal: %v\n%q", args, err, out)
	}
	for _, step := range []string{"provision", "larger clone", "expand"} { // a snapshot may take less than a frame
		if !strings.Contains(before, step+" ...") {
			s.Errorf("%v on a terminal shows no step %s", args, step)
		}
	}
}

// leftNothing checks that no object of the plugin is in the namespace of the fixture.
func (s *fixture) leftNothing() {
	s.Helper()
	if left, err := s.KubectlOutput(s.ctx, "-n", s.Namespace, "get", "jobs,pods,pvc,volumesnapshots", "-l", "app.kubernetes.io/created-by=kubectl-gocache", "-o", "name"); err != nil || left != "" {
		s.Errorf("left behind: %v\n%s", err, left)
	}
}
