package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/store"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/proxy"
)

// The modules of an upstream that answers queries as a go command does: inc has
// no go.mod in its tags from v2 on, and lib two releases and a branch.
var (
	incompatible = module.Version{Path: "example.com/inc", Version: "v2.0.0+incompatible"}
	release      = module.Version{Path: "example.com/lib", Version: "v1.1.3"}
	pseudo       = module.Version{Path: "example.com/lib", Version: "v1.1.4-0.20240102030405-0123456789ab"}
)

// startQueries serves them, and answers each query with the version that it
// stands for.
func startQueries(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{}
	files := map[string][]byte{}
	for _, m := range []module.Version{incompatible, release, pseudo} {
		escaped := "/" + m.Path + "/@v/" + m.Version
		files[escaped+".info"] = info(m.Version)
		files[escaped+".mod"] = []byte("module " + m.Path + "\n")
		files[escaped+".zip"] = moduleZip(t, m)
	}
	files["/example.com/inc/@v/list"] = []byte("v2.0.0+incompatible\n")
	files["/example.com/lib/@v/list"] = []byte("v1.1.3\n")
	for query, version := range map[string]string{
		"inc/@v/v2.0.0": incompatible.Version, "inc/@v/v2": incompatible.Version, "inc/@latest": incompatible.Version,
		"lib/@v/v1": release.Version, "lib/@v/v1.1": release.Version, "lib/@latest": release.Version,
		"lib/@v/master": pseudo.Version, "lib/@v/0123456789ab": pseudo.Version, "lib/@v/feature!x": pseudo.Version,
	} {
		name := "/example.com/" + query
		if !strings.HasSuffix(name, "/@latest") {
			name += ".info"
		}
		files[name] = info(version)
	}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.requests.Add(1)
		u.mu.Lock()
		fault := u.fault
		u.mu.Unlock()
		if fault != nil {
			fault(w, r)
			return
		}
		content, ok := files[r.URL.Path]
		if !ok {
			http.Error(w, "not found: unknown revision", http.StatusNotFound)
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(u.Close)
	return u
}

func info(version string) []byte {
	return fmt.Appendf(nil, `{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, version)
}

// queries are all forms in which a client may ask for a version that is none.
var queries = []string{
	"/example.com/inc/@v/v2.0.0.info", "/example.com/inc/@v/v2.info", "/example.com/inc/@latest", "/example.com/inc/@v/list",
	"/example.com/lib/@v/v1.info", "/example.com/lib/@v/v1.1.info", "/example.com/lib/@latest", "/example.com/lib/@v/list",
	"/example.com/lib/@v/master.info", "/example.com/lib/@v/0123456789ab.info", "/example.com/lib/@v/feature!x.info",
}

// check is the verdict of the agent beside a store.
func check(t *testing.T, dir string) integrity.Verdict {
	t.Helper()
	w, err := store.New(store.Options{
		Flags: caches.Flags{Store: dir, Layout: "goproxy", Workers: 2}, Clock: time.Now, Stderr: io.Discard,
	})
	must(t, err)
	return w.Check(t.Context())
}

// TestAnswersToQueriesAreNoVersions holds that a store is intact, and counts as
// many versions as it has, whatever clients asked for by another name than that
// of a version.
func TestAnswersToQueriesAreNoVersions(t *testing.T) {
	u := startQueries(t)
	server, dir := instance(t, u, nil)
	for range 2 {
		for _, query := range queries {
			if w := get(t, server, query); w.Code != http.StatusOK {
				t.Errorf("GET %s: %d %s", query, w.Code, w.Body)
			}
		}
		if v := check(t, dir); v.Verdict != integrity.Intact || v.Recoverable != 0 || v.Counts.Modules != 0 {
			t.Errorf("queries alone: %s, %d versions: %+v", v.Verdict, v.Counts.Modules, v.Examples)
		}
	}
	for _, m := range []module.Version{incompatible, release, pseudo} {
		for _, ext := range []string{".info", ".mod", ".zip"} {
			if w := get(t, server, "/"+m.Path+"/@v/"+m.Version+ext); w.Code != http.StatusOK {
				t.Fatalf("%s%s: %d %s", m, ext, w.Code, w.Body)
			}
		}
	}
	if v := check(t, dir); v.Verdict != integrity.Intact || v.Recoverable != 0 || v.Counts.Modules != 3 || v.Counts.Zips != 3 {
		t.Errorf("queries and versions: %s, %+v: %+v", v.Verdict, v.Counts, v.Examples)
	}
}

// TestQueriesOfTheGoCommand is the same with the real client.
func TestQueriesOfTheGoCommand(t *testing.T) {
	u := startQueries(t)
	server, dir := instance(t, u, nil)
	front := httptest.NewServer(server)
	t.Cleanup(front.Close)
	work := t.TempDir()
	must(t, os.WriteFile(filepath.Join(work, "go.mod"), []byte("module example.com/main\n\ngo 1.21\n"), 0o600))
	for query, want := range map[string]string{
		"example.com/inc@v2.0.0": incompatible.Version, "example.com/inc@latest": incompatible.Version,
		"example.com/lib@v1": release.Version, "example.com/lib@v1.1": release.Version, "example.com/lib@latest": release.Version,
		"example.com/lib@master": pseudo.Version, "example.com/lib@0123456789ab": pseudo.Version,
	} {
		commands := [][]string{{"list", "-m", "-f", "{{.Version}}", query}}
		if strings.HasSuffix(query, "@v2.0.0") || strings.HasSuffix(query, "@master") || strings.HasSuffix(query, "@v1.1") {
			commands = append(commands, []string{"get", query})
		}
		for _, arguments := range commands {
			cmd := exec.CommandContext(t.Context(), "go", arguments...)
			cmd.Dir = work
			cmd.Env = append(os.Environ(), "GOPROXY="+front.URL, "GOSUMDB=off", "GONOPROXY=none", "GOPRIVATE=", "GOFLAGS=-modcacherw",
				"GOTOOLCHAIN=local", "GOMODCACHE="+filepath.Join(work, "cache"), "GOWORK=off")
			out, err := cmd.CombinedOutput()
			if err != nil || arguments[0] == "list" && strings.TrimSpace(string(out)) != want {
				t.Errorf("go %v: %v: %s, want %s", arguments, err, out, want)
			}
		}
	}
	if v := check(t, dir); v.Verdict != integrity.Intact || v.Recoverable != 0 || v.Counts.Modules != 3 {
		t.Errorf("%s, %+v: %+v", v.Verdict, v.Counts, v.Examples)
	}
}

// TestQueriesAreAskedAgain holds that what a query meant once is served only
// while the upstream gives no right answer, and is marked as such.
func TestQueriesAreAskedAgain(t *testing.T) {
	for _, query := range []string{"/example.com/lib/@v/master.info", "/example.com/lib/@v/v1.1.info", "/example.com/lib/@latest"} {
		u := startQueries(t)
		server, _ := instance(t, u, nil)
		first := get(t, server, query).Body.String()
		moved := string(info("v1.1.9"))
		u.fail(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, moved) })
		mustServe(t, server, query, moved)
		for name, fault := range map[string]http.HandlerFunc{
			"an error":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
			"no JSON":           func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>log in") },
			"no version":        func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"Version":""}`) },
			"v1":                func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(info("v1")) },
			"another module's":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(info("v3.0.0")) },
			"not a release yet": http.NotFound,
		} {
			u.fail(fault)
			w := get(t, server, query)
			if w.Code != http.StatusOK || w.Body.String() != moved {
				t.Errorf("%s, upstream answers %s: %d %s, want the last answer %s (the first was %s)", query, name, w.Code, w.Body, moved, first)
			}
			if w.Header().Get("Cache-Status") == "" {
				t.Errorf("%s, upstream answers %s: the answer passes for a fresh one", query, name)
			}
		}
	}
}

