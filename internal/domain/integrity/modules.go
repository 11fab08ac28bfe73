package integrity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
)

const (
	maxInfo  = 1 << 20
	maxGoMod = 16 << 20 // golang.org/x/mod/zip.MaxGoMod
	maxList  = 64 << 20
	// abandoned is the age from which a temporary file cannot be in use any
	// more.
	abandoned = time.Hour
)

// Baseline is what an earlier full check recorded about each zip: a zip whose
// raw bytes are the same need not be inflated again.
type Baseline map[module.Version]BaselineZip

// BaselineZip is a zip whose contents were hashed once.
type BaselineZip struct {
	H1    modsum.Sum
	Raw   [sha256.Size]byte
	Size  int64
	GoMod modsum.Sum
}

// NewBaseline keeps the records of a manifest about zips of kind.
func NewBaseline(r *manifest.Reader, kind manifest.Kind) (Baseline, error) {
	b := Baseline{}
	for {
		rec, err := r.Next()
		if err != nil {
			return b, ignoreEOF(err)
		}
		if rec.Kind == kind && !rec.Zip.IsZero() {
			b[rec.Version] = BaselineZip{rec.Zip, rec.Raw, rec.Size, rec.GoMod}
		}
	}
}

// modules checks a module cache.
type modules struct {
	*run
	root     *tree.Dir
	contents modcache.Contents
}

