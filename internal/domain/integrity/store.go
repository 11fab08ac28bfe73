package integrity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
	"gocache.dev/operator/internal/domain/store"
)

// stashing is how long Athens may take to write a version: a part that is
// missing for longer is not coming any more.
const stashing = 10 * time.Minute

// stores checks a proxy's store. A store has no sums of its own: zips are
// compared with trust data, and with an earlier manifest if there is one.
type stores struct {
	*run
	root   *tree.Dir
	layout store.Layout
}

func (r *run) checkStore(ctx context.Context) error {
	layout, err := store.Parse(r.Layout)
	if err != nil {
		return err
	}
	root, err := tree.Open(r.Store)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	s := &stores{run: r, root: root, layout: layout}
	contents, err := store.Scan(root, layout)
	if err != nil {
		s.unreadable(Store, ".", err)
		return nil
	}
	all := contents.Versions
	order, total := largestFirst(all)
	r.Progress.begin(Store, total)
	records := make([]manifest.Record, len(all))
	check := func(w *worker, i int32) outcome {
		if s.Pace != nil {
			s.Pace(ctx, effort(all[i].ZipSize))
		}
		o := s.version(w, &all[i])
		records[i] = o.record
		return o
	}
	account := func(i int32, o outcome) {
		records[i] = o.record
		s.account(o)
		r.Progress.step(effort(all[i].ZipSize))
		if o.record.Path != "" || s.Withdraw == nil { // else it was withdrawn as a whole
			s.count(func(c *Counts) { c.Modules++; c.Zips += o.zips; c.Raw += o.raw })
		}
	}
	held := s.repair(all, account)
	if err := s.settle(ctx, order, check, held.take); err != nil {
		return err
	}
	held.others(s.remarked(Store, root, contents.Remarks), func(f Finding) []Finding { return s.notRegular(f) })
	for _, p := range contents.Lists {
		held.others(s.list(p), func(Finding) []Finding { return s.list(p) })
	}
	for i := range contents.Queries {
		q := &contents.Queries[i]
		held.others(s.query(q), func(Finding) []Finding { return s.query(q) })
	}
	if err := held.finish(ctx); err != nil {
		return err
	}
	return r.writeRecords(records)
}

// largestFirst is the order in which versions are checked, so that no worker begins
// a large one last, and the effort for all.
func largestFirst(all []store.Version) (order []int32, total int64) {
	order = make([]int32, len(all))
	for i := range order {
		total += effort(all[i].ZipSize)
		order[i] = int32(i) //nolint:gosec // a store of 2³¹ versions does not fit in memory
	}
	slices.SortStableFunc(order, func(a, b int32) int { return compareInt(all[b].ZipSize, all[a].ZipSize) })
	return order, total
}

// writeRecords writes the records of versions into the manifest, without those that
// were withdrawn as a whole.
func (r *run) writeRecords(records []manifest.Record) error {
	for i := range records {
		if records[i].Path == "" {
			continue
		}
		if err := r.manifest.Write(&records[i]); err != nil {
			return err
		}
	}
	return nil
}

// storedVersion gathers the sums of one version's files.
type storedVersion struct {
	*stores
	*store.Version
	outcome
	w       *worker
	dir     *tree.Dir
	newest  time.Time
	have    modcache.Files
	goMod   [sha256.Size]byte // of the go.mod in the zip
	goModLF [sha256.Size]byte // the same with LF line ends
	zipRead bool
	zipOK   bool
}

func (s *stores) version(w *worker, v *store.Version) outcome {
	c := &storedVersion{stores: s, Version: v, w: w}
	dir, err := s.root.Sub(v.Dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.add(Unreadable, SeverityUnreadable, v.Dir, err.Error())
		}
		return c.outcome
	}
	defer func() { _ = dir.Close() }()
	c.dir = dir
	c.record = manifest.Record{Kind: manifest.Stored, Version: v.Version}
	c.zip()
	c.mod()
	c.info()
	c.complete()
	if c.have == 0 {
		c.record = manifest.Record{}
	}
	return c.outcome
}

func (c *storedVersion) path(k modcache.Kind) string {
	return path.Join(c.Dir, c.layout.Name(c.Version, k))
}

// add adds a finding. Athens must lose a version as a whole: with any of its
// files left it serves what is there.
func (c *storedVersion) add(class Class, s Severity, p, detail string) {
	f := Finding{Class: class, Severity: s, Cache: Store, Path: p, Detail: detail, Module: c.Version.Version, Remove: []string{p}}
	if c.layout == store.Athens {
		f.Remove = []string{c.Dir}
	}
	if s == SeverityUnreadable || s == Note {
		f.Remove = nil
	}
	c.findings = append(c.findings, f)
}

