package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// MaxDepth bounds how deep a walk may go. Module zips cannot hold paths this
// deep (a path is at most 4 KiB long, and the go command never nests further
// than the paths it is given), so a deeper tree was not made by it.
const MaxDepth = 256

// ErrNotRegular means that a name exists but is no regular file: a link, pipe,
// device, socket or directory. It was not opened for reading.
var ErrNotRegular = errors.New("not a regular file")

// ErrBadMode means that a file's mode allows no reading. Root reads it all the
// same.
var ErrBadMode = errors.New("its mode allows no reading")

// ErrTooLarge means that a file is larger than the caller's limit.
var ErrTooLarge = errors.New("file is larger than the limit")

// Type is what kind of thing a directory entry is.
type Type uint8

// The types that a check distinguishes.
const (
	Unknown Type = iota
	Regular
	Directory
	Symlink
	Special // pipe, socket or device
)

// String names the type the way a finding shows it.
func (t Type) String() string {
	switch t {
	case Regular:
		return "regular file"
	case Directory:
		return "directory"
	case Symlink:
		return "symbolic link"
	case Special:
		return "pipe, socket or device"
	case Unknown:
	}
	return "unknown"
}

// Entry is one name in a directory.
type Entry struct {
	Name string
	Type Type
}

// Info is the result of stat for a name, without following links.
type Info struct {
	Type  Type
	Size  int64
	Mode  fs.FileMode // permission bits only
	Mtime time.Time
	Inode uint64
	Ctime time.Time
	UID   int
	GID   int
}

// Same reports whether two observations of a name saw the same unchanged file.
func (i Info) Same(o Info) bool {
	return i.Type == o.Type && i.Size == o.Size && i.Inode == o.Inode &&
		i.Mtime.Equal(o.Mtime) && i.Ctime.Equal(o.Ctime)
}

// Legible reports whether the mode gives some user the right to read a file, or to
// list and search a directory. Root does so all the same.
func (i Info) Legible() bool {
	return i.Mode&0o444 != 0 && (i.Type != Directory || i.Mode&0o111 != 0)
}

// Dir is an open directory of the tree.
type Dir struct {
	fd    int
	path  string
	depth int
}

// Open opens the root of a tree. The root itself may be reached through links:
// the caller named it.
func Open(name string) (*Dir, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &Dir{fd: fd, path: "."}, nil
}

// Close releases the directory.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// Path is the slash-separated path of the directory below the root, "." for
// the root.
func (d *Dir) Path() string { return d.path }

// Join is the path of a name in this directory.
func (d *Dir) Join(name string) string { return path.Join(d.path, name) }

// Sub opens a directory below this one. The name may have several elements;
// none of them may be a link.
func (d *Dir) Sub(name string) (*Dir, error) {
	cur, err := d.sub(d.fd, name)
	if err != nil {
		return nil, err
	}
	return cur, nil
}

// SubRoot opens a directory below this one, as Sub does, as the root of a tree of
// its own: paths are below it.
func (d *Dir) SubRoot(name string) (*Dir, error) {
	sub, err := d.Sub(name)
	if err != nil {
		return nil, err
	}
	sub.path, sub.depth = ".", 0
	return sub, nil
}

func (d *Dir) sub(fd int, name string) (*Dir, error) {
	depth := d.depth
	opened := -1
	for rest := name; ; {
		var elem string
		elem, rest = end(rest)
		if elem == "" || elem == "." || elem == ".." {
			closeQuietly(opened)
			return nil, &fs.PathError{Op: "open", Path: d.Join(name), Err: fs.ErrInvalid}
		}
		if depth++; depth > MaxDepth {
			closeQuietly(opened)
			return nil, &fs.PathError{Op: "open", Path: d.Join(name), Err: fmt.Errorf("nested deeper than %d directories", MaxDepth)}
		}
		next, err := retry(func() (int, error) {
			return unix.Openat(fd, elem, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		})
		closeQuietly(opened)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: d.Join(name), Err: err}
		}
		fd, opened = next, next
		if rest == "" {
			return &Dir{fd: fd, path: d.Join(name), depth: depth}, nil
		}
	}
}

// Stat describes a name in this directory without following links.
func (d *Dir) Stat(name string) (Info, error) {
	var st unix.Stat_t
	_, err := retry(func() (int, error) {
		return 0, unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: d.Join(name), Err: err}
	}
	return infoOf(&st), nil
}

