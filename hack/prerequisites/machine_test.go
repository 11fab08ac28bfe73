package prerequisites

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// essential are commands of Debian's essential packages that check.sh and make
// use, and the shell: they are on every machine.
var essential = []string{
	"awk", "bash", "cat", "chmod", "cut", "dirname", "flock", "grep", "head", "ls", "mktemp", "rm", "sed", "sh", "sleep", "sort", "touch", "tr",
}

// top is the top of the repository.
func top() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// entry is one line of the list.
type entry struct {
	name, debian string
	steps        []string
}

// list is what check.sh --list prints.
func list(t *testing.T) (entries []entry) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "bash", filepath.Join(top(), "hack", "prerequisites", "check.sh"), "--list").Output() //nolint:gosec // ours
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			t.Fatalf("no purpose in the line %q", line)
		}
		entries = append(entries, entry{fields[0], fields[1], strings.Split(fields[2], ",")})
	}
	return entries
}

// machine is a bare Debian: a directory with the essential commands, the root
// of a file system, and a copy of the repository's scripts. Commands that it
// has are stubs.
type machine struct {
	*testing.T
	dir string
	env []string
}

const aptGet = `#!/bin/sh
echo "apt-get $*" >>"$STUBS/log"
[ "$1" != -q ] || shift
if [ "$1" = update ]; then
  [ ! -e "$STUBS/offline" ] || { echo "cannot reach the archive"; exit 100; }
  # Goes on only when the lock is wanted as often as the test demands.
  tries=0
  while [ -e "$STUBS/contended" ] && [ "$(grep -c "^flock" "$STUBS/log")" -lt 2 ]; do
    tries=$((tries+1)); [ $tries -lt 600 ] || exit 1; sleep 0.1
  done
  exit 0
fi
[ ! -e "$STUBS/offline" ] || { echo "Unable to locate package"; exit 100; }
cat "$PREREQUISITES_ROOT/usr/sbin/policy-rc.d" >>"$STUBS/policy" 2>&1
for package; do
  [ "$package" != nothing ] || continue
  while read -r name of; do
    [ "$of" = "$package" ] || continue
    case $name in
    /*) file=$PREREQUISITES_ROOT$name ;;
    *) file=$PREREQUISITES_ROOT/usr/sbin/$name ;;
    esac
    printf '#!/bin/sh\n' >"$file"; chmod +x "$file"
  done <"$STUBS/packages"
done
`

// bareDebian has Go and nothing that the list names.
func bareDebian(t *testing.T) *machine {
	t.Helper()
	m := &machine{T: t, dir: t.TempDir()}
	for _, name := range essential {
		found, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		m.must(os.MkdirAll(m.path("bin"), 0o755)) //nolint:gosec // a test's tree
		m.must(os.Symlink(found, m.path("bin", name)))
	}
	m.stub("uname", "echo Linux")
	m.stub("id", "echo 0")
	m.stub("unshare", "exit 0")
	m.stub("df", `echo header; echo "/dev/vda 999999 1 999998 1% /"`)
	m.stub("sudo", "exit 1")
	m.stub("flock", `echo "flock $*" >>"$STUBS/log"; exec `+m.real("flock")+` "$@"`)
	m.stub("go", `echo "go $*" >>"$STUBS/log"
case "$*" in
"env GOVERSION") echo go1.26.8 ;;
"env GOCACHE") echo "$STUBS" ;;
esac`)
	m.write(aptGet, "bin", "apt-get")
	var packages strings.Builder
	for _, e := range list(t) {
		fmt.Fprintln(&packages, e.name, e.debian)
		if filepath.IsAbs(e.name) {
			m.must(os.MkdirAll(m.path("root", filepath.Dir(e.name)), 0o755)) //nolint:gosec // a test's tree
		}
	}
	m.write(packages.String(), "packages")
	m.write("nodev\toverlay\n\txfs\n", "root", "proc", "filesystems")
	m.write("MemAvailable: 16000000 kB\nSwapFree: 0 kB\n", "root", "proc", "meminfo")
	m.write("", "root", "dev", "loop-control")
	m.write("", "root", "sys", "fs", "cgroup", "cgroup.controllers")
	m.write("", "root", "usr", "sbin", "true")
	m.write("", "root", "run", "empty")
	m.copy("Makefile", "go.mod", ".ci/run", "hack/prerequisites/check.sh", "hack/devcluster/binaries/go.mod")
	parts, err := filepath.Glob(filepath.Join(top(), "hack", "make", "*.mk"))
	m.must(err)
	for _, p := range parts {
		m.copy(filepath.Join("hack", "make", filepath.Base(p)))
	}
	m.env = []string{
		"PATH=" + m.path("bin"), "HOME=" + m.path("home"), "STUBS=" + m.dir, "PREREQUISITES_ROOT=" + m.path("root"),
	}
	return m
}

// equipped has everything but the given packages.
func equipped(t *testing.T, without ...string) *machine {
	t.Helper()
	m := bareDebian(t)
	for _, e := range list(t) {
		switch {
		case slices.Contains(without, e.debian):
		case filepath.IsAbs(e.name):
			m.write("", "root", e.name)
		case e.name != "make": // the test's own
			m.stub(e.name, "exit 0")
		}
	}
	if !slices.Contains(without, "make") {
		m.must(os.Symlink(m.real("make"), m.path("bin", "make")))
	}
	return m
}

func (m *machine) path(names ...string) string {
	return filepath.Join(append([]string{m.dir}, names...)...)
}

func (m *machine) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// real is where this machine has a command.
func (m *machine) real(name string) string {
	m.Helper()
	file, err := exec.LookPath(name)
	m.must(err)
	return file
}

func (m *machine) write(text string, names ...string) {
	m.Helper()
	file := m.path(names...)
	m.must(os.MkdirAll(filepath.Dir(file), 0o755))                                   //nolint:gosec // a test's tree
	m.must(errors.Join(os.RemoveAll(file), os.WriteFile(file, []byte(text), 0o755))) //nolint:gosec // stubs are run
}

// stub makes a command of a few lines of shell.
func (m *machine) stub(name, script string) {
	m.Helper()
	m.write("#!/bin/sh\n"+script+"\n", "bin", name)
}

func (m *machine) copy(names ...string) {
	m.Helper()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(top(), name)) //nolint:gosec // of this repository
		m.must(err)
		m.write(string(text), "src", name)
	}
}

// run runs a command in the copy of the repository and returns what it printed.
func (m *machine) run(env []string, name string, args ...string) (string, error) {
	m.Helper()
	cmd := m.command(env, name, args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.Fatal(err)
	}
	return string(out), err
}

func (m *machine) command(env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(m.Context(), name, args...) //nolint:gosec // of the test
	cmd.Dir, cmd.Env = m.path("src"), slices.Concat(m.env, env)
	return cmd
}

func (m *machine) check(env []string, steps ...string) (string, error) {
	m.Helper()
	return m.run(env, m.path("src", "hack", "prerequisites", "check.sh"), steps...)
}

// called are the calls of a stub so far.
func (m *machine) called(name string) (calls []string) {
	m.Helper()
	log, err := os.ReadFile(m.path("log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.Fatal(err)
	}
	for line := range bytes.Lines(log) {
		if call, ok := strings.CutPrefix(strings.TrimSpace(string(line)), name+" "); ok {
			calls = append(calls, call)
		}
	}
	return calls
}