func (c *storedVersion) see(k modcache.Kind, info tree.Info) {
	c.have = c.have.With(k)
	c.observe(info)
	if info.Mtime.After(c.newest) {
		c.newest = info.Mtime
	}
	if info.Mode&0o444 == 0 {
		severity := SeverityCorrupt
		if k == modcache.Info {
			severity = Recoverable // see info
		}
		c.add(BadMode, severity, c.path(k), fmt.Sprintf("mode %04o: it is not readable", info.Mode))
	}
}

// bad reports an error of opening or reading a file that is there.
func (c *storedVersion) bad(k modcache.Kind, err error) {
	c.have = c.have.With(k)
	severity := SeverityCorrupt
	if k == modcache.Info {
		severity = Recoverable // see info
	}
	if errors.Is(err, tree.ErrNotRegular) || errors.Is(err, tree.ErrTooLarge) {
		c.add(Malformed, severity, c.path(k), err.Error())
		return
	}
	if errors.Is(err, tree.ErrBadMode) {
		c.add(BadMode, severity, c.path(k), err.Error())
		return
	}
	c.add(Unreadable, SeverityUnreadable, c.path(k), err.Error())
}

func (c *storedVersion) zip() {
	f, err := c.dir.Open(c.layout.Name(c.Version, modcache.Zip))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.bad(modcache.Zip, err)
		return
	}
	defer func() { _ = f.Close() }()
	c.see(modcache.Zip, f.Info())
	c.zips = 1
	base, known := c.Baseline[c.Version.Version]
	var sum modcache.ZipSum
	if known && base.Size == f.Size() {
		sum, err = c.w.hasher.Unread(&f, c.Version.Version)
		c.bytes += sum.Read
		if err == nil && sum.Raw == base.Raw {
			sum.H1, c.raw = base.H1, 1
		}
	}
	if c.raw == 0 {
		_ = f.Rewind() // an error shows when it is read
		sum, err = c.w.hasher.Zip(&f, c.Version.Version)
		c.bytes += sum.Read
		if (!isMachine(err) || errors.Is(err, modcache.ErrLimit)) && c.differs(modcache.Zip, sum.Raw, c.recorded(f.FD())) {
			return
		}
		if err != nil {
			c.badZip(err, c.recorded(f.FD()) != "")
			return
		}
	}
	c.record.Zip, c.record.Raw, c.record.Size = sum.H1, sum.Raw, sum.Size
	c.goMod, c.goModLF, c.zipRead = sum.GoMod, sum.GoModText, true
	c.judgeZip(sum, base, known)
}

// badZip reports a zip that has no sum. known: it is what its server had stored.
func (c *storedVersion) badZip(err error, known bool) {
	switch p := (part{present: true, err: err}); {
	case known && errors.Is(err, modcache.ErrTooLarge): // so it is at its origin: no client extracts it
		c.add(Malformed, Recoverable, c.path(modcache.Zip), "the go command does not extract it: "+err.Error())
	case isMachine(p.err):
		c.add(Unreadable, SeverityUnreadable, c.path(modcache.Zip), err.Error())
	default:
		j := judgement{evidence: evidence{zip: p}}
		j.judgeZip(modsum.Sum{}, false)
		c.add(j.found[0].Class, SeverityCorrupt, c.path(modcache.Zip), err.Error())
	}
}

func (c *storedVersion) judgeZip(sum modcache.ZipSum, base BaselineZip, known bool) {
	trust := c.Trust.zip(c.Version.Version)
	p := c.path(modcache.Zip)
	detail, severity := trust.conflict(sum.H1)
	if detail != "" {
		c.add(TrustConflict, severity, p, detail)
	}
	switch {
	case severity != Note: // no content could satisfy them
	case sum.Refused != nil && len(trust) == 0 && !known:
		c.add(Corrupt, SeverityCorrupt, p, sum.Refused.Error())
	case len(trust) > 0 && !trust.agrees(sum.H1):
		c.add(ChecksumMismatch, SeverityCorrupt, p, fmt.Sprintf("contents are %s but trust data requires %s", sum.H1, trust))
	case len(trust) > 0:
		c.zipOK = true
	case known && base.H1 != sum.H1:
		c.add(ChecksumMismatch, SeverityCorrupt, p, fmt.Sprintf("contents are %s, but were %s when first seen", sum.H1, base.H1))
	case known:
		c.zipOK = true
	default:
		c.add(Unverifiable, Note, p, "no trust data names this version")
	}
	if sum.Refused != nil && c.zipOK {
		c.add(Malformed, Recoverable, p, "has the expected checksum, but the go command does not extract it: "+sum.Refused.Error())
	}
	if sum.Trailing > 0 { // the contents are right, and clients take it
		c.add(Malformed, Recoverable, p, fmt.Sprintf("%d bytes follow the end of the archive, and are served", sum.Trailing))
	}
}

