package vcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/sync/semaphore"

	"gocache.dev/operator/internal/domain/modcache"
)

// Options configure a Server.
type Options struct {
	// Dir is the directory for repositories and archives. What it holds at the
	// start is removed.
	Dir string
	// Patterns of the module paths that are served, in the syntax of GOPRIVATE.
	Patterns string
	// Access to the servers.
	Access Access
	// CAFile holds certificates of authorities that are trusted beside the public
	// ones, in PEM format; empty or absent: none. It is not used if Access has a
	// Secret: an authority decides which server gets the credentials.
	CAFile string
	// Self is the program that has the helper command; see Help.
	Self string
	// GoCommand; default go.
	GoCommand string
	// MaxBytes of the directory: beyond it the commands that run end, and it is
	// emptied. Default 8 GiB.
	MaxBytes int64
	// MaxMemory of one process that a command runs. Default 1 GiB.
	MaxMemory int64
	// MaxFetches limits how many commands run at once, 8. Others wait.
	MaxFetches int64
	// Timeout of one command, 9 minutes: less than the 10 that an instance waits
	// for the beginning of an answer.
	Timeout time.Duration
	// LookupEnv finds the search path, HTTPS_PROXY and NO_PROXY in the environment.
	LookupEnv func(name string) (string, bool)
	// Now is the clock.
	Now func() time.Time
	// Log gets one entry per request.
	Log *slog.Logger
}

// Server is the GOPROXY server. It is an http.Handler.
type Server struct {
	Options
	slots *semaphore.Weighted
	disk  *disk
}

// New returns a Server with an empty directory.
func New(o Options) (*Server, error) {
	setDefault(&o.GoCommand, "go")
	setDefault(&o.MaxBytes, 8<<30)
	setDefault(&o.MaxMemory, 1<<30)
	setDefault(&o.MaxFetches, 8)
	setDefault(&o.Timeout, 9*time.Minute)
	if o.Patterns == "" {
		return nil, errors.New("no patterns of module paths: name those that are fetched from version control")
	}
	s := &Server{Options: o, slots: semaphore.NewWeighted(o.MaxFetches), disk: &disk{dir: o.Dir, limit: o.MaxBytes}}
	return s, s.disk.clear()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Serve answers requests until ctx ends.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // the instance asks again
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		_, _ = io.WriteString(w, "ok\n") // the client may be gone
		return
	}
	start := s.Now()
	status, err := s.serve(w, r)
	if err != nil {
		f := &failure{}
		if !errors.As(err, &f) {
			f = &failure{http.StatusInternalServerError, err.Error()}
		}
		status = f.status
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, f.text+"\n") //nolint:gosec // plain text, which no browser renders
	}
	s.Log.Info("Served", "path", r.URL.Path, "status", status, "seconds", s.Now().Sub(start).Seconds(), "requestID", r.Header.Get("X-Request-ID"), "error", err)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) (status int, err error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return 0, &failure{http.StatusMethodNotAllowed, "only GET is allowed"}
	}
	if escaped, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), tagsSuffix); ok {
		return s.serveTags(r.Context(), w, escaped)
	}
	m, kind, err := parsePath(r.URL.Path)
	if err != nil {
		return 0, &failure{http.StatusNotFound, "not found: " + err.Error()}
	}
	if !module.MatchPrefixPatterns(s.Patterns, m.Path) {
		return 0, &failure{http.StatusNotFound, "not found: " + m.Path + " is not fetched from version control"}
	}
	if kind == modcache.List {
		list, err := s.list(r.Context(), m.Path)
		if err != nil {
			return 0, err
		}
		_, _ = w.Write(list) // the client may be gone
		return http.StatusOK, nil
	}
	file, err := s.file(r.Context(), m, kind)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }() // read only
	http.ServeContent(w, r, "", time.Time{}, file)
	return http.StatusOK, nil
}

