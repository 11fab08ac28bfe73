package modcache

import (
	"errors"
	"gocache.dev/operator/internal/domain/modsum"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity/tree"
)

// Version is one module version that the cache holds something of.
type Version struct {
	module.Version
	Files     Files
	Extracted bool
	ZipSize   int64
}

// Escaped spells the version for file names. A version out of [Scan] always
// can be escaped.
func (v *Version) Escaped() Escaped {
	e, err := Escape(v.Version)
	if err != nil {
		panic("modcache: scanned a version that cannot be escaped: " + err.Error())
	}
	return e
}

// Remark is something in the tree that is no part of the layout.
type Remark struct {
	Path   string
	Kind   RemarkKind
	Detail string
	Err    error // for RemarkUnreadable
}

// Query is a stored answer to a question about a module's versions. Its Version
// is what was asked for, in any of the forms that a GOPROXY takes.
type Query struct {
	module.Version
	File string // below the root
}

// RemarkKind is the kind of a remark.
type RemarkKind uint8

// The kinds of remark.
const (
	RemarkStray      RemarkKind = iota // the go command never looks at it
	RemarkTemp                         // a temporary file of a download
	RemarkNotRegular                   // a link, pipe, device or directory where a file belongs
	RemarkUnreadable                   // could not be listed
	RemarkVCS                          // repositories of direct fetches: the go command runs git in them
	RemarkForeign                      // an unknown entry beside the download directory
)

// Contents is what a cache holds.
type Contents struct {
	Versions []Version // sorted by path, then version
	Lists    []string  // paths of the list files
	Latest   []Query   // of a proxy: its @latest files
	Sumdb    []string  // names of the checksum databases with cached records
	Remarks  []Remark
}

// Scan lists what the cache below root holds, without reading any file.
func Scan(root *tree.Dir) (Contents, error) {
	s := scan{}
	if err := s.downloads(root); err != nil {
		return Contents{}, err
	}
	s.beside(root)
	if err := s.extracted(root, ""); err != nil {
		return Contents{}, err
	}
	slices.SortFunc(s.Versions, compare)
	s.merge()
	return s.Contents, nil
}

// ScanProxy lists what a directory in the layout of a GOPROXY holds: the same as
// the download directory of a cache.
func ScanProxy(root *tree.Dir) (Contents, error) {
	s := scan{}
	if err := s.proxy(root); err != nil {
		return Contents{}, err
	}
	slices.SortFunc(s.Versions, compare)
	s.merge()
	return s.Contents, nil
}

type scan struct{ Contents }

func compare(a, b Version) int { return modsum.Compare(a.Version, b.Version) }

// merge joins the files in the download directory and the extracted directory
// of the same version.
func (s *scan) merge() {
	out := s.Versions[:0]
	for _, v := range s.Versions {
		if n := len(out); n > 0 && compare(out[n-1], v) == 0 {
			out[n-1].Files |= v.Files
			out[n-1].Extracted = out[n-1].Extracted || v.Extracted
			out[n-1].ZipSize = max(out[n-1].ZipSize, v.ZipSize)
			continue
		}
		out = append(out, v)
	}
	s.Versions = out
}

// outOfPlace distinguishes a link, which the go command follows, from other
// entries, which it never reads.
func outOfPlace(t tree.Type) RemarkKind {
	if t == tree.Symlink {
		return RemarkNotRegular
	}
	return RemarkStray
}

func (s *scan) remark(path string, kind RemarkKind, detail string) {
	s.Remarks = append(s.Remarks, Remark{Path: path, Kind: kind, Detail: detail})
}

// unreadable records a directory that cannot be listed. One that vanished
// meanwhile is no finding: caches are trimmed while they are read.
func (s *scan) unreadable(path string, err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		s.Remarks = append(s.Remarks, Remark{Path: path, Kind: RemarkUnreadable, Detail: err.Error(), Err: err})
	}
}

// sub opens a directory and lists it; failures become remarks.
func (s *scan) sub(parent *tree.Dir, name string, list func(*tree.Dir) error) {
	d, err := parent.Sub(name)
	if err == nil {
		err = errors.Join(list(d), d.Close())
	}
	if err != nil {
		s.unreadable(parent.Join(name), err)
	}
}

func (s *scan) downloads(root *tree.Dir) error {
	d, err := root.Sub(DownloadDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		s.unreadable(DownloadDir, err)
		return nil
	}
	defer func() { _ = d.Close() }()
	return s.proxy(d)
}

// beside finds what lies beside the download directory.
func (s *scan) beside(root *tree.Dir) {
	const download, lock = "download", "lock"
	d, err := root.Sub(path.Dir(DownloadDir))
	if err != nil {
		return // reported for the download directory
	}
	defer func() { _ = d.Close() }()
	err = d.Each(func(e tree.Entry) error {
		switch {
		case e.Name == download, e.Name == lock && e.Type == tree.Regular:
		case e.Name == lock:
			s.remark(d.Join(e.Name), RemarkNotRegular, "is a "+e.Type.String()+", not a regular file")
		case e.Name == path.Base(VCSDir):
			s.remark(d.Join(e.Name), RemarkVCS, "repositories of direct fetches, whose configuration can run commands")
		case e.Name == path.Base(TrashDir):
			s.remark(d.Join(e.Name), RemarkStray, "left by a cleanup that was killed")
		default:
			s.remark(d.Join(e.Name), RemarkForeign, "a "+e.Type.String()+" beside the downloads")
		}
		return nil
	})
	if err != nil {
		s.unreadable(d.Path(), err)
	}
}

