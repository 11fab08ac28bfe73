package modcache_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"testing"

	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/testing/hostilezip"
)

// TestOpenZip holds that a directory is bounded by what is read of it, and not by what
// its end record announces.
func TestOpenZip(t *testing.T) {
	const limit = 1 << 20
	for name, announced := range map[string]uint32{"small": 47, "nothing": 0, "more": 4 << 20} {
		data := hostilezip.Directory(4<<20, announced)
		if r, err := modcache.OpenZip(bytes.NewReader(data), int64(len(data)), limit); err == nil {
			t.Errorf("%s: %d entries were read", name, len(r.File))
		}
	}
	var good bytes.Buffer
	w := zip.NewWriter(&good)
	for i := range 1000 {
		f, err := w.Create(fmt.Sprint("file", i))
		if err == nil {
			_, err = f.Write(bytes.Repeat([]byte{1}, 4<<10))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := modcache.OpenZip(bytes.NewReader(good.Bytes()), int64(good.Len()), limit)
	if err != nil || len(r.File) != 1000 {
		t.Fatal(err)
	}
	for range 1000 { // what is read of files does not count
		f, err := r.Open("file7")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := f.Read(make([]byte, 100)); n == 0 {
			t.Fatal(err)
		}
		_ = f.Close()
	}
}
