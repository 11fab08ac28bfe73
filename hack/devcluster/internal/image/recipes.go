package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// The images that a cluster itself needs.
const (
	PauseRef   = "gocache.dev/pause:1"
	CoreDNSRef = "gocache.dev/coredns:1"
	BusyboxRef = "gocache.dev/busybox:1"
)

// Binaries is an image of statically linked programs in /, run as a user
// without privileges.
func Binaries(ref, entrypoint string, programs ...string) Recipe {
	name := strings.NewReplacer("/", "_", ":", "_", "@", "_").Replace(ref)
	var inputs []string
	for _, p := range programs {
		from, _ := placed(p)
		inputs = append(inputs, from)
	}
	r := Recipe{
		Name:   name,
		Config: Config{Ref: ref, User: userOf(NonRoot), WorkingDir: "/"},
		Inputs: inputs,
		Fill: func(l *Layer) error {
			if err := l.Base(); err != nil {
				return err
			}
			for _, p := range programs {
				from, to := placed(p)
				if err := l.File(to, from); err != nil {
					return err
				}
			}
			return nil
		},
	}
	if entrypoint != "" {
		r.Config.Entrypoint = []string{entrypoint}
	}
	return r
}

// placed splits FILE=/PATH into the file and its place in the image, which by
// default is the root.
func placed(program string) (from, to string) {
	if from, to, ok := strings.Cut(program, "="); ok {
		return from, to
	}
	return program, "/" + filepath.Base(program)
}

// Pause is the image of pod sandboxes.
func Pause(bin string) Recipe {
	return Binaries(PauseRef, "/pause", filepath.Join(bin, "pause"))
}

// CoreDNS is the image of the cluster's name server. The CoreDNS Deployment
// sets its user.
func CoreDNS(bin string) Recipe {
	return Binaries(CoreDNSRef, "/coredns", filepath.Join(bin, "coredns"))
}

// Busybox is a shell and tools, with /bin/probe to fetch URLs.
func Busybox(ctx context.Context, bin string) (Recipe, error) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return Recipe{}, err
	}
	probe := filepath.Join(bin, "probe")
	return Recipe{
		Name:   "busybox",
		Config: Config{Ref: BusyboxRef, Cmd: []string{"/bin/sh"}, User: userOf(NonRoot), WorkingDir: "/"},
		Inputs: []string{busybox, probe},
		Fill: func(l *Layer) error {
			return errors.Join(l.Base(), l.File("/bin/probe", probe), l.busybox(ctx, busybox))
		},
	}, nil
}

// busybox adds a statically linked busybox with a link for each of its tools
// that the layer has not got yet.
func (l *Layer) busybox(ctx context.Context, from string) error {
	if err := l.Program(ctx, "/bin/busybox", from); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, from, "--list").Output()
	if err != nil {
		return fmt.Errorf("%s --list: %w", from, err)
	}
	for _, tool := range strings.Fields(string(out)) {
		if tool == "busybox" {
			continue
		}
		if err := l.Link(path.Join("/bin", tool), "/bin/busybox"); err != nil {
			return err
		}
	}
	return l.Link("/usr/bin/env", "/bin/busybox")
}

// haproxyUser is the user of the public haproxy image, so that one manifest
// fits both.
const haproxyUser = 99

var haproxyVersionRE = regexp.MustCompile(`version (\d+\.\d+)`)

