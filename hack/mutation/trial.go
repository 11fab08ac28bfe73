package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

// outcome of a change.
type outcome string

const (
	noticed    outcome = "noticed"
	unnoticed  outcome = "not noticed"
	unbuilt    outcome = "does not compile"
	untried    outcome = ""               // no time was left, or the tests fail without it too
	brokenTest outcome = "the tests fail" // without any change
)

// result is what became of a change.
type result struct {
	change
	outcome outcome
}

// trial tries changes.
type trial struct {
	options
	out  io.Writer
	temp string

	mu        sync.Mutex
	baselines map[*pkg]*baseline
	failed    error
}

// baseline is how a package's tests do without a change.
type baseline struct {
	once    sync.Once
	passes  bool
	timeout time.Duration
}

// begin makes a place for overlays and for what tests that are killed leave.
func (t *trial) begin() (err error) {
	t.baselines = map[*pkg]*baseline{}
	t.temp, err = os.MkdirTemp("", "mutation-")
	return err
}

func (t *trial) close() { remove(t.temp) }

// remove removes a directory in which tests have made directories that are not
// writable.
func remove(dir string) {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, 0o700) //nolint:gosec // to be removed
		}
		return nil // what cannot be removed stays
	})
	_ = os.RemoveAll(dir)
}

// all tries changes in their order until n of them compiled, the number for
// each package is reached, or the time is over. The results are in the same order.
func (t *trial) all(ctx context.Context, changes []change) []result {
	if t.budget > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.budget)
		defer cancel()
	}
	want := t.n
	if want == 0 {
		want = len(changes)
	}
	results := make([]result, len(changes))
	begun, good, inPackage := make([]bool, len(changes)), 0, map[*pkg]int{}
	// take is the next change to try. One that is under way may yet turn out
	// not to compile: then another one takes its place.
	take := func() (int, bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if good >= want || ctx.Err() != nil {
			return 0, false
		}
		for i := range changes {
			if p := changes[i].pkg; !begun[i] && (t.each == 0 || inPackage[p] < t.each) {
				begun[i] = true
				good++
				inPackage[p]++
				return i, true
			}
		}
		return 0, false
	}
	var workers sync.WaitGroup
	for range max(1, t.parallel) {
		workers.Go(func() {
			for {
				i, ok := take()
				if !ok {
					return
				}
				o := t.one(ctx, &changes[i])
				results[i] = result{changes[i], o}
				t.mu.Lock()
				if o == unbuilt || o == brokenTest {
					good--
					inPackage[changes[i].pkg]--
				}
				if o == unnoticed {
					_, _ = fmt.Fprintln(t.out, describe(&changes[i]))
				}
				t.mu.Unlock()
			}
		})
	}
	workers.Wait()
	return slices.DeleteFunc(results, func(r result) bool { return r.outcome == untried })
}

// describe is a line for a change that was not noticed.
func describe(c *change) string {
	short := func(s string) string {
		if s = strings.Join(strings.Fields(s), " "); len(s) > 90 {
			s = strings.ToValidUTF8(s[:90], "") + "…"
		}
		return s
	}
	text := short(c.from)
	if c.kind == "number off by one" || c.kind == "bound moved" {
		text += " → " + c.to
	}
	return fmt.Sprintf("%s/%s:%d %s: %s: %s", c.pkg.ImportPath, filepath.Base(c.file), c.line, c.in, c.kind, text)
}

// one tries a change with the tests of each judge, until one notices it.
func (t *trial) one(ctx context.Context, c *change) outcome {
	for _, judge := range c.pkg.judges {
		base := t.baseline(ctx, judge)
		if !base.passes {
			return brokenTest
		}
		if o := t.judged(ctx, c, judge, base.timeout); o != unnoticed {
			return o
		}
	}
	return unnoticed
}

func (t *trial) judged(ctx context.Context, c *change, judge *pkg, timeout time.Duration) outcome {
	text, err := os.ReadFile(c.file)
	if err != nil {
		t.fail(err)
		return untried
	}
	overlay, err := t.overlay(c.file, c.apply(text))
	if err != nil {
		t.fail(err)
		return untried
	}
	passed, output := t.test(ctx, judge, timeout, "-overlay", overlay)
	switch {
	case ctx.Err() != nil:
		return untried
	case passed:
		return unnoticed
	case bytes.Contains(output, []byte("[build failed]")), bytes.Contains(output, []byte("[setup failed]")):
		return unbuilt
	}
	return noticed
}

