// Package filelock lets processes wait for each other by locking a file. A lock
// goes with the process that holds it, however it ends.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const retryInterval = 100 * time.Millisecond

// Lock is a lock that is held until Unlock.
type Lock struct{ file *os.File }

// Exclusive waits until no other process holds the lock. If it has to wait it
// calls waiting once, which may be nil.
func Exclusive(ctx context.Context, name string, waiting func()) (*Lock, error) {
	for {
		lock, err := try(name, unix.LOCK_EX)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return lock, err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the lock on %s: %w", name, ctx.Err())
		case <-time.After(retryInterval):
		}
	}
}

// TryExclusive returns a nil lock, and no error, if another process holds it.
func TryExclusive(name string) (*Lock, error) { return attempt(name, unix.LOCK_EX) }

// TryShared returns a nil lock, and no error, if another process holds it exclusively.
func TryShared(name string) (*Lock, error) { return attempt(name, unix.LOCK_SH) }

// Unlock gives the lock back. The file stays: removing it would let two
// processes hold "the" lock at once.
func (l *Lock) Unlock() error { return l.file.Close() }

func attempt(name string, how int) (*Lock, error) {
	lock, err := try(name, how)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil //nolint:nilnil // documented: held by another is not an error
	}
	return lock, err
}

func try(name string, how int) (*Lock, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil { //nolint:gosec // not secret
		return nil, err
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // not secret
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), file.Close())
	}
	return &Lock{file: file}, nil
}
