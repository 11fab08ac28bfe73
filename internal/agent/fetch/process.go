package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/untrusted"
)

const (
	// reserved is what of the memory of a container is left to the process that reports,
	// and to what the kernel counts beside the memory of processes, in bytes.
	reserved = 64 << 20
	// maxWords of a process are read, in bytes. What it prints of its end comes first.
	maxWords = 16 << 10
	// endDelay is how long the output of a process that was ended is waited for.
	endDelay = 5 * time.Second
	// program is what the errors of the process begin with.
	program = "gocache-agent: "
)

// errMemory is a fetch that the kernel refused more memory.
type errMemory struct{ limit int64 }

func (e errMemory) Error() string {
	text := "the repository needs more memory than the fetch may take"
	if e.limit > 0 {
		text += fmt.Sprintf(" (%d MiB)", e.limit>>20)
	}
	return text + ": raise the limit of memory in podTemplate.helperResources, or remove large files from the repository; a server that allows partial clones sends only the files of sparseCheckout"
}

// apart makes a fetch in a process of its own. That process may die, as it does when the
// repository needs more memory than there is: the kernel would end all processes of the
// container, and the kubelet the run of all sources.
func apart(ctx context.Context, o Options) error {
	if o.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("it took longer than %s", o.Timeout))
		defer stop()
	}
	command := o.process()
	words := &beginning{}
	cmd := exec.CommandContext(ctx, o.Self, command.Args()...) //nolint:gosec // this program, with flags of the operator
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = o.Stdout, words, endDelay
	err := cmd.Run()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return ended(err, words.kept.String(), command.MaxMemory)
}

// process is the command that fetches alone.
func (o Options) process() agentcommand.Fetch {
	return agentcommand.Fetch{
		URL: o.URL, Commit: o.Commit, Dir: o.Dir, Ref: o.Ref, Secret: o.Secret, CAFile: o.CAFile, Sparse: o.Sparse, Submodules: o.Submodules,
		MaxBytes: o.MaxBytes, MaxMemory: max(o.MaxMemory-reserved, o.MaxMemory/2),
	}
}

// ended is why a process has failed, by its exit and by what it printed.
func ended(err error, words string, maxMemory int64) error {
	exit, isExit := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case !isExit:
		return fmt.Errorf("run this program again: %w", err)
	case killed(exit) || outOfMemory(exit, words):
		return errMemory{maxMemory}
	case exit.ExitCode() == exitcode.Failed && strings.HasPrefix(words, program):
		return errors.New(strings.TrimSpace(strings.TrimPrefix(words, program)))
	}
	first, _, _ := strings.Cut(strings.TrimSpace(words), "\n")
	return fmt.Errorf("the process that fetches ended with %w: %s", exit, untrusted.Bound(first))
}

// killed reports whether a process was ended by a signal: by this one it was not.
func killed(exit *exec.ExitError) bool {
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}

// outOfMemory reports whether the Go runtime ended a process because it got no memory. It
// does so in several ways, of which not all name the cause, with the exit code of a crash.
// A panic is the program's own, and so is wrong usage, which has the same code.
func outOfMemory(exit *exec.ExitError, words string) bool {
	const crash = 2
	return exit.ExitCode() == crash && !strings.HasPrefix(words, "panic: ") && !strings.HasPrefix(words, program)
}

// beginning keeps the beginning of what is written. Its buffer is not embedded: the words of
// a process would go to the ReadFrom of that, which has no limit.
type beginning struct{ kept bytes.Buffer }

// Write implements io.Writer.
func (b *beginning) Write(p []byte) (int, error) {
	b.kept.Write(p[:min(len(p), max(maxWords-b.kept.Len(), 0))])
	return len(p), nil
}
