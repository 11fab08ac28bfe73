package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// chunkBytes is how much is loaded at once.
const chunkBytes = 512 << 10

// latencyOf reads how long a chunk takes to load.
func latencyOf(text string) (time.Duration, error) {
	if text == "" {
		return 20 * time.Millisecond, nil
	}
	latency, err := time.ParseDuration(text)
	if err == nil && latency < 0 {
		err = fmt.Errorf("latency %s", latency)
	}
	return latency, err
}

// lazyFile is a file that stands for an image, and loads each chunk of it when it is first
// read. The process that serves it is the one that the CSI driver of the local cluster has.
type lazyFile struct {
	file *os.File
	// ended is closed once the process has ended, with the last user of the file.
	ended chan struct{}
}

// serveLazily serves an image, of which nothing is loaded but what an earlier process has
// loaded.
func (b *bench) serveLazily(image string) (s *lazyFile, err error) {
	cmd := exec.Command(b.devcluster, "lazyfile", "--image", image, "--at", b.path("lazy"), "--latency", b.latency.String())
	// It would keep its own mount namespace, and with it the volume, if this process was killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s = &lazyFile{ended: make(chan struct{})}
	lines := bufio.NewReader(out)
	name, err := lines.ReadString('\n')
	if err == nil {
		s.file, err = openFile(strings.TrimSuffix(name, "\n"))
	}
	// It unmounts the file when its input ends, and then closes its output.
	err = errors.Join(err, in.Close())
	_, _ = io.Copy(io.Discard, lines)
	go func() {
		defer close(s.ended)
		_ = cmd.Wait()
	}()
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", image, errors.Join(err, s.end()))
	}
	return s, nil
}

// openFile is os.OpenFile without the question whether the file can be polled, which the
// process that serves it would log.
func openFile(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// endTimeout is how long the kernel may take to release a file, and the process to end.
const endTimeout = 30 * time.Second

// end waits for the end of the process; the volume is unmounted already.
func (s *lazyFile) end() error {
	if s.file != nil {
		_ = s.file.Close()
	}
	select {
	case <-s.ended:
		return nil
	case <-time.After(endTimeout):
		return errors.New("the process that serves a lazily loaded file has not ended")
	}
}

// attachLazily mounts an image that is loaded when it is first read.
func (b *bench) attachLazily(ctx context.Context, image, options string) error {
	s, err := b.serveLazily(image)
	if err != nil {
		return err
	}
	b.served = s
	return b.AttachFile(ctx, s.file, options)
}

// lazyWays are the ways with a volume that is loaded when it is first read.
func (b *bench) lazyWays() []way {
	return []way{
		// The volume is there, as that of all jobs, and no job has read it.
		{name: wayLazyProg, lazy: true, before: b.restored, ready: func(ctx context.Context) ([]string, error) {
			return b.prog(), b.attachLazily(ctx, b.In(restoredImage), "ro")
		}},
		{name: wayLazy, lazy: true, ready: func(ctx context.Context) ([]string, error) {
			image := b.In("private", "clone.img")
			if err := b.Clone(ctx, b.In("snapshot.img"), image); err != nil {
				return nil, err
			}
			return nil, b.attachLazily(ctx, image, "rw")
		}},
		{name: wayLazyPool, lazy: true, before: b.readBefore, ready: func(ctx context.Context) ([]string, error) {
			return nil, b.attachLazily(ctx, b.In(restoredImage), "rw")
		}},
	}
}

// restoredImage is of a volume that is there before the job.
const restoredImage = "restored.img"

// restored clones the snapshot; nothing of the clone is loaded.
func (b *bench) restored(ctx context.Context) error {
	image := b.In(restoredImage)
	if err := errors.Join(os.RemoveAll(image), os.RemoveAll(image+".loaded")); err != nil {
		return err
	}
	return b.Clone(ctx, b.In("snapshot.img"), image)
}

// readBefore clones the snapshot, and loads the clone as a pool does before a build asks for
// a volume.
func (b *bench) readBefore(ctx context.Context) error {
	if err := b.restored(ctx); err != nil {
		return err
	}
	s, err := b.serveLazily(b.In(restoredImage))
	if err != nil {
		return err
	}
	return errors.Join(readAll(ctx, b.In(restoredImage), s.file), s.end())
}

// release ends the mount of the job and what it was mounted from.
func (b *bench) release(ctx context.Context) error {
	err := b.Detach(ctx)
	if b.served != nil {
		err = errors.Join(err, b.served.end())
		b.served = nil
	}
	return err
}

// readers is how many chunks a pool reads at once.
const readers = 16

// readAll reads each chunk that an image has blocks for, through another file.
func readAll(ctx context.Context, image string, through io.ReaderAt) error {
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	group, going := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for end := int64(0); going.Err() == nil; {
		begin, err := unix.Seek(int(f.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // no more blocks
		}
		if err == nil {
			end, err = unix.Seek(int(f.Fd()), begin, unix.SEEK_HOLE)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("blocks of %s: %w", image, err), group.Wait())
		}
		for off := begin - begin%chunkBytes; off < end; off += chunkBytes {
			group.Go(func() error {
				_, err := io.Copy(io.Discard, io.NewSectionReader(through, off, chunkBytes))
				return err
			})
		}
	}
	return errors.Join(group.Wait(), ctx.Err())
}
