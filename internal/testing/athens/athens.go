// Package athens is a stand-in for github.com/gomods/athens with its disk
// storage, so that tests neither download nor compile it, and can fill its disk.
// The same tests run with Athens itself by make test-athens. It behaves as Athens
// was observed to, and above all misbehaves so:
//
//   - it keeps <module path>/<version>/{go.mod, source.zip, <version>.info},
//     unescaped, written in place in this order, without a rename;
//   - it serves a .mod or .zip that is there as it is, truncated or altered, with 200;
//     only a request for .info stores a version again that is incomplete;
//   - a full disk is a 500 without a body, leaves a truncated source.zip and serves it;
//   - a root that is gone is made again in silence;
//   - /healthz and /readyz are 200 all the while;
//   - /sumdb/<name>/supported is 200 whether or not the database can be reached.
package athens

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/mod/module"
)

// Server is one stand-in.
type Server struct {
	// Root of its storage.
	Root string
	// Upstream is a directory in GOPROXY layout.
	Upstream string
	// Room is how many bytes it can still write; negative: no bound.
	Room atomic.Int64
	// Fetches counts the versions that it asked its upstream for.
	Fetches atomic.Int64
}

// New starts with an existing root, as Athens must.
func New(root, upstream string) (*Server, error) {
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("root path `%s` does not exist: %w", root, errors.Join(err, fs.ErrNotExist))
	}
	s := &Server{Root: root, Upstream: upstream}
	s.Room.Store(-1)
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case name == "", name == "healthz", name == "readyz", strings.HasSuffix(name, "/supported"):
		return
	case strings.HasSuffix(name, "/@v/list"):
		s.list(w, strings.TrimSuffix(name, "/@v/list"))
		return
	}
	escaped, file, ok := strings.Cut(name, "/@v/")
	ext := path.Ext(file)
	version, err := module.UnescapeVersion(strings.TrimSuffix(file, ext))
	if err != nil || !ok {
		http.NotFound(w, r)
		return
	}
	modulePath, err := module.UnescapePath(escaped)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	s.file(w, r, escaped, filepath.Join(s.Root, modulePath, version), version, ext)
}

// file serves what is there, and asks the upstream for what is not.
func (s *Server) file(w http.ResponseWriter, r *http.Request, escaped, dir, version, ext string) {
	local, known := map[string]string{".mod": "go.mod", ".zip": "source.zip", ".info": version + ".info"}[ext]
	if !known {
		http.NotFound(w, r)
		return
	}
	have := filepath.Join(dir, local)
	if _, err := os.Stat(have); err != nil || ext == ".info" && !complete(dir, version) {
		err := s.stash(escaped, dir, version)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			http.NotFound(w, r)
			return
		case err != nil:
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
	}
	content, err := os.ReadFile(have) //nolint:gosec // a test's own files
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(content)
}

func complete(dir, version string) bool {
	for _, name := range []string{"go.mod", "source.zip", version + ".info"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// stash stores a version, in place.
func (s *Server) stash(escaped, dir, version string) error {
	s.Fetches.Add(1)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	for _, file := range []struct{ ext, name string }{{".mod", "go.mod"}, {".zip", "source.zip"}, {".info", version + ".info"}} {
		escapedVersion, err := module.EscapeVersion(version)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(filepath.Join(s.Upstream, escaped, "@v", escapedVersion+file.ext))
		if err != nil {
			return err
		}
		if err := s.write(filepath.Join(dir, file.name), content); err != nil {
			return err
		}
	}
	return nil
}

// write stops in the middle when there is no room.
func (s *Server) write(name string, content []byte) error {
	var full error
	if room := s.Room.Load(); room >= 0 {
		if int64(len(content)) > room {
			content, full = content[:room], syscall.ENOSPC
		}
		s.Room.Store(room - int64(len(content)))
	}
	return errors.Join(os.WriteFile(name, content, 0o600), full)
}

func (s *Server) list(w http.ResponseWriter, escaped string) {
	modulePath, err := module.UnescapePath(escaped)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	entries, err := os.ReadDir(filepath.Join(s.Root, modulePath))
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	for _, e := range entries {
		_, _ = fmt.Fprintln(w, e.Name())
	}
}
