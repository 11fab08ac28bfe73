package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
)

// Options are the command's flags.
type Options struct {
	From string // root of a volume, only read
	To   string // directory to fill; must be empty but for an unfinished copy
	// ModDir and BuildDir are the caches' directories below both roots.
	ModDir   string
	BuildDir string
	Workers  int
	NoVerify bool
	Clock    func() time.Time
}

// Result is the report.
type Result struct {
	Files           int                `json:"files"`
	Bytes           int64              `json:"bytes"`
	Cloned          int                `json:"cloned"`  // files that share their blocks with the source
	Skipped         int                `json:"skipped"` // half-written or not regular
	DurationSeconds float64            `json:"durationSeconds"`
	Verdict         *integrity.Verdict `json:"verdict,omitempty"`
}

// Run restores.
func Run(ctx context.Context, o Options) (Result, error) {
	start := o.Clock()
	r := &restoring{Options: o}
	err := r.all(ctx)
	r.result.DurationSeconds = o.Clock().Sub(start).Round(time.Millisecond).Seconds()
	return r.result, err
}

type restoring struct {
	Options
	result Result
	files  chan file
	done   chan file
	// downloaded counts, by the path of its extracted directory, which of a
	// version's zip and .ziphash are copied.
	downloaded map[string]int
}

// file is one file to copy, by its path below the roots.
type file struct {
	path   string
	bytes  int64
	cloned bool
}

func (r *restoring) all(ctx context.Context) error {
	mark, err := r.target()
	if err != nil {
		return err
	}
	defer func() { _ = mark.Close() }() // gives up the lock
	if err := r.fill(ctx); err != nil {
		return err
	}
	// Only a copy that was checked is complete: a run that is killed while it
	// checks is repeated, so that its result is not lost.
	return os.Remove(filepath.Join(r.To, unfinished))
}

func (r *restoring) fill(ctx context.Context) error {
	if err := r.copyAll(ctx); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if r.BuildDir != "" && exists(filepath.Join(r.To, r.BuildDir)) {
		if err := volume.Keep(filepath.Join(r.To, r.BuildDir), r.Clock()); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	if r.NoVerify {
		return nil
	}
	return r.verify(ctx)
}

// unfinished is the name of the file that marks a copy which is not complete
// yet, in the directory that is filled.
const unfinished = ".gocache-restore-unfinished"

// lostAndFound is a directory that some file systems have at their root.
const lostAndFound = "lost+found"

// target prepares the directory to fill and returns its mark, locked. It
// refuses a directory that holds anything but an unfinished copy of an earlier
// run, which it removes: merged caches would be neither the one nor the other.
func (r *restoring) target() (*os.File, error) {
	if exists(filepath.Join(r.From, unfinished)) {
		return nil, fmt.Errorf("restore: %s is itself an unfinished copy: it holds %s", r.From, unfinished)
	}
	if err := apart(r.From, r.To); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.To, 0o775); err != nil { //nolint:gosec // shared by the volume's group
		return nil, err
	}
	entries, err := os.ReadDir(r.To)
	if err != nil {
		return nil, err
	}
	resumes := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == unfinished && e.Type().IsRegular() })
	for _, e := range entries {
		if e.Name() != lostAndFound && !resumes {
			return nil, fmt.Errorf("restore: %s is not empty: it holds %s", r.To, e.Name())
		}
	}
	mark, err := os.OpenFile(filepath.Join(r.To, unfinished), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(mark.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { //nolint:gosec // a descriptor
		_ = mark.Close() // holds nothing
		return nil, fmt.Errorf("restore: another process is filling %s: %w", r.To, err)
	}
	if err := r.clear(entries); err != nil {
		_ = mark.Close() // it stays unfinished
		return nil, fmt.Errorf("restore: removing an unfinished copy: %w", err)
	}
	return mark, nil
}

// apart refuses two directories of which one is in the other: the copy would be copied, or
// removed with what it was to replace.
func apart(from, to string) error {
	source, err := resolved(from)
	if err != nil {
		return err
	}
	target, err := resolved(to)
	if err != nil {
		return err
	}
	for _, pair := range [][2]string{{source, target}, {target, source}} {
		if rel, err := filepath.Rel(pair[0], pair[1]); err == nil && filepath.IsLocal(rel) {
			return fmt.Errorf("restore: of %s and %s, one is in the other: choose a directory outside of both", from, to)
		}
	}
	return nil
}

// resolved is the path of a directory without symbolic links. It need not exist yet.
func resolved(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(dir)
	if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
		return real, err
	}
	above, err := resolved(filepath.Dir(dir))
	return filepath.Join(above, filepath.Base(dir)), err
}

