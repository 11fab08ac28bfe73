package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/domain/buildcache"
)

// Space is how full a volume is: bytes, and inodes where the file system has a fixed
// number of them.
type Space struct {
	Used       int64 `json:"usedBytes"`
	Capacity   int64 `json:"capacityBytes"`
	Available  int64 `json:"availableBytes"`
	Inodes     int64 `json:"inodes,omitempty"`
	InodesUsed int64 `json:"inodesUsed,omitempty"`
	// Tree is what the files below the directory take, by [Measure].
	Tree int64 `json:"treeBytes,omitempty"`
}

// Usage asks the file system that holds dir.
func Usage(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	block := int64(st.Bsize)
	space := Space{
		Used:      (int64(st.Blocks) - int64(st.Bfree)) * block, //nolint:gosec // sizes of devices
		Capacity:  int64(st.Blocks) * block,                     //nolint:gosec // likewise
		Available: int64(st.Bavail) * block,                     //nolint:gosec // likewise
	}
	// A file system without a fixed number of inodes reports none, or, as Ceph's does,
	// more free ones than there are.
	inodes, free := int64(st.Files), int64(st.Ffree) //nolint:gosec // likewise
	if inodes > 0 && free >= 0 && free <= inodes {
		space.Inodes, space.InodesUsed = inodes, inodes-free
	}
	return space, nil
}

// Measure is [Usage] with what the files below dir take on the device. A file system
// that several volumes share reports what all of them use: only a walk finds the part
// of one. What cannot be read, or is removed meanwhile, is not counted.
func Measure(dir string) (Space, error) {
	space, err := Usage(dir)
	if err != nil {
		return space, err
	}
	root, err := os.Lstat(dir)
	if err != nil {
		return space, err
	}
	device := root.Sys().(*syscall.Stat_t).Dev
	linked := map[uint64]bool{}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Dev != device { // another volume is mounted there
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if st.Nlink > 1 && !d.IsDir() {
			if linked[st.Ino] {
				return nil
			}
			linked[st.Ino] = true
		}
		space.Tree += st.Blocks * statBlock
		return nil
	})
	return space, err
}

// statBlock is the unit of the blocks that stat reports, whatever the file system's.
const statBlock = 512

// Umask sets the process's umask.
func Umask(mask int) { unix.Umask(mask) }

// BeginUse makes the go command mark what it uses in a build cache that was
// sealed by [Keep]: it marks only entries whose times are more than an hour
// old. The mark of the last trim is set to now, or the go command would trim
// all that was not used for five days before anything is kept again.
func BeginUse(buildCache string, now time.Time) error {
	if err := MarkTrimmed(buildCache, now); err != nil {
		return err
	}
	return each(buildCache, func(mtime time.Time) time.Time { return buildcache.LastUsed(mtime, now) })
}

// BeginMarks makes the go command mark what it uses in a build cache whose entries were
// used at unknown times since it was sealed by [Keep]: they count as used now.
func BeginMarks(buildCache string, now time.Time) error {
	return each(buildCache, func(mtime time.Time) time.Time {
		if buildcache.IsKept(mtime, now) {
			return now
		}
		return mtime
	})
}

// Keep seals a build cache against being trimmed by the go command, however
// late a snapshot of it is used.
func Keep(buildCache string, now time.Time) error {
	if err := MarkTrimmed(buildCache, now); err != nil {
		return err
	}
	return each(buildCache, func(mtime time.Time) time.Time { return buildcache.Kept(buildcache.LastUsed(mtime, now)) })
}

// MarkTrimmedIfSpace is [MarkTrimmed] on a volume that may be full: then it
// stays unmarked, and only what is about to be removed makes room.
func MarkTrimmedIfSpace(buildCache string, now time.Time) error {
	if err := MarkTrimmed(buildCache, now); !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	return nil
}

// MarkTrimmed marks the cache as trimmed now, for the go command. The mark
// is replaced at once: a go command that finds it half-written would trim.
func MarkTrimmed(buildCache string, now time.Time) error {
	f, err := os.CreateTemp(buildCache, ".trim-*")
	if err != nil {
		return fmt.Errorf("marking the cache as trimmed: %w", err)
	}
	_, err = f.Write(buildcache.FormatTrim(now))
	err = errors.Join(err, f.Chmod(0o664), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(buildCache, buildcache.TrimMark))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("marking the cache as trimmed: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// each changes the modification time of every entry.
func each(buildCache string, change func(time.Time) time.Time) error {
	shards, err := os.ReadDir(buildCache)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if !shard.IsDir() || len(shard.Name()) != 2 {
			continue
		}
		if err := eachIn(filepath.Join(buildCache, shard.Name()), change); err != nil {
			return err
		}
	}
	return nil
}

func eachIn(dir string, change func(time.Time) time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, kind := buildcache.ParseName(e.Name()); kind == buildcache.Other || e.Type()&fs.ModeSymlink != 0 {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if t := change(info.ModTime()); !t.Equal(info.ModTime()) {
			// Entries of another owner keep their times: they are only less
			// well kept.
			err := os.Chtimes(filepath.Join(dir, e.Name()), t, t)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	return nil
}
