package campaign_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
)

// mount mounts a file system in memory of so many bytes.
func mount(dir string, size int64) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
}

// size is the room that a tree takes on a file system in memory, in bytes.
func size(dir string) (sum int64) {
	const page = 4 << 10
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := d.Info(); err == nil && d.Type().IsRegular() {
			sum += (info.Size() + page - 1) / page * page
		}
		return nil
	})
	return sum
}
