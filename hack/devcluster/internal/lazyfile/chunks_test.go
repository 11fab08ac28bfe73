package lazyfile

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newImage makes a sparse file whose given chunks have content: their number.
func newImage(t *testing.T, size int64, full ...int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for _, i := range full {
		if _, err := f.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, chunkBytes), i*chunkBytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// opened are the chunks of an image, as a process has them.
func opened(t *testing.T, image string, latency time.Duration, parallel int) *chunks {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	c, err := openChunks(f, Options{Image: image, Latency: latency, Parallel: parallel})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// took is how long loading a range takes.
func took(t *testing.T, c *chunks, off, length int64) time.Duration {
	t.Helper()
	began := time.Now()
	if err := c.load(off, length); err != nil {
		t.Error(err)
	}
	return time.Since(began)
}

const latency = 20 * time.Millisecond

// TestFirstRead holds that a chunk is waited for once, and that holes and what was written
// are not.
func TestFirstRead(t *testing.T) {
	image := newImage(t, 8*chunkBytes, 0, 1, 2, 4)
	synctest.Test(t, func(t *testing.T) {
		c := opened(t, image, latency, 8)
		if err := c.written(2*chunkBytes+5, 1); err != nil {
			t.Error(err)
		}
		for _, r := range []struct {
			what        string
			off, length int64
			want        time.Duration
		}{
			{"first", 100, 10, latency},
			{"again", 0, chunkBytes, 0},
			{"the next one too", 0, chunkBytes + 1, latency},
			{"written", 2 * chunkBytes, chunkBytes, 0},
			{"hole", 3 * chunkBytes, chunkBytes, 0},
			{"after the hole", 3 * chunkBytes, 3 * chunkBytes, latency},
			{"end, and beyond", 7 * chunkBytes, 9 * chunkBytes, 0},
		} {
			if got := took(t, c, r.off, r.length); got != r.want {
				t.Errorf("%s: took %s, want %s", r.what, got, r.want)
			}
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestReadersOfOneChunk holds that a second reader waits for the rest of the first one's load.
func TestReadersOfOneChunk(t *testing.T) {
	image := newImage(t, chunkBytes, 0)
	synctest.Test(t, func(t *testing.T) {
		c := opened(t, image, latency, 1)
		var both sync.WaitGroup
		both.Go(func() {
			if got := took(t, c, 0, 1); got != latency {
				t.Errorf("the first took %s", got)
			}
		})
		time.Sleep(latency / 4)
		if got := took(t, c, chunkBytes-1, 1); got != latency*3/4 {
			t.Errorf("the second took %s", got)
		}
		both.Wait()
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestParallel holds that the store loads only so many chunks at once, for all readers.
func TestParallel(t *testing.T) {
	image := newImage(t, 8*chunkBytes, 0, 1, 2, 3, 4, 5, 6)
	for parallel, want := range map[int]time.Duration{1: 7, 2: 4, 3: 3, 7: 1, 8: 1} {
		if err := os.RemoveAll(StateOf(image)); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			c := opened(t, image, latency, parallel)
			began := time.Now()
			var all sync.WaitGroup
			for _, r := range [][2]int64{{0, 2}, {2, 4}, {4, 7}} {
				all.Go(func() { took(t, c, r[0]*chunkBytes, (r[1]-r[0])*chunkBytes) })
			}
			all.Wait()
			if got := time.Since(began); got != want*latency {
				t.Errorf("%d at once: 7 chunks took %s, want %s", parallel, got, want*latency)
			}
			if err := c.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestGoesOn holds that another process has what an earlier one has loaded, and that an image
// which grew has nothing more to load.
func TestGoesOn(t *testing.T) {
	image := newImage(t, 4*chunkBytes, 0, 1, 2, 3)
	synctest.Test(t, func(t *testing.T) {
		before := opened(t, image, latency, 1)
		took(t, before, chunkBytes, 2*chunkBytes)
		if err := before.close(); err != nil {
			t.Error(err)
		}
		f, err := os.OpenFile(image, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{9}, 6*chunkBytes-1); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		after := opened(t, image, latency, 1)
		if got := took(t, after, 0, 6*chunkBytes); got != 2*latency {
			t.Errorf("took %s, want two chunks", got)
		}
		if err := after.close(); err != nil {
			t.Error(err)
		}
	})
	if state, err := os.ReadFile(StateOf(image)); err != nil || !bytes.Equal(state, bytes.Repeat([]byte{loaded}, 6)) {
		t.Errorf("recorded %v, %v", state, err)
	}
}

// TestRefuses holds that a process which cannot serve ends with an error, and leaves no folder.
func TestRefuses(t *testing.T) {
	image, at := newImage(t, chunkBytes), filepath.Join(t.TempDir(), "at")
	for name, o := range map[string]Options{
		"no image":         {Image: image + "none", At: at, Parallel: 1},
		"none at once":     {Image: image, At: at},
		"negative latency": {Image: image, At: at, Latency: -1, Parallel: 1},
	} {
		if err := Serve(context.Background(), o, nil, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := os.Stat(at); !os.IsNotExist(err) {
			t.Errorf("%s: left %v", name, err)
		}
	}
}
