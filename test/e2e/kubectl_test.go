package e2e

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/api/v1alpha1"
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
