package scenario

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeKubectl logs its calls, and lists one more of the operator's kinds each
// time that it is asked for them.
const fakeKubectl = `#!/bin/sh
echo "$KUBECONFIG|$KUBECACHEDIR|$*" >>"$LOG"
case "$*" in
*api-resources*)
  for kind in gocaches cachesnapshots modproxies cacherequests; do
    [ "$(grep -c api-resources "$LOG")" -le 1 ] || echo "$kind.cache.gocache.dev"
    [ "$(grep -c api-resources "$LOG")" -gt 2 ] || break
  done
  echo "error: unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1" >&2
  exit 1 ;;
esac
`

// fakeCluster is a Local cluster with a kubectl that logs its calls.
func fakeCluster(t *testing.T) (c *Cluster, calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	t.Setenv("LOG", log)
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBECACHEDIR", "")
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(fakeKubectl), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	c = &Cluster{
		Options: Options{Kind: Local}, Kubectl: filepath.Join(dir, "kubectl"),
		Kubeconfig: "/state/admin.kubeconfig", KubeCache: "/state/kubecache",
	}
	return c, func() []string {
		text, err := os.ReadFile(log) //nolint:gosec // of the test
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

// TestInstallRefreshesDiscovery: Install ends when kubectl, whose cache may be
// from before the CRDs, lists all kinds. Another API that is down
// does not matter.
func TestInstallRefreshesDiscovery(t *testing.T) {
	c, calls := fakeCluster(t)
	if err := c.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	const flags = "||--cache-dir /state/kubecache --kubeconfig /state/admin.kubeconfig "
	list := flags + "api-resources --categories=gocaching -o name"
	want := []string{flags + "apply --server-side -k " + filepath.Join(Root(), "config", "local"), list, list, list}
	if !slices.Equal(calls(), want) {
		t.Errorf("kubectl was called with\n%s\nwant\n%s", strings.Join(calls(), "\n"), strings.Join(want, "\n"))
	}
}

// TestLookAround: the printed commands use the kubeconfig, the kubectl and the
// cache of this cluster.
func TestLookAround(t *testing.T) {
	c, calls := fakeCluster(t)
	s := &Scenario{Cluster: c, Namespace: "n"}
	if out, err := exec.CommandContext(t.Context(), "sh", "-e", "-c", s.LookAround()).CombinedOutput(); err != nil { //nolint:gosec // what is tested
		t.Fatalf("%v\n%s", err, out)
	}
	for i, args := range []string{
		"-n n get gocaching", "-n n describe gocache ci", "-n n describe cachesnapshots", "-n n describe modproxy goproxy", "-n n get pods,pvc",
		"-n n logs runner-0 -c runner", "gocache status -n n",
	} {
		if want := fmt.Sprintf("/state/admin.kubeconfig|/state/kubecache|%s", args); i >= len(calls()) || calls()[i] != want {
			t.Errorf("call %d of %q is not %q", i, calls(), want)
		}
	}
}