// TestIllegibleAnswersAreNotServed holds that what lies in a store and can be no
// answer is not served but fetched again, also where no sum was recorded.
func TestIllegibleAnswersAreNotServed(t *testing.T) {
	for name, content := range map[string]string{
		"garbage": "<html>", "zeros": "\x00\x00\x00", "half": `{"Version":"v1.`, "no version": `{"Time":"2024-01-02T03:04:05Z"}`,
		"another version": string(info("v1.0.9")), "no time": `{"Version":"v1.1.3","Time":"yesterday"}`,
	} {
		for _, path := range []string{"/example.com/lib/@v/v1.1.3.info", "/example.com/lib/@v/v1.1.info", "/example.com/lib/@latest", "/example.com/lib/@v/list"} {
			if name == "another version" && !strings.Contains(path, "v1.1.3") {
				continue // it may have been that, once
			}
			u := startQueries(t)
			server, dir := instance(t, u, nil)
			file := filepath.Join(dir, filepath.FromSlash(path))
			must(t, os.MkdirAll(filepath.Dir(file), 0o755))
			must(t, os.WriteFile(file, []byte(content), 0o600))
			if v := check(t, dir); v.Verdict != integrity.Intact && !strings.HasSuffix(path, "list") {
				t.Errorf("%s as %s: %s: %+v", name, path, v.Verdict, v.Examples)
			}
			must(t, os.WriteFile(file, []byte(content), 0o600))
			u.fail(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
			if w := get(t, server, path); w.Code == http.StatusOK {
				t.Errorf("%s as %s is served: %q", name, path, w.Body)
			}
			u.fail(nil)
			if w := get(t, server, path); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "v1.1.3") {
				t.Errorf("%s as %s is not fetched anew: %d %s", name, path, w.Code, w.Body)
			}
		}
	}
}

