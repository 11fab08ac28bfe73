package prereq

import (
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestEverythingMissingIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	m := Machine{OS: "linux", UID: 1000, Find: func(name string) error {
		if name == "nft" || name == "mount" {
			return nil
		}
		return errors.New("missing")
	}}
	err := m.Check(Cluster...)
	if err == nil {
		t.Fatal("nothing is said")
	}
	const install = "apt-get install -y --no-install-recommends busybox-static containernetworking-plugins iptables runc xfsprogs"
	for _, want := range []string{"user id is 1000", install, "mkfs.xfs", "/usr/lib/cni/bridge"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "nftables") {
		t.Errorf("nft is there, but nftables is asked for:\n%v", err)
	}
}

func TestAMachineThatHasAllIsNotBothered(t *testing.T) {
	t.Parallel()
	m := Machine{OS: "linux", UID: 0, Find: func(string) error { return nil }}
	if err := m.Check(Cluster...); err != nil {
		t.Error(err)
	}
}

func TestUnsupportedOSReportsOnlyItself(t *testing.T) {
	t.Parallel()
	m := Machine{OS: "darwin", UID: 0, Find: func(string) error { return errors.New("missing") }}
	err := m.Check(Cluster...)
	if err == nil || !strings.Contains(err.Error(), "needs Linux") || strings.Contains(err.Error(), "apt-get") {
		t.Errorf("got %v", err)
	}
}

// The check of this package is the second one: hack/prerequisites/check.sh comes
// first, and must not pass a machine that this package refuses.
func TestTheListOfTheRepositoryHasEveryTool(t *testing.T) {
	t.Parallel()
	_, file, _, _ := runtime.Caller(0)
	script := filepath.Join(filepath.Dir(file), "..", "..", "..", "prerequisites", "check.sh")
	out, err := exec.CommandContext(t.Context(), "bash", script, "--list").Output() //nolint:gosec // ours
	if err != nil {
		t.Fatal(err)
	}
	packages, steps := map[string]string{}, map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		packages[fields[0]], steps[fields[0]] = fields[1], strings.Split(fields[2], ",")
	}
	check := func(step string, tools ...Tool) {
		for _, tool := range tools {
			if packages[tool.Name] != tool.Package || !slices.Contains(steps[tool.Name], step) {
				t.Errorf("the list has %s in package %q for %q, want package %q for %s", tool.Name, packages[tool.Name], steps[tool.Name], tool.Package, step)
			}
		}
	}
	check("cluster", Cluster...)
	check("demo", append(slices.Clone(Cluster), HAProxy, Busybox)...)
}

// What is found can be run: find looks where exec does, and no further.
func TestAdministratorsToolsCanBeRun(t *testing.T) {
	const tool = "chroot" // in /usr/sbin, and essential on Debian
	t.Setenv("PATH", "/nowhere")
	if err := find(tool); err == nil {
		t.Errorf("%s is found, but PATH does not have it", tool)
	}
	t.Setenv("PATH", SearchPath("/nowhere"))
	if _, err := exec.LookPath(tool); err != nil {
		t.Error(err)
	}
	if err := This().Tools(Tool{Name: tool}); err != nil {
		t.Error(err)
	}
	if again := SearchPath(SearchPath("/usr/bin")); again != "/usr/bin:/usr/local/sbin:/usr/sbin:/sbin" {
		t.Errorf("PATH is %s", again)
	}
}
