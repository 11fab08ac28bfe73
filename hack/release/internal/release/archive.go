package release

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// member is a file in an archive.
type member struct {
	data []byte
	mode int64
}

const executable, plain = 0o755, 0o644

// tarballBytes writes members in the order of their names, with one time and no owner.
func tarballBytes(members map[string]member, at time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		m := members[name]
		header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: m.mode, Size: int64(len(m.data)), ModTime: at, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(m.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func tarGzip(members map[string]member, at time.Time) ([]byte, error) {
	data, err := tarballBytes(members, at)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func zipped(members map[string]member, at time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at}
		header.SetMode(fs.FileMode(members[name].mode)) //nolint:gosec // one of two constants
		f, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(members[name].data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// tarFolder is a folder as an archive.
func tarFolder(dir string, at time.Time) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	members := map[string]member{}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root.FS(), name)
		members[name] = member{data, plain}
		return err
	})
	if err != nil {
		return nil, err
	}
	return tarballBytes(members, at)
}

// archiveName is the archive of a program for a platform.
func archiveName(o Options, name, goos, arch string) string {
	suffix := ".tar.gz"
	if goos == "windows" {
		suffix = ".zip"
	}
	return fmt.Sprintf("%s_%s_%s_%s%s", name, o.Version, goos, arch, suffix)
}

// archives writes the programs with the licence: those of the operator in one
// archive for each platform, the plugin in its own.
func archives(o Options, programs []program) error {
	license, err := os.ReadFile(filepath.Join(o.Root, "LICENSE"))
	if err != nil {
		return err
	}
	all := map[string]map[string]member{}
	for _, p := range programs {
		name := archiveName(o, "gocache-operator", p.os, p.arch)
		if p.name == plugin {
			name = archiveName(o, plugin, p.os, p.arch)
		}
		if all[name] == nil {
			all[name] = map[string]member{"LICENSE": {license, plain}}
		}
		data, err := os.ReadFile(p.file)
		if err != nil {
			return err
		}
		all[name][path.Base(filepath.ToSlash(p.file))] = member{data, executable}
	}
	for name, members := range all {
		write := tarGzip
		if strings.HasSuffix(name, ".zip") {
			write = zipped
		}
		data, err := write(members, o.commit.time)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := o.write(name, data); err != nil {
			return err
		}
	}
	return nil
}
