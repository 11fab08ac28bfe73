package gitrepo_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/testing/gitserver"
)

// link commits submodules, by directory: their URL and commit.
func link(t *testing.T, r *gitserver.Repository, modules map[string][2]string) (commit string) {
	t.Helper()
	var text strings.Builder
	for dir, m := range modules {
		_, _ = fmt.Fprintf(&text, "[submodule %q]\n\tpath = %s\n\turl = %s\n", dir, dir, m[0])
		if m[1] == "" {
			continue
		}
		must(t, os.MkdirAll(filepath.Join(filepath.Dir(r.Dir), "work", dir), 0o700)) // else add --all removes it
		_, err := r.InWork(t.Context(), "update-index", "--add", "--cacheinfo", "160000,"+m[1]+","+dir)
		must(t, err)
	}
	commit, err := r.Commit(t.Context(), map[string]string{".gitmodules": text.String()})
	must(t, err)
	return commit
}

// beside copies a repository into the directory that the server of another one serves.
func beside(t *testing.T, r *gitserver.Repository, name string, of *gitserver.Repository) {
	t.Helper()
	_, err := gitserver.Git(t.Context(), "clone", "--quiet", "--bare", r.Dir, filepath.Join(filepath.Dir(of.Dir), name))
	must(t, err)
}

