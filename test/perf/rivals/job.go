package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// tested is the package that the job tests; it has about 290 packages below it.
const tested = "./internal/kube/podspec"

// warmUp are the commands that the caches are warm for: the job, and the tests of a
// package with about 800 packages below it.
var warmUp = [][]string{{"test", tested}, {"test", "./internal/kube/conditions"}}

// push changes the tested package, differently for each run, and so that its program
// is another one: nothing that an earlier run has left can be the result of this.
func (b *bench) push(what string) error {
	text := fmt.Sprintf("package %s\n\n// pushed is what this push changes.\nvar pushed string\n\nfunc init() { pushed = %q }\n", filepath.Base(tested), what)
	return os.WriteFile(filepath.Join(b.source, filepath.FromSlash(tested), "pushed.go"), []byte(text), 0o600)
}

// command is a go command of the job, with nothing of this machine's settings.
func (b *bench) command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.source
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + b.path("home"), "GOENV=off", "GOTOOLCHAIN=local", "GOSUMDB=off", "GOWORK=off", "CGO_ENABLED=0",
		"GOFLAGS=-mod=readonly", "GOPROXY=off",
		"GOMODCACHE=" + filepath.Join(b.Mount, "mod"), "GOCACHE=" + filepath.Join(b.Mount, "build"),
	}, env...)
	return cmd
}

// test runs the job and adds what it costs to r; the caches were ready, and began
// is when the job began.
func (b *bench) test(ctx context.Context, env []string, began time.Time, r *result) error {
	cmd := b.command(ctx, env, "test", "-json", tested)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = firstResult(out, func() { r.First = time.Since(began) })
	_, _ = io.Copy(io.Discard, out) // of a command whose output could not be read
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("%s: %w: %.2000s", cmd, err, messages.String())
	}
	r.End = time.Since(began)
	r.Processor += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return nil
}

// firstResult reads the output of go test -json to its end, and calls then at the
// first result of a test. A run without one, with a failure, or with a result from
// the cache measures nothing and is an error.
func firstResult(out io.Reader, then func()) error {
	found, passed := false, false
	for d := json.NewDecoder(out); ; {
		var e struct{ Action, Test, Output string }
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("output of go test: %w", err)
		}
		switch {
		case e.Action == "fail" || e.Action == "build-fail":
			return fmt.Errorf("%s failed %s", tested, e.Test)
		case e.Test != "" && e.Action == "pass" && !found:
			found = true
			then()
		case e.Test == "" && e.Action == "pass":
			passed = true
		case e.Test == "" && e.Action == "output" && bytes.Contains([]byte(e.Output), []byte("\t(cached)")):
			return errors.New("the result is from the cache")
		}
	}
	if !found || !passed {
		return errors.New("no test has passed")
	}
	return nil
}
