package integrity

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/modcache"
)

// Trust is what is known from outside the cache about the contents of module
// versions: the union of any number of go.sum files.
type Trust struct {
	zips map[module.Version][]modcache.Sum
	mods map[module.Version][]modcache.Sum
}

// emptyGoModSum is the sum of an empty go.mod. Old go commands recorded it by
// mistake, and the go command skips it since (emptyGoModHash in
// cmd/go/internal/modfetch/fetch.go).
const emptyGoModSum = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="

// NewTrust returns trust data without any checksum.
func NewTrust() *Trust {
	return &Trust{zips: map[module.Version][]modcache.Sum{}, mods: map[module.Version][]modcache.Sum{}}
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
func (t *Trust) AddGoSum(name string, r io.Reader) error {
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
		sum, err := modcache.ParseSum([]byte(f[2]))
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, n, err)
		}
		into, version := t.zips, f[1]
		if v, ok := strings.CutSuffix(version, "/go.mod"); ok {
			into, version = t.mods, v
		}
		m := module.Version{Path: f[0], Version: version}
		if !slices.Contains(into[m], sum) {
			into[m] = append(into[m], sum)
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// AddZip adds a sum from elsewhere, such as a checksum database.
func (t *Trust) AddZip(m module.Version, sum modcache.Sum) {
	if !slices.Contains(t.zips[m], sum) {
		t.zips[m] = append(t.zips[m], sum)
	}
}

func (t *Trust) zip(m module.Version) []modcache.Sum {
	if t == nil {
		return nil
	}
	return t.zips[m]
}

func (t *Trust) mod(m module.Version) []modcache.Sum {
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
