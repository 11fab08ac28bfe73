package binaries

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
)

// goCommand runs the go command in the module that is built, whatever the
// caller's environment sets about workspaces, C, or flags.
func (s *Store) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = s.Source
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	return cmd
}

// build builds into a folder aside and moves each program into place.
func (s *Store) build(ctx context.Context, entry Entry, programs []Program) (err error) {
	if err := os.MkdirAll(entry.Bin(), 0o755); err != nil { //nolint:gosec // programs are for everyone
		return err
	}
	aside, err := os.MkdirTemp(entry.dir, "building-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(aside)) }()

	if err := s.runBuild(ctx, aside, programs); err != nil {
		return err
	}
	if err := s.copyCRDs(ctx, entry); err != nil {
		return err
	}
	if err := link(entry); err != nil {
		return err
	}
	for _, p := range programs {
		if err := os.Rename(filepath.Join(aside, p.Name), filepath.Join(entry.Bin(), p.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) runBuild(ctx context.Context, into string, programs []Program) error {
	args := append([]string{"build", "-v", "-o", into + "/"}, buildFlags()...)
	names := make([]string, 0, len(programs))
	for _, p := range programs {
		args = append(args, p.Package)
		names = append(names, p.Name)
	}
	s.Reporter.Print("building %s from Go modules: several minutes the first time", strings.Join(names, ", "))

	cmd := s.goCommand(ctx, args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	log := &buildLog{}
	task := s.Reporter.Start("building programs", func() string { return log.summary(into, len(programs)) })
	log.read(stderr)
	if err := cmd.Wait(); err != nil {
		return task.Done(fmt.Errorf("go build in %s: %w\n%s", s.Source, err, log.tail()))
	}
	return task.Done(nil)
}

// copyCRDs keeps the CRDs beside the programs, so that a cluster starts without
// a module cache.
func (s *Store) copyCRDs(ctx context.Context, entry Entry) error {
	out, err := s.goCommand(ctx, "list", "-m", "-f", "{{.Dir}}", snapshotCRDs).Output()
	if err == nil && len(out) <= 1 { // in the module graph, but not in the module cache
		out, err = s.goCommand(ctx, "mod", "download", snapshotCRDs).CombinedOutput()
		if err == nil {
			out, err = s.goCommand(ctx, "list", "-m", "-f", "{{.Dir}}", snapshotCRDs).Output()
		}
	}
	if err != nil {
		return fmt.Errorf("find module %s: %w\n%s", snapshotCRDs, err, out)
	}
	from := filepath.Join(strings.TrimSpace(string(out)), "config", "crd")
	for _, name := range crdFiles {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := cluster.WriteFile(filepath.Join(entry.CRDs(), name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func link(entry Entry) error {
	if err := os.MkdirAll(entry.Envtest(), 0o755); err != nil { //nolint:gosec // programs are for everyone
		return err
	}
	for _, name := range envtestLinks {
		err := os.Symlink(filepath.Join("..", "bin", Kubernetes.Name), filepath.Join(entry.Envtest(), name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// buildLog follows go build -v, which prints each package that it compiles and
// each module that it downloads.
type buildLog struct {
	mu       sync.Mutex
	packages int
	modules  int
	last     string
	errors   []string
}

const shownErrors = 40

func (l *buildLog) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l.add(lines.Text())
	}
}

func (l *buildLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case strings.HasPrefix(line, "go: downloading "):
		l.modules++
		l.last = strings.TrimPrefix(line, "go: ")
	case strings.ContainsAny(line, " #:"):
		l.errors = append(l.errors, line)
		l.errors = l.errors[max(0, len(l.errors)-shownErrors):]
	default:
		l.packages++
		l.last = line
	}
}

func (l *buildLog) summary(dir string, total int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	done, err := os.ReadDir(dir)
	if err != nil {
		done = nil
	}
	s := fmt.Sprintf("%d of %d linked, %d packages compiled", len(done), total, l.packages)
	if l.modules > 0 {
		s += fmt.Sprintf(", %d modules downloaded", l.modules)
	}
	if l.last != "" {
		s += ", now " + l.last
	}
	return s
}

func (l *buildLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.errors, "\n")
}
