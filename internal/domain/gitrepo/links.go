package gitrepo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"gocache.dev/operator/internal/domain/integrity/tree"
)

// removeLinksOut removes the symbolic links below a directory that lead out of it,
// also through others, and also where nothing is there: the files are used where
// other directories are mounted.
func removeLinksOut(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // read only
	var out []string
	err = tree.Walk(root, ".", func(name string, info fs.FileInfo) error {
		if info.Mode()&fs.ModeSymlink == 0 {
			return nil
		}
		// A root follows no link out of it. What is inside and missing stays missing.
		if _, err := root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			out = append(out, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range out { // all are found first: a link may lead through another
		if err := root.Remove(name); err != nil {
			return fmt.Errorf("remove the link %s, which leads out of the repository: %w", name, err)
		}
	}
	return nil
}
