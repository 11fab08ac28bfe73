package trim

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/version"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
)

// moduleTrim is a plan for a module cache.
type moduleTrim struct {
	Options
	victims []victim
	before  int64
	bytes   int64
	// oldest and newest use of a victim, where uses are known.
	oldest, newest *time.Time
}

// victim is a version that is to go, or the contents of one whose go.mod stays.
type victim struct {
	modcache.Escaped
	version module.Version
	keepMod bool
	bytes   int64
}

func planModules(o Options) (*moduleTrim, error) {
	keep := integrity.NewTrust()
	for _, name := range o.KeepGoSum {
		f, err := os.Open(name) //nolint:gosec // the caller names the file
		if err != nil {
			return nil, err
		}
		if err := errors.Join(keep.AddGoSum(name, f), f.Close()); err != nil {
			return nil, err
		}
	}
	versions, err := scanModules(o.ModCache)
	if err != nil {
		return nil, err
	}
	t := &moduleTrim{Options: o}
	var candidates []victim
	newest := newestToolchain(versions)
	for _, v := range versions {
		t.before += v.bytes
		contentsNamed, modNamed := keep.Has(v.Version.Version)
		if contentsNamed || v.Version.Version == newest || modNamed && !v.hasContents() {
			continue
		}
		candidates = append(candidates, victim{v.Escaped(), v.Version.Version, modNamed, v.bytes})
	}
	// Toolchains are the largest and the quickest to go out of use.
	slices.SortStableFunc(candidates, func(a, b victim) int {
		return cmp.Or(-compareBool(a.version.Path == modcache.Toolchain, b.version.Path == modcache.Toolchain), cmp.Compare(b.bytes, a.bytes), modsum.Compare(a.version, b.version))
	})
	for _, c := range candidates {
		if o.MaxModSize > 0 && t.before-t.bytes <= o.MaxModSize {
			break
		}
		t.victims = append(t.victims, c)
		t.bytes += c.bytes
	}
	return t, nil
}

// sized is a version in the cache and the size of its files.
type sized struct {
	modcache.Version
	bytes int64
}

// hasContents reports whether there is more of it than its go.mod.
func (s *sized) hasContents() bool { return s.Extracted || s.Files.Has(modcache.Zip) }

func scanModules(dir string) ([]sized, error) {
	root, err := tree.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	contents, err := modcache.Scan(root)
	if err != nil {
		return nil, err
	}
	found := make([]sized, 0, len(contents.Versions))
	for i := range contents.Versions {
		v := contents.Versions[i]
		size, err := sizeOf(root, v.Escaped())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Version, err)
		}
		found = append(found, sized{v, size})
	}
	return found, nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// newestToolchain is kept: a go.mod file may require it, and no go.sum file
// names it. It is one module version, which is one release for one platform:
// of a cache that is used on several platforms the others go, and are fetched
// again.
func newestToolchain(versions []sized) module.Version {
	var newest module.Version
	for i := range versions {
		v := versions[i].Version.Version
		if v.Path != modcache.Toolchain || !versions[i].hasContents() {
			continue
		}
		if newest.Path == "" || version.Compare(release(v.Version), release(newest.Version)) > 0 {
			newest = v
		}
	}
	return newest
}

// release is the Go release of a toolchain's version: go1.26.8 of
// v0.0.1-go1.26.8.linux-amd64.
func release(v string) string {
	_, v, _ = strings.Cut(v, "-")
	return v[:max(0, strings.LastIndexByte(v, '.'))]
}

// sizeOf is the size of a version's files in bytes.
func sizeOf(root *tree.Dir, at modcache.Escaped) (int64, error) {
	total := int64(0)
	for _, k := range []modcache.Kind{modcache.Zip, modcache.Mod, modcache.Info} {
		dir, name := path.Split(at.File(k))
		d, err := root.Sub(strings.TrimSuffix(dir, "/"))
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			return 0, err
		}
		info, err := d.Stat(name)
		total += info.Size
		if err = errors.Join(ignoreGone(err), d.Close()); err != nil {
			return 0, err
		}
	}
	d, err := root.Sub(at.Dir())
	if err != nil {
		return total, ignoreGone(err)
	}
	size, err := treeSize(d)
	return total + size, err
}

