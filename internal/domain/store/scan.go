package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
)

// Layout is how a store is laid out.
type Layout string

// The layouts.
const (
	Goproxy Layout = "goproxy"
	Athens  Layout = "athens"
)

// Dir is the folder of a volume that holds a store: the root of some file
// systems is never empty.
const Dir = "modules"

// Parse reads the name of a layout.
func Parse(name string) (Layout, error) {
	switch l := Layout(name); l {
	case Goproxy, Athens:
		return l, nil
	}
	return "", fmt.Errorf("layout %q: must be goproxy or athens", name)
}

// Version is one module version in a store.
type Version struct {
	module.Version
	Dir   string // below the store's root
	Files modcache.Files
	// ZipSize is the size of the zip in bytes.
	ZipSize int64
}

// Name is the name of one of the version's files in its directory.
func (l Layout) Name(v *Version, k modcache.Kind) string {
	if l == Goproxy {
		escaped, err := module.EscapeVersion(v.Version.Version)
		if err != nil {
			panic("store: scanned a version that cannot be escaped: " + err.Error())
		}
		return escaped + k.Suffix()
	}
	if k == modcache.Mod {
		return "go.mod"
	}
	if k == modcache.Zip {
		return "source.zip"
	}
	return v.Version.Version + k.Suffix()
}

// Contents is what a store holds.
type Contents struct {
	Versions []Version // sorted
	Lists    []string
	// Queries are stored answers to questions about versions, of the goproxy
	// layout. They are no versions, and change with time.
	Queries []modcache.Query
	Remarks []modcache.Remark
}

// Scan lists a store without reading any file.
func Scan(root *tree.Dir, l Layout) (Contents, error) {
	if l == Athens {
		return scanAthens(root)
	}
	in, err := modcache.ScanProxy(root)
	if err != nil {
		return Contents{}, err
	}
	c := Contents{Lists: in.Lists, Queries: in.Latest, Remarks: in.Remarks}
	for i := range in.Versions {
		v := &in.Versions[i]
		stored := Version{v.Version, v.Escaped().Path + "/@v", v.Files, v.ZipSize}
		if modcache.IsVersion(v.Version) {
			c.Versions = append(c.Versions, stored)
			continue
		}
		c.query(&stored)
	}
	return c, nil
}

// query takes up what lies under a name that is no version: the .info is an
// answer to a query. The other files are never requested.
func (c *Contents) query(v *Version) {
	for _, kind := range []modcache.Kind{modcache.Info, modcache.Mod, modcache.Zip} {
		file := path.Join(v.Dir, Goproxy.Name(v, kind))
		switch {
		case !v.Files.Has(kind):
		case kind == modcache.Info:
			c.Queries = append(c.Queries, modcache.Query{Version: v.Version, File: file})
		default:
			c.Remarks = append(c.Remarks, modcache.Remark{Path: file, Kind: modcache.RemarkStray, Detail: fmt.Sprintf("%.60q is no version of this module: its files are never requested", v.Version.Version)})
		}
	}
}

func scanAthens(root *tree.Dir) (Contents, error) {
	a := &athens{}
	err := a.walk(root, "")
	slices.SortFunc(a.Versions, func(x, y Version) int { return modsum.Compare(x.Version, y.Version) })
	return a.Contents, err
}

type athens struct{ Contents }

func (a *athens) remark(p string, k modcache.RemarkKind, detail string) {
	a.Remarks = append(a.Remarks, modcache.Remark{Path: p, Kind: k, Detail: detail})
}

// walk finds the directories that hold any of the three files.
func (a *athens) walk(d *tree.Dir, rel string) error {
	v := Version{Dir: rel}
	base := path.Base(rel)
	var others []tree.Entry
	err := d.Each(func(e tree.Entry) error {
		kind := modcache.Other
		switch e.Name {
		case "go.mod":
			kind = modcache.Mod
		case "source.zip":
			kind = modcache.Zip
		case base + ".info":
			kind = modcache.Info
		}
		switch {
		case kind != modcache.Other && rel != "":
			v.Files = v.Files.With(kind)
			if info, err := d.Stat(e.Name); err == nil && kind == modcache.Zip {
				v.ZipSize = info.Size
			}
		case e.Type == tree.Directory:
			return a.sub(d, e.Name, path.Join(rel, e.Name))
		default:
			others = append(others, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range others {
		kind := modcache.RemarkStray
		if e.Type == tree.Symlink {
			kind = modcache.RemarkNotRegular
		}
		a.remark(path.Join(rel, e.Name), kind, "a "+e.Type.String()+" that is no part of the store")
	}
	if v.Files == 0 {
		return nil
	}
	v.Version = module.Version{Path: path.Dir(rel), Version: base}
	if _, err := modcache.Escape(v.Version); err != nil {
		a.remark(rel, modcache.RemarkStray, err.Error())
		return nil
	}
	a.Versions = append(a.Versions, v)
	return nil
}

func (a *athens) sub(d *tree.Dir, name, rel string) error {
	if strings.Count(rel, "/") == 0 && (name == "lost+found" || strings.HasPrefix(name, ".")) {
		return nil
	}
	sub, err := d.Sub(name)
	if err == nil {
		err = errors.Join(a.walk(sub, rel), sub.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.Remarks = append(a.Remarks, modcache.Remark{Path: rel, Kind: modcache.RemarkUnreadable, Detail: err.Error(), Err: err})
	}
	return nil
}
