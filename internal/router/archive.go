package router

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/go-logr/logr"
	"golang.org/x/mod/zip"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	"k8s.io/utils/lru"

	"gocache.dev/operator/internal/domain/goproxy"
)

// What is spooled, in bytes: of one archive, and of all at once. What does not
// fit is passed on unchecked.
const (
	maxSpooled = 64 << 20
	// SpoolSize is how large the directory of the spool may become.
	SpoolSize = 256 << 20
)

// archives computes the h1 of archives. An archive whose bytes were seen before
// is not unpacked again.
type archives struct {
	dir     string
	room    *semaphore.Weighted
	sums    *lru.Cache // SHA-256 of an archive → its h1
	once    singleflight.Group
	logOnce sync.Once
	log     logr.Logger
	limit   int64
}

func newArchives(dir string, log logr.Logger) *archives {
	return &archives{dir: dir, room: semaphore.NewWeighted(SpoolSize), sums: lru.New(1 << 13), log: log, limit: maxSpooled}
}

// inMemory is the h1 of an archive.
func (a *archives) inMemory(content []byte) string {
	return a.sum(sha256.Sum256(content), bytes.NewReader(content), int64(len(content)))
}

// sum is the h1 of an archive, or why it has none.
func (a *archives) sum(raw [sha256.Size]byte, r io.ReaderAt, size int64) string {
	if sum, ok := a.sums.Get(raw); ok {
		return sum.(string)
	}
	sum, _, _ := a.once.Do(string(raw[:]), func() (any, error) {
		sum, err := goproxy.SumZip(r, size, zip.MaxZipFile)
		if err != nil {
			sum = err.Error()
		}
		a.sums.Add(raw, sum)
		return sum, nil
	})
	return sum.(string)
}

// collected is an archive that is being collected.
type collected struct {
	archives *archives
	raw      hash.Hash
	file     *os.File // it has no name any more
	room     int64
	size     int64
}

// collect begins with an archive of a length, which may be unknown (negative).
// It returns nothing when there is no room.
func (a *archives) collect(length int64) *collected {
	room := length
	if length < 0 {
		room = a.limit
	}
	if a.dir == "" || room > a.limit || !a.room.TryAcquire(room) {
		return nil
	}
	file, err := nameless(a.dir)
	if err != nil {
		a.room.Release(room)
		a.complain(err)
		return nil
	}
	return &collected{archives: a, raw: sha256.New(), file: file, room: room}
}

// nameless makes a file that goes when it is closed.
func nameless(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, "archive")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

func (a *archives) complain(err error) {
	a.logOnce.Do(func() {
		a.log.Error(err, fmt.Sprintf("Archives of more than %d KiB are passed on unchecked; this is logged once", archiveHeld>>10))
	})
}

// Write implements io.Writer. It never fails: what cannot be collected cannot
// be checked.
func (c *collected) Write(p []byte) (int, error) {
	if c.file == nil {
		return len(p), nil
	}
	c.size += int64(len(p))
	if c.size > c.room {
		_ = c.Close()
		return len(p), nil
	}
	_, _ = c.raw.Write(p)
	if _, err := c.file.Write(p); err != nil {
		c.archives.complain(err)
		_ = c.Close()
	}
	return len(p), nil
}

// sum is the h1 of what was collected, and false when not all of it was.
func (c *collected) sum() (string, bool) {
	if c.file == nil {
		return "", false
	}
	return c.archives.sum([sha256.Size]byte(c.raw.Sum(nil)), c.file, c.size), true
}

// Close implements io.Closer.
func (c *collected) Close() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	c.archives.room.Release(c.room)
	return err
}
