package prerequisites

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// Packages that each step needs, in the order in which they are installed.
const (
	unitPackages        = "bash-completion ca-certificates e2fsprogs fish gcc git haproxy libc6-dev make mount zsh"
	integrationPackages = "ca-certificates gcc git libc6-dev make"
	clusterPackages     = "busybox-static ca-certificates conntrack containernetworking-plugins git iproute2 iptables make mount nftables procps runc xfsprogs"
	demoPackages        = "busybox-static ca-certificates conntrack containernetworking-plugins git haproxy iproute2 iptables make mount nftables procps runc xfsprogs"
	allPackages         = "bash-completion busybox-static ca-certificates conntrack containernetworking-plugins e2fsprogs fish gcc git haproxy iproute2 iptables libc6-dev make mount nftables procps runc xfsprogs zsh"
)

const installation = "-q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "

func TestBareDebianGetsWhatEachStepNeeds(t *testing.T) {
	t.Parallel()
	for step, packages := range map[string]string{
		"build": "ca-certificates git make", "unit": unitPackages, "integration": integrationPackages,
		"cluster": clusterPackages, "demo": demoPackages, "e2e": demoPackages, "all": allPackages,
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			m := bareDebian(t)
			out, err := m.check(nil, step)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if want := []string{"-q update", installation + packages}; !slices.Equal(m.called("apt-get"), want) {
				t.Errorf("apt-get was called with\n%q\nwant\n%q", m.called("apt-get"), want)
			}
			if !strings.Contains(out, "installing with apt-get: "+packages) {
				t.Errorf("the installation is not reported:\n%s", out)
			}
			if out, err := m.check(nil, step); err != nil || out != "" || len(m.called("apt-get")) != 2 {
				t.Errorf("the second run: %v, apt-get %q\n%s", err, m.called("apt-get"), out)
			}
		})
	}
}

