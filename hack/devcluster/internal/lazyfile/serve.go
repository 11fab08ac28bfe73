package lazyfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Options are what is served, where, and how slowly.
type Options struct {
	// Image is the file below.
	Image string
	// At is a folder for the mount, which is made, and removed at the end.
	At string
	// Latency is how long loading a chunk takes.
	Latency time.Duration
	// Parallel is how many are loaded at once.
	Parallel int
}

// Parallel is how many chunks a store loads at once, unless it is set.
const Parallel = 8

// fileName is the name of the file in the folder.
const fileName = "volume"

// StateOf is the file beside an image that records which chunks of it are loaded.
func StateOf(image string) string { return image + ".loaded" }

// Serve serves an image, and writes the path of the file and a line end to out when it can
// be opened. When in ends, it unmounts the folder and closes out; those who have opened the
// file keep it, and Serve returns with the last of them. When ctx is done it returns at once,
// and the process is to end: reads fail from then on.
func Serve(ctx context.Context, o Options, in io.Reader, out io.WriteCloser) (err error) {
	if o.Latency < 0 || o.Parallel < 1 {
		return fmt.Errorf("latency %s and %d chunks at once: want none negative, and one at least", o.Latency, o.Parallel)
	}
	image, err := os.OpenFile(o.Image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	c, err := openChunks(image, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := os.MkdirAll(o.At, 0o700); err != nil {
		return err
	}
	server, err := mount(o.At, &root{file: &file{image: image, chunks: c}})
	if err != nil {
		return errors.Join(err, os.Remove(o.At))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve()
	}()
	if _, err := fmt.Fprintln(out, filepath.Join(o.At, fileName)); err != nil {
		return errors.Join(err, detach(o.At))
	}
	unused := make(chan struct{})
	go func() {
		defer close(unused)
		_, _ = io.Copy(io.Discard, in)
	}()
	select {
	case <-unused:
	case <-ctx.Done():
	}
	if err := errors.Join(detach(o.At), out.Close()); err != nil {
		return err
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
	return nil
}

// detach removes the mount of a folder, and the folder.
func detach(dir string) error {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return os.Remove(dir)
}

// root is the folder with the one file.
type root struct {
	fs.Inode
	file *file
}

// OnAdd puts the file into the folder.
func (r *root) OnAdd(ctx context.Context) {
	r.AddChild(fileName, r.NewPersistentInode(ctx, r.file, fs.StableAttr{Mode: unix.S_IFREG}), false)
}

// file is the lazily loaded one.
type file struct {
	fs.Inode
	image  *os.File
	chunks *chunks
}

var (
	_ fs.NodeOnAdder   = (*root)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeReader    = (*file)(nil)
	_ fs.NodeWriter    = (*file)(nil)
	_ fs.NodeFsyncer   = (*file)(nil)
	_ fs.NodeAllocater = (*file)(nil)
)

// Open needs no handle.
func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, fs.OK
}

// Getattr returns the size of the image, which may grow.
func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.image.Fd()), &st); err != nil {
		return fs.ToErrno(err)
	}
	out.FromStat(&st)
	return fs.OK
}

// Read loads what it reads.
func (f *file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if err := f.chunks.load(off, int64(len(dest))); err != nil {
		return nil, fs.ToErrno(err)
	}
	return fuse.ReadResultFd(f.image.Fd(), off, len(dest)), fs.OK
}

// Write needs nothing from the store.
func (f *file) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	n, err := f.image.WriteAt(data, off)
	if err = errors.Join(err, f.chunks.written(off, int64(n))); err != nil {
		return uint32(n), fs.ToErrno(err)
	}
	return uint32(n), fs.OK
}

// Fsync writes the image to the disk.
func (f *file) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return fs.ToErrno(unix.Fdatasync(int(f.image.Fd())))
}

// Allocate makes holes, and zeroes, as the image does.
func (f *file) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	if err := unix.Fallocate(int(f.image.Fd()), mode, int64(off), int64(size)); err != nil {
		return fs.ToErrno(err)
	}
	return fs.ToErrno(f.chunks.written(int64(off), int64(size)))
}
