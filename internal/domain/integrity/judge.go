package integrity

import (
	"archive/zip"
	"errors"
	"fmt"
	"io/fs"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
)

// part is one of the three places that hold or name a module's contents: the
// zip, the .ziphash and the extracted directory.
type part struct {
	present bool
	sum     modsum.Sum
	err     error // why there is no sum
}

func (p part) ok() bool                  { return p.present && p.err == nil }
func (p part) is(sum modsum.Sum) bool    { return p.ok() && p.sum == sum }
func (p part) differs(s modsum.Sum) bool { return p.ok() && p.sum != s }

// evidence is the sums of all parts of one module version.
type evidence struct {
	at             modcache.Escaped
	zip, hash, dir part
	trust          trusted
	trailing       int64 // bytes after the end of the zip
	refused        error // why the go command does not extract the zip
	// snapshot: the go command extracts it from its own GOROOT, and has no zip.
	snapshot bool
}

// judge returns the findings that the parts' sums prove.
//
// Each part on its own can be damaged, so what the contents should be is asked
// of trust data first; without it of the zip and the directory if they agree
// (two independent copies do not rot alike, so then .ziphash is the broken
// one); else of .ziphash, which is what the go command compares with go.sum.
func judge(e evidence) []Finding {
	j := judgement{evidence: e}
	j.unreadable()
	j.conflicts()
	// A damaged snapshot is extracted again from GOROOT: it was not published twice.
	if len(e.trust) > 0 && !e.snapshot && j.contradictsTrust() {
		return j.found
	}
	want, known := j.expected()
	j.judgeZip(want, known)
	j.judgeHash(want, known)
	j.judgeDir(want, known)
	return j.found
}

type judgement struct {
	evidence
	found []Finding
}

func (j *judgement) add(c Class, s Severity, path, detail string, remove ...string) {
	j.found = append(j.found, Finding{Class: c, Severity: s, Cache: Modules, Path: path, Detail: detail, Remove: remove})
}

func (j *judgement) zipPath() string  { return j.at.File(modcache.Zip) }
func (j *judgement) hashPath() string { return j.at.File(modcache.Ziphash) }

// unreadable reports parts that the machine could not read; they prove nothing.
func (j *judgement) unreadable() {
	for _, p := range []struct {
		part *part
		path string
	}{{&j.zip, j.zipPath()}, {&j.hash, j.hashPath()}, {&j.dir, j.at.Dir()}} {
		if p.part.present && isMachine(p.part.err) {
			j.add(Unreadable, SeverityUnreadable, p.path, p.part.err.Error())
		}
	}
}

// isMachine distinguishes errors of reading, and limits of checks, from errors in the
// content.
func isMachine(err error) bool {
	if err == nil || errors.Is(err, modcache.ErrContent) || errors.Is(err, tree.ErrNotRegular) || errors.Is(err, tree.ErrBadMode) || errors.Is(err, fs.ErrNotExist) {
		return false
	}
	var pathErr *fs.PathError
	return errors.Is(err, modcache.ErrLimit) || errors.As(err, &pathErr)
}

// contradictsTrust finds parts that agree with each other but not with trust.
func (j *judgement) contradictsTrust() bool {
	agreed := modsum.Sum{}
	for _, p := range []part{j.zip, j.hash, j.dir} {
		if !p.ok() {
			continue
		}
		if !agreed.IsZero() && p.sum != agreed {
			return false // they do not agree: judged part by part
		}
		agreed = p.sum
	}
	if agreed.IsZero() || j.trust.agrees(agreed) {
		return false
	}
	if !j.zip.ok() && !j.dir.ok() {
		return false // there is only a .ziphash: the contents were not seen
	}
	path := j.zipPath()
	if !j.zip.ok() {
		path = j.at.Dir()
	}
	if _, severity := j.trust.conflict(agreed); severity != Note {
		return true // no content could satisfy them: see conflicts
	}
	j.add(ChecksumMismatch, SeverityCorrupt, path, fmt.Sprintf("contents are %s but trust data requires %s", agreed, j.trust),
		j.at.Dir(), j.zipPath(), j.hashPath())
	return true
}

// conflicts reports trust data that contradicts itself, which is a fault of
// neither the content nor one of them.
func (j *judgement) conflicts() {
	for _, p := range []part{j.zip, j.dir} {
		if !p.ok() {
			continue
		}
		if detail, severity := j.trust.conflict(p.sum); detail != "" {
			j.add(TrustConflict, severity, j.zipPath(), detail)
		}
		return
	}
}

func (j *judgement) expected() (modsum.Sum, bool) {
	for _, p := range []part{j.zip, j.dir, j.hash} {
		if len(j.trust) > 0 && p.ok() && j.trust.agrees(p.sum) {
			return p.sum, true
		}
	}
	switch {
	case len(j.trust) > 0:
		return j.trust[0].sum, true
	case j.zip.ok() && j.dir.is(j.zip.sum):
		return j.zip.sum, true
	case j.hash.ok():
		return j.hash.sum, true
	case j.zip.ok():
		return j.zip.sum, true
	}
	return modsum.Sum{}, false
}

