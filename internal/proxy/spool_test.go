package proxy

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTrickling holds that readers of an archive which is being checked get some of it
// each second, and never its end; nothing of one of which they have got nothing yet,
// since another attempt may follow.
func TestTrickling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		s, err := newSpool(size, nil, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		if _, err := s.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		available := func() int64 {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.available
		}
		stop := s.trickling()
		for seconds := range int64(4) {
			if got, want := available(), size-holdBack+trickle*seconds; got != want {
				t.Errorf("after %d seconds: %d bytes, want %d", seconds, got, want)
			}
			time.Sleep(time.Second)
		}
		if time.Sleep(time.Hour); available() != size-neverBefore {
			t.Errorf("after an hour: %d bytes, want %d", available(), size-neverBefore)
		}
		stop()
		if s.complete(); available() != size {
			t.Errorf("after the check: %d bytes, want %d", available(), size)
		}

		small, err := newSpool(1000, nil, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer small.close()
		if _, err := small.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		stop = small.trickling()
		time.Sleep(time.Hour)
		stop()
		if small.begun() {
			t.Error("a part of a small archive is available before it was checked")
		}
	})
}

// TestPlaceMakesRoom holds that an archive of a known size is stored in the place of
// older ones, before it is fetched.
func TestPlaceMakesRoom(t *testing.T) {
	s, _ := volume(t, 10_000, 80)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		put(t, s, "m/@v/"+name+".zip", 1500)
	}
	p := (&fetcher{store: s}).place("m/@v/new.zip", 1500)
	if p == nil {
		t.Fatal("it gets no place")
	}
	defer p.discard()
	left := 0
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if s.has("m/@v/" + name + ".zip") {
			left++
		}
	}
	if left != 4 { // of 8000 bytes that may be used
		t.Errorf("%d of 5 archives are left, want 4", left)
	}
}

// TestReleaseClosesTheSpool holds that the file of an archive is closed when its last
// reader has gone, and not before.
func TestReleaseClosesTheSpool(t *testing.T) {
	s, err := newSpool(1, nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	abandoned := 0
	fl := &flight{fetcher: &fetcher{}, spool: s, users: 3, waiting: func() { abandoned++ }}
	for user, tt := range []struct {
		abandoned int
		closed    bool
	}{{0, false}, {1, false}, {1, true}} {
		fl.release()
		if _, err := s.file.Stat(); (err != nil) != tt.closed || abandoned != tt.abandoned {
			t.Errorf("after user %d: %v, and no client waits: %d; want closed: %v, %d", user, err, abandoned, tt.closed, tt.abandoned)
		}
	}
	(&flight{fetcher: &fetcher{}, users: 1, waiting: func() {}}).release() // one that has no archive
}
