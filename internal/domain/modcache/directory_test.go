package modcache_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"gocache.dev/operator/internal/domain/modcache"
)

// directoryOnly is a zip that consists of the directory: entries of names alone, each
// of which takes several times its size in memory. Its end record announces a
// directory of the given size, and archive/zip reads all of it.
func directoryOnly(size int, announced uint32) []byte {
	var zip bytes.Buffer
	entries := 0
	for ; zip.Len() < size; entries++ {
		name := fmt.Sprintf("%x", entries)
		header := make([]byte, 46)
		copy(header, "PK\x01\x02")
		binary.LittleEndian.PutUint16(header[28:], uint16(len(name))) //nolint:gosec // a few digits
		zip.Write(header)
		zip.WriteString(name)
	}
	end := make([]byte, 22)
	copy(end, "PK\x05\x06")
	binary.LittleEndian.PutUint16(end[8:], uint16(entries%(1<<16)))  //nolint:gosec // what the record holds
	binary.LittleEndian.PutUint16(end[10:], uint16(entries%(1<<16))) //nolint:gosec // the same
	binary.LittleEndian.PutUint32(end[12:], announced)
	zip.Write(end)
	return zip.Bytes()
}

// TestOpenZip holds that a directory is bounded by what is read of it, and not by what
// its end record announces.
func TestOpenZip(t *testing.T) {
	const limit = 1 << 20
	for name, announced := range map[string]uint32{"small": 47, "nothing": 0, "more": 4 << 20} {
		data := directoryOnly(4<<20, announced)
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
