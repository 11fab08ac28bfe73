package gitrepo_test

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/testing/gitserver"
)

// files of a directory, by their names.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, err = filepath.Rel(dir, name)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	}))
	slices.Sort(names)
	return names
}

// bytesOf serves a handler, and counts what it sends.
func bytesOf(t *testing.T, h http.Handler) (url string, sent *atomic.Int64) {
	t.Helper()
	sent = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(counter{w, sent}, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, sent
}

type counter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c counter) Write(p []byte) (int, error) {
	c.sent.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// TestSparse holds that only the directories of a sparse checkout are written, and that a
// server that can filter sends no other files, while another one sends all; over ssh as
// well.
func TestSparse(t *testing.T) {
	t.Parallel()
	r, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	random := make([]byte, 256<<10)
	_, err = rand.Read(random)
	must(t, err)
	commit, err := r.Commit(t.Context(), map[string]string{
		"go.work": "go 1.26\n", "services/Makefile": "all:\n", "services/billing/go.mod": "module b\n", "services/billing/cmd/main.go": "package main\n",
		"services/other/go.mod": "module o\n", "libs/log/log.go": "package log\n", "libs/README": "x\n", "assets/large.bin": hex.EncodeToString(random),
		"billing/x": "1",
	})
	must(t, err)
	handler, err := r.Handler(t.Context(), "", "")
	must(t, err)
	url, sent := bytesOf(t, handler)
	host, _ := newKey(t)
	user, identity := newKey(t)
	address := serveSSH(t, host, "git", user.PublicKey())
	overSSH := gitrepo.Remote{URL: "ssh://" + address + r.Dir, Credentials: gitrepo.Credentials{"identity": identity, "known_hosts": gitserver.KnownHost(address, host.PublicKey(), false)}}
	want := []string{"go.work", "libs/README", "libs/log/log.go", "services/Makefile", "services/billing/cmd/main.go", "services/billing/go.mod"}
	for _, allowed := range []struct{ filter, any string }{{"false", "false"}, {"false", "true"}, {"true", "false"}, {"true", "true"}} {
		_, err := gitserver.Git(t.Context(), "--git-dir", r.Dir, "config", "uploadpack.allowFilter", allowed.filter)
		must(t, err)
		_, err = gitserver.Git(t.Context(), "--git-dir", r.Dir, "config", "uploadpack.allowAnySHA1InWant", allowed.any)
		must(t, err)
		for name, remote := range map[string]gitrepo.Remote{
			"main": {URL: url + "/program.git", Ref: "main"}, "a commit": {URL: url + "/program.git", Ref: commit}, "ssh": overSSH,
		} {
			sent.Store(0)
			remote.Sparse = []string{"services/billing/", "libs/log"}
			dir := filepath.Join(t.TempDir(), "here")
			got, err := remote.Checkout(t.Context(), dir)
			if err != nil || got != commit {
				t.Errorf("%+v, %s: %s, %v", allowed, name, got, err)
				continue
			}
			if found := files(t, dir); !slices.Equal(found, want) {
				t.Errorf("%+v, %s: %q", allowed, name, found)
			}
			if text, err := os.ReadFile(filepath.Join(dir, "services/billing/go.mod")); err != nil || string(text) != "module b\n" {
				t.Errorf("%+v, %s: %q, %v", allowed, name, text, err)
			}
			if n := sent.Load(); name != "ssh" && (n < 64<<10) != (allowed.filter == "true") { // over http git sends what can be reached
				t.Errorf("%+v, %s: the server has sent %d bytes", allowed, name, n)
			}
		}
	}
	for _, sparse := range []string{"services/none", "go.work", "../x"} {
		_, err := gitrepo.Remote{URL: url + "/program.git", Sparse: []string{sparse}}.Checkout(t.Context(), filepath.Join(t.TempDir(), "here"))
		if err == nil || !strings.Contains(err.Error(), "has no directory "+sparse) {
			t.Errorf("%s: %v", sparse, err)
		}
	}
}

// TestSparseFails holds that only a server that refuses to send parts of a commit is asked
// for the whole: any other failure is reported, and nothing is requested after it.
func TestSparseFails(t *testing.T) {
	t.Parallel()
	r, _, _ := repository(t)
	for _, key := range []string{"uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"} {
		_, err := gitserver.Git(t.Context(), "--git-dir", r.Dir, "config", key, "true")
		must(t, err)
	}
	handler, err := r.Handler(t.Context(), "", "")
	must(t, err)
	text := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string // empty: the whole is fetched
	}{
		"a refusal":  {text("002cERR upload-pack: not our ref 0123456789\n"), ""},
		"no answer":  {text(""), ""},
		"a status":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "status 503"},
		"permission": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "see whether the Secret's credentials may read"},
		"half a pack": {func(w http.ResponseWriter, r *http.Request) {
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, r)
			_, _ = w.Write(recorder.Body.Bytes()[:recorder.Body.Len()-30])
		}, "fetching the directories"},
		"half a packet": {text("0035shallow "), "fetching the directories"},
		"half a length": {text("00"), "fetching the directories"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "0035shallow ")
		}, "fetching the directories"},
	} {
		for failing := range int64(2) { // the request for the directories, then that for files
			var requests atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost && requests.Add(1) == failing+1 {
					tt.answer(w, r)
					return
				}
				handler.ServeHTTP(w, r)
			}))
			dir := filepath.Join(t.TempDir(), "here")
			_, err := gitrepo.Remote{URL: server.URL + "/program.git", Sparse: []string{"deep"}}.Checkout(t.Context(), dir)
			server.Close()
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || requests.Load() != failing+1) ||
				tt.want == "" && (err != nil || !slices.Equal(files(t, dir), []string{"deep/a.txt", "go.mod"}) || requests.Load() != failing+2) {
				t.Errorf("%s, after %d requests that succeed: %d requests, %v", name, failing, requests.Load(), err)
			}
		}
	}
}
