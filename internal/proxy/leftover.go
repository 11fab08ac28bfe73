package proxy

import (
	"io/fs"
	"path"
	"strings"
	"time"
)

// fileLag is how much older than the clock the time of a new file may be: by a tick of
// the kernel, or as the clock of a file server differs.
const fileLag = time.Second

// removeLeftovers removes what a process that was killed left of files that it
// was about to store: those that are older than this one, which is alone on the
// store.
func (s *Store) removeLeftovers(before time.Time) {
	root := s.root.Load()
	removed := 0
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be read is found by the check of the store
		}
		if d.IsDir() {
			if name == QuarantineDir {
				return fs.SkipDir
			}
			return nil
		}
		if !isLeftover(path.Base(name)) {
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || !info.ModTime().Before(before) {
			return nil //nolint:nilerr // it is gone, or in use
		}
		if root.Remove(name) == nil {
			removed++
		}
		return nil
	})
	if err != nil || removed > 0 {
		s.log.Info("Removed unfinished files", "files", removed, "error", err)
	}
}

// isLeftover reports whether a name is one of Store.create.
func isLeftover(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, ".tmp.")
}