// parsePath reads the path of a request. The version of a list is empty, that of
// @latest is latest.
func parsePath(urlPath string) (m module.Version, kind modcache.Kind, err error) {
	escaped, file, ok := strings.Cut(strings.TrimPrefix(urlPath, "/"), "/@")
	if !ok || path.Clean(urlPath) != urlPath {
		return m, 0, errors.New("not a path of the GOPROXY protocol")
	}
	if m.Path, err = module.UnescapePath(escaped); err != nil {
		return m, 0, err
	}
	switch file {
	case "latest":
		m.Version = file
		return m, modcache.Info, nil
	case "v/list":
		return m, modcache.List, nil
	}
	name, ok := strings.CutPrefix(file, "v/")
	version, kind := modcache.SplitName(name)
	if !ok || kind != modcache.Info && kind != modcache.Mod && kind != modcache.Zip {
		return m, 0, errors.New("not a path of the GOPROXY protocol")
	}
	if m.Version, err = module.UnescapeVersion(version); err != nil {
		return m, 0, err
	}
	if kind != modcache.Info && !isCanonical(m) {
		return m, 0, errors.New("unrecognized version")
	}
	return m, kind, nil
}

// isCanonical reports whether a version is one of the module, and no query.
func isCanonical(m module.Version) bool {
	return m.Version == module.CanonicalVersion(m.Version) && module.Check(m.Path, m.Version) == nil
}

// list returns the tagged versions, also those that are retracted.
func (s *Server) list(ctx context.Context, modulePath string) ([]byte, error) {
	out, err := s.run(ctx, "list", "-m", "-json=Versions", "-versions", "-retracted", modulePath+"@latest")
	if err != nil {
		return nil, err
	}
	var found struct{ Versions []string }
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, &failure{http.StatusBadGateway, "the go command gave a list that cannot be read"}
	}
	var list strings.Builder
	for _, version := range found.Versions {
		if semver.IsValid(version) && !module.IsPseudoVersion(version) {
			list.WriteString(version + "\n")
		}
	}
	return []byte(list.String()), nil
}

// file opens a file of a version, or the .info that answers a query.
func (s *Server) file(ctx context.Context, m module.Version, kind modcache.Kind) (*os.File, error) {
	if isCanonical(m) {
		if f, err := s.cached(m, kind); err == nil {
			return f, nil
		}
	}
	if kind == modcache.Zip {
		if _, err := s.run(ctx, "mod", "download", "-json", m.String()); err != nil {
			return nil, err
		}
		_ = os.RemoveAll(s.extracted(m)) // only the archive is of use; if it stays, it is removed with all else
		return s.kept(m, kind)
	}
	out, err := s.run(ctx, "list", "-m", "-json=Version", m.String())
	if err != nil {
		return nil, err
	}
	var found struct{ Version string }
	if err := json.Unmarshal(out, &found); err != nil || found.Version == "" {
		return nil, &failure{http.StatusBadGateway, "the go command gave a version that cannot be read"}
	}
	if isCanonical(m) && found.Version != m.Version {
		return nil, &failure{http.StatusNotFound, fmt.Sprintf("not found: %s: the version is %s", m, found.Version)}
	}
	return s.kept(module.Version{Path: m.Path, Version: found.Version}, kind)
}

// cached opens a file that the go command has made.
func (s *Server) cached(m module.Version, kind modcache.Kind) (*os.File, error) {
	escaped, err := modcache.Escape(m)
	if err != nil {
		return nil, err
	}
	return os.Open(filepath.Join(s.modules(), "cache", "download", filepath.FromSlash(escaped.Path), "@v", escaped.Version+extension(kind)))
}

// kept is cached after a command that succeeded.
func (s *Server) kept(m module.Version, kind modcache.Kind) (*os.File, error) {
	f, err := s.cached(m, kind)
	if err != nil {
		return nil, &failure{http.StatusServiceUnavailable, "the files of " + m.String() + " were removed while they were fetched, to free disk space; try again"}
	}
	return f, nil
}

func extension(kind modcache.Kind) string {
	return map[modcache.Kind]string{modcache.Info: ".info", modcache.Mod: ".mod", modcache.Zip: ".zip"}[kind]
}

// modules is GOMODCACHE.
func (s *Server) modules() string { return filepath.Join(s.Dir, "mod") }

// extracted is where the go command extracts a module.
func (s *Server) extracted(m module.Version) string {
	escaped, err := modcache.Escape(m)
	if err != nil {
		return ""
	}
	return filepath.Join(s.modules(), filepath.FromSlash(escaped.Path)+"@"+escaped.Version)
}