func treeSize(d *tree.Dir) (total int64, err error) {
	err = d.Each(func(e tree.Entry) error {
		if e.Type == tree.Directory {
			sub, err := d.Sub(e.Name)
			if err != nil {
				return err
			}
			n, err := treeSize(sub)
			total += n
			return err
		}
		info, err := d.Stat(e.Name)
		total += info.Size
		return err
	})
	return total, errors.Join(err, d.Close())
}

func (t *moduleTrim) share() *Share {
	s := &Share{Entries: len(t.victims), Bytes: t.bytes, BeforeBytes: t.before, Oldest: t.oldest, Newest: t.newest}
	for _, v := range t.victims[:min(len(t.victims), maxListed)] {
		s.Versions = append(s.Versions, v.version.String())
	}
	return s
}

func (t *moduleTrim) digest() string {
	h := sha256.New()
	for _, v := range slices.SortedFunc(slices.Values(t.victims), func(a, b victim) int { return modsum.Compare(a.version, b.version) }) {
		_, _ = fmt.Fprintf(h, "%s %t\n", v.version, v.keepMod)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// apply removes versions. The extracted module goes first, out of reach by a
// rename: half a directory without a mark would be compiled.
func (t *moduleTrim) apply() (int, error) {
	root, err := os.OpenRoot(t.ModCache)
	if err != nil {
		return 0, err
	}
	defer func() { _ = root.Close() }()
	const trash = modcache.TrashDir
	if err := emptyTrash(root, trash); err != nil {
		return 0, err
	}
	lists := map[string]bool{}
	for i, v := range t.victims {
		if err := t.removeVersion(root, v, path.Join(trash, fmt.Sprint(i))); err != nil {
			return i, fmt.Errorf("%s: %w", v.version, err)
		}
		lists[v.VersionDir()] = true
	}
	for dir := range lists {
		if err := rewriteList(root, dir); err != nil {
			return len(t.victims), err
		}
	}
	return len(t.victims), emptyTrash(root, trash)
}

func (t *moduleTrim) removeVersion(root *os.Root, v victim, trash string) error {
	if _, err := root.Lstat(v.Dir()); err == nil {
		if err := root.MkdirAll(path.Dir(trash), 0o775); err != nil {
			return err
		}
		// A directory that is not writable cannot be moved to another parent.
		if err := root.Chmod(v.Dir(), 0o775); err != nil {
			return err
		}
		if err := root.Rename(v.Dir(), trash); err != nil {
			return err
		}
	}
	kinds := []modcache.Kind{modcache.Zip, modcache.Ziphash, modcache.Partial}
	if !v.keepMod {
		kinds = append(kinds, modcache.Mod, modcache.Info, modcache.Lock)
	}
	for _, k := range kinds {
		if err := ignoreGone(root.Remove(v.File(k))); err != nil {
			return err
		}
	}
	return nil
}

// emptyTrash removes what was renamed away, in this run or in one that died.
func emptyTrash(root *os.Root, trash string) error {
	err := tree.Walk(root, trash, func(name string, info fs.FileInfo) error {
		if !info.IsDir() {
			return nil
		}
		return root.Chmod(name, 0o775)
	})
	return errors.Join(ignoreGone(err), root.RemoveAll(trash))
}

// rewriteList makes the list of versions again from the remaining .mod files,
// as the go command does.
func rewriteList(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return ignoreGone(err)
	}
	names, err := d.Readdirnames(-1)
	if err = errors.Join(err, d.Close()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var versions []string
	for _, name := range names {
		escaped, kind := modcache.SplitName(name)
		if kind != modcache.Mod {
			continue
		}
		if v, err := module.UnescapeVersion(escaped); err == nil && module.CanonicalVersion(v) == v {
			versions = append(versions, v)
		}
	}
	semver.Sort(versions)
	return root.WriteFile(path.Join(dir, "list"), modcache.FormatList(versions), 0o664)
}
