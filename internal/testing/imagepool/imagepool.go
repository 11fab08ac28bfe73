// Package imagepool makes volumes that can be cloned by reference: XFS images in a
// pool, which is an XFS image, too. It is what the CSI driver of the local cluster
// does, without a cluster. It needs root and mkfs.xfs.
package imagepool

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
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Pool has images of volumes.
type Pool struct {
	Image string // of the pool: a sparse file
	Bytes int64  // its size
	Dir   string // where it is mounted
	Mount string // where one of its volumes is mounted
}

// Command runs a program, and returns what it printed when it failed.
func Command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil { //nolint:gosec // programs of the benchmark
		return fmt.Errorf("%s %s: %w: %.2000s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// Format makes a sparse file with an empty file system, unless there is one.
func Format(ctx context.Context, image string, size int64) error {
	f, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the caller names it
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	if err := Command(ctx, "mkfs.xfs", "-q", "-K", "-f", "-m", "reflink=1", image); err != nil {
		return errors.Join(err, os.Remove(image))
	}
	return nil
}

// Open mounts the pool.
func (v *Pool) Open(ctx context.Context) error {
	if err := errors.Join(os.MkdirAll(v.Dir, 0o700), os.MkdirAll(v.Mount, 0o700)); err != nil {
		return err
	}
	if err := Format(ctx, v.Image, v.Bytes); err != nil {
		return err
	}
	if err := Command(ctx, "mount", "-t", "xfs", "-o", "loop,noatime", v.Image, v.Dir); err != nil {
		return err
	}
	return os.MkdirAll(v.In("private"), 0o700)
}

// In is a path in the pool.
func (v *Pool) In(names ...string) string {
	return filepath.Join(append([]string{v.Dir}, names...)...)
}

// Attach mounts an image of the pool for the job.
func (v *Pool) Attach(ctx context.Context, image, options string) error {
	return Command(ctx, "mount", "-t", "xfs", "-o", "loop,noatime,nouuid,"+options, image, v.Mount)
}

// attempts bounds how often a free loop device may be taken by another process before
// we have it.
const attempts = 64

// AttachFile mounts the file system in a file for the job, through a loop device with direct
// I/O: it sends many requests at once, as to the disk of a cloud. The mount keeps the file
// open, and ends the device.
func (v *Pool) AttachFile(ctx context.Context, file *os.File, options string) error {
	device, err := loopDevice(file)
	if err != nil {
		return fmt.Errorf("loop device for %s: %w", file.Name(), err)
	}
	err = Command(ctx, "mount", "-t", "xfs", "-o", "noatime,nouuid,"+options, device.Name(), v.Mount)
	return errors.Join(err, device.Close())
}

// loopDevice returns a device of a file, which lasts until nothing has it open.
func loopDevice(file *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = control.Close() }()
	for range attempts {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		if err := errors.Join(err, device.Close()); !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no free device after %d attempts", attempts)
}

// Bind mounts a directory of the pool for the job.
func (v *Pool) Bind(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return Command(ctx, "mount", "--bind", dir, v.Mount)
}

// Clone makes an image that shares its content with another one. Where the file
// system cannot, it fails.
func (v *Pool) Clone(ctx context.Context, from, to string) error {
	return Command(ctx, "cp", "--reflink=always", "--sparse=auto", from, to)
}

// Copy makes an image that shares nothing with another one, as a driver does that copies a
// snapshot before it provides the volume.
func (v *Pool) Copy(ctx context.Context, from, to string) error {
	return Command(ctx, "cp", "--reflink=never", "--sparse=always", from, to)
}

// Detach ends the job's mount, if there is one.
func (v *Pool) Detach(ctx context.Context) error { return unmount(ctx, v.Mount) }

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

// Close unmounts everything.
func (v *Pool) Close(ctx context.Context) error {
	return errors.Join(v.Detach(ctx), unmount(ctx, v.Dir))
}

// Cold removes what the last run had for itself, and all of the pool's content
// from memory, and returns how much of it is still there, in bytes.
func (v *Pool) Cold(ctx context.Context) (left int64, err error) {
	if err := v.Detach(ctx); err != nil {
		return 0, err
	}
	if err := os.RemoveAll(v.In("private")); err != nil {
		return 0, err
	}
	if err := v.Close(ctx); err != nil {
		return 0, err
	}
	if left, err = forget(v.Image); err != nil {
		return 0, err
	}
	return left, v.Open(ctx)
}

// forget writes a file to the disk and drops it from the page cache.
func forget(file string) (left int64, err error) {
	f, err := os.Open(file) //nolint:gosec // an image of the pool
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

// Read is how many bytes the pool's device has read so far.
func (v *Pool) Read() (int64, error) {
	var s unix.Stat_t
	if err := unix.Stat(v.Dir, &s); err != nil {
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

// ApartCommand makes this program the process that measures.
const ApartCommand = "apart"

// Apart runs this program again in a mount namespace of its own: another process
// that makes one, such as that of a container, would otherwise keep a copy of each
// mount, and the pool could not be unmounted.
func Apart(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root, to mount volumes")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, ApartCommand) //nolint:gosec // this program
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it unmounts
	return cmd.Run()
}
