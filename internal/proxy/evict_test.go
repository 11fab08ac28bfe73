package proxy

import (
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

// volume is a store on a volume of its own, by the sizes of its files.
func volume(t *testing.T, capacity uint64, maxUsed int) (*Store, *atomic.Int64) {
	t.Helper()
	store, err := OpenStore(t.TempDir(), time.Now, logr.Discard(), newMetrics())
	if err != nil {
		t.Fatal(err)
	}
	var clock atomic.Int64
	clock.Store(time.Now().Unix())
	store.evict = newEviction(store, maxUsed, 0, func() time.Time { return time.Unix(clock.Load(), 0) })
	store.evict.space = func() (uint64, uint64, error) {
		used := uint64(0)
		err := fs.WalkDir(store.root.Load().FS(), ".", func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			used += uint64(info.Size()) //nolint:gosec // it is positive
			return err
		})
		return capacity, capacity - min(used, capacity), err
	}
	return store, &clock
}

func put(t *testing.T, s *Store, name string, size int) {
	t.Helper()
	if err := s.write(name, strings.NewReader(strings.Repeat("x", size))); err != nil {
		t.Fatal(err)
	}
}

// TestEviction holds that what was not served for the longest time makes room, in
// this process and in the next, and never what is being served.
func TestEviction(t *testing.T) {
	s, clock := volume(t, 10_000, 80)
	for _, name := range []string{"a", "b", "c", "d"} {
		put(t, s, "m/@v/"+name+".zip", 1500)
	}
	put(t, s, "m/@v/list", 100)
	put(t, s, "m/@v/a.mod", 400)
	serve := func(s *Store, name string) *entry {
		t.Helper()
		clock.Add(7200)
		f, err := s.root.Load().Open("m/@v/" + name + ".zip")
		if err != nil {
			t.Fatal(err)
		}
		e := &entry{file: f, closed: func() { s.evict.closed("m/@v/" + name + ".zip") }}
		s.evict.opened("m/@v/"+name+".zip", f)
		return e
	}
	has := func(names string) {
		t.Helper()
		for _, name := range []string{"a", "b", "c", "d"} {
			if got := s.has("m/@v/" + name + ".zip"); got != strings.Contains(names, name) {
				t.Errorf("%s is there: %v; want %s alone", name, got, names)
			}
		}
	}
	reading := serve(s, "b") // for long
	for _, name := range []string{"c", "a", "d", "c"} {
		_ = serve(s, name).Close()
	}
	s.evict.makeRoom(0)
	has("abcd") // 6500 of 8000 are used
	s.evict.makeRoom(2000)
	has("bcd") // not b, which is being served
	_ = reading.Close()
	s.evict.makeRoom(3500)
	has("cd")

	// Another process reads it from the files.
	again, err := OpenStore(s.dir, time.Now, logr.Discard(), newMetrics())
	if err != nil {
		t.Fatal(err)
	}
	again.evict = newEviction(again, 80, 0, s.evict.now)
	again.evict.space = s.evict.space
	s = again
	s.evict.makeRoom(5000)
	if s.sums { // the attribute needs the same
		has("c")
	}
	s.evict.makeRoom(1 << 40) // more than there is
	has("")
	for _, name := range []string{"m/@v/list", "m/@v/a.mod"} {
		if !s.has(name) {
			t.Errorf("%s was removed", name)
		}
	}

	none, _ := volume(t, 1000, 0)
	put(t, none, "m/@v/a.zip", 1500)
	none.evict.makeRoom(1000)
	if !none.has("m/@v/a.zip") {
		t.Error("it is off, and removed something")
	}
}

// TestFull holds that a store reports that it is full while a file found no space
// lately, and while removing archives does not suffice.
func TestFull(t *testing.T) {
	s, clock := volume(t, 10_000, 0)
	s.now = func() time.Time { return time.Unix(clock.Load(), 0) }
	full := func(what string, want bool) {
		t.Helper()
		if got := s.full(s.now()); got != want {
			t.Errorf("%s: full is %v", what, got)
		}
	}
	full("an empty store", false)
	s.stored("m/@v/v1.0.0.zip", fs.ErrPermission)
	full("another error", false)
	s.stored("m/@v/v1.0.0.zip", &fs.PathError{Op: "write", Err: syscall.ENOSPC})
	full("no room", true)
	s.stored("m/@v/v1.0.0.mod", nil)
	full("room for a small file", true)
	clock.Add(int64(fullFor / time.Second))
	full("no room, some time ago", false)
	s.evict.maxUsed = 80
	put(t, s, "m/@v/list", 8500)
	s.evict.makeRoom(0)
	full("nothing to remove", true)
}
