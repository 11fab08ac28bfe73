package campaign_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/testing/cachetree"
)

// published is a module version that the proxy has besides those of the tree.
type published struct {
	path, version, mod string
	files              map[string]string
	zip                func(m module.Version, files map[string]string) ([]byte, error)
}

func lib(path, version, extra string) published {
	mod := "module " + path + "\n\ngo 1.21\n" + extra
	name := filepath.Base(strings.TrimSuffix(path, "/v2"))
	return published{path: path, version: version, mod: mod, files: map[string]string{
		"go.mod":           mod,
		name + ".go":       "// Package " + name + " is made for tests.\npackage " + name + "\n\nimport _ \"embed\"\n\n//go:embed data.txt\nvar data string\n\n// Len is a length.\nfunc Len() int { return len(data) + " + fmt.Sprint(len(version)) + " }\n",
		"data.txt":         path + " " + version + "\n",
		name + "_test.go":  "package " + name + "\n\nimport \"testing\"\n\nfunc TestLen(t *testing.T) {\n\tif Len() == 0 {\n\t\tt.Fatal()\n\t}\n}\n",
		"internal/i/i.go":  "package i\n",
		"testdata/a b.txt": "",
	}}
}

// modules have the shapes that real ones have: pre-releases, pseudo-versions,
// later majors, upper case, retractions, no go.mod, other line ends in the zip,
// directories in the zip, a program.
func modules() []published {
	crlf := lib("example.com/crlf", "v1.0.0", "")
	crlf.files["go.mod"] = strings.ReplaceAll(crlf.mod, "\n", "\r\n")
	without := lib("example.com/nomod", "v2.0.0+incompatible", "")
	without.mod = "module example.com/nomod\n"
	delete(without.files, "go.mod")
	dirs := lib("example.com/dirs", "v1.0.0", "")
	dirs.zip = withDirectories
	tool := published{path: "example.com/tool", version: "v1.0.0", mod: "module example.com/tool\n\ngo 1.21\n", files: map[string]string{
		"go.mod": "module example.com/tool\n\ngo 1.21\n", "main.go": "package main\n\nfunc main() { println(\"tool\") }\n",
	}}
	return []published{
		lib("example.com/a", "v1.0.0", ""), lib("example.com/a", "v1.1.0", ""), lib("example.com/a", "v1.2.0-rc.1", ""),
		lib("example.com/a", "v1.2.0", "\nretract v1.1.0 // broken\n"), lib("example.com/a/v2", "v2.0.0", ""),
		lib("example.com/B/b", "v0.1.0", "\nrequire example.com/a v1.0.0\n"), lib("example.com/B/b", "v0.2.0", "\nrequire example.com/a v1.2.0\n"),
		lib("example.com/c", "v0.0.0-20240102030405-0123456789ab", ""), crlf, without, dirs, tool,
	}
}

// withDirectories makes a zip that has entries for directories.
func withDirectories(m module.Version, files map[string]string) ([]byte, error) {
	plain, err := cachetree.Zip(m, files)
	if err != nil {
		return nil, err
	}
	r, err := zip.NewReader(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	if _, err := w.Create(m.String() + "/testdata/"); err != nil {
		return nil, err
	}
	for _, f := range r.File {
		if err := w.Copy(f); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return buf.Bytes(), err
}

// publish adds the modules to a GOPROXY directory.
func publish(dir string) error {
	lists := map[string]string{}
	for _, p := range modules() {
		path, err := module.EscapePath(p.path)
		if err != nil {
			return err
		}
		at := filepath.Join(dir, filepath.FromSlash(path), "@v")
		if err := os.MkdirAll(at, 0o700); err != nil {
			return err
		}
		pack := p.zip
		if pack == nil {
			pack = cachetree.Zip
		}
		data, err := pack(module.Version{Path: p.path, Version: p.version}, p.files)
		if err != nil {
			return fmt.Errorf("%s@%s: %w", p.path, p.version, err)
		}
		info := fmt.Sprintf(`{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, p.version)
		for suffix, content := range map[string][]byte{".info": []byte(info), ".mod": []byte(p.mod), ".zip": data} {
			if err := os.WriteFile(filepath.Join(at, p.version+suffix), content, 0o600); err != nil {
				return err
			}
		}
		if !strings.Contains(p.version, "-2024") {
			lists[filepath.Join(at, "list")] += p.version + "\n"
		}
	}
	for name, text := range lists {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// proxy serves a GOPROXY directory on loopback, and fails at random while
// failing is set: with a status, or by ending the connection amid a file. It never gives
// other bytes: those are for the go command to find.
type proxy struct {
	*httptest.Server
	failing atomic.Bool
	mu      sync.Mutex
	rng     *rand.Rand
}

func serve(dir string, rng *rand.Rand) *proxy {
	p := &proxy{rng: rng}
	files := http.FileServer(http.Dir(dir))
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		how := p.rng.IntN(10)
		p.mu.Unlock()
		if !p.failing.Load() || how > 2 {
			files.ServeHTTP(w, r)
			return
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(r.URL.Path))) //nolint:gosec // of the test
		if how == 0 || err != nil || len(data) < 2 {
			http.Error(w, "failing", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler)
	}))
	return p
}
