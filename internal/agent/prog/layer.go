package prog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/integrity/tree"
)

var (
	errMiss    = errors.New("miss")
	errDamaged = errors.New("damaged entry")
)

// temporary is how the names of files begin that are being written.
const temporary = ".put-"

// layer is a build cache on disk.
type layer struct {
	dir  string // absolute
	root *tree.Dir

	mu     sync.Mutex
	intact map[buildcache.ID]string // outputs hashed by this process, and their paths
}

func openLayers(o Options) (lower, upper *layer, err error) {
	if o.Upper == "" {
		return nil, nil, errors.New("prog: needs a directory for the upper layer")
	}
	if err := os.MkdirAll(o.Upper, 0o777); err != nil { //nolint:gosec // the umask decides
		return nil, nil, fmt.Errorf("prog: upper layer: %w", err)
	}
	if upper, err = openLayer(o.Upper); err != nil {
		return nil, nil, fmt.Errorf("prog: upper layer: %w", err)
	}
	if o.Lower == "" {
		return &layer{}, upper, nil
	}
	if lower, err = openLayer(o.Lower); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("prog: lower layer: %w", err), upper.close())
	}
	return lower, upper, nil
}

func openLayer(dir string) (*layer, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := tree.Open(abs)
	if err != nil {
		return nil, err
	}
	return &layer{dir: abs, root: root, intact: map[buildcache.ID]string{}}, nil
}

func (l *layer) close() error {
	if l.root == nil {
		return nil
	}
	return l.root.Close()
}

// hit is an intact entry and the path of its output.
type hit struct {
	entry buildcache.Entry
	path  string
}

// get finds an action's output and hashes it.
func (l *layer) get(action buildcache.ID) (hit, error) {
	if l.root == nil {
		return hit{}, errMiss
	}
	shard, err := l.root.Sub(action.Shard())
	if err != nil {
		return hit{}, errMiss
	}
	defer func() { _ = shard.Close() }()
	data, _, err := shard.ReadFile(action.String()+"-a", nil, 1<<10)
	if err != nil {
		return hit{}, errMiss
	}
	e, err := buildcache.ParseEntry(data)
	if err != nil || e.Action != action {
		return hit{}, fmt.Errorf("%w: %s", errDamaged, action.ActionPath())
	}
	path, err := l.output(e)
	return hit{e, path}, err
}

// used records that an entry was used, for what is evicted first. A layer that is
// not writable has no need of it.
func (l *layer) used(action buildcache.ID, now time.Time) {
	_ = os.Chtimes(filepath.Join(l.dir, filepath.FromSlash(action.ActionPath())), now, now)
}

// output is the path of an entry's output, if the hash of its content is its
// name. Outputs are hashed once for each process.
func (l *layer) output(e buildcache.Entry) (string, error) {
	l.mu.Lock()
	path, ok := l.intact[e.Output]
	l.mu.Unlock()
	if ok {
		return path, nil
	}
	rel, err := l.hash(e)
	if err != nil {
		return "", err
	}
	path = filepath.Join(l.dir, filepath.FromSlash(rel))
	l.mu.Lock()
	l.intact[e.Output] = path
	l.mu.Unlock()
	return path, nil
}

func (l *layer) hash(e buildcache.Entry) (rel string, err error) {
	f, err := l.open(e.Output)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errMiss
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errDamaged, err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{&f}, make([]byte, 128<<10))
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: %w", errDamaged, err)
	case n != e.Size || buildcache.ID(h.Sum(nil)) != e.Output:
		return "", fmt.Errorf("%w: the content of %s does not match its name", errDamaged, f.Path())
	}
	return f.Path(), nil
}

// open opens an output: a file, or the one file of a directory.
func (l *layer) open(output buildcache.ID) (tree.File, error) {
	shard, err := l.root.Sub(output.Shard())
	if err != nil {
		return tree.File{}, err
	}
	defer func() { _ = shard.Close() }()
	name := output.String() + "-d"
	f, err := shard.Open(name)
	if !errors.Is(err, tree.ErrNotRegular) {
		return f, err
	}
	dir, err := shard.Sub(name)
	if err != nil {
		return tree.File{}, err
	}
	defer func() { _ = dir.Close() }()
	var inner []string
	if err := dir.Each(func(e tree.Entry) error { inner = append(inner, e.Name); return nil }); err != nil {
		return tree.File{}, err
	}
	if len(inner) != 1 {
		return tree.File{}, fmt.Errorf("%s holds %d files", dir.Path(), len(inner))
	}
	return dir.Open(inner[0])
}

// incoming is a body that was received and not yet given a name.
type incoming struct {
	layer *layer
	temp  *os.File
	sum   hash.Hash
}

// receive takes a body from the stream into a temporary file. What cannot be
// written is still read to its end.
func (l *layer) receive(size int64, in *requests) (*incoming, error) {
	i := &incoming{layer: l, sum: sha256.New()}
	temp, err := os.CreateTemp(l.dir, temporary+"*")
	if err != nil {
		return i, in.body(size, io.Discard)
	}
	w := &writer{to: temp}
	if err := in.body(size, io.MultiWriter(w, i.sum)); err != nil {
		return i, errors.Join(err, temp.Close(), os.Remove(temp.Name()))
	}
	i.temp = temp
	if w.err != nil {
		return i, i.discard()
	}
	return i, nil
}

// writer keeps the first error to itself, so that the stream goes on.
type writer struct {
	to  io.Writer
	err error
}

// Write never fails.
func (w *writer) Write(p []byte) (int, error) {
	if w.err == nil {
		_, w.err = w.to.Write(p)
	}
	return len(p), nil
}

func (i *incoming) discard() error {
	if i.temp == nil {
		return nil
	}
	err := errors.Join(i.temp.Close(), os.Remove(i.temp.Name()))
	i.temp = nil
	return err
}

// commit names the body and writes its action entry.
func (i *incoming) commit(e buildcache.Entry) (string, error) {
	if i.temp == nil {
		return "", errors.New("the upper layer is not writable, or full")
	}
	if buildcache.ID(i.sum.Sum(nil)) != e.Output {
		return "", errors.Join(errors.New("the body does not match its ID"), i.discard())
	}
	l := i.layer
	path := filepath.Join(l.dir, filepath.FromSlash(e.Output.OutputPath()))
	name := i.temp.Name()
	err := errors.Join(i.temp.Chmod(0o666&^umask()), i.temp.Close())
	if err == nil {
		err = l.place(name, path)
	}
	if err == nil {
		err = l.entry(e)
	}
	if err != nil {
		_ = os.Remove(name) // may be in place already
		return "", err
	}
	l.mu.Lock()
	l.intact[e.Output] = path
	l.mu.Unlock()
	return path, nil
}

// place moves a complete file to its name, making its directory.
func (l *layer) place(from, to string) error {
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil { //nolint:gosec // the umask decides
			return err
		}
		err = os.Rename(from, to)
	}
	return err
}

func (l *layer) entry(e buildcache.Entry) error {
	temp, err := os.CreateTemp(l.dir, temporary+"*")
	if err != nil {
		return err
	}
	_, err = temp.Write(e.Format())
	err = errors.Join(err, temp.Chmod(0o666&^umask()), temp.Close())
	if err == nil {
		err = l.place(temp.Name(), filepath.Join(l.dir, filepath.FromSlash(e.Action.ActionPath())))
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

// umask is the process's: files are made private and opened up afterwards.
var umask = sync.OnceValue(readUmask)
