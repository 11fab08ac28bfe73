package integrity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
)

// maxUnsealed bounds the changes that are kept until the digest of the manifest
// is known. With more, the content as a whole is not what the writer left.
const maxUnsealed = 20_000

// seal compares what a check finds with the manifest that the last writer of the
// volume left, record by record, while the check writes its own manifest.
//
// The writer's manifest lies on the volume that is checked, so it proves nothing
// before its last byte is read and its digest is the one that the writer
// reported. Until then the changes are kept.
type seal struct {
	in       *io.PipeWriter
	done     sync.WaitGroup
	sealed   *manifest.Reader
	err      error // why the writer's manifest cannot be compared with
	changes  []manifest.Change
	surplus  int
	modules  bool
	build    bool
	manifest io.Closer
}

// beginSeal starts the comparison, and returns where the manifest of this check
// goes as well.
func (r *run) beginSeal() *seal {
	s := &seal{modules: r.ModCache != "", build: r.BuildCache != ""}
	out, in := io.Pipe()
	s.in = in
	file, err := r.openSealed()
	if err == nil {
		var decoder io.Closer
		s.sealed, decoder, err = manifest.NewCompressedReader(file)
		s.manifest = joined{decoder, file}
	}
	s.err = err
	s.done.Go(func() {
		if s.err == nil {
			s.err = manifest.Diff(s.sealed, manifest.NewReader(out), s.change)
		}
		_, _ = io.Copy(io.Discard, out) // a check never waits for the comparison
	})
	return s
}

// beside is where the manifest of the check goes, and to the comparison as well.
func (s *seal) beside(out io.Writer) io.Writer {
	if out == nil {
		return s.in
	}
	return io.MultiWriter(out, s.in)
}

// end ends the comparison, whether or not the check came to its end.
func (s *seal) end() {
	_ = s.in.Close()
	s.done.Wait()
	if s.manifest != nil {
		_ = s.manifest.Close() // only read
		s.manifest = nil
	}
}

// joined closes a decoder, if there is one, and its file.
type joined struct {
	decoder io.Closer
	file    io.Closer
}

// Close closes both.
func (j joined) Close() error {
	if j.decoder == nil {
		return j.file.Close()
	}
	return errors.Join(j.decoder.Close(), j.file.Close())
}

// openSealed opens the writer's manifest, and follows no link.
func (r *run) openSealed() (*tree.File, error) {
	root, err := tree.Open(r.Volume)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	records, err := root.Sub(manifest.RecordsDir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = records.Close() }()
	f, err := records.Open(manifest.Name)
	if err != nil {
		return nil, err
	}
	return &f, nil
}

// change keeps a difference about a layer that is checked.
func (s *seal) change(c manifest.Change) error {
	if of := c.Key[0]; of == byte(manifest.Module) && !s.modules || of != byte(manifest.Module) && !s.build {
		return nil
	}
	if len(s.changes) == maxUnsealed {
		s.surplus++
		return nil
	}
	s.changes = append(s.changes, c)
	return nil
}

// endSeal turns the differences into findings, once the manifest of this check
// is complete and has a digest.
func (r *run) endSeal(s *seal, digest string) {
	s.end()
	if digest == r.Sealed { // what the writer left, to the byte
		r.counts.Sealed = r.counts.BuildEntries
		return
	}
	if s.err == nil && s.sealed.Digest() != r.Sealed {
		s.err = fmt.Errorf("its digest is %s", s.sealed.Digest())
	}
	if s.err != nil {
		if errors.Is(s.err, fs.ErrNotExist) {
			s.err = fs.ErrNotExist
		}
		r.found.add(Finding{
			Class: Unsealed, Severity: SeverityUnreadable, Cache: Volume, Path: manifest.RecordsDir + "/" + manifest.Name,
			Detail: fmt.Sprintf("is not the manifest %s that the last writer left, and the content is not what it left: %v", r.Sealed, s.err),
		})
		return
	}
	for i := range s.changes {
		if f, differs := unsealed(&s.changes[i]); differs {
			r.found.add(f)
		}
	}
	if s.surplus == 0 {
		r.counts.Sealed = max(r.counts.BuildEntries-s.otherEntries(), 0)
	}
	if s.surplus > 0 {
		r.found.add(Finding{
			Class: Unsealed, Severity: SeverityUnreadable, Cache: Volume, Path: ".",
			Detail: fmt.Sprintf("%d more entries differ from what the last writer left", s.surplus),
		})
	}
}

