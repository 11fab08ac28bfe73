package proxy

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/modcache"
)

// maxText bounds the files that clients read as text, in bytes: an .info is a
// line, and the longest lists have some hundred thousand.
const maxText = 16 << 20

// legible is why a client could make nothing of a file, although its bytes may
// be those that were stored: an .info that is empty, or is of another
// version, and a list of something else. What cannot be read does not get better
// by being served again, so it is fetched again.
func legible(f *os.File, name string, size int64) error {
	m, kind := subject(name)
	if kind != modcache.Info && kind != modcache.List {
		return nil
	}
	if size > maxText {
		return fmt.Errorf("it has %d bytes", size)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		return nil //nolint:nilerr // hashing it says so, too
	}
	if kind == modcache.Info {
		return modcache.CheckInfo(m, data)
	}
	_, err = modcache.ParseList(ended(data))
	return err
}

// subject is what a file of the store is about: a version of a module, or a
// query for one. Other files are of no kind.
func subject(name string) (module.Version, modcache.Kind) {
	dir, base := path.Split(name)
	escaped := modcache.Escaped{Path: strings.TrimSuffix(dir, "/"), Version: "latest"}
	kind := modcache.Info
	if base != "@latest" {
		var ok bool
		if escaped.Path, ok = strings.CutSuffix(escaped.Path, "/@v"); !ok {
			return module.Version{}, modcache.Other
		}
		if escaped.Version, kind = modcache.SplitName(base); kind == modcache.List {
			escaped.Version = "latest"
		}
	}
	m, err := escaped.Unescape()
	if err != nil {
		return module.Version{}, modcache.Other
	}
	return m, kind
}
