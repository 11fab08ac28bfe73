package release

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFailedBuild holds that only a build that lacks modules is reported as one, and
// that an interrupted build is reported as such.
func TestFailedBuild(t *testing.T) {
	const hint = "go mod download"
	for name, c := range map[string]struct {
		script    string // of the go command
		interrupt bool
		want      string
		hinted    bool
	}{
		"a module is missing": {script: "echo 'm@v1.0.0: module lookup disabled by GOPROXY=off'; exit 1", want: "m@v1.0.0", hinted: true},
		"does not compile":    {script: "echo './main.go:1:1: syntax error'; exit 1", want: "syntax error"},
		"killed":              {script: "kill -TERM $$", want: "terminated"},
		"interrupted":         {script: "sleep 60 >/dev/null 2>&1 &\ntrap 'kill $!; echo cleaned; exit 1' INT\necho >started\nwait", interrupt: true, want: "cleaned"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\n"+c.script+"\n"), 0o700); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.interrupt {
				// As main does: a program begins without a signal that its parent ignores.
				handled, stop := signal.NotifyContext(ctx, os.Interrupt)
				defer stop()
				ctx = handled
				onceStarted(t, filepath.Join(dir, "started"), cancel)
			}
			err := goBuild(ctx, Options{Root: dir, Version: "v0.1.0"}, []program{{os: "linux", arch: "amd64", folder: "p"}}, filepath.Join(dir, "out"))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), hint) != c.hinted || errors.Is(err, context.Canceled) != c.interrupt {
				t.Errorf("the build ended with %v; want %q, the hint on modules %t, interrupted %t", err, c.want, c.hinted, c.interrupt)
			}
		})
	}
}

// onceStarted calls a function when something is written to a pipe, which it makes.
func onceStarted(t *testing.T, file string, do func()) {
	t.Helper()
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(file, os.O_RDWR, 0) //nolint:gosec // in a temporary directory
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pipe.Close() })
	go func() {
		if _, err := pipe.Read(make([]byte, 1)); err == nil {
			do()
		}
	}()
}
