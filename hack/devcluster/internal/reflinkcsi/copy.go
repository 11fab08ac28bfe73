package reflinkcsi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// reflink makes to a copy of the file from, of at least size bytes, that shares
// its extents. Where the file system cannot share, which only unit tests meet,
// the content is copied. It replaces whatever an interrupted attempt left.
func reflink(from, to string, size int64) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()

	err = unix.IoctlFileClone(int(out.Fd()), int(in.Fd()))
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EINVAL) {
		_, err = io.Copy(out, in)
	}
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	return growFile(out, size)
}

func growFile(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	return f.Truncate(size)
}

// format makes a sparse file with an empty XFS file system. XFS, because it can
// be grown while it is mounted without CAP_SYS_RESOURCE, which ext4 asks for and
// the root of a container or a small virtual machine may lack.
func format(ctx context.Context, file string, size int64) (err error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "mkfs.xfs", "-q", "-K", "-f", "-m", "reflink=1", file)
	// mkfs.xfs refuses less than 300 MiB except to the file system's own tests,
	// which set these variables. Tests need small volumes.
	cmd.Env = append(os.Environ(), "TEST_DIR=x", "TEST_DEV=x", "QA_CHECK_FS=x")
	return output(cmd)
}

func run(ctx context.Context, name string, args ...string) error {
	return output(exec.CommandContext(ctx, name, args...))
}

func output(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd.Args[0], err, out)
	}
	return nil
}

// Requests of <linux/fs.h>, which have no names in x/sys.
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

// whileFrozen runs do while the file system mounted at dir takes no writes and
// all earlier ones are in its image.
func whileFrozen(dir string, do func() error) (err error) {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // only read
	if err := unix.IoctlSetInt(int(d.Fd()), fiFreeze, 0); err != nil {
		return fmt.Errorf("freeze %s: %w", dir, err)
	}
	defer func() {
		if e := unix.IoctlSetInt(int(d.Fd()), fiThaw, 0); e != nil {
			err = errors.Join(err, fmt.Errorf("thaw %s: %w", dir, e))
		}
	}()
	return do()
}

// growTo makes a file at least so large.
func growTo(file string, size int64) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(growFile(f, size), f.Close())
}