func TestOnlyMissingPackagesAreInstalled(t *testing.T) {
	t.Parallel()
	m := equipped(t, "haproxy", "containernetworking-plugins")
	if out, err := m.check(nil, "all"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := []string{"-q update", installation + "containernetworking-plugins haproxy"}; !slices.Equal(m.called("apt-get"), want) {
		t.Errorf("apt-get was called with %q, want %q", m.called("apt-get"), want)
	}
}

// A command that PATH leaves out, as after su, is not missing.
func TestAdministratorsCommandsAreFound(t *testing.T) {
	t.Parallel()
	m := equipped(t, "haproxy")
	m.write("#!/bin/sh\n", "root", "usr", "sbin", "haproxy")
	if out, err := m.check(nil, "all"); err != nil || len(m.called("apt-get")) != 0 {
		t.Errorf("%v, apt-get %q\n%s", err, m.called("apt-get"), out)
	}
}

func TestNothingMissingIsQuickAndSilent(t *testing.T) {
	t.Parallel()
	m := equipped(t)
	began := time.Now()
	out, err := m.check(nil, "all")
	if err != nil || out != "" || len(m.called("apt-get"))+len(m.called("flock")) != 0 {
		t.Errorf("%v, apt-get %q, flock %q\n%s", err, m.called("apt-get"), m.called("flock"), out)
	}
	// A second on an idle machine; tests run beside others.
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestServicesAreNotStarted(t *testing.T) {
	t.Parallel()
	m := equipped(t, "haproxy")
	if out, err := m.check(nil, "unit"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	policy, err := os.ReadFile(m.path("policy"))
	if err != nil || !strings.Contains(string(policy), "exit 101") {
		t.Errorf("while packages were installed, policy-rc.d was: %v\n%s", err, policy)
	}
	if _, err := os.Stat(m.path("root", "usr", "sbin", "policy-rc.d")); err == nil {
		t.Error("policy-rc.d is left behind")
	}

	m = equipped(t, "haproxy")
	const own = "#!/bin/sh\n# The administrator's.\nexit 104\n"
	m.write(own, "root", "usr", "sbin", "policy-rc.d")
	if out, err := m.check(nil, "unit"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if left, err := os.ReadFile(m.path("root", "usr", "sbin", "policy-rc.d")); err != nil || string(left) != own {
		t.Errorf("the administrator's policy-rc.d is now: %v\n%s", err, left)
	}
}

// A run that was killed leaves its policy; the next one removes it.
func TestPolicyOfAKilledRunIsRemoved(t *testing.T) {
	t.Parallel()
	m := equipped(t, "haproxy")
	m.write("#!/bin/sh\n# Until hack/prerequisites/check.sh has installed its packages.\nexit 101\n", "root", "usr", "sbin", "policy-rc.d")
	if out, err := m.check(nil, "unit"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(m.path("root", "usr", "sbin", "policy-rc.d")); err == nil {
		t.Error("policy-rc.d is left behind")
	}
}

func TestTwoRunsAtOnceInstallOnce(t *testing.T) {
	t.Parallel()
	m := equipped(t, "haproxy", "runc")
	m.write("", "contended") // the first waits until the second asks for the lock
	run := func() (*exec.Cmd, *bytes.Buffer) {
		var out bytes.Buffer
		cmd := m.command(nil, m.path("src", "hack", "prerequisites", "check.sh"), "all")
		cmd.Stdout, cmd.Stderr = &out, &out
		m.must(cmd.Start())
		return cmd, &out
	}
	first, firstOut := run()
	second, secondOut := run()
	if err := first.Wait(); err != nil {
		t.Errorf("%v\n%s", err, firstOut)
	}
	if err := second.Wait(); err != nil {
		t.Errorf("%v\n%s", err, secondOut)
	}
	if want := []string{"-q update", installation + "haproxy runc"}; !slices.Equal(m.called("apt-get"), want) {
		t.Errorf("apt-get was called with %q, want %q", m.called("apt-get"), want)
	}
}

func TestFailedInstallationShowsWhy(t *testing.T) {
	t.Parallel()
	m := equipped(t, "haproxy")
	m.write("", "offline")
	out, err := m.check(nil, "unit")
	if err == nil || !strings.Contains(out, "Unable to locate package") || !strings.Contains(out, "apt-get update && apt-get install -y --no-install-recommends haproxy") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(m.path("root", "usr", "sbin", "policy-rc.d")); err == nil {
		t.Error("policy-rc.d is left behind")
	}
}

// What cannot be installed from here is reported at once, with all the rest,
// and nothing is installed.
func TestRefusals(t *testing.T) {
	t.Parallel()
	user := func(m *machine) { m.stub("id", "echo 1000") }
	for name, tt := range map[string]struct {
		step    string
		env     []string
		change  func(*machine)
		without []string
		want    []string
		not     string
	}{
		"INSTALL=no": {"all", []string{"INSTALL=no"}, nil, []string{"runc", "haproxy"},
			[]string{"\n  apt-get update && apt-get install -y --no-install-recommends haproxy runc\n", "containers"}, "sudo"},
		"a user, unit tests": {"unit", nil, user, []string{"haproxy"},
			[]string{"\n  sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends haproxy'\n"}, "needs root"},
		"a user, the demo": {"demo", nil, user, []string{"haproxy"},
			[]string{"needs root", "sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends haproxy'\n"}, ""},
		"a user without sudo": {"unit", nil, func(m *machine) { user(m); m.must(os.Remove(m.path("bin", "sudo"))) }, []string{"haproxy"},
			[]string{"\n  su -c 'apt-get update && apt-get install -y --no-install-recommends haproxy'\n"}, "sudo"},
		"a user without sudo, the demo": {"demo", []string{"TARGETS=demo-up again"}, func(m *machine) { user(m); m.must(os.Remove(m.path("bin", "sudo"))) }, nil,
			[]string{"needs root", "\n  su -c \"PATH=$PATH make demo-up again\"\n"}, "sudo"},
		"another distribution": {"all", nil, func(m *machine) { m.must(os.Remove(m.path("bin", "apt-get"))) }, []string{"runc", "xfsprogs"},
			[]string{"runc", "mkfs.xfs", "xfs_growfs", "package manager"}, "apt-get"},
		"another system": {"all", nil, func(m *machine) { m.stub("uname", "echo Darwin") }, []string{"runc"},
			[]string{"needs Linux", "Darwin"}, "runc"},
		"no Go": {"unit", nil, func(m *machine) { m.must(os.Remove(m.path("bin", "go"))) }, []string{"haproxy"},
			[]string{"go is missing", "https://go.dev/doc/install"}, ""},
		"Go outside PATH": {"unit", nil, func(m *machine) {
			m.must(os.Remove(m.path("bin", "go")))
			m.write("", "root", "usr", "local", "go", "bin", "go")
		}, nil, []string{"export PATH=$PATH:/usr/local/go/bin"}, ""},
		"Go too old": {"unit", nil, func(m *machine) { oldGo(m, "echo 'go: go.mod requires go >= 1.26.0' >&2; exit 1") }, nil,
			[]string{"go is 1.19.8", "needs 1.26.0", "go.mod requires"}, ""},
		"Go too old for the cluster": {"cluster", nil, func(m *machine) { oldGo(m, "exit 1") }, nil,
			[]string{"hack/devcluster/binaries/go.mod needs 1.26.8"}, ""},
		"no namespaces": {"cluster", nil, func(m *machine) { m.stub("unshare", "echo 'unshare: Operation not permitted' >&2; exit 1") }, []string{"runc"},
			[]string{"Operation not permitted", "privileged"}, ""},
		"no XFS": {"cluster", nil, func(m *machine) { m.write("nodev\toverlay\n", "root", "proc", "filesystems") }, nil,
			[]string{"file system xfs"}, "overlay"},
		"no loop devices": {"cluster", nil, func(m *machine) { m.must(os.Remove(m.path("root", "dev", "loop-control"))) }, nil,
			[]string{"loop devices"}, ""},
		"no cgroups": {"cluster", nil, func(m *machine) { m.must(os.RemoveAll(m.path("root", "sys"))) }, nil,
			[]string{"cgroups"}, ""},
		"no nftables": {"cluster", nil, func(m *machine) { m.stub("nft", "echo 'Protocol not supported' >&2; exit 1") }, nil,
			[]string{"nftables in the kernel", "Protocol not supported"}, ""},
		"a full disk": {"demo", nil, func(m *machine) { m.stub("df", `echo header; echo "/dev/vda 9999 1 1234 1% /"`) }, []string{"runc"},
			[]string{"1234 MiB", "disk", "ROOM=no"}, ""},
		"little memory": {"integration", nil, func(m *machine) {
			m.write("MemAvailable: 921600 kB\nSwapFree: 102400 kB\n", "root", "proc", "meminfo")
		}, nil, []string{"1000 MiB are available", "memory", "ROOM=no"}, ""},
		"CLUSTER=kind": {"demo", []string{"CLUSTER=kind"}, func(m *machine) { m.must(os.Remove(m.path("bin", "kind"))) }, []string{"runc"},
			[]string{"not in Debian: kind"}, "runc"},
		"CLUSTER=other": {"demo", []string{"CLUSTER=other"}, nil, nil, []string{"usage", "other"}, ""},
		"no step":       {"nonsense", nil, nil, nil, []string{"usage"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := equipped(t, tt.without...)
			if tt.change != nil {
				tt.change(m)
			}
			out, err := m.check(tt.env, tt.step)
			if err == nil {
				t.Errorf("it succeeds:\n%s", out)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in:\n%s", want, out)
				}
			}
			if tt.not != "" && strings.Contains(out, tt.not) {
				t.Errorf("%q is in:\n%s", tt.not, out)
			}
			if calls := m.called("apt-get"); len(calls) != 0 {
				t.Errorf("apt-get was called: %q", calls)
			}
		})
	}
}

// oldGo is a go command that go.mod refuses with the given script.
func oldGo(m *machine, list string) {
	m.stub("go", `case "$*" in
"env GOVERSION") echo go1.19.8 ;;
"env GOCACHE") echo "$STUBS" ;;
"list -m") `+list+` ;;
esac`)
}

// An older go command that may download the right one is new enough.
func TestGoThatDownloadsItsSuccessor(t *testing.T) {
	t.Parallel()
	m := equipped(t)
	oldGo(m, "exit 0")
	if out, err := m.check(nil, "all"); err != nil || out != "" {
		t.Errorf("%v\n%s", err, out)
	}
}

// What is built needs less than what is to be built, and a cluster that runs
// has taken its share.
func TestRoomForWhatIsBuiltAlready(t *testing.T) {
	t.Parallel()
	m := equipped(t)
	m.stub("df", `echo header; echo "/dev/vda 9999 1 5000 1% /"`)
	m.write("MemAvailable: 2048000 kB\n", "root", "proc", "meminfo")
	if out, err := m.check(nil, "cluster"); err == nil || !strings.Contains(out, "first build") {
		t.Errorf("not built: %v\n%s", err, out)
	}
	if out, err := m.check([]string{"ROOM=no"}, "cluster"); err != nil {
		t.Errorf("ROOM=no: %v\n%s", err, out)
	}
	m.write("", "home", ".cache", "gocache-operator", "devcluster", "0123", "bin", "k8s")
	if out, err := m.check(nil, "cluster"); err != nil {
		t.Errorf("built: %v\n%s", err, out)
	}
	m.stub("df", `echo header; echo "/dev/vda 9999 1 500 1% /"`)
	if out, err := m.check(nil, "cluster"); err == nil || !strings.Contains(out, "running cluster") {
		t.Errorf("built, 500 MiB left: %v\n%s", err, out)
	}
	m.write("", "root", "var", "tmp", "gocache-devcluster", "bare", "record.json")
	if out, err := m.check(nil, "cluster"); err != nil {
		t.Errorf("running: %v\n%s", err, out)
	}
}

// Each target checks before it compiles, and the union of what follows.
func TestTargetsCheckBeforeTheyCompile(t *testing.T) {
	t.Parallel()
	for target, packages := range map[string]string{
		"prerequisites": allPackages, "test": allPackages, "test-unit": unitPackages, "test-integration": integrationPackages,
		"test-e2e": demoPackages, "demo": demoPackages, "cluster-up": clusterPackages, "cluster-selftest": clusterPackages,
		"kubebuilder-assets": integrationPackages, "crash-points": integrationPackages, "bench-operator": integrationPackages,
		"crash-random": demoPackages, "perf": demoPackages, "failover-table": demoPackages, "bench-router": unitPackages,
		"release": "ca-certificates git make", "release-check": "ca-certificates git make", "test-upgrade": demoPackages, "test-release": demoPackages,
		"test-observed": demoPackages, "recordings": demoPackages,
	} {
		for _, flags := range []string{"-j4", "--keep-going"} {
			t.Run(target+" "+flags, func(t *testing.T) {
				t.Parallel()
				m := bareDebian(t)
				out, err := m.run([]string{"INSTALL=no"}, m.real("make"), flags, target)
				if want := "\n  apt-get update && apt-get install -y --no-install-recommends " + packages + "\n"; err == nil || !strings.Contains(out, want) {
					t.Errorf("%v, want %q in:\n%s", err, want, out)
				}
				compiledNothing(m)
			})
		}
	}
}

// A user gets one command line that does what was asked for.
func TestUserGetsCommandLine(t *testing.T) {
	t.Parallel()
	m := equipped(t)
	m.stub("id", "echo 1000")
	out, err := m.run(nil, m.real("make"), "demo")
	if want := "\n  sudo -E env \"PATH=$PATH\" make demo\n"; err == nil || !strings.Contains(out, want) {
		t.Errorf("%v, want %q in:\n%s", err, want, out)
	}
	compiledNothing(m)
}

func TestContinuousIntegrationChecksFirst(t *testing.T) {
	t.Parallel()
	m := bareDebian(t)
	out, err := m.run([]string{"INSTALL=no"}, "bash", ".ci/run")
	if err == nil || !strings.Contains(out, "apt-get install -y --no-install-recommends "+allPackages+"\n") {
		t.Errorf("%v\n%s", err, out)
	}
	compiledNothing(m)
}

// compiledNothing checks that the go command was only asked about itself.
func compiledNothing(m *machine) {
	m.Helper()
	for _, call := range m.called("go") {
		if call != "env GOVERSION" && call != "env GOCACHE" {
			m.Errorf("go %s", call)
		}
	}
}

// With all prerequisites, targets go on.
func TestTargetsGoOn(t *testing.T) {
	t.Parallel()
	m := equipped(t)
	if out, err := m.run(nil, m.real("make"), "demo"); err != nil || !slices.Contains(m.called("go"), "run ./hack/demo up") {
		t.Errorf("%v, go %q\n%s", err, m.called("go"), out)
	}
}
