package warm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/usage"
	"gocache.dev/operator/internal/domain/warmup"
)

// use is what a warm-up has used, as far as the build cache does not show it
// by itself.
type use struct {
	began   time.Time
	named   *integrity.Trust // by the go.sum files, as downloads completed them
	sources []record.Source
}

func newUse(now time.Time) use {
	return use{began: now.UTC().Truncate(time.Second), named: integrity.NewTrust()}
}

// modules notes what go.sum files name.
func (u *use) modules(names ...string) error {
	for _, name := range names {
		f, err := os.Open(name) //nolint:gosec // a private copy, or checked to be a file of the repository
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(u.named.AddGoSum(record.GoSum, f), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// target notes what was built in a directory, so that it can be built again
// without it: a repository's own packages are replaced by those that they
// import.
func (u *use) target(ctx context.Context, g *goCommand, t *target, b warmup.Build, packages []string) error {
	source := record.Source{}
	if t.portable || !t.own {
		var err error
		if source, err = moduleFiles(g.dir); err != nil {
			return err
		}
	}
	flags := uncovered(b.Flags) // coverage is of a repository's own packages
	if t.own {
		flags = slices.DeleteFunc(flags, func(f string) bool { return strings.HasPrefix(f, "-mod=") })
		var err error
		if packages, err = imports(ctx, g, source, b.Flags, packages); err != nil {
			return err
		}
	}
	for name, lines := range map[string][]string{record.Flags: flags, record.Environ: b.Environ()} {
		if len(lines) > 0 {
			source[name] = []byte(strings.Join(lines, "\n") + "\n")
		}
	}
	u.add(source, packages)
	return nil
}

func (u *use) add(source record.Source, packages []string) {
	source[record.Packages] = []byte(strings.Join(packages, "\n") + "\n")
	u.sources = append(u.sources, source)
}

func moduleFiles(dir string) (record.Source, error) {
	source := record.Source{}
	for _, name := range []string{record.GoMod, record.GoSum} {
		data, err := readSmall(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		source[name] = data
	}
	return source, nil
}

// imports are the packages that a main module's packages are made of and that
// can be named from elsewhere. A go.mod that leads to other directories is of
// no use without them, so of such a source only the standard library is noted,
// as of one without a go.mod: it is vendored, or a workspace.
func imports(ctx context.Context, g *goCommand, source record.Source, flags, packages []string) ([]string, error) {
	format := "{{if .Standard}}{{.ImportPath}}{{else if .Module}}{{if not .Module.Main}}{{.ImportPath}}{{end}}{{end}}"
	if source[record.GoMod] == nil || leadsElsewhere(source[record.GoMod]) {
		delete(source, record.GoMod)
		delete(source, record.GoSum)
		format = "{{if .Standard}}{{.ImportPath}}{{end}}"
	}
	list, err := g.output(ctx, slices.Concat([]string{"list", "-deps", "-f", format}, uncovered(flags), packages)...)
	if err != nil {
		return nil, err
	}
	var named []string
	for _, p := range strings.Split(list, "\n") {
		// A name with a space is of a variant, such as one with a profile.
		if p == "" || strings.Contains(p, " ") || !importable(p) {
			continue
		}
		named = append(named, p)
	}
	if len(named) == 0 {
		named = []string{"unsafe"} // no imports at all
	}
	return named, nil
}

// leadsElsewhere reports whether a go.mod replaces a module by a directory. What
// cannot be parsed has not been built.
func leadsElsewhere(goMod []byte) bool {
	f, err := modfile.Parse(record.GoMod, goMod, nil)
	return err != nil || slices.ContainsFunc(f.Replace, func(r *modfile.Replace) bool { return r.New.Version == "" })
}

// record leaves the record of use on the volume.
func (u *use) record(root, modCache string, now time.Time) error {
	before, err := record.ReadUsage(root)
	if err != nil {
		// Whatever is there is replaced: without it, a version counts as used
		// when it was downloaded.
		before = &usage.Record{}
	}
	r := &usage.Record{Began: u.began, Ended: now.UTC().Truncate(time.Second)}
	if r.Modules, err = u.versions(modCache, before); err != nil {
		return err
	}
	if err := record.WriteSources(root, u.sources); err != nil {
		return err
	}
	return record.WriteUsage(root, r)
}

// versions is when each version in the cache was last used.
func (u *use) versions(modCache string, before *usage.Record) (map[module.Version]usage.Use, error) {
	root, err := tree.Open(modCache)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	contents, err := modcache.Scan(root)
	if err != nil {
		return nil, err
	}
	uses := map[module.Version]usage.Use{}
	for i := range contents.Versions {
		v := &contents.Versions[i]
		last, known := before.Modules[v.Version]
		if !known {
			if last, err = u.downloaded(root, v); err != nil {
				return nil, fmt.Errorf("%s: %w", v.Version, err)
			}
		}
		zip, mod := u.named.Has(v.Version)
		if zip {
			last.Contents = u.began
		}
		if zip || mod {
			last.GoMod = u.began
		}
		if !v.Extracted && !v.Files.Has(modcache.Zip) {
			last.Contents = time.Time{}
		}
		uses[v.Version] = last
	}
	return uses, nil
}

// downloaded is the time of the download of a version that is in no record, or
// the start of this warm-up if that is earlier.
func (u *use) downloaded(root *tree.Dir, v *modcache.Version) (usage.Use, error) {
	at := v.Escaped()
	first := u.began.Add(-time.Second)
	for _, k := range []modcache.Kind{modcache.Zip, modcache.Mod, modcache.Info} {
		if !v.Files.Has(k) {
			continue
		}
		dir, name := path.Split(at.File(k))
		d, err := root.Sub(strings.TrimSuffix(dir, "/"))
		if err != nil {
			return usage.Use{}, err
		}
		info, err := d.Stat(name)
		if err = errors.Join(err, d.Close()); err != nil {
			return usage.Use{}, err
		}
		if made := info.Mtime.UTC().Truncate(time.Second); made.Before(first) && made.Unix() > 0 {
			first = made
		}
		break
	}
	return usage.Use{Contents: first, GoMod: first}, nil
}
