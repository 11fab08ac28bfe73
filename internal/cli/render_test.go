package cli

import (
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/cli/status"
)

// TestFormats holds that a command refuses a format before it reads anything.
func TestFormats(t *testing.T) {
	for _, args := range [][]string{{"status", "-o", "xml"}, {"doctor", "-o", "wide"}, {"csicheck", "fast", "-o", "xml"}} {
		a, out, _ := fakeApp(t, clientOf(), nil)
		a.client = func() (client.Client, error) {
			t.Errorf("%v: the cluster was read", args)
			return nil, errors.New("no cluster")
		}
		if err := run(t, a, args...); err == nil || !strings.Contains(err.Error(), "want json") || out.Len() > 0 {
			t.Errorf("%v: %v, printed %q", args, err, out)
		}
	}
}

// TestFindingColors holds that every command that prints findings paints them.
func TestFindingColors(t *testing.T) {
	t.Setenv("TERM", "xterm")
	var out strings.Builder
	a := &app{color: true}
	a.finding(&out, "  ", status.LevelFailure, "it\n is  so", "do this")
	if want := "  \x1b[31;1m✗\x1b[0m it is so\n      do this\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