// otherEntries counts the present entries of the build cache that are not as the
// last writer left them.
func (s *seal) otherEntries() (n int) {
	for _, c := range s.changes {
		if of := c.Key[0]; of != byte(manifest.Action) && of != byte(manifest.Output) {
			continue
		}
		if c.Kind == manifest.Added || c.Kind == manifest.Changed || c.Kind == manifest.Rebuilt {
			n++
		}
	}
	return n
}

// unsealed judges one difference from what the last writer left.
//
// Content that the writer left and that is other content now is Corrupt. What the
// writer did not leave is not proven, so the check is inconclusive. What is gone,
// is created again by the go command, and what has another form with the same
// checksum is the same content: both are notes or nothing.
func unsealed(c *manifest.Change) (Finding, bool) {
	f := Finding{Class: Unsealed, Cache: Build, Severity: SeverityCorrupt}
	switch c.Key[0] {
	case byte(manifest.Action):
		f.Path = entryPath(c.Key[2:], "-a")
	case byte(manifest.Output):
		f.Path = entryPath(c.Key[2:], "-d")
	default:
		f.Cache = Modules
		return unsealedModule(f, c)
	}
	f.Remove = []string{f.Path}
	switch c.Kind {
	case manifest.Rebuilt:
		f.Detail = "names another output than the one that the last writer left"
	case manifest.Changed: // impossible for one content, but for its form
		f.Detail = "has another form than the one that the last writer left"
	case manifest.Added:
		if c.Key[0] == byte(manifest.Output) {
			return f, false // nothing leads to it but an action entry, and its hash is its name
		}
		f.Severity, f.Detail = SeverityUnreadable, "was added after the last writer"
	case manifest.Removed, manifest.Repacked, manifest.Parts:
		f.Class, f.Severity, f.Detail, f.Remove = Missing, Note, "the last writer left it", nil
	}
	return f, true
}

// entryPath is the place of an entry of a build cache.
func entryPath(id, suffix string) string { return id[:2] + "/" + id + suffix }

func unsealedModule(f Finding, c *manifest.Change) (Finding, bool) {
	at, err := modcache.Escape(c.Record().Version)
	if err != nil { // a reader refuses such a record
		f.Path, f.Detail = c.Key, err.Error()
		return f, true
	}
	f.Path = at.File(modcache.Zip)
	zip, mod := []string{at.File(modcache.Zip), at.File(modcache.Ziphash)}, at.File(modcache.Mod)
	switch c.Kind {
	case manifest.Removed:
		f.Class, f.Severity, f.Detail = Missing, Note, "the last writer left it"
		return f, true
	case manifest.Repacked:
		return f, false
	case manifest.Added:
		f.Severity, f.Detail = SeverityUnreadable, "was added after the last writer"
		f.Remove = append(append([]string{at.Dir()}, zip...), mod, at.File(modcache.Info))
		return f, true
	case manifest.Changed, manifest.Parts, manifest.Rebuilt:
	}
	return unsealedParts(f, c, at)
}

// unsealedParts finds out which parts of a module version differ from what the
// writer left: an extracted module is proven by the zip that it has the sum of,
// and the other way round.
func unsealedParts(f Finding, c *manifest.Change, at modcache.Escaped) (Finding, bool) {
	was, is := &c.Was, &c.Is
	content := was.Zip
	if content.IsZero() {
		content = was.Dir
	}
	changed := func(sum modsum.Sum) bool { return !sum.IsZero() && !content.IsZero() && sum != content }
	added := func(sum modsum.Sum) bool { return !sum.IsZero() && content.IsZero() }
	if changed(is.Dir) || added(is.Dir) {
		f.Remove = append(f.Remove, at.Dir())
	}
	if changed(is.Zip) || added(is.Zip) {
		f.Remove = append(f.Remove, at.File(modcache.Zip), at.File(modcache.Ziphash))
	}
	otherMod := !is.GoMod.IsZero() && !was.GoMod.IsZero() && is.GoMod != was.GoMod
	// A go.mod beside a zip was compared with the one of the zip.
	addedMod := !is.GoMod.IsZero() && was.GoMod.IsZero() && is.Zip.IsZero()
	if otherMod || addedMod {
		f.Remove = append(f.Remove, at.File(modcache.Mod))
	}
	switch {
	case changed(is.Dir), changed(is.Zip), otherMod:
		f.Detail = "has other contents than the last writer left"
	case len(f.Remove) > 0:
		f.Severity, f.Detail = SeverityUnreadable, "was completed after the last writer"
	default:
		return f, false
	}
	if otherMod && len(f.Remove) == 1 || addedMod && len(f.Remove) == 1 {
		f.Path = at.File(modcache.Mod)
	}
	return f, true
}