// TestContradictoryVersionsAreRefused holds that an upstream cannot put into the
// store, for ever, what clients could make nothing of.
func TestContradictoryVersionsAreRefused(t *testing.T) {
	for name, answers := range map[string]map[string]func([]byte) []byte{
		"the .info of another version":  {".info": func([]byte) []byte { return info("v1.1.2") }},
		"a .mod that does not parse":    {".mod": func([]byte) []byte { return []byte("module (\n") }},
		"an archive with a flipped bit": {".zip": func(b []byte) []byte { b[70] ^= 1; return b }},
	} {
		t.Run(name, func(t *testing.T) {
			u := startQueries(t)
			intact := u.Config.Handler
			u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := httptest.NewRecorder()
				intact.ServeHTTP(answer, r)
				body := answer.Body.Bytes()
				if change := answers[filepath.Ext(r.URL.Path)]; change != nil {
					body = change(body)
				}
				w.WriteHeader(answer.Code)
				_, _ = w.Write(body)
			})
			server, dir := instance(t, u, nil)
			for ext := range answers {
				w := get(t, server, "/example.com/lib/@v/v1.1.3"+ext)
				if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), "cannot be right") {
					t.Errorf("%s: %d %q", ext, w.Code, w.Body)
				}
				checkShownByGo(t, w)
			}
			if v := check(t, dir); v.Verdict != integrity.Intact || v.Counts.Modules != 0 {
				t.Errorf("%s, %d versions: %+v", v.Verdict, v.Counts.Modules, v.Examples)
			}
			u.Config.Handler = intact
			mustServe(t, server, "/example.com/lib/@v/v1.1.3.mod", "module example.com/lib\n")
		})
	}
}

