package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// sourcesName is the directory of what the last warm-up was made from, one
// directory for each source, numbered from 0.
const sourcesName = "warmed"

// Names of the files of a source.
const (
	GoMod    = "go.mod"
	GoSum    = "go.sum"
	Packages = "packages"
	// Flags of the go command, and variables as NAME=VALUE, one a line.
	Flags   = "flags"
	Environ = "env"
)

// Source is what a build can be repeated from, offline: the contents of the
// files by their names. Without a go.mod it builds packages of the standard
// library alone.
type Source map[string][]byte

const maxSource = 32 << 20

// WriteSources replaces what is recorded of the sources of the last warm-up:
// wholly, or a writer that dies leaves none.
func WriteSources(root string, sources []Source) error {
	dir := filepath.Join(root, Dir, sourcesName)
	temporary := filepath.Join(root, Dir, ".new-"+sourcesName)
	if err := os.RemoveAll(temporary); err != nil {
		return err
	}
	for i, source := range sources {
		for name, data := range source {
			err := replace(filepath.Join(temporary, strconv.Itoa(i), name), func(f *os.File) error {
				_, err := f.Write(data)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	if err := os.RemoveAll(dir); err != nil || len(sources) == 0 {
		return err
	}
	return os.Rename(temporary, dir)
}

// ReadSources is what the last warm-up was made from.
func ReadSources(root string) ([]Source, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	var sources []Source
	for i := 0; ; i++ {
		dir := filepath.Join(Dir, sourcesName, strconv.Itoa(i))
		if _, err := r.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			return sources, nil
		}
		source := Source{}
		for _, name := range []string{GoMod, GoSum, Packages, Flags, Environ} {
			path := filepath.Join(dir, name)
			info, err := r.Lstat(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if !info.Mode().IsRegular() || info.Size() > maxSource {
				return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", path, maxSource)
			}
			if source[name], err = r.ReadFile(path); err != nil {
				return nil, err
			}
		}
		sources = append(sources, source)
	}
}
