package gitrepo_test

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/testing/gitserver"
)

// inside is text that only the server has.
const inside = "internal-service-data"

var block = []byte(strings.Repeat(inside+" ", 1<<20/(len(inside)+1)))

// allocated is how many bytes f allocates, and how many are still held after it
// by what it returns.
func allocated[T any](f func() T) (result T, total, held int64) {
	var before, after, rest runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	result = f()
	runtime.ReadMemStats(&after)
	runtime.GC()
	runtime.ReadMemStats(&rest)
	return result, int64(after.TotalAlloc - before.TotalAlloc), int64(rest.HeapAlloc) - int64(before.HeapAlloc)
}

// TestErrorBodies holds that the body of an error is neither decompressed, nor
// kept, nor repeated, whatever its status and size.
func TestErrorBodies(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := io.Writer(w)
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				defer func() { _ = z.Close() }()
				body = z
			}
			w.WriteHeader(status)
			for range 32 {
				if _, err := body.Write(block); err != nil {
					return
				}
			}
		}))
		errs, total, held := allocated(func() (all []error) {
			for range 4 {
				_, err := gitrepo.Remote{URL: server.URL + "/x"}.Resolve(t.Context())
				all = append(all, err)
			}
			return all
		})
		server.Close()
		t.Logf("status %d: %d KiB allocated by 4 look-ups, %d KiB held by their errors", status, total>>10, held>>10)
		for _, err := range errs {
			if err == nil || len(err.Error()) > gitrepo.MaxError || strings.Contains(err.Error(), inside) {
				t.Errorf("status %d: %.200v", status, err)
			}
		}
		// The test's own server is part of what is measured.
		if total > 24<<20 || held > 1<<20 {
			t.Errorf("status %d: %d KiB allocated and %d KiB held", status, total>>10, held>>10)
		}
		runtime.KeepAlive(errs)
	}
}

// TestNothingIsRepeated holds that no error holds what an address answers that
// is no git server, or one that explains itself.
func TestNothingIsRepeated(t *testing.T) {
	packet := func(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
	long := strings.Repeat(inside, 3000)
	for name, answer := range map[string]string{
		"an error line":      "HTTP/1.1 200 OK\r\n\r\n" + packet("ERR "+inside),
		"a long error line":  "HTTP/1.1 200 OK\r\n\r\n" + packet("ERR "+long[:60000]),
		"a line of its own":  "HTTP/1.1 200 OK\r\n\r\n" + packet(inside),
		"no packet":          "HTTP/1.1 200 OK\r\n\r\n" + inside,
		"a page":             "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>" + inside,
		"another protocol":   "SSH-2.0-" + inside + "\r\n",
		"a bad status":       "HTTP/1.1 " + inside + "\r\n\r\n",
		"a bad header":       "HTTP/1.1 200 OK\r\n" + inside + "\r\n\r\n",
		"a bad redirect":     "HTTP/1.1 302 Found\r\nLocation: http://[" + inside + "\r\nContent-Length: 0\r\n\r\n",
		"a status of words":  "HTTP/1.1 500 " + inside + "\r\nContent-Length: 0\r\n\r\n",
		"a redirect to none": "HTTP/1.1 302 Found\r\nContent-Length: 21\r\n\r\n" + inside,
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = conn.Read(make([]byte, 4096))
					_, _ = io.WriteString(conn, answer)
					_ = conn.Close()
				}()
			}
		}()
		_, err = gitrepo.Remote{URL: "http://" + l.Addr().String() + "/x"}.Resolve(t.Context())
		_ = l.Close()
		if err == nil || strings.Contains(err.Error(), inside) || len(err.Error()) > gitrepo.MaxError {
			t.Errorf("%s: %.300v", name, err)
		}
		t.Logf("%s: %.200v", name, err)
	}
}

