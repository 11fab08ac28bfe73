package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
)

// RemoveUnfinished removes what downloads left in a module cache that did not
// end: a go command that is killed, or that refuses a checksum, leaves its
// temporary file, and one that is killed during an extraction leaves a part of
// the directory and the .partial file beside the zip. No go command may run on
// the cache. A cache that is not there holds none of it.
func RemoveUnfinished(modCache string) error {
	d, err := tree.Open(modCache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	contents, err := modcache.Scan(d)
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("removing unfinished downloads: %w", err)
	}
	root, err := os.OpenRoot(modCache)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range contents.Remarks {
		if r.Kind == modcache.RemarkTemp {
			errs = append(errs, root.RemoveAll(r.Path))
		}
	}
	for i := range contents.Versions {
		if v := &contents.Versions[i]; v.Files.Has(modcache.Partial) {
			at := v.Escaped()
			errs = append(errs, removeTree(root, at.Dir()), root.RemoveAll(at.File(modcache.Partial)))
		}
	}
	if err := errors.Join(append(errs, root.Close())...); err != nil {
		return fmt.Errorf("removing unfinished downloads: %w", err)
	}
	return nil
}

// removeTree removes a directory, if it is there. The go command takes the write
// permission from those of modules, and only root can empty them then.
func removeTree(root *os.Root, dir string) error {
	err := tree.Walk(root, dir, func(name string, info fs.FileInfo) error {
		if !info.IsDir() {
			return nil
		}
		return root.Chmod(name, 0o775)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, root.RemoveAll(dir))
}
