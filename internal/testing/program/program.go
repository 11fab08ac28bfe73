// Package program runs the program of a package main in its own tests: the test's file
// is the program, too, when it is started with a variable.
package program

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// variable makes a test's file the program.
const variable = "TEST_PROGRAM"

// Main is the TestMain of such a package. It runs main where [Run] has started it.
func Main(m *testing.M, main func()) {
	if os.Getenv(variable) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Result is what a program has printed, and its exit code.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run runs the program, by the name of its file, with variables beside those of the test.
func Run(t *testing.T, file string, env []string, args ...string) Result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), file, args...) //nolint:gosec // a program of this test, or a link to it
	cmd.Env = append(append(os.Environ(), variable+"=1"), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// PrintsErrorsOnce holds that a program prints its version, and that an error is printed
// once, with the name of the program, which then ends with 1.
func PrintsErrorsOnce(t *testing.T, name, version string) {
	t.Helper()
	if r := Run(t, os.Args[0], nil, "--version"); r.Code != 0 || !strings.Contains(r.Stdout, version) || r.Stderr != "" {
		t.Errorf("--version: %+v", r)
	}
	if r := Run(t, os.Args[0], nil, "extra"); r.Code != 1 || r.Stdout != "" || !strings.HasPrefix(r.Stderr, name+": ") || strings.Count(r.Stderr, "\n") != 1 {
		t.Errorf("an argument: %+v", r)
	}
}
