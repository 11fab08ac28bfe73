package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// verbs are the commands of the plugin, without those that cobra adds.
func verbs(t *testing.T) []*cobra.Command {
	t.Helper()
	a, _, _ := fakeApp(t, clientOf(), nil)
	return a.root("v0.1.0").Commands()
}

// TestCommands shows what users see of each command: how it is called, what it does, and
// its own flags.
func TestCommands(t *testing.T) {
	var b strings.Builder
	for _, cmd := range verbs(t) {
		fmt.Fprintf(&b, "kubectl gocache %s\n%s\n", cmd.Use, cmd.Short)
		if cmd.Long != "" {
			fmt.Fprintf(&b, "\n%s\n", cmd.Long)
		}
		if cmd.Example != "" {
			fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
		}
		fmt.Fprintf(&b, "\nFlags:\n%s\n", cmd.LocalFlags().FlagUsages())
	}
	golden(t, "commands.txt", b.String())
}

// TestEveryCommandIsTestedEndToEnd fails for a command that no end-to-end test runs.
func TestEveryCommandIsTestedEndToEnd(t *testing.T) {
	files, err := filepath.Glob("../../test/e2e/*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of end-to-end tests: %v", len(files), err)
	}
	var tests strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // of this tree
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	for _, cmd := range verbs(t) {
		// An argument of its own, as the plugin is called with.
		if !strings.Contains(tests.String(), fmt.Sprintf("%q, ", cmd.Name())) && !strings.Contains(tests.String(), fmt.Sprintf("{%q}", cmd.Name())) &&
			!strings.Contains(tests.String(), fmt.Sprintf("(%q)", cmd.Name())) {
			t.Errorf("no test of test/e2e runs the command %s", cmd.Name())
		}
	}
}
