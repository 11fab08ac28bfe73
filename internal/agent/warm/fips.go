package warm

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
)

// snapshots records the checksums of the versions of golang.org/fips140 that the
// module cache holds. The go command extracts them from its GOROOT, where
// lib/fips140/fips140.sum vouches for their zips.
func (w *warming) snapshots() error {
	extracted, err := filepath.Glob(filepath.Join(w.ModCache, filepath.FromSlash(modcache.FIPS140)+"@*"))
	if err != nil || len(extracted) == 0 {
		return err
	}
	// A source may have switched to a release that lies in the module cache.
	roots, err := filepath.Glob(filepath.Join(w.ModCache, filepath.FromSlash(modcache.Toolchain)+"@*"))
	if err != nil {
		return err
	}
	sums := map[module.Version]modsum.Sum{}
	for _, root := range append(roots, w.goroot) {
		if err := snapshotsOf(filepath.Join(root, "lib", "fips140"), extracted, sums); err != nil {
			return err
		}
	}
	for m, sum := range sums {
		w.use.named.AddZip(m, sum) // no go.sum file names it
	}
	return record.WriteSnapshots(w.Root, sums)
}

// snapshotsOf adds the sums of those zips in a GOROOT that were extracted and
// whose checksum the release itself lists.
func snapshotsOf(dir string, extracted []string, sums map[module.Version]modsum.Sum) error {
	list, err := os.Open(filepath.Join(dir, "fips140.sum")) //nolint:gosec // of a toolchain
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a release before 1.24
	}
	if err != nil {
		return err
	}
	defer func() { _ = list.Close() }()
	scan := bufio.NewScanner(list)
	for scan.Scan() {
		name, raw, ok := strings.Cut(strings.TrimSpace(scan.Text()), " ")
		version, isZip := strings.CutSuffix(name, modcache.Zip.Suffix())
		if !ok || !isZip {
			continue
		}
		m := module.Version{Path: modcache.FIPS140, Version: version}
		if !holds(extracted, m) {
			continue
		}
		sum, err := zipSum(dir, name, m)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		if got := hex.EncodeToString(sum.Raw[:]); got != strings.TrimSpace(raw) {
			return fmt.Errorf("%s: its sha256 is %s, but fips140.sum beside it requires %s: install the Go release again", filepath.Join(dir, name), got, raw)
		}
		sums[m] = sum.H1
	}
	return scan.Err()
}

func holds(extracted []string, m module.Version) bool {
	escaped, err := modcache.Escape(m)
	if err != nil {
		return false
	}
	for _, dir := range extracted {
		if strings.HasSuffix(filepath.ToSlash(dir), "/"+escaped.Dir()) {
			return true
		}
	}
	return false
}

func zipSum(dir, name string, m module.Version) (modcache.ZipSum, error) {
	d, err := tree.Open(dir)
	if err != nil {
		return modcache.ZipSum{}, err
	}
	defer func() { _ = d.Close() }()
	f, err := d.Open(name)
	if err != nil {
		return modcache.ZipSum{}, err
	}
	defer func() { _ = f.Close() }()
	return modcache.NewHasher(maxInMemory).Zip(&f, m)
}

// maxInMemory is up to which size a file is hashed in memory.
const maxInMemory = 1 << 20
