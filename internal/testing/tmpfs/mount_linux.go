package tmpfs

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// Mount returns a temporary directory that is a file system of its own until the test
// ends. The options are those of tmpfs, such as "size=64m,nr_inodes=500". The test is
// skipped where this user may not mount.
func Mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	MountAt(t, dir, options)
	return dir
}

// MountAt is Mount at a directory that exists.
func MountAt(t *testing.T, dir, options string) {
	t.Helper()
	err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skip("may not mount a file system of its own")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
