package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// holdBack is how much of the end of an archive its readers do not get before
	// it was checked, in bytes. A smaller one they get only then.
	holdBack = 256 << 10
	// trickle is how much of that they get in each second that the check takes, so
	// that no router takes the answer for one that hangs; neverBefore is
	// what stays held back all the same.
	trickle     = 512
	neverBefore = 64 << 10
)

// spool is an archive while it arrives: one writer, and any number of readers
// that follow it. It is written where it will be stored if it can be, else to a
// temporary file.
type spool struct {
	size int64 // that was announced; -1: unknown
	temp string

	mu        sync.Mutex
	file      *os.File
	pending   *pending // nil: it is not going to be stored
	written   int64
	available int64
	hash      hash.Hash
	changed   chan struct{}
}

// newSpool begins one; pending may be nil.
func newSpool(size int64, p *pending, tempDir string) (*spool, error) {
	s := &spool{size: size, temp: tempDir, pending: p, hash: sha256.New(), changed: make(chan struct{})}
	if p != nil {
		s.file = p.file
		return s, nil
	}
	var err error
	s.file, err = anonymous(tempDir)
	return s, err
}

// anonymous is a temporary file without a name.
func anonymous(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "gocache-proxy.tmp.*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// Write implements io.Writer. When the store takes no more, what there is moves
// to a temporary file.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	if err != nil && s.pending != nil {
		if moved := s.moveToTemp(); moved != nil {
			return 0, moved
		}
		n, err = s.file.Write(p)
	}
	if err != nil {
		return n, err
	}
	s.hash.Write(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += int64(n)
	s.release(s.written - holdBack)
	return n, nil
}

func (s *spool) moveToTemp() error {
	f, err := anonymous(s.temp)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, io.NewSectionReader(s.file, 0, s.written)); err != nil {
		return errors.Join(err, f.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.discard()
	s.pending, s.file = nil, f
	return nil
}

// release lets readers have the bytes before the given one. The caller holds mu.
func (s *spool) release(until int64) {
	if until <= s.available {
		return
	}
	s.available = until
	close(s.changed)
	s.changed = make(chan struct{})
}

// begun reports whether readers have got some of it, so that it is too late for
// another attempt.
func (s *spool) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.available > 0
}

// trickling keeps readers busy until the function that it returns is called.
func (s *spool) trickling() (stop func()) {
	ticker, done := time.NewTicker(time.Second), make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			s.mu.Lock()
			if s.available > 0 {
				s.release(min(s.available+trickle, s.written-neverBefore))
			}
			s.mu.Unlock()
		}
	})
	return func() {
		ticker.Stop()
		close(done)
		ended.Wait()
	}
}

// sum is the SHA-256 of what was written.
func (s *spool) sum() string { return hex.EncodeToString(s.hash.Sum(nil)) }

// complete lets readers have all of it.
func (s *spool) complete() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(s.written)
}

// wait returns when more than off bytes are available, or at the end, or with
// an error of the context.
func (s *spool) wait(ctx context.Context, off int64, ended <-chan struct{}) (available int64, err error) {
	for {
		s.mu.Lock()
		available, changed := s.available, s.changed
		s.mu.Unlock()
		if available > off {
			return available, nil
		}
		select {
		case <-changed:
		case <-ended:
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.available, nil
		case <-ctx.Done():
			return available, ctx.Err()
		}
	}
}

// readAt reads what is available.
func (s *spool) readAt(p []byte, off, available int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.file.ReadAt(p[:min(int64(len(p)), available-off)], off)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, fmt.Errorf("read what arrived: %w", err)
	}
	return n, nil
}

// close ends the use of the file.
func (s *spool) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.file.Close() // what was to be kept was synced
}
