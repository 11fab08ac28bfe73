package volume

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Sync flushes the file system that holds dir to its device.
func Sync(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // the caller names the volume
	if err != nil {
		return err
	}
	if err := unix.Syncfs(int(f.Fd())); err != nil { //nolint:gosec // a descriptor
		return errors.Join(&fs.PathError{Op: "syncfs", Path: dir, Err: err}, f.Close())
	}
	return f.Close()
}
