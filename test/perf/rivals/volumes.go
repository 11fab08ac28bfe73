package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// volumes are XFS images in a pool, which is an XFS image, too, so that an image
// can be cloned by reference: what the CSI driver of the local cluster has.
type volumes struct {
	image string // of the pool
	pool  string // where it is mounted
	mount string // where a job has its caches
}

// Sizes of the sparse files.
const (
	poolBytes   = 64 << 30
	volumeBytes = 16 << 30
)

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %.2000s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// format makes a sparse file with an empty file system, unless there is one.
func format(ctx context.Context, image string, size int64) error {
	f, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	if err := command(ctx, "mkfs.xfs", "-q", "-K", "-f", "-m", "reflink=1", image); err != nil {
		return errors.Join(err, os.Remove(image))
	}
	return nil
}

// open mounts the pool.
func (v *volumes) open(ctx context.Context) error {
	if err := errors.Join(os.MkdirAll(v.pool, 0o700), os.MkdirAll(v.mount, 0o700)); err != nil {
		return err
	}
	if err := format(ctx, v.image, poolBytes); err != nil {
		return err
	}
	if err := command(ctx, "mount", "-t", "xfs", "-o", "loop,noatime", v.image, v.pool); err != nil {
		return err
	}
	return os.MkdirAll(v.in("private"), 0o700)
}

func (v *volumes) in(names ...string) string {
	return filepath.Join(append([]string{v.pool}, names...)...)
}

// attach mounts an image of the pool for the job.
func (v *volumes) attach(ctx context.Context, image, options string) error {
	return command(ctx, "mount", "-t", "xfs", "-o", "loop,noatime,nouuid,"+options, image, v.mount)
}

// bind mounts a directory of the pool for the job.
func (v *volumes) bind(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return command(ctx, "mount", "--bind", dir, v.mount)
}

// private mounts a new empty directory for the job.
func (v *volumes) private(ctx context.Context) error { return v.bind(ctx, v.in("private", "caches")) }

// clone makes an image that shares its content with another one. Where the file
// system cannot, it fails.
func (v *volumes) clone(ctx context.Context, from, to string) error {
	return command(ctx, "cp", "--reflink=always", "--sparse=auto", from, to)
}

// detach ends the job's mount, if there is one.
func (v *volumes) detach(ctx context.Context) error { return unmount(ctx, v.mount) }

func unmount(ctx context.Context, dir string) error {
	mounted, err := isMounted(dir)
	if err != nil || !mounted {
		return err
	}
	// The kernel releases the loop device of a file, and so the file, a moment after
	// the file system on it was unmounted.
	for range 100 {
		if err = unix.Unmount(dir, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

func isMounted(dir string) (bool, error) {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == dir {
			return true, nil
		}
	}
	return false, nil
}

// close unmounts everything.
func (v *volumes) close(ctx context.Context) error {
	return errors.Join(v.detach(ctx), unmount(ctx, v.pool))
}

// cold removes what the last run had for itself, and all of the pool's content
// from memory, and returns how much of it is still there, in bytes.
func (v *volumes) cold(ctx context.Context) (left int64, err error) {
	if err := v.detach(ctx); err != nil {
		return 0, err
	}
	if err := os.RemoveAll(v.in("private")); err != nil {
		return 0, err
	}
	if err := v.close(ctx); err != nil {
		return 0, err
	}
	if left, err = forget(v.image); err != nil {
		return 0, err
	}
	return left, v.open(ctx)
}

// forget writes a file to the disk and drops it from the page cache.
func forget(file string) (left int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fd := int(f.Fd())
	if err := unix.Fsync(fd); err != nil {
		return 0, err
	}
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
		return 0, err
	}
	var pages unix.Cachestat_t
	if err := unix.Cachestat(uint(fd), &unix.CachestatRange{}, &pages, 0); errors.Is(err, unix.ENOSYS) {
		return 0, nil // before Linux 6.5
	} else if err != nil {
		return 0, err
	}
	return int64(pages.Cache) * int64(os.Getpagesize()), nil
}

// read is how many bytes the pool's device has read so far.
func (v *volumes) read() (int64, error) {
	var s unix.Stat_t
	if err := unix.Stat(v.pool, &s); err != nil {
		return 0, err
	}
	data, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(s.Dev), unix.Minor(s.Dev)))
	if err != nil {
		return 0, err
	}
	return readBytes(string(data))
}

// readBytes reads the bytes read from the statistics of a device: the third field
// counts sectors of 512 bytes.
func readBytes(stat string) (int64, error) {
	fields := strings.Fields(stat)
	if len(fields) < 3 {
		return 0, fmt.Errorf("statistics of a device: %q", stat)
	}
	n, err := strconv.ParseInt(fields[2], 10, 64)
	return n * 512, err
}