// TestSubmodules holds that submodules are checked out at their commits when that is asked
// for, also nested ones, those beside the repository with its credentials, and that those of
// another host get none.
func TestSubmodules(t *testing.T) {
	t.Parallel()
	program, _, _ := repository(t)
	lib, first, second := repository(t)
	public, _, newest := repository(t)
	beside(t, lib, "lib.git", program)
	middle, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	nested := link(t, middle, map[string][2]string{"inner": {"./../lib.git", second}})
	beside(t, middle, "middle.git", program)

	var mu sync.Mutex
	var sent []string
	open, err := public.Handler(t.Context(), "", "")
	must(t, err)
	other, otherCA := servedTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		sent = append(sent, r.Header.Get("Authorization"))
		mu.Unlock()
		open.ServeHTTP(w, r)
	}))
	handler, err := program.Handler(t.Context(), "ci", "s3cret")
	must(t, err)
	server, ca := servedTLS(t, handler)
	commit := link(t, program, map[string][2]string{
		"libs/log": {"../lib.git", first},
		"middle":   {strings.Replace(server.URL, "https://", "https://x:y@", 1) + "/middle.git", nested},
		"public":   {other.URL + "/program.git", newest},
		"unused":   {"https://nowhere.example.com/a", ""},
	})
	remote := gitrepo.Remote{
		URL: server.URL + "/program.git", Submodules: true, CA: append(slices.Clone(ca), otherCA...),
		Credentials: gitrepo.Credentials{"username": []byte("ci"), "password": []byte("s3cret")},
	}
	dir := filepath.Join(t.TempDir(), "here")
	got, err := remote.Checkout(t.Context(), dir)
	if err != nil || got != commit {
		t.Fatalf("%s, %v", got, err)
	}
	want := []string{
		".gitmodules", "deep/a.txt", "go.mod", "libs/log/deep/a.txt", "libs/log/go.mod", "middle/.gitmodules",
		"middle/inner/deep/a.txt", "middle/inner/go.mod", "public/deep/a.txt", "public/go.mod",
	}
	if found := files(t, dir); !slices.Equal(found, want) {
		t.Errorf("checked out %q", found)
	}
	for name, content := range map[string]string{"libs/log/deep/a.txt": "1", "middle/inner/deep/a.txt": "2"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != content {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if len(sent) == 0 || slices.ContainsFunc(sent, func(a string) bool { return a != "" }) {
		t.Errorf("another host has got %q", sent)
	}
	remote.Submodules, dir = false, filepath.Join(t.TempDir(), "without")
	if _, err := remote.Checkout(t.Context(), dir); err != nil || !slices.Equal(files(t, dir), []string{".gitmodules", "deep/a.txt", "go.mod"}) {
		t.Errorf("without submodules: %q, %v", files(t, dir), err)
	}
	remote.Submodules, remote.Sparse, dir = true, []string{"libs"}, filepath.Join(t.TempDir(), "sparse")
	if _, err := remote.Checkout(t.Context(), dir); err != nil || !slices.Equal(files(t, dir), []string{".gitmodules", "go.mod", "libs/log/deep/a.txt", "libs/log/go.mod"}) {
		t.Errorf("with a sparse checkout: %q, %v", files(t, dir), err)
	}
}

// TestUnusableSubmodules holds that each submodule that cannot be read is an error that
// names it, and that their number and nesting are bounded.
func TestUnusableSubmodules(t *testing.T) {
	t.Parallel()
	commit := strings.Repeat("2", 40)
	program, _, _ := repository(t)
	for name, tt := range map[string]struct {
		url, want string
	}{
		"file":                 {"file:///etc", `not "file"`},
		"a path":               {"/etc/passwd", "cannot be parsed"},
		"an option":            {"--upload-pack=x", "cannot be parsed"},
		"short ssh":            {"git@git.example.com:group/lib.git", "use an https URL"},
		"ssh":                  {"ssh://git@git.example.com/lib.git", "use an https URL"},
		"no URL":               {"", "has no URL in .gitmodules"},
		"not there":            {"../none.git", "repository not found"},
		"a query":              {"https://git.example.com/lib.git?x=", "has a query"},
		"an empty query":       {"https://git.example.com/lib.git?", "has a query"},
		"a relative query":     {"../lib.git?x=", "has a query"},
		"an escaped query":     {"https://git.example.com/lib.git%3Fx=", "has a query"},
		"a fragment":           {`"../lib.git#x"`, "has a query"},
		"an escaped fragment":  {"https://git.example.com/lib.git%23x", "has a query"},
		"a query of short ssh": {"git@git.example.com:group/lib.git?x", "has a query"},
		"control characters":   {"https://git.example.com/lib.git%0d%0aX", "has a query"},
		"another commit":       {"../program.git", "submodule libs/log: "},
	} {
		link(t, program, map[string][2]string{"libs/log": {tt.url, commit}})
		_, err := gitrepo.Remote{URL: served(t, program, "", ""), Submodules: true}.Checkout(t.Context(), filepath.Join(t.TempDir(), "here"))
		if err == nil || !strings.Contains(err.Error(), "submodule libs/log") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	many := map[string][2]string{}
	target, tip, _ := repository(t)
	beside(t, target, "lib.git", program)
	for i := range 65 {
		many[fmt.Sprintf("m%02d", i)] = [2]string{"../lib.git", tip}
	}
	link(t, program, many)
	if _, err := (gitrepo.Remote{URL: served(t, program, "", ""), Submodules: true}).Checkout(t.Context(), filepath.Join(t.TempDir(), "here")); err == nil || !strings.Contains(err.Error(), "more than 64 submodules") {
		t.Errorf("65 submodules: %v", err)
	}
}

// TestSubmoduleRequests holds that a file of a repository decides about no more of a request
// than which repository is read: its query is git's.
func TestSubmoduleRequests(t *testing.T) {
	t.Parallel()
	program, _, tip := repository(t)
	handler, err := program.Handler(t.Context(), "", "")
	must(t, err)
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.RequestURI())
		mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	for _, url := range []string{"../api?x=", `"../api#x"`, server.URL + "/api?x=", server.URL + "/api%3Fx=", "../api%3Fx=", server.URL + "/api%253Fx="} {
		link(t, program, map[string][2]string{"libs/log": {url, tip}})
		if _, err := (gitrepo.Remote{URL: server.URL + "/program.git", Submodules: true}).Checkout(t.Context(), filepath.Join(t.TempDir(), "here")); err == nil {
			t.Errorf("%s: no error", url)
		}
	}
	for _, uri := range asked {
		path, query, _ := strings.Cut(uri, "?")
		if query != "" && query != "service=git-upload-pack" || !strings.HasSuffix(path, "/info/refs") && !strings.HasSuffix(path, "/git-upload-pack") {
			t.Errorf("asked for %s", uri)
		}
	}
}

// TestRecursiveSubmodule holds that a server that makes a repository its own submodule is
// given up at some depth.
func TestRecursiveSubmodule(t *testing.T) {
	t.Parallel()
	program, err := gitserver.New(t.Context(), t.TempDir())
	must(t, err)
	commit, err := program.Commit(t.Context(), map[string]string{"go.mod": "module m\n"})
	must(t, err)
	for range 6 { // each has the one before it
		commit = link(t, program, map[string][2]string{"again": {"../program.git", commit}})
	}
	handler, err := program.Handler(t.Context(), "", "")
	must(t, err)
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	_, err = gitserver.Git(t.Context(), "--git-dir", program.Dir, "config", "uploadpack.allowAnySHA1InWant", "true")
	must(t, err)
	if _, err := (gitrepo.Remote{URL: server.URL + "/program.git", Submodules: true}).Checkout(t.Context(), filepath.Join(t.TempDir(), "here")); err == nil || !strings.Contains(err.Error(), "nested more than 4 deep") || asked > 60 {
		t.Errorf("after %d requests: %v", asked, err)
	}
}
