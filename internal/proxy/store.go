package proxy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-logr/logr"

	"gocache.dev/operator/internal/domain/modcache"
)

// MarkerFile lies in the root of every store and holds the store's id. It
// distinguishes a mounted volume from the empty directory under its mount
// point.
const MarkerFile = ".gocache-store"

// QuarantineDir in the root of a store holds files that were found damaged, as
// evidence, one per name.
const QuarantineDir = ".gocache-quarantine"

// Store keeps module files in GOPROXY layout below one directory. It
// implements the library's Cacher.
//
// Beside its bytes every file carries their SHA-256 in the extended attribute
// user.gocache.sha256: so the two get their name in one rename, are cloned
// and removed together, and the layout stays one that any GOPROXY=file://
// client understands. On a file system without such attributes files are
// kept, but not checked.
//
// A store in trouble never fails a request that an upstream could answer:
// what cannot be read is "not there", what cannot be written is not kept.
// Both are logged, counted, and seen by Check.
type Store struct {
	dir     string
	id      string
	root    atomic.Pointer[os.Root]
	sums    bool
	known   atomic.Pointer[string] // a file that was there, for Check
	log     logr.Logger
	metrics *metrics
	evict   *eviction // nil: none
	usage   *usage
	now     func() time.Time
	// lackedRoom is when a file could not be stored for that, in nanoseconds since
	// 1970.
	lackedRoom atomic.Int64
}

// OpenStore opens the store in dir. A directory that is new or empty gets a
// marker, and so does one with files and without a marker: that one is no
// mount point without its volume.
func OpenStore(dir string, now func() time.Time, log logr.Logger, m *metrics) (*Store, error) {
	if err := os.MkdirAll(dir, 0o775); err != nil { //nolint:gosec // the group writes too: pods share a volume by fsGroup
		return nil, fmt.Errorf("open the store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	id, err := readMarker(root)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errEmptyMarker) {
		id, err = createMarker(root)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the store in %s: %w", dir, err), root.Close())
	}
	s := &Store{dir: dir, id: id, log: log, metrics: m, now: now, usage: &usage{dir: dir, now: now}}
	s.root.Store(root)
	s.sums = s.supportsSums(root)
	log.Info("Opened the store", "dir", dir, "id", id, "checkedOnRead", s.sums)
	return s, nil
}

// errEmptyMarker is what a process leaves that dies before it has written an id.
var errEmptyMarker = errors.New("the marker " + MarkerFile + " is empty")

func readMarker(root *os.Root) (string, error) {
	text, err := root.ReadFile(MarkerFile)
	if err != nil {
		return "", fmt.Errorf("read the marker: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if id == "" {
		return "", errEmptyMarker
	}
	return id, nil
}

func createMarker(root *os.Root) (string, error) {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	text := hex.EncodeToString(id[:])
	// Two processes may start on one store: the first one's marker counts.
	f, err := root.OpenFile(MarkerFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		if other, err := readMarker(root); !errors.Is(err, errEmptyMarker) {
			return other, err
		}
		f, err = root.OpenFile(MarkerFile, os.O_WRONLY, 0) // all ids have the same length
	}
	if err != nil {
		return "", fmt.Errorf("create the marker: %w", err)
	}
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("write the marker: %w", err)
	}
	return text, nil
}

// supportsSums tries whether the file system keeps extended attributes, on
// the marker itself.
func (s *Store) supportsSums(root *os.Root) bool {
	f, err := root.OpenFile(MarkerFile, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // nothing was written
	sum, err := hashFile(f)
	return err == nil && writeSum(f, sum) == nil
}

// Get implements goproxy.Cacher. Its only error is fs.ErrNotExist.
func (s *Store) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	e, err := s.open(name)
	if err != nil {
		return nil, err
	}
	outcomeOf(ctx).own(e) // the library does not close all that it gets
	return e, nil
}

// has reports whether there is a file of a name, whatever it is like.
func (s *Store) has(name string) bool {
	_, err := s.root.Load().Stat(local(name))
	return err == nil
}

// open returns a file whose bytes were just checked.
func (s *Store) open(name string) (*entry, error) {
	e, verdict, err := s.examine(name)
	s.metrics.storeRead(verdict)
	switch verdict {
	case readHit, readUnchecked:
		s.remember(name)
		s.evict.opened(name, e.file)
		e.closed = func() { s.evict.closed(name) }
		return e, nil
	case readMiss:
		return nil, fs.ErrNotExist
	case readDamaged:
		s.log.Error(err, "A file of the store is corrupt; it is moved aside and fetched again", "file", name)
		s.quarantine(name)
	case readFailed:
		s.log.Error(err, "A file of the store cannot be read; passing through to the upstream", "file", name)
	}
	return nil, fs.ErrNotExist
}

// The verdicts on a file, which are also the values of a metric's label.
type readVerdict string

const (
	readHit       readVerdict = "hit"
	readUnchecked readVerdict = "unchecked" // there is no recorded sum
	readMiss      readVerdict = "miss"
	readDamaged   readVerdict = "damaged"
	readFailed    readVerdict = "failed"
)

func (s *Store) examine(name string) (*entry, readVerdict, error) {
	// O_NONBLOCK: a FIFO in the place of a file must not hold the request.
	f, err := s.root.Load().OpenFile(local(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, readMiss, nil
	case err != nil:
		return nil, readFailed, err
	}
	e, verdict, err := examineFile(f, name)
	if verdict != readHit && verdict != readUnchecked {
		err = errors.Join(err, f.Close())
	}
	return e, verdict, err
}

func examineFile(f *os.File, name string) (*entry, readVerdict, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, readFailed, err
	}
	if !info.Mode().IsRegular() {
		return nil, readDamaged, fmt.Errorf("it is no file but %s", info.Mode().Type())
	}
	if err := legible(f, name, info.Size()); err != nil {
		return nil, readDamaged, err
	}
	want, err := readSum(f)
	if err != nil {
		return nil, readFailed, err
	}
	e := &entry{file: f, name: name, size: info.Size(), sum: want, hash: sha256.New()}
	got, err := hashFile(f)
	if err != nil {
		return nil, readFailed, err
	}
	if want == "" {
		if err := plausible(f, name, info.Size()); err != nil {
			return nil, readDamaged, err
		}
		e.sum = got // it is the validator all the same, and holds while the file is sent
		return e, readUnchecked, nil
	}
	if got != want {
		return nil, readDamaged, fmt.Errorf("its SHA-256 is %s, and was %s when it was stored", got, want)
	}
	return e, readHit, nil
}

// plausible finds faults that can be seen without a sum: a truncated archive, a
// go.mod or info file without content. Nothing more can be checked of a file
// that another process put here.
func plausible(f *os.File, name string, size int64) error {
	switch path.Ext(name) {
	case ".zip":
		if _, err := modcache.OpenZip(f, size, modcache.MaxDirectory); err != nil {
			return fmt.Errorf("it is no complete archive: %w", err)
		}
	case ".mod", ".info":
		if size == 0 {
			return errors.New("it is empty")
		}
	}
	return nil
}

// quarantine moves a file aside. Failing that the next request tries again.
func (s *Store) quarantine(name string) {
	root := s.root.Load()
	aside := path.Join(QuarantineDir, url.PathEscape(name))
	err := root.MkdirAll(QuarantineDir, 0o775)
	if err == nil {
		err = root.RemoveAll(aside) // the previous piece of evidence of this name
	}
	if err == nil {
		err = root.Rename(local(name), aside)
	}
	if err != nil {
		s.log.Error(err, "Cannot move a damaged file aside", "file", name)
	}
}

// Put implements goproxy.Cacher. It reports nothing: the content is already
// at hand and goes to the client in any case.
func (s *Store) Put(_ context.Context, name string, content io.ReadSeeker) error {
	if e, ok := content.(*entry); ok && e.name == name {
		return nil // it came from here
	}
	s.stored(name, s.write(name, content))
	return nil
}

// stored takes note of a file that was written, or was not.
func (s *Store) stored(name string, err error) {
	s.metrics.storeWrite(err)
	if isFull(err) {
		s.lackedRoom.Store(s.now().UnixNano())
	}
	if err != nil {
		s.log.Error(err, "A file cannot be stored; the client gets it all the same", "file", name)
		return
	}
	s.remember(name)
}

// write stores content.
func (s *Store) write(name string, content io.Reader) error {
	p, err := s.create(name)
	if err != nil {
		return err
	}
	sum, err := copyAndHash(p.file, content)
	if err == nil {
		err = p.commit(sum)
	} else {
		err = fmt.Errorf("write it: %w", err)
		p.discard()
	}
	return errors.Join(err, p.file.Close())
}

// pending is a file that is being written. It gets its name only when content
// and sum are on disk, so that no crash leaves a file whose content does not
// match its sum.
type pending struct {
	store      *Store
	root       *os.Root
	file       *os.File
	name, temp string
}

// create begins a file of the store.
func (s *Store) create(name string) (*pending, error) {
	name = local(name)
	root := s.root.Load()
	if err := root.MkdirAll(path.Dir(name), 0o775); err != nil {
		return nil, fmt.Errorf("make its directory: %w", err)
	}
	temp := path.Join(path.Dir(name), "."+path.Base(name)+".tmp."+rand.Text())
	f, err := root.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create it: %w", err)
	}
	return &pending{store: s, root: root, file: f, name: name, temp: temp}, nil
}

