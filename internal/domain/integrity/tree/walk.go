package tree

import (
	"errors"
	"io/fs"
	"os"
	"path"
)

// Walk visits a file or directory of a root and all that is below it, a directory
// before what it holds. It follows no link. Names may be of any bytes: the FS of a root
// refuses those that are not UTF-8. What vanishes meanwhile is left out, but for the
// first.
func Walk(root *os.Root, name string, visit func(name string, info fs.FileInfo) error) error {
	info, err := root.Lstat(name)
	if err == nil {
		err = visit(name, info)
	}
	if err != nil || !info.IsDir() {
		return err
	}
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	for _, below := range names {
		if err := Walk(root, path.Join(name, below), visit); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
