package lazyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
)

// chunkBytes is how much is loaded at once: the size of the blocks of EBS snapshots.
const chunkBytes = 512 << 10

// What a byte of the state is.
const (
	unloaded = 0
	loaded   = 1
)

// chunks are those of an image, and which of them are loaded.
type chunks struct {
	latency time.Duration
	// slots are taken by the loads that are under way.
	slots chan struct{}

	mu      sync.Mutex
	state   []byte
	kept    *os.File // what state is in the next process
	loading map[int64]*load
}

// load is one that is under way.
type load struct {
	done chan struct{}
	err  error
}

// openChunks reads what an earlier process has loaded of an image, or begins with nothing.
func openChunks(image *os.File, o Options) (*chunks, error) {
	info, err := image.Stat()
	if err != nil {
		return nil, err
	}
	count := int((info.Size() + chunkBytes - 1) / chunkBytes)
	name := StateOf(o.Image)
	state, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if state, err = withoutHoles(image, info.Size(), count); err == nil {
			err = cluster.WriteFile(name, state, 0o600)
		}
	case err == nil && len(state) < count:
		// The image has grown, by what no snapshot has.
		state = append(state, bytes.Repeat([]byte{loaded}, count-len(state))...)
	}
	if err != nil {
		return nil, err
	}
	kept, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if _, err := kept.WriteAt(state, 0); err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	return &chunks{
		latency: o.Latency, slots: make(chan struct{}, o.Parallel),
		state: state, kept: kept, loading: map[int64]*load{},
	}, nil
}

// withoutHoles is a state in which only the chunks are unloaded that an image has blocks for.
func withoutHoles(image *os.File, size int64, count int) ([]byte, error) {
	state := bytes.Repeat([]byte{loaded}, count)
	for end := int64(0); end < size; {
		begin, err := unix.Seek(int(image.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err == nil {
			end, err = unix.Seek(int(image.Fd()), begin, unix.SEEK_HOLE)
		}
		if err != nil {
			return nil, fmt.Errorf("data of %s: %w", image.Name(), err)
		}
		for i := begin / chunkBytes; i*chunkBytes < end; i++ {
			state[i] = unloaded
		}
	}
	return state, nil
}

// load returns when the chunks of a range are loaded, all of which are loaded at once as far
// as the store allows.
func (c *chunks) load(off, length int64) error {
	var waits []*load
	c.mu.Lock()
	for i := off / chunkBytes; i*chunkBytes < off+length && i < int64(len(c.state)); i++ {
		if c.state[i] == unloaded {
			waits = append(waits, c.begin(i))
		}
	}
	c.mu.Unlock()
	var errs []error
	for _, w := range waits {
		<-w.done
		errs = append(errs, w.err)
	}
	return errors.Join(errs...)
}

// begin loads a chunk, unless that is under way. The caller holds c.mu.
func (c *chunks) begin(i int64) *load {
	if l, ok := c.loading[i]; ok {
		return l
	}
	l := &load{done: make(chan struct{})}
	c.loading[i] = l
	go func() {
		defer close(l.done)
		c.slots <- struct{}{}
		time.Sleep(c.latency)
		<-c.slots
		l.err = c.written(i*chunkBytes, chunkBytes)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.loading, i)
	}()
	return l
}

// written records that the chunks of a range are loaded.
func (c *chunks) written(off, length int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := off / chunkBytes; i*chunkBytes < off+length && i < int64(len(c.state)); i++ {
		if c.state[i] == loaded {
			continue
		}
		c.state[i] = loaded
		// One byte, because another process may write others: that of a node which has lost
		// the volume.
		if _, err := c.kept.WriteAt(c.state[i:i+1], i); err != nil {
			return err
		}
	}
	return nil
}

// close ends the record; nothing is loaded any more.
func (c *chunks) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept.Close()
}
