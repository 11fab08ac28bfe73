package restore

import (
	"os"

	"golang.org/x/sys/unix"
)

// clone makes dst share the blocks of the file at fd, if the file system can.
func clone(dst *os.File, fd int) bool {
	return unix.IoctlFileClone(int(dst.Fd()), fd) == nil //nolint:gosec // a descriptor
}