// Each calls fn for each entry, in no particular order, and stops at the first
// error. It holds one batch of names at a time, however many there are.
func (d *Dir) Each(fn func(Entry) error) error {
	return d.each(func(e Entry) error {
		if e.Type == Unknown {
			info, err := d.Stat(e.Name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			e.Type = info.Type
		}
		return fn(e)
	})
}

// File is an open regular file.
type File struct {
	fd   int
	dir  string
	name string
	info Info
}

// Open opens a regular file of this directory for reading. Anything else is
// [ErrNotRegular] and is not opened at all: opening alone rewinds a tape, arms
// a watchdog, and lets a writer go on that waits for a reader of its pipe.
func (d *Dir) Open(name string) (File, error) {
	return d.OpenEntry(Entry{Name: name})
}

// OpenEntry is [Dir.Open] for an entry that [Dir.Each] gave, whose type need
// not be asked for once more. If it has become something else since, it may be
// opened, without blocking, but is never read.
func (d *Dir) OpenEntry(e Entry) (File, error) {
	if e.Type == Unknown {
		info, err := d.Stat(e.Name)
		if err != nil {
			return File{}, err
		}
		e.Type = info.Type
	}
	if e.Type != Regular {
		return File{}, &fs.PathError{Op: "open", Path: d.Join(e.Name), Err: ErrNotRegular}
	}
	return d.open(e.Name)
}

func (d *Dir) open(name string) (File, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	})
	if err != nil {
		if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
			err = ErrNotRegular
		}
		if errors.Is(err, unix.EACCES) {
			if info, statErr := d.Stat(name); statErr == nil && info.Mode&0o444 == 0 {
				err = ErrBadMode
			}
		}
		return File{}, &fs.PathError{Op: "open", Path: d.Join(name), Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		closeQuietly(fd)
		return File{}, &fs.PathError{Op: "stat", Path: d.Join(name), Err: err}
	}
	f := File{fd: fd, dir: d.path, name: name, info: infoOf(&st)}
	if f.info.Type != Regular {
		closeQuietly(fd)
		return File{}, &fs.PathError{Op: "open", Path: d.Join(name), Err: ErrNotRegular}
	}
	return f, nil
}

// Path is the slash-separated path of the file below the root.
func (f *File) Path() string { return path.Join(f.dir, f.name) }

// Info is the result of stat when the file was opened.
func (f *File) Info() Info { return f.info }

// Size is the size of the file when it was opened, in bytes.
func (f *File) Size() int64 { return f.info.Size }

// Close releases the file.
func (f *File) Close() error { return unix.Close(f.fd) }

// FD is the descriptor of the file, for locks. It stays owned by the file.
func (f *File) FD() int { return f.fd }

// Rewind makes the next read begin at the start.
func (f *File) Rewind() error {
	if _, err := unix.Seek(f.fd, 0, 0); err != nil {
		return &fs.PathError{Op: "seek", Path: f.Path(), Err: err}
	}
	return nil
}

// Read reads from the current position.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := retry(func() (int, error) { return unix.Read(f.fd, p) })
	if err != nil {
		return 0, &fs.PathError{Op: "read", Path: f.Path(), Err: err}
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// ReadAt reads from an offset, as io.ReaderAt asks.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := retry(func() (int, error) { return unix.Pread(f.fd, p[done:], off+int64(done)) })
		if err != nil {
			return done, &fs.PathError{Op: "read", Path: f.Path(), Err: err}
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

// ReadAll reads the whole file into buf, growing it if it must, and returns
// the bytes. A file of more than limit bytes is [ErrTooLarge]; nothing beyond
// the limit is read, also when the file grows meanwhile.
func (f *File) ReadAll(buf []byte, limit int64) ([]byte, error) {
	if f.info.Size > limit {
		return nil, &fs.PathError{Op: "read", Path: f.Path(), Err: ErrTooLarge}
	}
	// One byte more than the file has: a full read that ends short of it has
	// seen the end without asking again.
	need := int(f.info.Size) + 1
	if cap(buf) < need {
		buf = make([]byte, need)
	}
	buf = buf[:cap(buf)]
	done := 0
	for {
		if done == len(buf) {
			if int64(done) > limit {
				return nil, &fs.PathError{Op: "read", Path: f.Path(), Err: ErrTooLarge}
			}
			buf = append(buf, 0)
			buf = buf[:cap(buf)]
		}
		n, err := f.Read(buf[done:])
		done += n
		if errors.Is(err, io.EOF) || (err == nil && done == need-1 && int64(done) == f.info.Size) {
			return buf[:done], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// ReadFile reads one small regular file of this directory.
func (d *Dir) ReadFile(name string, buf []byte, limit int64) ([]byte, Info, error) {
	return d.ReadEntry(Entry{Name: name}, buf, limit)
}

// ReadEntry is [Dir.ReadFile] for an entry that [Dir.Each] gave.
func (d *Dir) ReadEntry(e Entry, buf []byte, limit int64) ([]byte, Info, error) {
	f, err := d.OpenEntry(e)
	if err != nil {
		return nil, Info{}, err
	}
	data, err := f.ReadAll(buf, limit)
	return data, f.info, errors.Join(err, f.Close())
}

func infoOf(st *unix.Stat_t) Info {
	i := Info{
		Size:  st.Size,
		Mode:  fs.FileMode(st.Mode & 0o777),
		Inode: st.Ino,
		Mtime: mtime(st),
		Ctime: ctime(st),
		UID:   int(st.Uid),
		GID:   int(st.Gid),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		i.Type = Regular
	case unix.S_IFDIR:
		i.Type = Directory
	case unix.S_IFLNK:
		i.Type = Symlink
	default:
		i.Type = Special
	}
	return i
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func closeQuietly(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd) // opened read-only: nothing is lost
	}
}

func end(name string) (elem, rest string) {
	for i := range len(name) {
		if name[i] == '/' {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}
