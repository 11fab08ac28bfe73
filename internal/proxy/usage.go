package proxy

import (
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/domain/store"
)

const (
	// measuredFor is how long a walk over the volume counts, and restBetween how many
	// times longer than the walk.
	measuredFor = time.Minute
	restBetween = 50
	// statBlock is the unit of the blocks that stat reports.
	statBlock = 512
)

// usage is how full the volume of a store is. Where other volumes share the file
// system, what it reports is what all of them use: then the volume's own files count,
// against its own size. They are counted by a walk now and then, and in between by
// what is stored and removed.
type usage struct {
	dir  string
	size int64 // of the volume; 0: not known
	now  func() time.Time

	mu       sync.Mutex
	measured time.Time // when the last walk began; zero: none has
	rest     time.Duration
	walking  bool
	files    int64 // bytes that the files take
	added    int64 // since the present walk began
}

// space of the volume in bytes, and its inodes.
type space struct {
	capacity, free, used uint64
	inodes, freeInodes   uint64
}

// space looks at the volume. It takes as long as the file system lets it, but for no
// walk.
func (u *usage) space() (space, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(u.dir, &stat); err != nil {
		return space{}, err
	}
	block := uint64(stat.Bsize) //nolint:gosec // a block size is positive
	s := space{
		capacity: stat.Blocks * block, free: stat.Bavail * block, used: (stat.Blocks - stat.Bfree) * block,
		inodes: stat.Files, freeInodes: stat.Ffree,
	}
	if !store.Shared(int64(s.capacity), u.size) { //nolint:gosec // a size of a device
		return s, nil
	}
	files, known := u.own()
	if !known {
		files = 0 // the first walk has not ended
	}
	size := uint64(u.size)                           //nolint:gosec // it is positive
	s.capacity, s.used = size, uint64(max(files, 0)) //nolint:gosec // it is not negative
	s.free = min(s.free, size-min(s.used, size))
	s.inodes = 0 // they are not the volume's to use up
	return s, nil
}

// own is what the files of the volume take, and whether that is known. A walk begins
// when the last one is old.
func (u *usage) own() (bytes int64, known bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := u.now(); !u.walking && (u.measured.IsZero() || now.Sub(u.measured) > max(measuredFor, u.rest)) {
		u.walking = true
		go u.measure()
	}
	return u.files, !u.measured.IsZero()
}

// measure walks over the volume.
func (u *usage) measure() {
	u.mu.Lock()
	u.added = 0 // what is stored during the walk may count twice, until the next one
	u.mu.Unlock()
	began := u.now()
	bytes := int64(0)
	root := filepath.Dir(filepath.Clean(u.dir)) // what is kept beside the store is the volume's too
	var device uint64
	linked := map[uint64]bool{}
	_ = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error { // what cannot be read is not counted
		if err != nil {
			return nil //nolint:nilerr // it is gone, or cannot be read
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		switch {
		case name == root:
			device = st.Dev
		case st.Dev != device && d.IsDir():
			return fs.SkipDir
		case st.Dev != device:
			return nil
		case st.Nlink > 1 && !d.IsDir():
			if linked[st.Ino] {
				return nil
			}
			linked[st.Ino] = true
		}
		bytes += st.Blocks * statBlock
		return nil
	})
	u.mu.Lock()
	defer u.mu.Unlock()
	u.files, u.measured, u.rest, u.walking = bytes+u.added, u.now(), restBetween*u.now().Sub(began), false
}

// add notes what was stored, or removed with a negative number of bytes.
func (u *usage) add(bytes int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.files += bytes
	u.added += bytes
}
