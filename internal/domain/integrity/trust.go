package integrity

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/modsum"
)

// Trust is what is known from outside the cache about the contents of module
// versions: the union of any number of go.sum files and of records that were
// proven otherwise.
type Trust struct {
	zips map[module.Version]trusted
	mods map[module.Version]trusted
}

// trusted are the sums that trust data require of one version.
type trusted []required

// required is a sum and what requires it.
type required struct {
	sum modsum.Sum
	by  string
	// proven: by a checksum database or an earlier state of the cache. file: by a
	// go.sum file.
	proven, file bool
}

// agrees reports whether a sum is what trust data require: all that was proven,
// and one of the go.sum files. Those may disagree, because each is of another
// build.
func (t trusted) agrees(sum modsum.Sum) bool {
	files, named := false, false
	for _, r := range t {
		if r.proven && r.sum != sum {
			return false
		}
		files, named = files || r.file, named || r.file && r.sum == sum
	}
	return named || !files
}

// conflict describes how trust data contradicts itself about a version, of
// which the cache holds sum; empty: they do not. Content that is accepted by one
// of the go.sum files is noted. Where no content could satisfy all of them, none
// of the contents that they require is right or wrong.
func (t trusted) conflict(sum modsum.Sum) (detail string, severity Severity) {
	if len(t) < 2 {
		return "", Note
	}
	severity = SeverityUnreadable
	known := false
	for _, r := range t {
		known = known || r.sum == sum
		if t.agrees(r.sum) {
			severity = Note
		}
	}
	if !known || severity == Note && !t.agrees(sum) {
		return "", Note // the content contradicts all of them
	}
	return "trust data contradicts itself: it requires " + t.String(), severity
}

// String lists the sums and what requires them.
func (t trusted) String() string {
	s := ""
	for i, r := range t {
		if i > 0 {
			s += " and "
		}
		s += fmt.Sprintf("%s (%s)", r.sum, r.by)
	}
	return s
}

// add adds a sum that nothing required so far.
func (t trusted) add(r required) trusted {
	for i := range t {
		if t[i].sum == r.sum {
			t[i].proven, t[i].file = t[i].proven || r.proven, t[i].file || r.file
			return t
		}
	}
	return append(t, r)
}

// emptyGoModSum is the sum of an empty go.mod. Old go commands recorded it by
// mistake, and the go command skips it since (emptyGoModHash in
// cmd/go/internal/modfetch/fetch.go).
const emptyGoModSum = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="

// NewTrust returns trust data without any checksum.
func NewTrust() *Trust {
	return &Trust{zips: map[module.Version]trusted{}, mods: map[module.Version]trusted{}}
}

// Len is the number of module versions whose contents are known.
func (t *Trust) Len() int {
	if t == nil {
		return 0
	}
	return len(t.zips)
}

// AddGoSum reads a go.sum file. Sums of unknown algorithms, and that of
// an empty go.mod, are skipped, as the go command does; a malformed line is an error, since a truncated file must
// not pass for trust data.
func (t *Trust) AddGoSum(name string, r io.Reader) error { return t.addLines(name, false, r) }

// AddProven reads lines as of a go.sum file, each of which was proven: by a
// checksum database, or by an earlier state of the cache.
func (t *Trust) AddProven(name string, r io.Reader) error { return t.addLines(name, true, r) }

func (t *Trust) addLines(name string, proven bool, r io.Reader) error {
	scan := bufio.NewScanner(r)
	for n := 1; scan.Scan(); n++ {
		f := strings.Fields(scan.Text())
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 {
			return fmt.Errorf("%s:%d: %d fields instead of module, version and hash", name, n, len(f))
		}
		if !strings.HasPrefix(f[2], "h1:") || f[2] == emptyGoModSum {
			continue
		}
		sum, err := modsum.Parse([]byte(f[2]))
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
		into, version := t.zips, f[1]
		if v, ok := strings.CutSuffix(version, "/go.mod"); ok {
			into, version = t.mods, v
		}
		m := module.Version{Path: f[0], Version: version}
		into[m] = into[m].add(required{sum, name, proven, !proven})
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// AddZip adds a sum that was proven elsewhere.
func (t *Trust) AddZip(m module.Version, sum modsum.Sum) {
	t.zips[m] = t.zips[m].add(required{sum, "a record", true, false})
}

func (t *Trust) zip(m module.Version) trusted {
	if t == nil {
		return nil
	}
	return t.zips[m]
}

func (t *Trust) mod(m module.Version) trusted {
	if t == nil {
		return nil
	}
	return t.mods[m]
}

// Has reports whether trust data names the contents, and the go.mod, of a
// version.
func (t *Trust) Has(m module.Version) (contents, goMod bool) {
	return len(t.zip(m)) > 0, len(t.mod(m)) > 0
}
