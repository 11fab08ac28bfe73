package modcache

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

// names are those of a module's files, by their folded spelling. They are
// checked as golang.org/x/mod/zip does before it extracts a zip, which has no
// function for it that takes an open file.
type names map[string]place

// place is where a name was seen first.
type place struct {
	name  string
	isDir bool
}

// add is why the go command does not extract a zip with a file, or a directory
// if its name ends in a slash, of this name and size.
func (n names) add(name string, size uint64) error {
	if name == "" { // the module's root
		return nil
	}
	file, isDir := strings.CutSuffix(name, "/")
	if err := module.CheckFilePath(file); err != nil {
		return contentError{err}
	}
	if err := n.take(file, isDir); err != nil || isDir {
		return err
	}
	switch base := path.Base(file); {
	case strings.EqualFold(base, "go.mod") && file != "go.mod":
		return badContent("%.200q is the go.mod of another module, or spelled wrong", file)
	case file == "go.mod" && size > modzip.MaxGoMod, file == "LICENSE" && size > modzip.MaxLICENSE:
		return badContent("%s has %d bytes, more than it may have", file, size)
	}
	return nil
}

// take finds names that are equal, or equal but for case, for the file and for
// the directories that it lies in: a file system that folds case could not hold
// both.
func (n names) take(name string, isDir bool) error {
	for ; name != "."; name, isDir = path.Dir(name), true {
		folded := fold(name)
		switch other, isKnown := n[folded]; {
		case !isKnown:
			n[folded] = place{name, isDir}
		case other.name != name:
			return badContent("%.200q and %.200q collide", other.name, name)
		case other.isDir != isDir:
			return badContent("%.200q is a file and a directory", name)
		case !isDir:
			return badContent("%.200q is there twice", name)
		default:
			return nil // and so are the directories that it lies in
		}
	}
	return nil
}

// fold is the same for all spellings of a name that differ in case alone. Those
// of strings.ToLower differ for a few letters, such as the Turkish dotted I.
func fold(name string) string {
	if strings.IndexFunc(name, func(r rune) bool { return r >= utf8.RuneSelf || 'A' <= r && r <= 'Z' }) < 0 {
		return name
	}
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		if 'A' <= least && least <= 'Z' { // as above
			least += 'a' - 'A'
		}
		return least
	}, name)
}