// vouched reports whether something else than the zip has its checksum.
func (j *judgement) vouched() bool {
	return len(j.trust) > 0 && j.trust.agrees(j.zip.sum) || j.hash.is(j.zip.sum)
}

func (j *judgement) judgeZip(want modsum.Sum, known bool) {
	remove := []string{j.zipPath(), j.hashPath()}
	if !j.dir.is(want) && j.dir.present {
		remove = append([]string{j.at.Dir()}, remove...)
	}
	switch {
	case !j.zip.present || isMachine(j.zip.err):
	case errors.Is(j.zip.err, fs.ErrNotExist): // vanished meanwhile
	case errors.Is(j.zip.err, modcache.ErrTooLarge) && j.hash.ok(): // the go command kept it, and extracts nothing of it
		j.add(Malformed, Recoverable, j.zipPath(), "the go command does not extract it: "+j.zip.err.Error(), remove...)
	case j.zip.err != nil:
		class := Corrupt
		if errors.Is(j.zip.err, zip.ErrFormat) {
			class = Truncated
		}
		if errors.Is(j.zip.err, tree.ErrNotRegular) {
			class = Malformed
		}
		if errors.Is(j.zip.err, tree.ErrBadMode) {
			class = BadMode
		}
		j.add(class, SeverityCorrupt, j.zipPath(), j.zip.err.Error(), remove...)
	case known && j.zip.sum != want:
		j.add(Corrupt, SeverityCorrupt, j.zipPath(), fmt.Sprintf("contents are %s instead of %s", j.zip.sum, want), remove...)
	case j.refused != nil && !j.vouched():
		j.add(Corrupt, SeverityCorrupt, j.zipPath(), j.refused.Error(), remove...)
	case j.refused != nil: // so it is at its origin: no other download differs
		j.add(Malformed, Recoverable, j.zipPath(), "has the recorded checksum, but the go command does not extract it: "+j.refused.Error(), remove...)
	case j.trailing > 0:
		j.add(Malformed, Recoverable, j.zipPath(), fmt.Sprintf("%d bytes follow the end of the archive", j.trailing), remove...)
	}
}

func (j *judgement) judgeHash(want modsum.Sum, known bool) {
	remove := []string{j.hashPath()}
	if !j.zip.is(want) {
		remove = []string{j.zipPath(), j.hashPath()}
	}
	switch {
	case isMachine(j.hash.err), errors.Is(j.hash.err, fs.ErrNotExist):
	case !j.hash.present && j.zip.present:
		j.add(Missing, Recoverable, j.hashPath(), "the zip has no .ziphash")
	case !j.hash.present && j.snapshot:
	case !j.hash.present && known && j.dir.is(want):
		j.add(Missing, Recoverable, j.zipPath(), "the extracted module has neither zip nor .ziphash")
	case !j.hash.present:
	case errors.Is(j.hash.err, modsum.ErrHealing):
		j.add(Truncated, Recoverable, j.hashPath(), j.hash.err.Error(), remove...)
	case errors.Is(j.hash.err, tree.ErrNotRegular):
		j.add(Malformed, SeverityCorrupt, j.hashPath(), j.hash.err.Error(), remove...)
	case j.hash.err != nil:
		j.add(Corrupt, SeverityCorrupt, j.hashPath(), j.hash.err.Error(), remove...)
	case known && j.hash.sum != want && !j.zip.differs(want):
		j.add(Corrupt, SeverityCorrupt, j.hashPath(), fmt.Sprintf("records %s but the contents are %s", j.hash.sum, want), remove...)
	case known && j.hash.sum != want:
		j.add(Inconsistent, SeverityCorrupt, j.hashPath(), fmt.Sprintf("records %s instead of %s", j.hash.sum, want), remove...)
	case !j.zip.present:
		j.add(Missing, Recoverable, j.zipPath(), "there is a .ziphash but no zip: builds work, downloads and proxies do not")
	}
}

func (j *judgement) judgeDir(want modsum.Sum, known bool) {
	remove := j.at.Dir()
	switch {
	case !j.dir.present || isMachine(j.dir.err) || errors.Is(j.dir.err, fs.ErrNotExist):
	case errors.Is(j.dir.err, tree.ErrBadMode):
		j.add(BadMode, SeverityCorrupt, j.at.Dir(), j.dir.err.Error(), remove)
	case j.dir.err != nil:
		j.add(Corrupt, SeverityCorrupt, j.at.Dir(), j.dir.err.Error(), remove)
	case !known && j.snapshot:
		j.add(Unverifiable, Note, j.at.Dir(), "extracted from the go command's own GOROOT; no warm-up recorded its checksum")
	case !known:
		// The go command writes .ziphash before it extracts, and compiles what
		// lies here without asking: nothing vouches for it.
		j.add(Unverifiable, SeverityCorrupt, j.at.Dir(), "extracted module without zip and .ziphash: nothing vouches for it", remove)
	case j.dir.sum != want:
		j.add(Corrupt, SeverityCorrupt, j.at.Dir(), fmt.Sprintf("contents are %s instead of %s", j.dir.sum, want), remove)
	}
}
