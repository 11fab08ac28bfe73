package proxy

import (
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// usedAttribute of an archive is when it was served last, in seconds since
	// 1970. The times of the file itself are changed by checks and copies.
	usedAttribute = "user.gocache.used"
	// usedEvery is how often it is written.
	usedEvery = time.Hour
)

// eviction removes the archives that were not served for the longest time when the
// volume holds more than a share of its size. They are fetched again when they are
// asked for; the texts of a version are small, and stay.
type eviction struct {
	store *Store
	// maxUsed is that share in percent; 0: nothing is removed.
	maxUsed int
	minFree uint64
	now     func() time.Time
	space   func() (capacity, free uint64, err error)

	running sync.Mutex // one at a time

	mu      sync.Mutex
	used    map[string]time.Time // by this process
	written map[string]time.Time // when the attribute was
	serving map[string]int
}

func newEviction(store *Store, maxUsed int, minFree uint64, now func() time.Time) *eviction {
	return &eviction{
		store: store, maxUsed: maxUsed, minFree: minFree, now: now, space: store.space,
		used: map[string]time.Time{}, written: map[string]time.Time{}, serving: map[string]int{},
	}
}

// opened notes that an archive is being served.
func (e *eviction) opened(name string, f *os.File) {
	if e == nil || e.maxUsed == 0 || !strings.HasSuffix(name, ".zip") {
		return
	}
	e.mu.Lock()
	e.serving[name]++
	now := e.now()
	e.used[name] = now
	write := now.Sub(e.written[name]) >= usedEvery
	if write {
		e.written[name] = now
	}
	e.mu.Unlock()
	if write {
		value := []byte(strconv.FormatInt(now.Unix(), 10))
		_ = onDescriptor(f, func(fd int) error { return unix.Fsetxattr(fd, usedAttribute, value, 0) }) // then the time of the file counts
	}
}

// closed notes that one reader of an archive has ended.
func (e *eviction) closed(name string) {
	if e == nil || e.maxUsed == 0 || !strings.HasSuffix(name, ".zip") {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.serving[name]--; e.serving[name] <= 0 {
		delete(e.serving, name)
	}
}

// excess is how many bytes have to go before need more fit.
func (e *eviction) excess(need int64) int64 {
	capacity, free, err := e.space()
	if err != nil {
		return 0
	}
	keep := max(capacity/100*uint64(100-e.maxUsed), e.minFree) + uint64(max(need, 0)) //nolint:gosec // both are positive
	if free >= keep {
		return 0
	}
	return int64(keep - free) //nolint:gosec // less than the capacity
}

// candidate for removal.
type candidate struct {
	name string
	size int64
	used time.Time
}

// makeRoom removes archives until need more bytes fit.
func (e *eviction) makeRoom(need int64) {
	if e == nil || e.maxUsed == 0 || e.excess(need) == 0 {
		return
	}
	e.running.Lock()
	defer e.running.Unlock()
	excess := e.excess(need)
	if excess == 0 {
		return
	}
	root, removed := e.store.root.Load(), int64(0)
	for _, c := range e.candidates(root) {
		if removed >= excess {
			break
		}
		if root.Remove(c.name) == nil {
			removed += c.size
			e.store.usage.add(-c.size)
			e.forget(c.name)
			e.store.metrics.evicted(c.size)
			e.store.log.Info("Removed an archive to make room", "file", c.name, "bytes", c.size, "lastServed", c.used)
		}
	}
}

func (e *eviction) forget(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.used, name)
	delete(e.written, name)
}

// candidates are the archives that are not being served, the one that was not
// served for the longest time first.
func (e *eviction) candidates(root *os.Root) []candidate {
	var found []candidate
	_ = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error { // what cannot be read is no candidate
		switch {
		case err != nil:
			return nil // what cannot be read is no candidate
		case d.IsDir() && name == QuarantineDir:
			return fs.SkipDir
		case !d.Type().IsRegular() || !strings.HasSuffix(name, ".zip") || isLeftover(name):
			return nil
		}
		f, err := root.Open(name)
		if err != nil {
			return nil // it is gone
		}
		defer func() { _ = f.Close() }() // read only
		info, err := f.Stat()
		if err != nil {
			return nil // it is gone
		}
		found = append(found, candidate{name, info.Size(), e.lastServed(f, name, info.ModTime())})
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	found = slices.DeleteFunc(found, func(c candidate) bool { return e.serving[c.name] > 0 })
	slices.SortFunc(found, func(a, b candidate) int { return a.used.Compare(b.used) })
	return found
}

func (e *eviction) lastServed(f *os.File, name string, stored time.Time) time.Time {
	latest := stored
	buf := make([]byte, 20)
	_ = onDescriptor(f, func(fd int) error { // without one the time of the file counts
		n, err := unix.Fgetxattr(fd, usedAttribute, buf)
		if err != nil {
			return err
		}
		if seconds, err := strconv.ParseInt(string(buf[:n]), 10, 64); err == nil && time.Unix(seconds, 0).After(latest) {
			latest = time.Unix(seconds, 0)
		}
		return nil
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	if used := e.used[name]; used.After(latest) {
		latest = used
	}
	return latest
}

// Percent reads a share of 1 to 100; anything else is 0.
func Percent(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 100 {
		return 0
	}
	return n
}

// Bytes reads a positive number of bytes; anything else is 0.
func Bytes(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// fullFor is how long a store counts as full after a file found no space.
const fullFor = 15 * time.Minute

// full reports whether what is fetched cannot be kept, so that each client costs
// another fetch.
func (s *Store) full(now time.Time) bool {
	if at := s.lackedRoom.Load(); at != 0 && now.Sub(time.Unix(0, at)) < fullFor {
		return true
	}
	return s.evict != nil && s.evict.maxUsed > 0 && s.evict.excess(0) > 0
}
