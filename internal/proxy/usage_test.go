package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

// TestSharedFileSystem holds that on a file system which other volumes use too, the
// store's own files count against its own size: for what clients and probes see, and
// for what is removed.
func TestSharedFileSystem(t *testing.T) {
	const size = 1 << 20
	store, err := OpenStore(t.TempDir()+"/store", time.Now, logr.Discard(), newMetrics())
	if err != nil {
		t.Fatal(err)
	}
	store.usage.size = size
	all := (&usage{dir: store.dir, now: time.Now})
	if s, err := all.space(); err != nil || s.capacity < 2*size {
		t.Fatalf("the file system of this test has %d bytes, %v", s.capacity, err)
	}
	store.evict = newEviction(store, 80, 0, time.Now)
	for _, name := range []string{"a", "b", "c"} {
		put(t, store, "m/@v/"+name+".zip", 200<<10)
	}
	counted := func(low, high uint64) {
		t.Helper()
		store.usage.measure() // as it does by itself
		r := store.Check(1)
		if r.Problem != "" || r.Capacity != size || r.Used < low || r.Used > high || r.Free != size-r.Used {
			t.Errorf("%+v, want %d to %d of %d used", r, low, high, size)
		}
	}
	counted(600<<10, 680<<10)
	store.evict.makeRoom(0)
	counted(600<<10, 680<<10) // 58 % of 80 are used
	put(t, store, "m/@v/d.zip", 250<<10)
	store.evict.makeRoom(0)
	counted(640<<10, 720<<10) // one of 200 KiB is gone
	if _, free, err := store.space(); err != nil || free > size/2 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
	// What does not fit into the volume's own size is not stored, whatever the file
	// system has.
	if _, err := store.createWithin("m/@v/e.zip", size, 0); !isFull(err) {
		t.Errorf("an archive of the size of the volume: %v", err)
	}
	put(t, store, "m/@v/list", 400<<10) // nothing that may be removed
	store.usage.measure()
	if !store.full(time.Now()) {
		store.evict.maxUsed = 30
		if !store.full(time.Now()) {
			t.Error("it is not full")
		}
	}
}

// TestVolumeOfItsOwn holds that a file system of about the volume's size counts as
// it reports itself.
func TestVolumeOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	all, err := (&usage{dir: dir, now: time.Now}).space()
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"not known": 0, "rounded up by the driver": int64(all.capacity) / 105 * 100, "smaller than asked for": int64(all.capacity) * 2} { //nolint:gosec // a size of a device
		u := &usage{dir: dir, now: time.Now, size: size}
		if s, err := u.space(); err != nil || s.capacity != all.capacity || u.walking || !u.measured.IsZero() {
			t.Errorf("%s: %+v, %v, walks: %v", name, s, err, u.walking)
		}
	}
	server, err := New(Options{Store: dir + "/store", Now: time.Now, Log: logr.Discard(), Environment: Environment{GOPROXY: "off", GOSUMDB: "off"}})
	if err != nil {
		t.Fatal(err)
	}
	u := server.store.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.walking || !u.measured.IsZero() {
		t.Error("a server whose volume has no size walks over what lies beside its store")
	}
	if Bytes("12") != 12 || Bytes("-1") != 0 || Bytes("12Gi") != 0 || Bytes(strings.Repeat("9", 30)) != 0 {
		t.Error("bytes are read wrongly")
	}
}