// TestDamageIsWithdrawn holds that the check of a store that a server uses
// removes what is damaged, and only that, and that the server has it again at the
// next request, whatever it had opened before.
func TestDamageIsWithdrawn(t *testing.T) {
	for name, tt := range map[string]struct {
		path string
		do   func(t *testing.T, file string)
	}{
		"a flipped byte": {zipPath, func(t *testing.T, file string) {
			overwrite(t, file, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}},
		"a truncated archive": {zipPath, func(t *testing.T, file string) {
			overwrite(t, file, func(b []byte) []byte { return b[:len(b)/2] })
		}},
		"an archive of something else, without a sum": {zipPath, func(t *testing.T, file string) {
			must(t, os.Remove(file))
			must(t, os.WriteFile(file, moduleZip(t, module.Version{Path: "example.com/n", Version: "v1.0.0"}), 0o600))
		}},
		"an altered go.mod": {modPath, func(t *testing.T, file string) {
			overwrite(t, file, func([]byte) []byte { return []byte("module example.com/evil\n") })
		}},
		"a directory in the place of an archive": {zipPath, func(t *testing.T, file string) {
			must(t, os.Remove(file))
			must(t, os.MkdirAll(filepath.Join(file, "x"), 0o755))
		}},
		"a link in the place of a go.mod": {modPath, func(t *testing.T, file string) {
			must(t, os.Remove(file))
			must(t, os.Symlink("/etc/hostname", file))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			u := startUpstream(t)
			server, dir := instance(t, u, nil)
			for _, path := range []string{infoPath, modPath, zipPath} {
				get(t, server, path)
			}
			right := get(t, server, tt.path).Body.String()
			tt.do(t, filepath.Join(dir, filepath.FromSlash(tt.path)))
			if v := repaired(t, dir); v.Verdict != integrity.Intact || v.Withdrawn != 1 {
				t.Errorf("%s, withdrew %d: %+v", v.Verdict, v.Withdrawn, v.Examples)
			}
			before := u.requests.Load()
			for _, path := range []string{infoPath, modPath, zipPath} {
				if path != tt.path {
					get(t, server, path)
				}
			}
			if u.requests.Load() != before {
				t.Error("more was withdrawn than what was damaged")
			}
			mustServe(t, server, tt.path, right)
			if w := get(t, server, "/readyz"); w.Code != http.StatusOK {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if v := repaired(t, dir); v.Verdict != integrity.Intact || v.Withdrawn != 0 || v.Counts.Zips != 1 {
				t.Errorf("fetched anew: %s, %+v: %+v", v.Verdict, v.Counts, v.Examples)
			}
		})
	}
}

// TestContained holds that damage which the server finds by itself is distinguished from
// damage that it would serve.
func TestContained(t *testing.T) {
	u := startUpstream(t)
	server, dir := instance(t, u, nil)
	get(t, server, zipPath)
	file := filepath.Join(dir, filepath.FromSlash(zipPath))
	overwrite(t, file, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	if v := check(t, dir); v.Verdict != integrity.OutcomeCorrupt || !v.Contained {
		t.Errorf("%s, contained %v: %+v", v.Verdict, v.Contained, v.Examples)
	}
	content, err := os.ReadFile(file)
	must(t, err)
	must(t, os.Remove(file))
	must(t, os.WriteFile(file, content, 0o600)) // without the sum
	if v := check(t, dir); v.Verdict != integrity.OutcomeCorrupt || v.Contained {
		t.Errorf("%s, contained %v: %+v", v.Verdict, v.Contained, v.Examples)
	}
}

// repaired is the verdict of an agent that withdraws corrupt files.
func repaired(t *testing.T, dir string) integrity.Verdict {
	t.Helper()
	w, err := store.New(store.Options{
		Flags: caches.Flags{Store: dir, Layout: "goproxy", Workers: 2}, Withdraw: true, Clock: time.Now, Stderr: io.Discard,
	})
	must(t, err)
	return w.Check(t.Context())
}

// TestUnfinishedFilesAreRemoved plays the successor of an instance that was killed
// in the middle of large fetches: what it left would fill the volume. A fetch of the
// successor itself keeps its file, whose time may be a little before its start.
func TestUnfinishedFilesAreRemoved(t *testing.T) {
	u := startUpstream(t)
	started := time.Now()
	var left, young, stored string
	server, _ := instance(t, u, func(o *proxy.Options) {
		o.Now = func() time.Time { return started }
		at := filepath.Join(o.Store, filepath.Dir(zipPath))
		must(t, os.MkdirAll(at, 0o755))
		// In this order they are looked at.
		young, left, stored = filepath.Join(at, ".v1.0.0.info.tmp.ABC"), filepath.Join(at, ".v1.0.0.zip.tmp.ABC"), filepath.Join(at, "v1.0.0.mod")
		for file, age := range map[string]time.Duration{young: 10 * time.Millisecond, left: time.Hour, stored: time.Hour} {
			must(t, os.WriteFile(file, []byte(modText), 0o600))
			must(t, os.Chtimes(file, started.Add(-age), started.Add(-age)))
		}
	})
	eventually(t, "it is removed", func() bool { _, err := os.Lstat(left); return os.IsNotExist(err) })
	for _, file := range []string{young, stored} {
		if _, err := os.Lstat(file); err != nil {
			t.Error(err)
		}
	}
	mustServe(t, server, modPath, modText)
}
