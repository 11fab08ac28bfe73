package modcache

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/module"
)

// DownloadDir is the directory below the cache's root that is laid out as a
// GOPROXY.
const DownloadDir = "cache/download"

// VCSDir is the directory below the cache's root in which the go command keeps
// bare repositories of the modules that it fetches directly.
const VCSDir = "cache/vcs"

// TrashDir is the directory below the cache's root into which a trim moves
// extracted modules before it removes them. No go command reads it.
const TrashDir = "cache/trim-trash"

// Kind is what a file beside a module's versions is for.
type Kind uint8

// The kinds of file in an @v directory.
const (
	Other Kind = iota
	Info
	Mod
	Zip
	Ziphash
	Lock
	Partial
	Temp
	List
)

var suffixes = [...]struct {
	suffix string
	kind   Kind
}{
	{".info", Info}, {".mod", Mod}, {".zip", Zip}, {".ziphash", Ziphash}, {".lock", Lock}, {".partial", Partial},
}

// Suffix is the file name suffix of a kind that belongs to one version.
func (k Kind) Suffix() string {
	for _, s := range suffixes {
		if s.kind == k {
			return s.suffix
		}
	}
	return ""
}

// Files is a set of kinds.
type Files uint16

// Has reports whether the set has a kind.
func (f Files) Has(k Kind) bool { return f&(1<<k) != 0 }

// With is the set and one kind more.
func (f Files) With(k Kind) Files { return f | 1<<k }

// SplitName returns the kind of a name in an @v directory and, if it belongs to
// one, its version (still escaped).
func SplitName(name string) (escapedVersion string, kind Kind) {
	if name == "list" {
		return "", List
	}
	if isTemp(name) {
		return "", Temp
	}
	for _, s := range suffixes {
		if v, ok := strings.CutSuffix(name, s.suffix); ok && v != "" {
			return v, s.kind
		}
	}
	return "", Other
}

// isTemp reports whether a name is of a temporary file of the go command or of
// a proxy.
func isTemp(name string) bool {
	return strings.HasSuffix(name, ".tmp") || strings.HasPrefix(name, ".") && strings.Contains(name, ".tmp.")
}

// Escaped is a module version in the spelling of file names.
type Escaped struct {
	Path    string
	Version string
}

// Escape spells a module version for file names.
func Escape(m module.Version) (Escaped, error) {
	p, err := module.EscapePath(m.Path)
	if err != nil {
		return Escaped{}, err
	}
	v, err := module.EscapeVersion(m.Version)
	if err != nil {
		return Escaped{}, err
	}
	return Escaped{p, v}, nil
}

// Unescape is the module version that file names spell. It accepts only what
// [Escape] makes.
func (e Escaped) Unescape() (module.Version, error) {
	p, err := module.UnescapePath(e.Path)
	if err != nil {
		return module.Version{}, err
	}
	v, err := module.UnescapeVersion(e.Version)
	if err != nil {
		return module.Version{}, err
	}
	return module.Version{Path: p, Version: v}, nil
}

// VersionDir is the @v directory of the module below the cache's root.
func (e Escaped) VersionDir() string { return DownloadDir + "/" + e.Path + "/@v" }

// File is the path of one of the version's files below the cache's root.
func (e Escaped) File(k Kind) string { return e.VersionDir() + "/" + e.Version + k.Suffix() }

// Dir is the path of the extracted module below the cache's root.
func (e Escaped) Dir() string { return e.Path + "@" + e.Version }

// ParseDir reads the path of an extracted module below the cache's root.
func ParseDir(rel string) (module.Version, error) {
	p, v, ok := strings.Cut(rel, "@")
	if !ok {
		return module.Version{}, fmt.Errorf("%q names no module version: it has no @", rel)
	}
	m, err := Escaped{p, v}.Unescape()
	if err != nil {
		return module.Version{}, err
	}
	if m.Version == "" || m.Path == "" {
		return module.Version{}, errors.New("empty module path or version")
	}
	return m, nil
}
