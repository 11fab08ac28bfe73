package vcs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// limit bounds the memory of a process, and of those that it starts. One that has ended
// needs none.
func limit(pid int, memory int64) error {
	bytes := uint64(memory) //nolint:gosec // positive
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: bytes, Max: bytes}, nil); !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}