// clear removes what an earlier run copied. The directories of extracted modules
// may be read-only already.
func (r *restoring) clear(entries []fs.DirEntry) error {
	to, err := os.OpenRoot(r.To)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	for _, e := range entries {
		if e.Name() == lostAndFound || e.Name() == unfinished {
			continue
		}
		err := tree.Walk(to, e.Name(), func(name string, info fs.FileInfo) error {
			if !info.IsDir() {
				return nil
			}
			return to.Chmod(name, 0o775)
		})
		if err := errors.Join(err, to.RemoveAll(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func (r *restoring) verify(ctx context.Context) error {
	o := integrity.Options{Snapshots: record.ReadSnapshots(r.To), Workers: r.Workers, Now: r.Clock()}
	if dir := filepath.Join(r.To, r.ModDir); r.ModDir != "" && exists(dir) {
		o.ModCache = dir
	}
	if dir := filepath.Join(r.To, r.BuildDir); r.BuildDir != "" && exists(dir) {
		o.BuildCache = dir
	}
	v, err := integrity.Check(ctx, o)
	if err != nil {
		return err
	}
	r.result.Verdict = &v
	return nil
}

// copyAll lists with one goroutine and copies with many: making files is what
// takes the time.
func (r *restoring) copyAll(ctx context.Context) error {
	from, err := tree.Open(r.From)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := os.OpenRoot(r.To)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	r.files, r.done = make(chan file, 256), make(chan file, 256)
	r.downloaded = map[string]int{}
	group, ctx := errgroup.WithContext(ctx)
	var dirs []dirMode
	group.Go(func() error {
		defer close(r.files)
		var err error
		dirs, err = r.list(ctx, from, to, ".")
		return err
	})
	var workers errgroup.Group
	for range max(r.Workers, 4) {
		workers.Go(func() error { return r.copyFiles(ctx, from, to) })
	}
	group.Go(func() error { defer close(r.done); return workers.Wait() })
	group.Go(func() error {
		for f := range r.done {
			r.result.Files++
			r.result.Bytes += f.bytes
			if f.cloned {
				r.result.Cloned++
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	// Read-only directories only now that they are filled.
	for _, d := range dirs {
		if err := to.Chmod(d.path, d.mode); err != nil {
			return err
		}
	}
	return nil
}

type dirMode struct {
	path string
	mode fs.FileMode
}

// list makes the directories and sends the files. Downloads come before
// extracted modules, so that in a copy of a cache in use no module is there
// without what it was extracted from.
func (r *restoring) list(ctx context.Context, d *tree.Dir, to *os.Root, rel string) ([]dirMode, error) {
	var dirs []dirMode
	var subs []string
	err := d.Each(func(e tree.Entry) error {
		p := path.Join(rel, e.Name)
		switch {
		case r.halfWritten(p, e):
			r.result.Skipped++
		case p == lostAndFound && e.Type == tree.Directory:
			// of the file system, and root's: no part of a cache
		case e.Type == tree.Directory:
			subs = append(subs, e.Name)
		case e.Type == tree.Regular:
			select {
			case r.files <- file{path: p}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		default:
			r.result.Skipped++
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // removed since it was opened
		return nil, err
	}
	// "cache" holds the downloads and sorts before what has a dot in its name
	// only by luck: it is put first.
	for i, name := range subs {
		if name == "cache" {
			subs[0], subs[i] = subs[i], subs[0]
		}
	}
	for _, name := range subs {
		p := path.Join(rel, name)
		below, err := r.listSub(ctx, d, to, name, p)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, below...)
	}
	return dirs, nil
}

func (r *restoring) listSub(ctx context.Context, d *tree.Dir, to *os.Root, name, p string) ([]dirMode, error) {
	sub, err := d.Sub(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Close() }()
	info, err := sub.Stat(".")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := to.MkdirAll(p, 0o775); err != nil {
		return nil, err
	}
	dirs, err := r.list(ctx, sub, to, p)
	return append(dirs, dirMode{p, info.Mode}), err
}

// halfWritten reports what the go command does not count as there yet, and
// extracted modules that came after their downloads were listed: nothing in
// the copy would vouch for them.
func (r *restoring) halfWritten(p string, e tree.Entry) bool {
	inMod, ok := strings.CutPrefix(p, r.ModDir+"/")
	if r.ModDir == "" || !ok {
		return false
	}
	if inDownloads, ok := strings.CutPrefix(inMod, modcache.DownloadDir+"/"); ok {
		escaped, kind := modcache.SplitName(e.Name)
		if kind == modcache.Zip || kind == modcache.Ziphash {
			r.downloaded[modcache.Escaped{Path: path.Dir(path.Dir(inDownloads)), Version: escaped}.Dir()]++
		}
		return kind == modcache.Temp && e.Type == tree.Regular
	}
	if e.Type != tree.Directory || !strings.Contains(e.Name, "@") {
		return false
	}
	m, err := modcache.ParseDir(inMod)
	if err != nil {
		return false
	}
	at, err := modcache.Escape(m)
	if err != nil {
		return false
	}
	return r.downloaded[at.Dir()] < 2 || exists(filepath.Join(r.From, r.ModDir, filepath.FromSlash(at.File(modcache.Partial))))
}

func (r *restoring) copyFiles(ctx context.Context, from *tree.Dir, to *os.Root) error {
	buf := make([]byte, 256<<10)
	for f := range r.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := copyOne(from, to, &f, buf)
		if errors.Is(err, fs.ErrNotExist) {
			continue // vanished since it was listed
		}
		if err != nil {
			return err
		}
		r.done <- f
	}
	return nil
}

func copyOne(from *tree.Dir, to *os.Root, f *file, buf []byte) error {
	dir, name := path.Split(f.path)
	d := from
	if dir != "" {
		sub, err := from.Sub(strings.TrimSuffix(dir, "/"))
		if err != nil {
			return err
		}
		defer func() { _ = sub.Close() }()
		d = sub
	}
	src, err := d.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := to.OpenFile(f.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f.bytes = src.Size()
	if f.cloned = clone(dst, src.FD()); !f.cloned {
		f.bytes, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{&src}, buf)
	}
	return errors.Join(err, dst.Chmod(src.Info().Mode), dst.Close())
}
