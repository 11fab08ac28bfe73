package lazyfile

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	// requestBytes is the largest read or write. A header and a mebibyte do not fit into the
	// pipes that the library passes content through.
	requestBytes = chunkBytes
	// background is how many requests of the loop device are under way at once: those for
	// loaded chunks are not to wait behind others.
	background = 128
)

// mount mounts a folder whose requests the server answers once it serves.
//
// The library does not ask the kernel for asynchronous direct I/O, without which a loop
// device waits for each request before it sends the next: reads of several chunks would
// wait one after the other. So the library begins on a socket, over which the kernel's first
// request and its answer pass, with that capability added; then the device takes the place
// of the socket, under the same descriptor.
func mount(dir string, r fs.InodeEmbedder) (*fuse.Server, error) {
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/fuse: %w", err)
	}
	defer unix.Close(device) //nolint:errcheck // the server has its own
	data := fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0,max_read=%d", device, unix.S_IFDIR, requestBytes)
	if err := unix.Mount("lazyfile", dir, "fuse.lazyfile", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	server, err := serverOn(device, r)
	if err != nil {
		return nil, errors.Join(err, unix.Unmount(dir, unix.MNT_DETACH))
	}
	return server, nil
}

func serverOn(device int, r fs.InodeEmbedder) (*fuse.Server, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	defer unix.Close(pair[1]) //nolint:errcheck // of no use any more
	passed := make(chan error, 1)
	go func() { passed <- passInit(device, pair[1]) }()
	options := &fs.Options{MountOptions: fuse.MountOptions{
		MaxBackground: background, MaxWrite: requestBytes, DisableXAttrs: true, ExplicitDataCacheControl: true,
	}}
	server, err := fuse.NewServer(fs.NewNodeFS(r, options), fmt.Sprintf("/dev/fd/%d", pair[0]), &options.MountOptions)
	if err != nil {
		return nil, err // which has closed its end of the pair
	}
	if err := errors.Join(<-passed, unix.Dup3(device, pair[0], unix.O_CLOEXEC)); err != nil {
		return nil, errors.Join(err, unix.Close(pair[0]))
	}
	return server, nil
}

// Where the flags are in the first request and in its answer: fuse_in_header or
// fuse_out_header, and then three numbers of four bytes.
const (
	flagsAsked    = 40 + 12
	flagsAnswered = 16 + 12
)

// passInit passes the kernel's first request to the library, and the answer back.
func passInit(device, library int) error {
	message := make([]byte, 8<<10)
	n, err := unix.Read(device, message)
	if err != nil {
		return fmt.Errorf("first request of FUSE: %w", err)
	}
	offered := binary.NativeEndian.Uint32(message[flagsAsked:])
	if _, err := unix.Write(library, message[:n]); err != nil {
		return fmt.Errorf("first request of FUSE: %w", err)
	}
	if n, err = unix.Read(library, message); err != nil {
		return fmt.Errorf("answer to the first request of FUSE: %w", err)
	}
	if n < flagsAnswered+4 {
		return fmt.Errorf("answer of %d bytes to the first request of FUSE", n)
	}
	flags := binary.NativeEndian.Uint32(message[flagsAnswered:])
	binary.NativeEndian.PutUint32(message[flagsAnswered:], flags|offered&fuse.CAP_ASYNC_DIO)
	if _, err := unix.Write(device, message[:n]); err != nil {
		return fmt.Errorf("answer to the first request of FUSE: %w", err)
	}
	return nil
}
