package cli

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// screen is a terminal that a program writes to while the test reads it.
type screen struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.text.String()
}

// shows waits until the screen has shown a text.
func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	for range 500 {
		if strings.Contains(s.String(), text) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	t.Errorf("the terminal does not show %q:\n%q", text, s)
}

// TestProgress shows a bar with each step of a check on a terminal, and takes it away.
func TestProgress(t *testing.T) {
	p := play(append(storageClass(), installed())...)
	a, out, _ := working(t, p)
	terminal := &screen{}
	a.ErrOut, a.interactive = terminal, true
	p.onCreate = func(o client.Object) {
		switch o.GetName() {
		case "gocache-csicheck-x7k2p-clone":
			terminal.shows(t, "clone ...")
			terminal.shows(t, "[2 in ")
		case "gocache-csicheck-x7k2p-larger":
			terminal.shows(t, "larger clone ...")
		}
	}
	if err := run(t, a, "csicheck", "fast"); err != nil {
		t.Error(err)
	}
	golden(t, "csicheck.txt", out.String())
	shown := terminal.String()
	if step := regexp.MustCompile(`clone \.\.\.[^\r\n]*█`); !step.MatchString(shown) {
		t.Errorf("no bar after the step: %q", shown[max(0, len(shown)-200):])
	}
	if !strings.Contains(shown, "█") || !strings.HasSuffix(shown, "\x1b[K") {
		t.Errorf("no bar, or the bar remains: %q", shown[max(0, len(shown)-200):])
	}
}

// TestProgressInLines writes a line for each step where no person sees it, and nothing
// for what takes a second.
func TestProgressInLines(t *testing.T) {
	p := play(append(storageClass(), installed())...)
	a, _, errOut := working(t, p)
	if err := run(t, a, "csicheck", "fast"); err != nil {
		t.Error(err)
	}
	if want := "provision ...\nsnapshot ...\nclone ...\nlarger clone ...\nexpand ...\n"; errOut.String() != want {
		t.Errorf("%q, want %q", errOut, want)
	}
}

// TestProgressOfAWait keeps the outcome on the screen.
func TestProgressOfAWait(t *testing.T) {
	a, _, _ := fakeApp(t, clientOf(), nil)
	terminal := &screen{}
	a.ErrOut, a.interactive = terminal, true
	err := run(t, a, "warm-up", "ci", "--wait", "--timeout", "300ms")
	if err == nil || !strings.Contains(terminal.String(), "Waiting") || !strings.HasSuffix(terminal.String(), "Waiting\n") {
		t.Errorf("%q: %v", terminal, err)
	}
}
