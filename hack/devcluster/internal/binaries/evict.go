package binaries

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"gocache.dev/operator/hack/devcluster/internal/filelock"
)

var entryRE = regexp.MustCompile(`^[0-9a-f]{16}$`)

// evict removes all but the entries used last, except this one and those that a
// running cluster uses.
func (s *Store) evict(current Entry) error {
	names, err := os.ReadDir(s.Dir)
	if err != nil {
		return err
	}
	type candidate struct {
		dir  string
		used time.Time
	}
	var others []candidate
	for _, n := range names {
		dir := filepath.Join(s.Dir, n.Name())
		info, err := n.Info()
		if err != nil || !n.IsDir() || !entryRE.MatchString(n.Name()) || dir == current.dir {
			continue
		}
		others = append(others, candidate{dir, info.ModTime()})
	}
	slices.SortFunc(others, func(a, b candidate) int { return cmp.Or(b.used.Compare(a.used), cmp.Compare(a.dir, b.dir)) })
	var errs []error
	for _, c := range others[min(keep-1, len(others)):] {
		errs = append(errs, removeUnused(c.dir))
	}
	return errors.Join(errs...)
}

func removeUnused(dir string) (err error) {
	lock, err := filelock.TryExclusive(filepath.Join(dir, "in-use"))
	if lock == nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	return os.RemoveAll(dir)
}