func (s *scan) proxy(d *tree.Dir) error {
	return d.Each(func(e tree.Entry) error {
		switch {
		case d.Path() == "." && e.Type == tree.Directory && (e.Name == "lost+found" || strings.HasPrefix(e.Name, ".")):
			return nil // of the volume
		case d.Path() == "." && e.Type == tree.Regular && strings.HasPrefix(e.Name, "."):
			return nil // a mark of the server
		case e.Name == "sumdb" && e.Type == tree.Directory:
			s.sub(d, e.Name, s.sumdbs)
			return nil
		}
		s.modulePath(d, e, "")
		return nil
	})
}

func (s *scan) sumdbs(d *tree.Dir) error {
	return d.Each(func(e tree.Entry) error {
		if e.Type == tree.Directory {
			s.Sumdb = append(s.Sumdb, e.Name)
		} else {
			s.remark(d.Join(e.Name), RemarkStray, "a "+e.Type.String()+" among checksum databases")
		}
		return nil
	})
}

// modulePath descends the download directory: escaped is the module path that
// the directories so far spell.
func (s *scan) modulePath(parent *tree.Dir, e tree.Entry, escaped string) {
	switch {
	case e.Type != tree.Directory && e.Name == "@latest":
		s.latest(parent.Join(e.Name), escaped)
	case e.Type != tree.Directory && isTemp(e.Name):
		s.remark(parent.Join(e.Name), RemarkTemp, "temporary file of a download")
	case e.Type != tree.Directory:
		s.remark(parent.Join(e.Name), outOfPlace(e.Type), "a "+e.Type.String()+" among module paths")
	case e.Name == "@v":
		path, err := module.UnescapePath(escaped)
		if err != nil {
			s.remark(parent.Join(e.Name), RemarkStray, err.Error())
			return
		}
		s.sub(parent, e.Name, func(d *tree.Dir) error { return s.versions(d, path) })
	default:
		child := e.Name
		if escaped != "" {
			child = escaped + "/" + e.Name
		}
		s.sub(parent, e.Name, func(d *tree.Dir) error {
			return d.Each(func(e tree.Entry) error {
				s.modulePath(d, e, child)
				return nil
			})
		})
	}
}

func (s *scan) latest(file, escaped string) {
	path, err := module.UnescapePath(escaped)
	if err != nil {
		s.remark(file, RemarkStray, err.Error())
		return
	}
	s.Latest = append(s.Latest, Query{module.Version{Path: path, Version: "latest"}, file})
}

func (s *scan) versions(d *tree.Dir, path string) error {
	found := map[string]int{} // unescaped version → index in s.Versions
	return d.Each(func(e tree.Entry) error {
		escaped, kind := SplitName(e.Name)
		switch kind {
		case List:
			s.Lists = append(s.Lists, d.Join(e.Name))
			return nil
		case Temp:
			s.remark(d.Join(e.Name), RemarkTemp, "temporary file of a download")
			return nil
		case Other:
			s.remark(d.Join(e.Name), RemarkStray, "no file of the module cache has this name")
			return nil
		case Info, Mod, Zip, Ziphash, Lock, Partial:
		}
		version, err := module.UnescapeVersion(escaped)
		if err != nil {
			s.remark(d.Join(e.Name), RemarkStray, err.Error())
			return nil
		}
		// An error shows when the files with contents are read.
		if e.Type != tree.Regular && (kind == Lock || kind == Partial) {
			s.remark(d.Join(e.Name), RemarkNotRegular, "is a "+e.Type.String()+", not a regular file")
		}
		i, ok := found[version]
		if !ok {
			i = len(s.Versions)
			found[version] = i
			s.Versions = append(s.Versions, Version{Version: module.Version{Path: path, Version: version}})
		}
		v := &s.Versions[i]
		v.Files = v.Files.With(kind)
		if kind == Zip {
			if info, err := d.Stat(e.Name); err == nil {
				v.ZipSize = info.Size
			}
		}
		return nil
	})
}

// extracted finds the extracted modules: directories with an @ in their name.
func (s *scan) extracted(d *tree.Dir, prefix string) error {
	return d.Each(func(e tree.Entry) error {
		rel := e.Name
		if prefix != "" {
			rel = prefix + "/" + e.Name
		}
		switch {
		case prefix == "" && e.Name == "cache":
			// downloads; scanned on its own
		case e.Type != tree.Directory:
			s.remark(rel, outOfPlace(e.Type), "a "+e.Type.String()+" among extracted modules")
		case strings.Contains(e.Name, "@"):
			m, err := ParseDir(rel)
			if err != nil {
				s.remark(rel, RemarkStray, err.Error())
				return nil
			}
			if m.Version != module.CanonicalVersion(m.Version) { // such as the temporary ones before Go 1.16
				s.remark(rel, RemarkStray, "no module is extracted under this name")
				return nil
			}
			s.Versions = append(s.Versions, Version{Version: m, Extracted: true})
		default:
			s.sub(d, e.Name, func(sub *tree.Dir) error { return s.extracted(sub, rel) })
		}
		return nil
	})
}
