package cachetree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

// source is a module that the proxy serves.
type source struct {
	module.Version
	files map[string]string
}

// The modules, chosen for the shapes that caches have: an upper-case path, a
// package below the root, a version of which only the go.mod is ever needed,
// a data file, a go.mod with requirements.
var (
	lib = source{module.Version{Path: "example.com/lib", Version: "v1.2.0"}, map[string]string{
		"go.mod":         "module example.com/lib\n\ngo 1.21\n\nrequire example.com/Upper/dep v1.1.0\n",
		"lib.go":         "// Package lib is made for tests.\npackage lib\n\nimport \"example.com/Upper/dep\"\n\n// Twice doubles.\nfunc Twice(n int) int { return dep.Add(n, n) }\n",
		"sub/sub.go":     "// Package sub is made for tests.\npackage sub\n\n// Name is a name.\nconst Name = \"sub\"\n",
		"testdata/d.bin": string(bytes.Repeat([]byte("0123456789abcdef\n"), 4000)),
		"README.md":      "# lib\n\nFor tests.\n",
	}}
	depOld = source{module.Version{Path: "example.com/Upper/dep", Version: "v1.1.0"}, map[string]string{
		"go.mod": "module example.com/Upper/dep\n\ngo 1.21\n",
		"dep.go": "package dep\n\nfunc Add(a, b int) int { return a + b }\n",
	}}
	dep = source{module.Version{Path: "example.com/Upper/dep", Version: "v1.3.0"}, map[string]string{
		"go.mod":  "module example.com/Upper/dep\n\ngo 1.21\n",
		"dep.go":  "// Package dep is made for tests.\npackage dep\n\n// Add adds.\nfunc Add(a, b int) int { return a + b }\n",
		"LICENSE": "Public domain.\n",
	}}
	sources = []source{lib, depOld, dep}

	mainFiles = map[string]string{
		"go.mod": "module example.com/main\n\ngo 1.21\n\nrequire (\n\texample.com/Upper/dep v1.3.0\n\texample.com/lib v1.2.0\n)\n",
		"main.go": "package main\n\nimport (\n\t\"example.com/Upper/dep\"\n\t\"example.com/lib\"\n\t\"example.com/lib/sub\"\n)\n\n" +
			"func main() { println(sub.Name, lib.Twice(21), dep.Add(1, 2)) }\n",
	}
)

// Lib is a module version that the tree has in full.
var Lib = lib.Version

// Dep is another one, which Lib requires.
var Dep = dep.Version

type memFile struct{ name, content string }

// Path is the file's name in the module.
func (f memFile) Path() string { return f.name }

// Lstat describes the file.
func (f memFile) Lstat() (os.FileInfo, error) { return memInfo(f), nil }

// Open reads the file.
func (f memFile) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(f.content)), nil
}

type memInfo memFile

func (i memInfo) Name() string     { return filepath.Base(i.name) }
func (i memInfo) Size() int64      { return int64(len(i.content)) }
func (memInfo) Mode() os.FileMode  { return 0o644 }
func (memInfo) ModTime() time.Time { return time.Time{} }
func (memInfo) IsDir() bool        { return false }
func (memInfo) Sys() any           { return nil }

// writeProxy writes the GOPROXY directory.
func writeProxy(dir string) error {
	lists := map[string][]string{}
	for _, s := range sources {
		if err := s.write(dir, lists); err != nil {
			return fmt.Errorf("%s: %w", s.Version, err)
		}
	}
	for list, versions := range lists {
		if err := os.WriteFile(list, []byte(strings.Join(versions, "\n")+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s source) write(dir string, lists map[string][]string) error {
	esc, err := module.EscapePath(s.Path)
	if err != nil {
		return err
	}
	at := filepath.Join(dir, esc, "@v")
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	data, err := Zip(s.Version, s.files)
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": s.Version.Version, "Time": "2024-01-02T03:04:05Z"})
	if err != nil {
		return err
	}
	list := filepath.Join(at, "list")
	lists[list] = append(lists[list], s.Version.Version)
	for suffix, content := range map[string][]byte{".info": info, ".mod": []byte(s.files["go.mod"]), ".zip": data} {
		if err := os.WriteFile(filepath.Join(at, s.Version.Version+suffix), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Zip makes a module's zip.
func Zip(m module.Version, files map[string]string) ([]byte, error) {
	list := make([]modzip.File, 0, len(files))
	for name, content := range files {
		list = append(list, memFile{name, content})
	}
	slices.SortFunc(list, func(a, b modzip.File) int { return strings.Compare(a.Path(), b.Path()) })
	var buf bytes.Buffer
	err := modzip.Create(&buf, m, list)
	return buf.Bytes(), err
}
