package goproxy_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"gocache.dev/operator/internal/domain/goproxy"
)

// TestSumZipOfADirectory holds that an archive which consists of the names of files
// takes not much more memory than it has bytes: probes hash archives of servers of
// users in the memory of the manager.
func TestSumZipOfADirectory(t *testing.T) {
	const size = 32 << 20
	var archive bytes.Buffer
	entries := 0
	for ; archive.Len() < size-100; entries++ {
		name := fmt.Sprintf("%x", entries)
		header := make([]byte, 46)
		copy(header, "PK\x01\x02")
		binary.LittleEndian.PutUint16(header[28:], uint16(len(name))) //nolint:gosec // a few digits
		archive.Write(header)
		archive.WriteString(name)
	}
	end := make([]byte, 22)
	copy(end, "PK\x05\x06")
	binary.LittleEndian.PutUint16(end[8:], uint16(entries%(1<<16)))  //nolint:gosec // what the record holds
	binary.LittleEndian.PutUint16(end[10:], uint16(entries%(1<<16))) //nolint:gosec // the same
	binary.LittleEndian.PutUint32(end[12:], 47)
	archive.Write(end)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sum, err := goproxy.SumZip(bytes.NewReader(archive.Bytes()), int64(archive.Len()), size)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Errorf("%d entries have sum %s", entries, sum)
	}
	took := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d entries, %d MiB", entries, took>>20)
	if took > size {
		t.Errorf("an archive of %d MiB took %d MiB of memory", size>>20, took>>20)
	}
}
