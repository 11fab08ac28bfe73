package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Report is what a look at the store found.
type Report struct {
	// Problem is why the store cannot be served from; empty if it can.
	Problem string
	// Used, Free and Capacity are bytes of the volume; Free is what an
	// unprivileged process may still use.
	Used, Free, Capacity uint64
}

// Check looks at the store: the volume is there and is the one that was
// opened, it has minFree bytes and a free inode, and a file that was readable
// once still is. It may take as long as the file system lets it.
func (s *Store) Check(minFree uint64) Report {
	var r Report
	if err := s.sameVolume(); err != nil {
		r.Problem = err.Error()
		return r
	}
	found, err := s.usage.space()
	if err != nil {
		r.Problem = fmt.Sprintf("the size of the volume cannot be read: %v", err)
		return r
	}
	r.Capacity, r.Free, r.Used = found.capacity, found.free, found.used
	switch {
	case r.Free < minFree:
		r.Problem = fmt.Sprintf("the volume is full: %d bytes are free, %d are needed", r.Free, minFree)
	case found.inodes > 0 && found.freeInodes == 0:
		r.Problem = "the volume is full: no inode is free"
	default:
		r.Problem = s.rereadKnown()
	}
	return r
}

// sameVolume reports whether the store's path still leads to the store. When
// the same store was mounted again, it is taken over.
func (s *Store) sameVolume() error {
	now, err := os.Stat(s.dir)
	if err != nil {
		return fmt.Errorf("the store is gone: %w", err)
	}
	root := s.root.Load()
	opened, err := root.Stat(".")
	if err == nil && os.SameFile(now, opened) {
		return s.checkMarker(root)
	}
	root, err = os.OpenRoot(s.dir)
	if err != nil {
		return fmt.Errorf("the store is gone: %w", err)
	}
	if err := s.checkMarker(root); err != nil {
		return errors.Join(err, root.Close())
	}
	// The previous root stays open: requests may still be reading through it.
	s.root.Store(root)
	return nil
}

func (s *Store) checkMarker(root *os.Root) error {
	id, err := readMarker(root)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the marker %s is gone: the volume is not mounted, or was emptied", path.Join(s.dir, MarkerFile))
	}
	if err != nil {
		return err
	}
	if id != s.id {
		return fmt.Errorf("another store (%s) lies where %s was opened", id, s.id)
	}
	return nil
}

// remember notes a small file for Check to read again.
func (s *Store) remember(name string) {
	if strings.HasSuffix(name, ".mod") || strings.HasSuffix(name, ".info") {
		s.known.Store(&name)
	}
}

// rereadKnown returns an error in reading the file that was read last. A
// missing or corrupt file is no fault of the volume: the next request for it
// fetches it again.
func (s *Store) rereadKnown() string {
	name := s.known.Load()
	if name == nil {
		return ""
	}
	e, verdict, err := s.examine(*name)
	if e != nil && err == nil {
		err = e.Close()
	}
	switch verdict {
	case readFailed:
		return fmt.Sprintf("a file of the store cannot be read: %v", err)
	case readMiss, readDamaged:
		s.known.CompareAndSwap(name, nil)
	case readHit, readUnchecked:
	}
	return ""
}