// recorded is the sum that the server keeps with a file; empty: none.
func (c *storedVersion) recorded(fd int) string {
	if c.layout != store.Goproxy {
		return ""
	}
	return store.RecordedSum(fd)
}

// differs reports a file that is not what its server had stored. It finds that
// at the next request, and does not serve it.
func (c *storedVersion) differs(k modcache.Kind, is [sha256.Size]byte, recorded string) bool {
	if recorded == "" || recorded == hex.EncodeToString(is[:]) {
		return false
	}
	c.add(Corrupt, SeverityCorrupt, c.path(k), fmt.Sprintf("its sha256 is %x, and was %s when it was stored", is, recorded))
	c.findings[len(c.findings)-1].Refused = true
	return true
}

// read reads a small file. known is the sum that its server keeps with it.
func (c *storedVersion) read(k modcache.Kind, limit int64) (data []byte, known string, ok bool) {
	f, err := c.dir.Open(c.layout.Name(c.Version, k))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", false
	}
	if err == nil {
		defer func() { _ = f.Close() }()
		data, err = f.ReadAll(c.w.small, limit)
	}
	if err != nil {
		c.bad(k, err)
		return nil, "", false
	}
	c.w.small = data[:0:cap(data)]
	c.see(k, f.Info())
	c.bytes += int64(len(data))
	return data, c.recorded(f.FD()), true
}

func (c *storedVersion) mod() {
	data, known, ok := c.read(modcache.Mod, maxGoMod)
	if !ok || c.differs(modcache.Mod, sha256.Sum256(data), known) {
		return
	}
	p := c.path(modcache.Mod)
	otherThanZip := c.goMod != [sha256.Size]byte{} && sha256.Sum256(data) != c.goMod
	sum := modcache.SumGoMod(data)
	c.record.GoMod = sum
	trust := c.Trust.mod(c.Version.Version)
	switch base := c.Baseline[c.Version.Version].GoMod; {
	case len(trust) > 0 && trust.agrees(sum):
		if detail, severity := trust.conflict(sum); detail != "" {
			c.add(TrustConflict, severity, p, detail)
		}
	case len(data) == 0:
		c.add(Truncated, SeverityCorrupt, p, "is empty")
	case bytes.IndexByte(data, 0) >= 0:
		c.add(Truncated, SeverityCorrupt, p, "contains NUL bytes")
	case len(trust) > 0 && otherThanZip:
		c.add(Corrupt, SeverityCorrupt, p, "is not the go.mod of the zip")
	case len(trust) > 0:
		if detail, severity := trust.conflict(sum); detail != "" {
			c.add(TrustConflict, severity, p, detail)
			return
		}
		c.add(ChecksumMismatch, SeverityCorrupt, p, fmt.Sprintf("is %s but trust data requires %s", sum, trust))
	case !base.IsZero() && base != sum:
		c.add(Corrupt, SeverityCorrupt, p, "differs from the first version seen")
	case otherThanZip && base.IsZero() && known == "" && modcache.TextSum(data) != c.goModLF:
		c.add(Inconsistent, SeverityCorrupt, p, "is not the go.mod of the zip")
	case c.zipRead && c.goMod == [sha256.Size]byte{} && base.IsZero() && known == "" && requires(data):
		c.add(Inconsistent, SeverityCorrupt, p, "requires modules, and the zip has no go.mod")
	default:
		if _, err := modcache.ParseGoMod(p, data); err != nil {
			if isMachine(err) {
				c.add(Unreadable, SeverityUnreadable, p, err.Error())
				return
			}
			c.add(Malformed, SeverityCorrupt, p, err.Error())
			return
		}
		if otherThanZip { // the go command has a sum of each, and takes both
			c.add(Inconsistent, Note, p, "is not the go.mod of the zip, and came so from the upstream")
		}
	}
}

