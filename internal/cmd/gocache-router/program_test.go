package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/version"
)

// TestMain runs the program itself where a test starts it.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_PROGRAM") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program runs the program.
func program(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "TEST_PROGRAM=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestProgram holds that an error is printed once, with the name of the program, which then
// ends with 1.
func TestProgram(t *testing.T) {
	if out, errs, code := program(t, "--version"); code != 0 || !strings.Contains(out, version.Get().String()) || errs != "" {
		t.Errorf("--version: exit %d, %q, %q", code, out, errs)
	}
	if out, errs, code := program(t, "extra"); code != 1 || out != "" || !strings.HasPrefix(errs, "gocache-router: ") || strings.Count(errs, "\n") != 1 {
		t.Errorf("an argument: exit %d, %q, %q", code, out, errs)
	}
}
