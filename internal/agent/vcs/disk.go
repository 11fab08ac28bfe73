package vcs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// checkInterval is how often the disk is looked at while commands run.
const checkInterval = 500 * time.Millisecond

// disk bounds a directory. It is emptied when no command uses it and half of the
// limit is used; commands that fill it beyond the limit end.
type disk struct {
	dir   string
	limit int64

	mu      sync.Mutex
	cancels map[*int]context.CancelCauseFunc // of the commands that run
	idle    chan struct{}                    // closed when none runs
	full    bool
}

// errFull ends commands.
type errFull struct{ limit int64 }

func (e errFull) Error() string {
	return fmt.Sprintf("the repositories that are fetched take more than %d MiB of disk space (spec.privateModules.versionControl.cacheSize)", e.limit>>20)
}

// use returns a context for one command, which ends when the disk is full. It
// waits while the directory is to be emptied.
func (d *disk) use(ctx context.Context) (context.Context, func(), error) {
	d.mu.Lock()
	for d.full && len(d.cancels) > 0 {
		idle := d.idle
		d.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		d.mu.Lock()
	}
	defer d.mu.Unlock()
	if len(d.cancels) == 0 {
		if d.full || used(d.dir) > d.limit/2 {
			if err := d.clear(); err != nil {
				return nil, nil, err
			}
		}
		d.full, d.cancels, d.idle = false, map[*int]context.CancelCauseFunc{}, make(chan struct{})
		go d.watch(d.idle)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	key := new(int)
	d.cancels[key] = cancel
	return ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		cancel(nil)
		if delete(d.cancels, key); len(d.cancels) == 0 {
			close(d.idle)
		}
	}, nil
}

// watch ends all commands when the disk is full.
func (d *disk) watch(idle <-chan struct{}) {
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-idle:
			return
		case <-ticker.C:
		}
		if used(d.dir) <= d.limit {
			continue
		}
		d.mu.Lock()
		d.full = true
		for _, cancel := range d.cancels {
			cancel(errFull{d.limit})
		}
		d.mu.Unlock()
	}
}

// clear empties the directory.
func (d *disk) clear() error {
	entries, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(d.dir, 0o700)
	}
	for _, e := range entries {
		err = errors.Join(err, removeAll(filepath.Join(d.dir, e.Name())))
	}
	if err != nil {
		return fmt.Errorf("empty %s: %w", d.dir, err)
	}
	return nil
}

// removeAll also removes from directories that are read-only, as git and the go
// command leave them when they are killed.
func removeAll(name string) error {
	if err := os.RemoveAll(name); err == nil {
		return nil
	}
	_ = filepath.WalkDir(name, func(path string, e fs.DirEntry, err error) error { // RemoveAll reports what is left
		if err == nil && e.IsDir() {
			_ = os.Chmod(path, 0o700) //nolint:gosec // a directory of ours
		}
		return nil
	})
	return os.RemoveAll(name)
}

// used is how many bytes a directory takes of the disk. Files that come and go
// meanwhile do not matter.
func used(dir string) int64 {
	var bytes int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		if info, err := e.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				bytes += stat.Blocks * 512
			}
		}
		return nil
	})
	return bytes
}
