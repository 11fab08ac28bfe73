package goproxy_test

import (
	"bytes"
	"runtime"
	"testing"

	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/testing/hostilezip"
)

// TestSumZipOfADirectory holds that an archive which consists of the names of files
// takes not much more memory than it has bytes: probes hash archives of servers of
// users in the memory of the manager.
func TestSumZipOfADirectory(t *testing.T) {
	const size = 32 << 20
	archive := hostilezip.Directory(size-100, 47)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sum, err := goproxy.SumZip(bytes.NewReader(archive), int64(len(archive)), size)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Errorf("it has sum %s", sum)
	}
	took := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d MiB", took>>20)
	if took > size {
		t.Errorf("an archive of %d MiB took %d MiB of memory", size>>20, took>>20)
	}
}
