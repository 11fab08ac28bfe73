package gitrepo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// maxPath is how long the name of a directory may be: Linux opens no longer one.
const maxPath = 4096

// checkTrees refuses a commit with a tree that no git command writes: the library would
// read it one way where it writes files, and another way where it finds submodules.
func checkTrees(s storer.EncodedObjectStorer, commit plumbing.Hash) error {
	c, err := object.GetCommit(s, commit)
	if err != nil {
		return err
	}
	type directory struct {
		hash plumbing.Hash
		name string
	}
	seen := map[plumbing.Hash]bool{c.TreeHash: true}
	for left := []directory{{c.TreeHash, ""}}; len(left) > 0; {
		dir := left[len(left)-1]
		left = left[:len(left)-1]
		tree, err := object.GetTree(s, dir.hash)
		if err != nil {
			return fmt.Errorf("directory %q: %w", dir.name, err)
		}
		names := make(map[string]bool, len(tree.Entries))
		for _, e := range tree.Entries {
			name := dir.name + e.Name
			switch {
			case e.Name == "" || e.Name == "." || e.Name == ".." || strings.Contains(e.Name, "/") || strings.EqualFold(e.Name, ".git"):
				return fmt.Errorf("the repository has an entry %q, which is not a name", name)
			case names[e.Name]:
				return fmt.Errorf("the repository has two entries named %q", name)
			case len(name) > maxPath:
				return fmt.Errorf("the repository has a name of more than %d bytes, %q…", maxPath, name[:100])
			}
			names[e.Name] = true
			if e.Mode == filemode.Dir && !seen[e.Hash] {
				seen[e.Hash] = true
				left = append(left, directory{e.Hash, name + "/"})
			}
		}
	}
	return nil
}

// checkEmpty refuses the directory of a submodule, below that of its repository, if it
// holds something, or if it or a directory on the way there is a link or a file: the
// library follows links, and deletes what it finds.
func checkEmpty(dir, name string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // read only
	at := ""
	for part := range strings.SplitSeq(name, "/") {
		at = path.Join(at, part)
		switch info, err := root.Lstat(at); {
		case errors.Is(err, fs.ErrNotExist):
			return nil // nor what is below
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s is a link or a file in the repository, and not a directory", at)
		}
	}
	opened, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }() // read only
	switch found, err := opened.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("its directory is not empty: it holds %s", found[0])
	}
}
