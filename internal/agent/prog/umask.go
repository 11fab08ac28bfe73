package prog

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// readUmask reads the umask, which can only be read by setting it.
func readUmask() fs.FileMode {
	mask := unix.Umask(0o022)
	unix.Umask(mask)
	return fs.FileMode(mask) //nolint:gosec // nine bits
}