// createWithin begins a file of a known size, -1 if it is not known. It fails with
// ENOSPC if the volume would then have less than minFree bytes.
func (s *Store) createWithin(name string, size int64, minFree uint64) (*pending, error) {
	if _, free, err := s.space(); err == nil {
		if free < minFree || size > 0 && free-minFree < uint64(size) { //nolint:gosec // it is positive
			return nil, fmt.Errorf("%d bytes are free, and %d are to stay so: %w", free, minFree, syscall.ENOSPC)
		}
	}
	return s.create(name)
}

// space of the volume, in bytes.
func (s *Store) space() (capacity, free uint64, err error) {
	found, err := s.usage.space()
	return found.capacity, found.free, err
}

// commit gives the file its name, or discards it. The file stays open.
func (p *pending) commit(sum string) error {
	err := p.sync(sum)
	if err == nil {
		err = p.root.Rename(p.temp, p.name)
	}
	if err != nil {
		p.discard()
		return err
	}
	if info, err := p.file.Stat(); err == nil {
		p.store.usage.add(info.Size())
	}
	return nil
}

func (p *pending) sync(sum string) error {
	if p.store.sums {
		if err := writeSum(p.file, sum); err != nil {
			return fmt.Errorf("record its sum: %w", err)
		}
	}
	if err := p.file.Sync(); err != nil {
		return fmt.Errorf("write it to disk: %w", err)
	}
	return nil
}

// discard removes the file. It stays open.
func (p *pending) discard() {
	if err := p.root.Remove(p.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.store.log.Error(err, "A temporary file cannot be removed", "file", p.temp)
	}
}

// local makes a name of the library, which never begins with a slash or holds
// "..", a path below the root.
func local(name string) string { return path.Clean(name) }