// TestEndlessRefs holds that a list of refs without an end is given up early
// and costs a bounded amount of memory.
func TestEndlessRefs(t *testing.T) {
	server := endless(t)
	err, total, _ := allocated(func() error {
		_, err := gitrepo.Remote{URL: server + "/x"}.Resolve(t.Context())
		return err
	})
	t.Logf("%d KiB allocated: %v", total>>10, err)
	if err == nil || !strings.Contains(err.Error(), "more than 4 MiB of refs") {
		t.Errorf("%v", err)
	}
	if total > 24<<20 {
		t.Errorf("%d KiB allocated", total>>10)
	}
}

// TestManyRefs holds that a list of refs within the bound is read.
func TestManyRefs(t *testing.T) {
	packet := func(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
	commit := strings.Repeat("1", 40)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, packet("# service=git-upload-pack\n")+"0000"+packet(commit+" refs/heads/main\x00ofs-delta\n"))
		for i := range 60_000 {
			_, _ = io.WriteString(w, packet(fmt.Sprintf("%s refs/pull/%d\n", commit, i)))
		}
		_, _ = io.WriteString(w, "0000")
	}))
	t.Cleanup(server.Close)
	got, total, held := allocated(func() string {
		got, err := gitrepo.Remote{URL: server.URL + "/x", Ref: "main"}.Resolve(t.Context())
		must(t, err)
		return got
	})
	t.Logf("%d KiB allocated, %d KiB held", total>>10, held>>10)
	if got != commit {
		t.Errorf("resolves to %q", got)
	}
	// The test's own server is part of what is measured.
	if total > 32<<20 || held > 1<<20 {
		t.Errorf("%d KiB allocated and %d KiB held", total>>10, held>>10)
	}
}

