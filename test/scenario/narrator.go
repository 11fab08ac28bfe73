package scenario

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Narrator prints what happens, with the time since it began.
type Narrator struct {
	out   io.Writer
	start time.Time
	mu    sync.Mutex
}

// NewNarrator prints to a writer.
func NewNarrator(out io.Writer) *Narrator { return &Narrator{out: out, start: time.Now()} }

// Chapter begins a part of the scenario.
func (n *Narrator) Chapter(format string, args ...any) {
	n.print("\n\n== %s\n", fmt.Sprintf(format, args...))
}

// Print writes one message.
func (n *Narrator) Print(format string, args ...any) {
	text := strings.ReplaceAll(strings.TrimRight(fmt.Sprintf(format, args...), "\n"), "\n", "\n         ")
	n.print("%6.1fs  %s\n", time.Since(n.start).Seconds(), text)
}

// Write makes the narrator a writer for the output of tools, line by line.
func (n *Narrator) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if strings.TrimSpace(line) != "" {
			n.print("         | %s\n", strings.TrimRight(line, "\r\n"))
		}
	}
	return len(p), nil
}

func (n *Narrator) print(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, _ = fmt.Fprintf(n.out, format, args...) // a lost line of progress is no error
}
