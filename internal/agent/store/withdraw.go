package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
)

// trash is where directories go before they are removed: at once and as a whole,
// so that the server never meets half of a version. Names like this are no part
// of a store.
const trash = ".gocache-withdrawn-"

// withdraw removes what findings name. The server beside needs no word of it: it
// opens files again for each request, and a download under way keeps its own.
func (w *Watch) withdraw(found []integrity.Finding) error {
	// First of all: a comparison of the server's answers with the sample must
	// not take the version that is fetched again for a wrong one.
	w.sampling.Lock()
	w.history.sampled(w.sampler.forget(found))
	w.sampling.Unlock()
	root, err := os.OpenRoot(w.Store)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // every removal was reported by itself
	for _, f := range found {
		for _, name := range f.Remove {
			err = errors.Join(err, remove(root, name))
		}
		if err != nil {
			_, _ = fmt.Fprintf(w.Stderr, "store %s: cannot withdraw %q (%s: %s): %v\n", w.Store, f.Path, f.Class, f.Detail, err)
			return err
		}
		_, _ = fmt.Fprintf(w.Stderr, "store %s: withdrew %q: %s: %s\n", w.Store, f.Path, f.Class, f.Detail)
		w.metrics.withdrawn.WithLabelValues(string(f.Class)).Inc()
	}
	return nil
}

// remove removes one path of the tree. The root never leads out of it, whatever
// links lie in it.
func remove(root *os.Root, name string) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if err := root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	aside := trash + rand.Text()
	if err := root.Rename(name, aside); err != nil {
		return fmt.Errorf("move %s aside: %w", path.Base(name), err)
	}
	return root.RemoveAll(aside)
}

// empty removes what an agent had moved aside when it died.
func empty(dir string) error {
	left, err := fs.Glob(os.DirFS(dir), trash+"*")
	if err != nil || len(left) == 0 {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	for _, name := range left {
		err = errors.Join(err, root.RemoveAll(name))
	}
	return errors.Join(err, root.Close())
}

// forget drops the versions that findings are about from the sample, and returns
// what is left of it.
func (s *sampler) forget(found []integrity.Finding) []probe.Sampled {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := map[module.Version]bool{}
	for _, f := range found {
		gone[f.Module] = true
		delete(s.seen, f.Module)
	}
	var left []probe.Sampled
	for _, sampled := range s.last {
		if !gone[sampled.Version] {
			left = append(left, sampled)
		}
	}
	s.last = left
	return left
}
