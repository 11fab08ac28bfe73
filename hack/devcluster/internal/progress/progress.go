// Package progress shows what a long command is doing: a line that
// counts the seconds on a terminal, a line every fifteen seconds elsewhere, so
// that neither a person nor a CI system thinks it hangs.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	terminalInterval = time.Second
	logInterval      = 15 * time.Second
	// terminalWidth is what a line is shortened to when it is to be overwritten.
	terminalWidth = 100
)

// Reporter writes progress. A nil Reporter prints nothing.
type Reporter struct {
	out      io.Writer
	terminal bool
	start    time.Time
	prefix   string

	mu *sync.Mutex
}

// New returns a Reporter whose times count from now.
func New(out io.Writer) *Reporter {
	return &Reporter{out: out, terminal: isTerminal(out), start: time.Now(), mu: &sync.Mutex{}}
}

// For returns a Reporter that names what its lines are about.
func (r *Reporter) For(what string) *Reporter {
	named := *r
	named.prefix = what + ": "
	return &named
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Print prints one line.
func (r *Reporter) Print(format string, args ...any) {
	if r == nil {
		return
	}
	r.line("%s%s", r.prefix, fmt.Sprintf(format, args...))
}

// Stage prints that something stands, with the time since New.
func (r *Reporter) Stage(format string, args ...any) {
	if r == nil {
		return
	}
	r.line("%6.1fs  %s%s", time.Since(r.start).Seconds(), r.prefix, fmt.Sprintf(format, args...))
}

func (r *Reporter) line(format string, args ...any) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.terminal {
		fmt.Fprint(r.out, "\r\x1b[K")
	}
	fmt.Fprintf(r.out, format+"\n", args...)
}

// Task is something that takes long.
type Task struct {
	reporter *Reporter
	name     string
	start    time.Time
	stop     chan struct{}
	stopped  sync.WaitGroup
}

// Start reports on a task until Done; detail returns how far it is.
func (r *Reporter) Start(name string, detail func() string) *Task {
	t := &Task{reporter: r, name: name, start: time.Now(), stop: make(chan struct{})}
	if r == nil {
		return t
	}
	interval := logInterval
	if r.terminal {
		interval = terminalInterval
	}
	t.stopped.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-t.stop:
				return
			case <-ticker.C:
				t.beat(detail())
			}
		}
	})
	return t
}

func (t *Task) beat(detail string) {
	line := fmt.Sprintf("  %s: %s, %s", t.name, t.elapsed(), detail)
	if !t.reporter.terminal {
		t.reporter.line("%s", line)
		return
	}
	t.reporter.mu.Lock()
	defer t.reporter.mu.Unlock()
	fmt.Fprint(t.reporter.out, "\r\x1b[K"+shorten(line, terminalWidth))
}

// Done ends the reports, prints how long it took unless it failed, and returns err.
func (t *Task) Done(err error) error {
	close(t.stop)
	t.stopped.Wait()
	if err == nil {
		t.reporter.line("  %s: done in %s", t.name, t.elapsed())
	}
	return err
}

func (t *Task) elapsed() time.Duration { return time.Since(t.start).Round(time.Second) }

func shorten(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return strings.TrimSpace(string(r[:width-1])) + "…"
	}
	return s
}