// HAProxy is the machine's HAProxy, as its distribution packaged it.
func HAProxy(ctx context.Context) (Recipe, error) {
	haproxy, err := lookPath("haproxy")
	if err != nil {
		return Recipe{}, err
	}
	out, err := exec.CommandContext(ctx, haproxy, "-v").Output()
	if err != nil {
		return Recipe{}, fmt.Errorf("%s -v: %w", haproxy, err)
	}
	version := haproxyVersionRE.FindSubmatch(out)
	if version == nil {
		return Recipe{}, fmt.Errorf("%s -v prints no version: %.80s", haproxy, out)
	}
	libraries, err := sharedLibraries(ctx, haproxy)
	if err != nil {
		return Recipe{}, err
	}
	const licence = "/usr/share/doc/haproxy/copyright"
	inputs := append([]string{haproxy}, libraries...)
	return Recipe{
		Name: "haproxy",
		Config: Config{
			Ref:        "gocache.dev/haproxy:" + string(version[1]),
			Entrypoint: []string{"haproxy"},
			// As process 1 it ignores SIGTERM; this lets it finish what is under way.
			StopSignal: "SIGUSR1",
			Cmd:        []string{"-f", "/usr/local/etc/haproxy/haproxy.cfg"},
			User:       userOf(haproxyUser),
			WorkingDir: "/var/lib/haproxy",
		},
		Inputs: inputs,
		Fill: func(l *Layer) error {
			err := errors.Join(
				l.Base(),
				l.Dir("/var/lib/haproxy", 0o755, haproxyUser),
				l.Dir("/usr/local/etc/haproxy", 0o755, 0),
				l.Program(ctx, "/usr/local/sbin/haproxy", haproxy),
			)
			if e := l.File(licence, licence); !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
			return err
		},
	}, nil
}

// Golang is the machine's Go toolchain with a shell and, if the machine has it,
// git, laid out as in the public golang image.
func Golang(ctx context.Context) (Recipe, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return Recipe{}, fmt.Errorf("go env: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2 {
		return Recipe{}, fmt.Errorf("go env GOROOT GOVERSION: %q, want two lines", out)
	}
	goroot, version := lines[0], strings.TrimPrefix(lines[1], "go")
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return Recipe{}, err
	}
	inputs := []string{goroot, busybox}
	git, err := exec.LookPath("git")
	if err == nil {
		inputs = append(inputs, git)
	}
	return Recipe{
		Name: "golang",
		Config: Config{
			Ref: "gocache.dev/golang:" + version,
			Cmd: []string{"/bin/sh"},
			Env: []string{
				"PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				"GOPATH=/go", "GOTOOLCHAIN=local", "CGO_ENABLED=0",
			},
			User:       userOf(NonRoot),
			WorkingDir: "/go",
		},
		Inputs: inputs,
		Fill: func(l *Layer) error {
			err := errors.Join(
				l.Base(),
				l.Dir("/go", 0o777|fs.ModeSticky, 0),
				l.Tree("/usr/local/go", goroot, skipInGoroot),
			)
			if git != "" {
				err = errors.Join(err, l.git(ctx, git))
			}
			return errors.Join(err, l.busybox(ctx, busybox))
		},
	}, nil
}

// skipInGoroot leaves out what neither a build nor a vet nor a test of another
// module needs.
func skipInGoroot(rel string, dir bool) bool {
	switch rel {
	case "test", "api", "doc", "misc", ".git", ".github", "pkg/obj", "pkg/bootstrap":
		return true
	}
	return dir && path.Base(rel) == "testdata"
}

// git adds git with what it needs to clone over HTTP and from a folder.
func (l *Layer) git(ctx context.Context, git string) error {
	out, err := exec.CommandContext(ctx, git, "--exec-path").Output()
	if err != nil {
		return fmt.Errorf("%s --exec-path: %w", git, err)
	}
	execPath := strings.TrimSpace(string(out))
	if err := l.Program(ctx, "/usr/bin/git", git); err != nil {
		return err
	}
	remote := path.Join(execPath, "git-remote-http")
	if _, err := os.Stat(remote); err != nil {
		return nil //nolint:nilerr // a git without HTTP clones from folders all the same
	}
	return errors.Join(
		l.Program(ctx, remote, remote),
		l.Link(path.Join(execPath, "git-remote-https"), "git-remote-http"),
		l.Link(path.Join(execPath, "git"), "/usr/bin/git"),
		l.Dir("/usr/share/git-core/templates", 0o755, 0),
	)
}

func userOf(id int) string { return strconv.Itoa(id) + ":" + strconv.Itoa(id) }

// lookPath finds an administrator's tool even if PATH leaves their folders out.
func lookPath(name string) (string, error) {
	if file, err := exec.LookPath(name); err == nil {
		return file, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", name))
}