// info judges the .info. A wrong one costs an error message: nothing that is
// built comes out of it. So its severity is Recoverable at most.
func (c *storedVersion) info() {
	data, known, ok := c.read(modcache.Info, maxInfo)
	if !ok {
		return
	}
	if sum := sha256.Sum256(data); known != "" && known != hex.EncodeToString(sum[:]) {
		c.add(Corrupt, Recoverable, c.path(modcache.Info), "is not what the server stored, and is not served")
		return
	}
	if class, detail := judgeInfo(c.Version.Version, data); class != "" {
		c.add(class, Recoverable, c.path(modcache.Info), detail)
	}
}

// judgeInfo is what is wrong with an .info; an empty class: nothing.
func judgeInfo(m module.Version, data []byte) (Class, string) {
	err := modcache.CheckInfo(m, data)
	_, unparsed := modcache.ParseInfo(data)
	switch {
	case err == nil:
		return "", ""
	case len(bytes.Trim(data, "\x00")) == 0:
		return Truncated, "is empty or zeros"
	case unparsed != nil:
		return Malformed, err.Error()
	}
	return Inconsistent, err.Error()
}

// query checks a stored answer to a query: whatever version it names, it is a
// right one if the module can have that version.
func (s *stores) query(q *modcache.Query) []Finding {
	data, found, ok := s.text(q.File, maxInfo, Recoverable)
	if !ok {
		return found
	}
	if class, detail := judgeInfo(q.Version, data); class != "" {
		return []Finding{{Class: class, Severity: Recoverable, Cache: Store, Path: q.File, Detail: "the answer to a query: " + detail, Remove: []string{q.File}}}
	}
	return nil
}

// text reads a small file of the store; if it cannot, it reports why, unless the
// file has vanished.
func (s *stores) text(file string, limit int64, worst Severity) (data []byte, found []Finding, ok bool) {
	dir, err := s.root.Sub(path.Dir(file))
	if err != nil {
		return nil, nil, false // vanished, or reported by the scan
	}
	defer func() { _ = dir.Close() }()
	data, _, err = dir.ReadFile(path.Base(file), nil, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, false
	case err != nil && isMachine(err):
		return nil, []Finding{{Class: Unreadable, Severity: SeverityUnreadable, Cache: Store, Path: file, Detail: err.Error()}}, false
	case err != nil:
		return nil, []Finding{{Class: Malformed, Severity: worst, Cache: Store, Path: file, Detail: err.Error(), Remove: []string{file}}}, false
	}
	return data, nil, true
}

// notRegular looks again at a link, or worse, in the place of a file.
func (s *stores) notRegular(f Finding) []Finding {
	dir, err := s.root.Sub(path.Dir(f.Path))
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	if info, err := dir.Stat(path.Base(f.Path)); err != nil || info.Type == tree.Regular || info.Type == tree.Directory {
		return nil
	}
	return []Finding{f}
}

// complete judges what is not there. In the goproxy layout files come one by
// one. Athens treats a version without all three as missing, but only when its
// .info is requested: until then it serves the files that exist.
func (c *storedVersion) complete() {
	if c.layout != store.Athens || c.have == 0 {
		return
	}
	var missing []modcache.Kind
	for _, k := range []modcache.Kind{modcache.Mod, modcache.Zip, modcache.Info} {
		if !c.have.Has(k) {
			missing = append(missing, k)
		}
	}
	if len(missing) == 0 {
		return
	}
	if c.Now.Sub(c.newest) < stashing {
		c.excuse(&c.outcome, "being stored")
		c.add(InFlight, Note, c.path(missing[0]), "is not there yet: the version is being stored")
		return
	}
	if len(c.findings) > 0 && c.suspicious() {
		return // reported already, and removed with the version
	}
	c.add(Missing, Recoverable, c.path(missing[0]), "is missing: Athens stores the version again when asked for its .info")
}

// list checks a list of versions that a server would hand out.
func (s *stores) list(p string) []Finding {
	data, found, ok := s.text(p, maxList, SeverityCorrupt)
	if !ok {
		return found
	}
	// Proxies list what upstream has, which need not be stored, and some do not
	// end the last line.
	if n := len(data); n > 0 && data[n-1] != '\n' {
		data = append(data, '\n')
	}
	if _, err := modcache.ParseList(data); err != nil {
		return []Finding{{Class: Malformed, Severity: SeverityCorrupt, Cache: Store, Path: p, Detail: "is served, but: " + err.Error(), Remove: []string{p}}}
	}
	return nil
}