// TestLinksStayInside holds that no link of a repository leads out of it: a file of
// a source that is one would be read, and compiled, where the warm-up runs, and an
// error would quote it.
func TestLinksStayInside(t *testing.T) {
	t.Parallel()
	top, work := t.TempDir(), t.TempDir()
	r, err := gitserver.New(t.Context(), top)
	must(t, err)
	secret := filepath.Join(work, "password")
	must(t, os.WriteFile(secret, []byte("s3cret"), 0o600))
	_, err = r.Commit(t.Context(), map[string]string{"go.mod": "module m\n", "deep/a.go": "package deep\n"})
	must(t, err)
	links := map[string]string{
		"absolute.go": secret, "up.go": "../password", "deep/up.go": "../../password", "chain.go": "absolute.go", "folder": work,
		"mounted.go": "/secrets/proxy/password", // exists where the warm-up runs
		"inside.go":  "deep/a.go", "deep/back.go": "../go.mod", "nowhere.go": "deep/none.go",
	}
	for name, target := range links {
		must(t, os.Symlink(target, filepath.Join(top, "work", name)))
	}
	_, err = r.Commit(t.Context(), nil)
	must(t, err)
	dir := filepath.Join(work, "checkout")
	_, err = gitrepo.Remote{URL: served(t, r, "", "")}.Checkout(t.Context(), dir)
	must(t, err)
	for name := range links {
		_, err := os.Lstat(filepath.Join(dir, name))
		if inside := strings.HasPrefix(name, "inside") || strings.HasPrefix(name, "deep/back") || strings.HasPrefix(name, "nowhere"); inside != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// raw commits a tree as it is, with entries that no git command would write: "mode name
// hash" each. The files of the commit before it can be named by their hashes.
func raw(t *testing.T, r *gitserver.Repository, entries ...[3]string) (commit string) {
	t.Helper()
	commit, err := gitserver.Git(t.Context(), "--git-dir", r.Dir, "commit-tree", "-m", "Change", rawTree(t, r, entries...))
	must(t, err)
	_, err = gitserver.Git(t.Context(), "--git-dir", r.Dir, "update-ref", "refs/heads/main", commit)
	must(t, err)
	return commit
}

func rawTree(t *testing.T, r *gitserver.Repository, entries ...[3]string) (hash string) {
	t.Helper()
	var tree []byte
	for _, e := range entries {
		tree = append(tree, e[0]+" "+e[1]+"\x00"...)
		h, err := hex.DecodeString(e[2])
		must(t, err)
		tree = append(tree, h...)
	}
	return object(t, r, "tree", tree)
}

func object(t *testing.T, r *gitserver.Repository, kind string, content []byte) (hash string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "object")
	must(t, os.WriteFile(file, content, 0o600))
	hash, err := gitserver.Git(t.Context(), "--git-dir", r.Dir, "hash-object", "-t", kind, "-w", "--literally", file)
	must(t, err)
	return hash
}

// TestHostileTrees holds that no tree has a repository or its submodules written elsewhere
// than to their directories, nor files deleted elsewhere, and that such a tree is refused.
func TestHostileTrees(t *testing.T) {
	t.Parallel()
	program, _, _ := repository(t)
	lib, _, tip := repository(t)
	beside(t, lib, "lib.git", program)
	url := served(t, program, "", "")
	out := [3]string{"120000", "a", object(t, program, "blob", []byte("../../outside"))}
	deeper := [3]string{"120000", "a", object(t, program, "blob", []byte("../../../outside"))}
	linked, file := [3]string{"160000", "a", tip}, [3]string{"100644", "a", object(t, program, "blob", []byte("x"))}
	modules := func(dir string) [3]string {
		text := fmt.Sprintf("[submodule \"x\"]\n\tpath = %s\n\turl = ../lib.git\n", dir)
		return [3]string{"100644", ".gitmodules", object(t, program, "blob", []byte(text))}
	}
	named := func(e [3]string, name string) [3]string { return [3]string{e[0], name, e[2]} }
	folder := func(name string, entries ...[3]string) [3]string {
		return [3]string{"40000", name, rawTree(t, program, entries...)}
	}
	for name, tt := range map[string]struct {
		entries [][3]string
		want    string
	}{
		"a link, then a submodule":    {[][3]string{modules("a"), out, linked}, `two entries named "a"`},
		"a submodule, then a link":    {[][3]string{modules("a"), linked, out}, `two entries named "a"`},
		"a link far from a submodule": {[][3]string{modules("a"), out, named(file, "a.x"), named(file, "b"), linked}, `two entries named "a"`},
		"a link and a directory":      {[][3]string{modules("a/b"), out, folder("a", named(linked, "b"))}, `two entries named "a"`},
		"two directories":             {[][3]string{modules("a/a"), folder("a", out), folder("a", linked)}, `two entries named "a"`},
		"below a directory":           {[][3]string{modules("d/a"), folder("d", deeper, linked)}, `two entries named "d/a"`},
		"two files":                   {[][3]string{file, file}, `two entries named "a"`},
		"a name with a slash":         {[][3]string{modules("a/b"), out, named(linked, "a/b")}, `"a/b"`},
		"the directory above":         {[][3]string{modules("../outside"), named(linked, ".."), file}, `".."`},
		"the directory itself":        {[][3]string{modules("."), named(linked, "."), file}, `"."`},
		"git's directory":             {[][3]string{modules(".git"), named(linked, ".git")}, `".git"`},
		"git's directory in capitals": {[][3]string{modules(".GIT"), named(linked, ".GIT")}, `".GIT"`},
		"git's directory on Windows":  {[][3]string{modules("GIT~1"), named(linked, "GIT~1")}, `GIT~1`},
		"git's directory, deeper":     {[][3]string{modules("d/.git"), folder("d", named(linked, ".git"))}, `.git"`},
	} {
		raw(t, program, tt.entries...)
		top := t.TempDir()
		outside := filepath.Join(top, "x", "outside")
		must(t, os.MkdirAll(outside, 0o700))
		must(t, os.WriteFile(filepath.Join(outside, "precious"), []byte("1"), 0o600))
		_, err := gitrepo.Remote{URL: url, Submodules: true}.Checkout(t.Context(), filepath.Join(top, "x", "y", "here"))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if found := files(t, outside); !slices.Equal(found, []string{"precious"}) {
			t.Errorf("%s: outside are %q", name, found)
		}
	}
}