func (t *trial) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = errors.Join(t.failed, err)
}

// overlay writes a changed file, and the file that names it to the go command.
func (t *trial) overlay(file string, text []byte) (string, error) {
	dir, err := os.MkdirTemp(t.temp, "overlay-")
	if err != nil {
		return "", err
	}
	changed, name := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	data, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	return name, errors.Join(err, os.WriteFile(changed, text, 0o600), os.WriteFile(name, data, 0o600))
}

// baseline runs the tests of a package once as they are.
func (t *trial) baseline(ctx context.Context, p *pkg) *baseline {
	t.mu.Lock()
	b := t.baselines[p]
	if b == nil {
		b = &baseline{}
		t.baselines[p] = b
	}
	t.mu.Unlock()
	b.once.Do(func() {
		start := time.Now()
		passed, output := t.test(ctx, p, time.Hour, "-count=1")
		b.passes, b.timeout = passed, max(t.timeout, 5*time.Since(start))
		if !passed && ctx.Err() == nil {
			t.fail(fmt.Errorf("the tests of %s fail without any change:\n%s", p.ImportPath, output))
		}
	})
	return b
}

// test runs a package's tests, in a group of processes that ends with ctx.
func (t *trial) test(ctx context.Context, p *pkg, timeout time.Duration, flags ...string) (passed bool, output []byte) {
	args := append([]string{"test", "-vet=off", "-failfast", "-timeout", timeout.String()}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, p.ImportPath)...)
	cmd.Dir = t.dir
	temp, err := os.MkdirTemp(t.temp, "run-")
	if err != nil {
		t.fail(err)
		return false, nil
	}
	defer remove(temp)
	mark := "TMPDIR=" + temp
	defer end(mark)
	cmd.Env = append(os.Environ(), mark)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second // a process that the tests left may keep the output open
	output, err = cmd.CombinedOutput()
	return err == nil, output
}

// end kills the processes that have a variable with a value in their environment:
// tests that are killed leave an API server, in a group of its own.
func end(variable string) {
	processes, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is correct
	for _, file := range processes {
		environ, err := os.ReadFile(file) //nolint:gosec // of a process
		if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+variable+"\x00")) {
			continue // it has ended, or belongs to another user
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
}

// score counts the outcomes of a package, or of all.
type score struct{ noticed, tried, unbuilt, broken int }

func (s *score) add(o outcome) {
	switch o {
	case noticed:
		s.noticed++
		s.tried++
	case unnoticed:
		s.tried++
	case unbuilt:
		s.unbuilt++
	case brokenTest:
		s.broken++
	case untried:
	}
}

func (s *score) percent() string {
	if s.tried == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(s.noticed)/float64(s.tried))
}

// table is the score of each package, of each kind of change, and of all.
func table(results []result, seed uint64, of int) string {
	var all score
	packages, kinds := map[string]*score{}, map[string]*score{}
	for i := range results {
		r := &results[i]
		all.add(r.outcome)
		for into, key := range map[*map[string]*score]string{&packages: r.pkg.ImportPath, &kinds: r.kind} {
			if (*into)[key] == nil {
				(*into)[key] = &score{}
			}
			(*into)[key].add(r.outcome)
		}
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, s *score) {
		_, _ = fmt.Fprintf(w, "%d\t%d\t%s\t  %s\n", s.noticed, s.tried, s.percent(), name)
	}
	section := func(title string, scores map[string]*score) {
		_, _ = fmt.Fprintf(w, "\nnoticed\ttried\tscore\t  %s\n", title)
		names := make([]string, 0, len(scores))
		for name := range scores {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			row(name, scores[name])
		}
	}
	section("kind", kinds)
	section("package", packages)
	row("all", &all)
	_ = w.Flush() // into memory
	_, _ = fmt.Fprintf(&text, "\nseed %d, of %d changes; %d more do not compile", seed, of, all.unbuilt)
	if all.broken > 0 {
		_, _ = fmt.Fprintf(&text, ", %d more are in packages whose tests fail without any change", all.broken)
	}
	text.WriteString("\n")
	return text.String()
}