func (r *run) checkModules(ctx context.Context) error {
	root, err := r.open(r.ModCache)
	if r.isLink(err) {
		r.unreadable(Modules, ".", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	m := &modules{run: r, root: root}
	if m.contents, err = modcache.Scan(root); err != nil {
		m.unreadable(Modules, ".", err)
		return nil
	}
	r.remarks(Modules, root, m.contents.Remarks)
	if err := r.proveAll(root, m.contents.Versions); err != nil {
		return err
	}
	records, err := m.versions(ctx)
	if err != nil {
		return err
	}
	for _, path := range m.contents.Lists {
		m.found.add(m.list(path)...)
	}
	for i := range records {
		if err := r.manifest.Write(&records[i]); err != nil {
			return err
		}
	}
	return nil
}

// versions checks all versions, the largest first so that no worker is left
// alone with one at the end.
func (m *modules) versions(ctx context.Context) ([]manifest.Record, error) {
	all := m.contents.Versions
	order := make([]int32, len(all))
	total := int64(0)
	for i := range order {
		total += effort(all[i].ZipSize)
		order[i] = int32(i) //nolint:gosec // a cache of 2³¹ versions does not fit in memory
	}
	slices.SortStableFunc(order, func(a, b int32) int { return compareInt(all[b].ZipSize, all[a].ZipSize) })
	m.Progress.begin(Modules, total)
	records := make([]manifest.Record, len(all))
	check := func(w *worker, i int32) outcome {
		o := m.version(w, &all[i])
		records[i] = o.record
		return o
	}
	err := m.settled(ctx, order, check, func(i int32, o outcome) {
		m.Progress.step(effort(all[i].ZipSize))
		m.count(func(c *Counts) {
			if records[i].Path != "" { // not of a lock alone, which a refused download leaves
				c.Modules++
			}
			c.Zips += o.zips
			c.Dirs += o.dirs
			c.Raw += o.raw
			c.Content += o.content
			c.Proven += o.proven
		})
	})
	return slices.DeleteFunc(records, func(r manifest.Record) bool { return r.Path == "" }), err
}

func compareInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// version checks one module version as it is now. What a comparison with the
// baseline finds suspicious is checked again in full: the shortcut saves time, and
// never decides otherwise than a full check.
func (m *modules) version(w *worker, v *modcache.Version) outcome {
	o := m.look(w, v, true)
	if o.raw == 0 || !o.suspicious() {
		return o
	}
	read := o.bytes
	o = m.look(w, v, false)
	o.bytes += read
	return o
}

// look checks one version; with shortcut, a zip whose raw bytes the baseline has
// is not inflated.
func (m *modules) look(w *worker, v *modcache.Version, shortcut bool) outcome {
	at := v.Escaped()
	c := &versionCheck{modules: m, w: w, shortcut: shortcut, Version: v, at: at, ev: evidence{at: at, trust: m.Trust.zip(v.Version)}}
	if v.Path == modcache.FIPS140 && !v.Files.Has(modcache.Zip) && !v.Files.Has(modcache.Ziphash) && len(c.ev.trust) == 0 {
		c.ev.snapshot, c.ev.trust = true, m.Snapshots.zip(v.Version)
	}
	c.record = manifest.Record{Kind: manifest.Module, Version: v.Version}
	d, err := m.root.Sub(at.VersionDir())
	switch {
	case err == nil:
		defer func() { _ = d.Close() }()
		c.download(d)
	case !errors.Is(err, fs.ErrNotExist):
		c.unreadable(at.VersionDir(), err)
	}
	if d == nil && len(c.findings) > 0 {
		c.record = manifest.Record{} // what would vouch for its contents cannot be read
		return c.outcome
	}
	c.contents(d)
	c.judge(d)
	if !c.seen {
		c.record = manifest.Record{} // it vanished since the scan
	}
	return c.outcome
}

// versionCheck gathers the sums of one version's files.
type versionCheck struct {
	*modules
	*modcache.Version
	outcome
	w       *worker
	at      modcache.Escaped
	ev      evidence
	partial bool
	goMod   [sha256.Size]byte // of the go.mod in the zip
	goModLF [sha256.Size]byte // the same with LF line ends
	seen    bool

	shortcut bool
}

func (c *versionCheck) add(class Class, s Severity, path, detail string, remove ...string) {
	c.findings = append(c.findings, Finding{Class: class, Severity: s, Cache: Modules, Path: path, Detail: detail, Remove: remove})
}

func (c *versionCheck) unreadable(path string, err error) {
	c.add(Unreadable, SeverityUnreadable, path, err.Error())
}

// download reads the small files of the @v directory.
func (c *versionCheck) download(d *tree.Dir) {
	if info, err := d.Stat(c.at.Version + modcache.Partial.Suffix()); err == nil {
		c.partial, c.seen = true, true
		c.observe(info)
		class, severity := InFlight, Note
		if c.Now.Sub(info.Mtime) > abandoned {
			class, severity = Stray, Recoverable
		}
		c.add(class, severity, c.at.File(modcache.Partial), "being extracted, or it was when its writer died", c.at.Dir(), c.at.File(modcache.Partial))
	}
	data, ok, err := c.read(d, modcache.Ziphash, 4<<10)
	c.ev.hash.present = ok
	if ok {
		c.ev.hash.err = err
		if err == nil {
			c.ev.hash.sum, c.ev.hash.err = modsum.Parse(data)
		}
	}
}

// read reads one of the version's files; ok is false when there is none.
func (c *versionCheck) read(d *tree.Dir, kind modcache.Kind, limit int64) (data []byte, ok bool, err error) {
	if !c.Files.Has(kind) && !c.w.fresh {
		return nil, false, nil
	}
	data, info, err := d.ReadFile(c.at.Version+kind.Suffix(), c.w.small, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	c.seen = true
	if errors.Is(err, tree.ErrBadMode) {
		c.add(BadMode, SeverityCorrupt, c.at.File(kind), err.Error(), c.at.File(kind))
		return nil, false, nil
	}
	if err != nil {
		return nil, true, err
	}
	c.w.small = data[:0:cap(data)]
	c.observe(info)
	c.mode(c.at.File(kind), info)
	return data, true, nil
}

// mode reports a file of the version, or the extracted module's own directory, that
// only root could read. What is in that directory is judged by the hasher's walk.
func (c *versionCheck) mode(path string, info tree.Info) {
	if !info.Legible() {
		c.add(BadMode, SeverityCorrupt, path, fmt.Sprintf("mode %04o: it is not readable", info.Mode), path)
	}
}

// contents hashes the zip and the extracted directory.
func (c *versionCheck) contents(d *tree.Dir) {
	dir := c.openDir()
	if dir != nil {
		defer func() { _ = dir.Close() }()
	}
	if d != nil && (c.Files.Has(modcache.Zip) || c.w.fresh) {
		c.zip(d, dir)
	}
	if dir != nil && c.ev.dir.sum.IsZero() {
		sum, err := c.hashDir(dir)
		c.ev.dir.sum, c.ev.dir.err = sum.H1, err
		c.bytes += sum.Read
	}
	if dir != nil && c.ev.dir.err == nil {
		c.record.Dir = c.ev.dir.sum
		c.dirs = 1
	}
}

// hashDir hashes the extracted module, whose zip is not there or another one.
func (c *versionCheck) hashDir(dir *tree.Dir) (modcache.DirSum, error) {
	switch {
	case len(c.ev.trust) > 0:
		return c.w.hasher.DirWithoutZip(dir, c.Version.Version, c.ev.trust.agrees)
	case c.ev.hash.ok():
		return c.w.hasher.DirWithoutZip(dir, c.Version.Version, c.ev.hash.is)
	}
	return c.w.hasher.Dir(dir, c.Version.Version)
}

// openDir opens the extracted module, unless it is still being extracted.
func (c *versionCheck) openDir() *tree.Dir {
	if !c.Extracted && !c.w.fresh {
		return nil
	}
	dir, err := c.root.Sub(c.at.Dir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c.seen = true
	if c.partial {
		if err == nil {
			_ = dir.Close()
		}
		return nil
	}
	c.ev.dir.present = true
	if err != nil {
		c.ev.dir.err = err
		return nil
	}
	if info, err := dir.Stat("."); err == nil {
		c.observe(info)
		c.mode(c.at.Dir(), info)
	}
	return dir
}

func (c *versionCheck) zip(d, dir *tree.Dir) {
	path := c.at.File(modcache.Zip)
	f, err := d.Open(c.at.Version + modcache.Zip.Suffix())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	c.seen = true
	c.ev.zip.present = true
	if err != nil {
		c.ev.zip.err = err
		return
	}
	defer func() { _ = f.Close() }()
	c.observe(f.Info())
	c.mode(path, f.Info())
	c.zips = 1
	if c.shortcut && c.unchanged(&f) {
		return
	}
	var sum modcache.ZipSum
	if dir != nil {
		var same bool
		sum, same, err = c.w.hasher.Pair(&f, dir, c.Version.Version)
		if same && err == nil {
			c.ev.dir.sum = sum.H1
		}
	} else {
		sum, err = c.w.hasher.Zip(&f, c.Version.Version)
	}
	c.bytes += sum.Read
	c.record.Raw, c.record.Size = sum.Raw, sum.Size
	if base, ok := c.Baseline[c.Version.Version]; ok && err == nil && base.Raw != sum.Raw && base.H1 == sum.H1 {
		// Packed again by another server, or a flipped bit in a field that no
		// reader uses.
		c.add(Inconsistent, Note, path, "its bytes are not those of the manifest, but its contents are")
	}
	if c.ev.zip.err = err; err == nil {
		c.ev.zip.sum, c.record.Zip = sum.H1, sum.H1
		c.goMod, c.goModLF = sum.GoMod, sum.GoModText
		c.ev.trailing, c.ev.refused = sum.Trailing, sum.Refused
	}
}

// unchanged compares the zip's raw bytes with the baseline's.
func (c *versionCheck) unchanged(f *tree.File) bool {
	base, ok := c.Baseline[c.Version.Version]
	if !ok || base.Size != f.Size() {
		return false
	}
	sum, err := c.w.hasher.Unread(f, c.Version.Version)
	if err != nil || sum.Raw != base.Raw {
		_ = f.Rewind() // an error shows when it is read in full
		return false
	}
	c.bytes += sum.Read
	c.raw = 1
	c.ev.zip.sum, c.ev.trailing, c.ev.refused = base.H1, sum.Trailing, sum.Refused
	c.goMod, c.goModLF = sum.GoMod, sum.GoModText
	c.record.Zip, c.record.Raw, c.record.Size = base.H1, base.Raw, base.Size
	return true
}

// judge turns what was seen into findings.
func (c *versionCheck) judge(d *tree.Dir) {
	found := judge(c.ev)
	for i := range found {
		found[i].Remove = slices.DeleteFunc(found[i].Remove, func(p string) bool { return p == c.at.Dir() && !c.ev.dir.present })
	}
	c.findings = append(c.findings, found...)
	if d != nil {
		c.modFile(d)
		c.infoFile(d)
	}
	c.prove()
	if c.suspicious() && d != nil && locked(d, c.at.Version+modcache.Lock.Suffix()) {
		c.excuse(&c.outcome, "the go command holds its lock")
	}
}

// prove finds out whether trust data name the content of the version.
func (c *versionCheck) prove() {
	if !c.ev.zip.present && !c.ev.dir.present || c.ev.snapshot { // or extracted from the GOROOT
		return
	}
	c.content = 1
	switch {
	case len(c.ev.trust) > 0:
		for _, p := range []part{c.ev.zip, c.ev.dir} {
			if p.ok() && c.ev.trust.agrees(p.sum) {
				c.proven = 1
			}
		}
	case c.FullCoverage:
		c.add(Unverifiable, SeverityUnreadable, c.at.File(modcache.Zip), "no trust data names this version")
	case c.Trust.Len() > 0:
		c.add(Unverifiable, Note, c.at.File(modcache.Zip), "no trust data names this version")
	}
}

// modFile checks the .mod file.
func (c *versionCheck) modFile(d *tree.Dir) {
	path := c.at.File(modcache.Mod)
	data, ok, err := c.read(d, modcache.Mod, maxGoMod)
	switch {
	case !ok:
		return
	case errors.Is(err, tree.ErrNotRegular), errors.Is(err, tree.ErrTooLarge):
		c.add(Malformed, SeverityCorrupt, path, err.Error(), path)
		return
	case err != nil:
		c.unreadable(path, err)
		return
	}
	c.bytes += int64(len(data))
	sum := modcache.SumGoMod(data)
	c.record.GoMod = sum
	trust := c.Trust.mod(c.Version.Version)
	otherThanZip := c.goMod != [sha256.Size]byte{} && sha256.Sum256(data) != c.goMod
	switch {
	case len(trust) > 0 && trust.agrees(sum):
		if detail, severity := trust.conflict(sum); detail != "" {
			c.add(TrustConflict, severity, path, detail)
		}
	case len(data) == 0:
		c.add(Truncated, SeverityCorrupt, path, "is empty", path)
	case bytes.IndexByte(data, 0) >= 0:
		c.add(Truncated, SeverityCorrupt, path, "contains NUL bytes", path)
	case otherThanZip && modcache.TextSum(data) != c.goModLF:
		c.add(Corrupt, SeverityCorrupt, path, "is not the go.mod of the zip", path)
	case c.ev.zip.ok() && c.goMod == [sha256.Size]byte{} && requires(data):
		c.add(Corrupt, SeverityCorrupt, path, "requires modules, and the zip has no go.mod", path)
	case c.baselineMod(sum):
		c.add(Corrupt, SeverityCorrupt, path, "differs from the manifest", path)
	case len(trust) > 0:
		if detail, severity := trust.conflict(sum); detail != "" {
			c.add(TrustConflict, severity, path, detail)
			return
		}
		c.add(ChecksumMismatch, SeverityCorrupt, path, fmt.Sprintf("is %s but trust data requires %s", sum, trust), path)
	default:
		if _, err := modcache.ParseGoMod(path, data); err != nil {
			if c.goMod != [sha256.Size]byte{} {
				c.add(Malformed, Note, path, "as in the zip: "+err.Error())
				return
			}
			if isMachine(err) {
				c.unreadable(path, err)
				return
			}
			c.add(Corrupt, SeverityCorrupt, path, err.Error(), path)
			return
		}
		if otherThanZip { // the go command has a sum of each, and takes both
			c.add(Inconsistent, Note, path, "has other line ends than the go.mod of the zip")
		}
	}
}

// requires reports whether a go.mod requires modules. One that is not parsed for its
// size does not count.
func requires(goMod []byte) bool {
	nothing, err := modcache.RequiresNothing(goMod)
	return err == nil && !nothing
}

// baselineMod reports whether an earlier manifest has another .mod for the same
// zip.
func (c *versionCheck) baselineMod(sum modsum.Sum) bool {
	base := c.Baseline[c.Version.Version]
	return !base.GoMod.IsZero() && base.GoMod != sum && base.H1 == c.ev.zip.sum
}

// infoFile checks the .info file. Builds do not read it; downloads use the
// version it names.
func (c *versionCheck) infoFile(d *tree.Dir) {
	path := c.at.File(modcache.Info)
	data, ok, err := c.read(d, modcache.Info, maxInfo)
	switch {
	case !ok:
		return
	case errors.Is(err, tree.ErrNotRegular), errors.Is(err, tree.ErrTooLarge):
		c.add(Malformed, SeverityCorrupt, path, err.Error(), path)
		return
	case err != nil:
		c.unreadable(path, err)
		return
	}
	c.bytes += int64(len(data))
	meta, err := modcache.ParseInfo(data)
	switch {
	case err != nil:
		c.add(Malformed, Recoverable, path, err.Error(), path)
	case meta.Version != c.Version.Version.Version && semver.IsValid(c.Version.Version.Version):
		c.add(Inconsistent, SeverityCorrupt, path, fmt.Sprintf("names the version %.60q", meta.Version), path)
	}
}

// locked reports whether a process holds the go command's lock on a version.
func locked(d *tree.Dir, name string) bool {
	f, err := d.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is(unix.Flock(f.FD(), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// list checks a list of versions. Builds do not read it; proxies serve it.
func (m *modules) list(path string) []Finding {
	finding := Finding{Severity: Recoverable, Cache: Modules, Path: path, Remove: []string{path}}
	i := strings.LastIndexByte(path, '/')
	d, err := m.root.Sub(path[:i])
	if err != nil {
		return nil // vanished, or reported by the scan
	}
	defer func() { _ = d.Close() }()
	data, _, err := d.ReadFile(path[i+1:], nil, maxList)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, tree.ErrNotRegular), errors.Is(err, tree.ErrTooLarge):
		finding.Class, finding.Severity, finding.Detail = Malformed, SeverityCorrupt, err.Error()
		return []Finding{finding}
	case err != nil:
		return []Finding{{Class: Unreadable, Severity: SeverityUnreadable, Cache: Modules, Path: path, Detail: err.Error()}}
	}
	versions, err := modcache.ParseList(data)
	if err != nil {
		finding.Class, finding.Detail = Malformed, err.Error()
		return []Finding{finding}
	}
	for _, v := range versions {
		e, err := module.EscapeVersion(v)
		if err == nil {
			_, err = d.Stat(e + modcache.Mod.Suffix())
		}
		if err != nil {
			finding.Class, finding.Detail = Inconsistent, fmt.Sprintf("lists %.60q, which has no .mod file", v)
			return []Finding{finding}
		}
	}
	return nil
}

// remarks reports what a scan found besides versions.
func (r *run) remarks(cache Cache, root *tree.Dir, remarks []modcache.Remark) {
	r.found.add(r.remarked(cache, root, remarks)...)
}

// remarked turns what is no part of a layout into findings.
func (r *run) remarked(cache Cache, root *tree.Dir, remarks []modcache.Remark) (found []Finding) {
	for _, m := range remarks {
		f := Finding{Cache: cache, Path: m.Path, Detail: m.Detail}
		switch m.Kind {
		case modcache.RemarkStray, modcache.RemarkForeign:
			f.Class, f.Severity = Stray, Note
		case modcache.RemarkVCS:
			f.Class, f.Severity = Unverifiable, Note
		case modcache.RemarkTemp:
			f.Class, f.Severity = InFlight, Note
			if r.isAbandoned(root, m.Path) {
				f.Class, f.Detail = Stray, "left behind by a download that died"
			}
		case modcache.RemarkNotRegular:
			f.Class, f.Severity, f.Remove = Malformed, SeverityCorrupt, []string{m.Path}
		case modcache.RemarkUnreadable:
			f.Class, f.Severity = Unreadable, SeverityUnreadable
		}
		if r.Volume != "" && (m.Kind == modcache.RemarkVCS || m.Kind == modcache.RemarkForeign) {
			f = unexpected(cache, m.Path, m.Detail)
		}
		if r.Live && m.Kind == modcache.RemarkVCS {
			f.Severity = Recoverable
		}
		found = append(found, f)
	}
	return found
}

func (r *run) isAbandoned(root *tree.Dir, p string) bool {
	d, err := root.Sub(path.Dir(p))
	if err != nil {
		return false
	}
	defer func() { _ = d.Close() }()
	info, err := d.Stat(path.Base(p))
	return err == nil && r.Now.Sub(info.Mtime) > abandoned
}
