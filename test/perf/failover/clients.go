package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
)

// Timeouts of clients: with the published GOPROXY longer than anything that
// they may wait for, and for the others so that a stall is counted as one.
const (
	timeout         = 5 * time.Minute
	baselineTimeout = time.Minute
)

// clientGroup is a number of clients with one GOPROXY, and the results of their commands.
type clientGroup struct {
	name, goproxy      string
	commands, parallel int
	failed             int
	slowest            time.Duration
	examples           []string
	pause              time.Duration      // of each client after a command
	timeout            time.Duration      // of each client with a command
	until              <-chan struct{}    // no further command when it is closed
	job                func(n int) job    // the nth command
	done               func(commands int) // called after each command
}

// workspace is what the commands run in.
type workspace struct {
	root     string
	upstream *upstream
	builds   string // build cache with the standard library
}

// newWorkspace compiles what a build needs of the standard library.
func newWorkspace(ctx context.Context, root string, u *upstream) (*workspace, error) {
	w := &workspace{root: root, upstream: u, builds: filepath.Join(root, "builds")}
	dir, err := w.dir("std")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/std\n\ngo 1.26\n"), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte("package std\n"), 0o600); err != nil {
		return nil, err
	}
	return w, w.run(ctx, dir, "off", timeout, "build", "runtime")
}

func (w *workspace) dir(name string) (string, error) {
	dir := filepath.Join(w.root, name)
	return dir, os.MkdirAll(dir, 0o750)
}

// job is a go command in a directory with files.
type job struct {
	files map[string]string
	args  []string
}

// stored is the nth command that needs what the stores hold: every third one of a
// kind.
func (w *workspace) stored(n int) job {
	switch n % 3 {
	case 0: // all modules, each sum from the checksum database
		return job{map[string]string{"go.mod": w.goMod(w.upstream.modules...)}, []string{"mod", "download"}}
	case 1:
		return job{map[string]string{"go.mod": w.goMod()}, []string{"list", "-m", "-versions", w.upstream.modules[n%2].Path}}
	}
	// The small ones, each sum from go.sum.
	small := w.upstream.modules[:len(w.upstream.modules)-1]
	return job{map[string]string{
		"go.mod": w.goMod(small...), "go.sum": w.upstream.goSum(),
		"x.go": "package x\n\nimport (\n\t\"example.com/dep0\"\n\t\"example.com/dep1\"\n\t\"example.com/dep2\"\n)\n\nvar Names = []string{dep0.Name, dep1.Name, dep2.Name}\n",
	}, []string{"build", "./..."}}
}

// every replaces each kth command by another one, whose number counts from 0.
func (w *workspace) every(k int, other func(n int) job) func(n int) job {
	return func(n int) job {
		if n%k == k-1 {
			return other(n / k)
		}
		return w.stored(n)
	}
}

// download is a command that downloads one module, whose sum comes from the checksum
// database.
func (w *workspace) download(m module.Version) job {
	return job{map[string]string{"go.mod": w.goMod(m)}, []string{"mod", "download"}}
}

// command runs one.
func (w *workspace) command(ctx context.Context, c *clientGroup, n int) error {
	dir, err := w.dir(fmt.Sprintf("%s-%d", c.name, n))
	if err != nil {
		return err
	}
	j := c.job(n)
	for name, text := range j.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return errors.Join(w.run(ctx, dir, c.goproxy, c.timeout, j.args...), os.RemoveAll(dir))
}

func (w *workspace) goMod(modules ...module.Version) string {
	text := "module example.com/main\n\ngo 1.26\n"
	for _, m := range modules {
		text += fmt.Sprintf("\nrequire %s %s\n", m.Path, m.Version)
	}
	return text
}

func (w *workspace) run(ctx context.Context, dir, goproxy string, timeout time.Duration, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// The go command leaves a child that writes its telemetry after it has ended:
	// not into what is removed.
	home, user := filepath.Join(dir, ".home"), filepath.Join(w.root, "user")
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // the command under test
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + user, "GOPATH=" + home, "GOCACHE=" + w.builds, "GOMODCACHE=" + filepath.Join(home, "mod"),
		"GOFLAGS=-modcacherw", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOSUMDB=" + w.upstream.key, "GOPROXY=" + goproxy, "CGO_ENABLED=0",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// work lets all of a group's commands run.
func (c *clientGroup) work(ctx context.Context, w *workspace) {
	var mu sync.Mutex
	jobs := make(chan int)
	var workers sync.WaitGroup
	ended := 0
	for range c.parallel {
		workers.Go(func() {
			for n := range jobs {
				began := time.Now()
				err := w.command(ctx, c, n)
				mu.Lock()
				ended++
				now := ended
				c.slowest = max(c.slowest, time.Since(began))
				if err != nil {
					c.failed++
					c.examples = append(c.examples, fmt.Sprintf("[%s, after %s] %v", c.name, time.Since(began).Round(time.Millisecond), err))
				}
				mu.Unlock()
				if c.done != nil {
					c.done(now)
				}
				time.Sleep(c.pause)
			}
		})
	}
	n := 0
	for open := true; open && n < c.commands; {
		select {
		case jobs <- n:
			n++
		case <-c.until:
			open = false
		}
	}
	close(jobs)
	workers.Wait()
	c.commands = n
}
