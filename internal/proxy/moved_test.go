package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/proxy"
)

// TestClientsOfAMovedTag moves the tag of a private module after one of two
// instances has stored it: 20 go commands, by turns through both, get what was
// stored first, because an instance asks the other one before the source.
func TestClientsOfAMovedTag(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"version control", "upstream"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			git := startRepositories(t, privateFiles(t))
			members := make([]*member, 2)
			for i := range members {
				m := &member{}
				m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }))
				t.Cleanup(m.Close)
				members[i] = m
			}
			for i, m := range members {
				m.handler, m.store = instance(t, startUpstream(t), func(o *proxy.Options) {
					o.Name, o.FetchTimeout, o.Peers = fmt.Sprint("instance-", i), 5*time.Second, []string{members[1-i].URL}
					if source == "upstream" {
						o.Environment.GOPROXY, o.Environment.GONOSUMDB = git.URL, "corp.test"
						return
					}
					o.VersionControl, o.PrivateModules = git.URL, "corp.test/Team"
				})
			}
			var turn atomic.Int64
			router := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				to, err := url.Parse(members[turn.Add(1)%2].URL)
				if err != nil {
					t.Error(err)
				}
				r.SetURL(to)
			}})
			t.Cleanup(router.Close)

			golang := func(address, sum string) (string, error) {
				dir := t.TempDir()
				must(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/main\n\ngo 1.21\n\nrequire corp.test/Team/m v1.0.0\n"), 0o600))
				must(t, os.WriteFile(filepath.Join(dir, "go.sum"), []byte(sum), 0o600))
				cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "all")
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "GOPROXY="+address, "GOSUMDB=off", "GONOPROXY=none", "GOPRIVATE=", "GOFLAGS=-modcacherw -mod=mod",
					"GOTOOLCHAIN=local", "GOMODCACHE="+filepath.Join(dir, "modcache"), "GOWORK=off", "GO111MODULE=on")
				out, err := cmd.CombinedOutput()
				if err != nil {
					return string(out), err
				}
				written, err := os.ReadFile(filepath.Join(dir, "go.sum"))
				return string(written), err
			}
			sum, err := golang(members[0].URL, "")
			if err != nil || !strings.Contains(sum, "corp.test/Team/m v1.0.0 h1:") {
				t.Fatalf("%v: %s", err, sum)
			}
			// The tag moves to a commit with another file.
			git.set(privatePath+"/@v/v1.0.0.zip", string(moduleZipOf(t, privateModule, "module corp.test/Team/m\n\ngo 1.21\n")))
			git.set(privatePath+"/@v/v1.0.0.mod", "module corp.test/Team/m\n\ngo 1.21\n")

			var clients sync.WaitGroup
			var failed atomic.Int64
			for range 20 {
				clients.Go(func() {
					if out, err := golang(router.URL, sum); err != nil || out != sum {
						failed.Add(1)
						t.Logf("%v: %s", err, out)
					}
				})
			}
			clients.Wait()
			if n := failed.Load(); n > 0 {
				t.Errorf("%d of 20 clients got another content", n)
			}
			for _, m := range members {
				if zip := get(t, m.handler, privatePath+"/@v/v1.0.0.zip"); zip.Code != http.StatusOK || zip.Body.String() != privateFiles(t)[privatePath+"/@v/v1.0.0.zip"] {
					t.Errorf("an instance serves another archive: %d", zip.Code)
				}
			}
		})
	}
}

// TestMovedTagsAreReported holds that the commits of tags are compared while clients ask
// for versions, once in ten minutes; that a version whose tag was moved is reported with
// both commits, again when it is moved again, and no longer once it is moved back, and is
// served as it was stored; and that no other version is.
func TestMovedTagsAreReported(t *testing.T) {
	t.Parallel()
	first, second, third := strings.Repeat("1", 40), strings.Repeat("2", 40), strings.Repeat("3", 40)
	info := func(version, commit string) string {
		return fmt.Sprintf(`{"Version":%q,"Origin":{"VCS":"git","URL":"https://corp.test/Team/m","Ref":"refs/tags/%s","Hash":%q}}`, version, version, commit)
	}
	files := privateFiles(t)
	files[privatePath+"/@v/list"] = "v1.0.0\nv1.1.0\nv1.2.0\nv1.3.0\n"
	files[privatePath+"/@v/v1.0.0.info"], files[privatePath+"/@v/v1.1.0.info"] = info("v1.0.0", first), info("v1.1.0", first)
	files[privatePath+"/@v/v1.2.0.info"] = `{"Version":"v1.2.0"}` // of an earlier release
	files[privatePath+"/@tags"] = first + " refs/tags/v1.0.0\n" + first + " refs/tags/v1.1.0\n" + third + " refs/tags/v1.2.0\n" + third + " refs/tags/v1.3.0\n"
	git := startRepositories(t, files)
	var minutes atomic.Int64
	began := time.Now()
	server, _ := instance(t, startUpstream(t), func(o *proxy.Options) {
		o.VersionControl, o.PrivateModules = git.URL, "corp.test/Team"
		o.Now = func() time.Time { return began.Add(time.Duration(minutes.Load()) * time.Minute) }
	})
	page := func() string { return strings.TrimSpace(get(t, server.Pages(), "/moved").Body.String()) }
	const other = "/corp.test/!team/other"
	files[other+"/@v/list"], files[other+"/@tags"] = "v1.0.0\n", first+" refs/tags/v1.0.0\n"
	files[other+"/@v/v1.0.0.info"] = info("v1.0.0", first)
	asked := func(module string) int { return git.count(module + "/@tags") }
	compared := func() int { return asked(privatePath) }
	for _, name := range []string{"/@v/list", "/@v/v1.0.0.info", "/@v/v1.1.0.info", "/@v/v1.2.0.info"} {
		mustServe(t, server, privatePath+name, files[privatePath+name])
	}
	next := func() {
		t.Helper()
		n := compared()
		minutes.Add(11)
		eventually(t, "a comparison", func() bool {
			get(t, server, privatePath+"/@v/v1.0.0.info") // one that has just begun may be the one before
			return compared() > n
		})
	}
	mustServe(t, server, other+"/@v/list", files[other+"/@v/list"])
	mustServe(t, server, other+"/@v/v1.0.0.info", files[other+"/@v/v1.0.0.info"])
	next()
	if got := page(); got != "null" {
		t.Errorf("without a move: %s", got)
	}
	git.set(privatePath+"/@tags", second+" refs/tags/v1.0.0\n"+first+" refs/tags/v1.1.0\n")
	// Another module that is compared after these requests shows that none was begun:
	// those of one host are compared one by one, in the order of the requests.
	n, others := compared(), asked(other)
	minutes.Add(9)
	eventually(t, "a comparison of another module", func() bool {
		for range 50 { // one of them after the comparison before has ended
			mustServe(t, server, privatePath+"/@v/v1.0.0.info", info("v1.0.0", first))
		}
		get(t, server, other+"/@v/list")
		return asked(other) > others
	})
	if got := page(); got != "null" || compared() != n {
		t.Errorf("within ten minutes: %s, after %d comparisons", got, compared()-n)
	}
	noticed := regexp.MustCompile(`,"noticed":"20[0-9-]*T[0-9:]*Z"`)
	entry := func(commit string) string {
		return `[{"module":"corp.test/Team/m","version":"v1.0.0","stored":"` + first + `","moved":"` + commit + `"}]`
	}
	times := map[string]bool{}
	for _, commit := range []string{second, third, third} {
		git.set(privatePath+"/@tags", commit+" refs/tags/v1.0.0\n"+first+" refs/tags/v1.1.0\n")
		next()
		eventually(t, "a report of "+commit, func() bool { return noticed.ReplaceAllString(page(), "") == entry(commit) })
		times[noticed.FindString(page())] = true
	}
	if len(times) != 2 || times[""] {
		t.Errorf("two moves were noticed at %v", times)
	}
	git.set(privatePath+"/@tags", first+" refs/tags/v1.1.0\n") // removed
	next()
	next()
	if got := noticed.ReplaceAllString(page(), ""); got != entry(third) {
		t.Errorf("once the tag is removed: %s", got)
	}
	git.set(privatePath+"/@tags", first+" refs/tags/v1.0.0\n"+first+" refs/tags/v1.1.0\n")
	next()
	eventually(t, "nothing to report of a tag that was moved back", func() bool { return page() == "null" || page() == "[]" })
	if text := get(t, server.Pages(), "/metrics").Body.String(); !strings.Contains(text, "\ngocache_proxy_moved_versions 0\n") {
		t.Error("the metric counts a version that was moved back")
	}
	git.set(privatePath+"/@tags", third+" refs/tags/v1.0.0\n")
	next()
	eventually(t, "a report of the move after that", func() bool { return noticed.ReplaceAllString(page(), "") == entry(third) })
	git.fail(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusBadGateway) })
	next()
	if got := noticed.ReplaceAllString(page(), ""); got != entry(third) {
		t.Errorf("while the repository cannot be read: %s", got)
	}
	mustServe(t, server, privatePath+"/@v/v1.0.0.info", info("v1.0.0", first))
	if text := get(t, server.Pages(), "/metrics").Body.String(); !strings.Contains(text, "\ngocache_proxy_moved_versions 1\n") {
		t.Error("the metric does not count the version")
	}
}

// TestServerThatHangsDelaysNoOther holds that while the tags of some hosts are not
// answered, those of another are compared; and that no more than four wait at once.
func TestServerThatHangsDelaysNoOther(t *testing.T) {
	t.Parallel()
	first, second := strings.Repeat("1", 40), strings.Repeat("2", 40)
	info := fmt.Sprintf(`{"Version":"v1.0.0","Origin":{"VCS":"git","URL":"https://git.test/m","Ref":"refs/tags/v1.0.0","Hash":%q}}`, first)
	files := map[string]string{}
	slow := []string{"/slow0.test/m", "/slow1.test/m", "/slow2.test/m", "/slow3.test/m", "/slow4.test/m", "/slow5.test/m"}
	all := append([]string{"/fast.test/m"}, slow...)
	for _, module := range all {
		files[module+"/@v/list"], files[module+"/@v/v1.0.0.info"], files[module+"/@tags"] = "v1.0.0\n", info, first+" refs/tags/v1.0.0\n"
	}
	git := startRepositories(t, files)
	var minutes atomic.Int64
	began := time.Now()
	server, _ := instance(t, startUpstream(t), func(o *proxy.Options) {
		o.VersionControl, o.PrivateModules = git.URL, "*.test"
		o.Now = func() time.Time { return began.Add(time.Duration(minutes.Load()) * time.Minute) }
	})
	for _, module := range all {
		mustServe(t, server, module+"/@v/list", "v1.0.0\n")
		mustServe(t, server, module+"/@v/v1.0.0.info", info)
	}
	var waiting atomic.Int64
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	git.fail(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasSuffix(r.URL.Path, "/@tags"):
			_, _ = w.Write([]byte("v1.0.0\n"))
		case strings.HasPrefix(r.URL.Path, "/fast"):
			_, _ = w.Write([]byte(second + " refs/tags/v1.0.0\n"))
		default:
			waiting.Add(1)
			defer waiting.Add(-1)
			select {
			case <-ended:
			case <-r.Context().Done():
			}
		}
	})
	minutes.Add(11)
	for n, module := range slow[:3] {
		eventually(t, "a comparison of "+module, func() bool {
			get(t, server, module+"/@v/list")
			return waiting.Load() == int64(n+1)
		})
	}
	eventually(t, "a report of the host that answers", func() bool {
		get(t, server, "/fast.test/m/@v/list")
		return strings.Contains(get(t, server.Pages(), "/moved").Body.String(), `"module":"fast.test/m"`)
	})
	for range 20 {
		for _, module := range slow {
			get(t, server, module+"/@v/list")
		}
	}
	eventually(t, "a fourth comparison that waits", func() bool { return waiting.Load() >= 4 })
	if n := waiting.Load(); n != 4 {
		t.Errorf("%d comparisons wait at once", n)
	}
}

// TestFirstComparison holds that a module of which the store has nothing at its first request
// is compared a minute later, and not ten.
func TestFirstComparison(t *testing.T) {
	t.Parallel()
	first, second := strings.Repeat("1", 40), strings.Repeat("2", 40)
	files := privateFiles(t)
	files[privatePath+"/@v/list"] = "v1.0.0\n"
	files[privatePath+"/@v/v1.0.0.info"] = fmt.Sprintf(`{"Version":"v1.0.0","Origin":{"VCS":"git","URL":"https://corp.test/m","Ref":"refs/tags/v1.0.0","Hash":%q}}`, first)
	files[privatePath+"/@tags"] = second + " refs/tags/v1.0.0\n"
	git := startRepositories(t, files)
	var seconds atomic.Int64
	began := time.Now()
	server, _ := instance(t, startUpstream(t), func(o *proxy.Options) {
		o.VersionControl, o.PrivateModules = git.URL, "corp.test/Team"
		o.Now = func() time.Time { return began.Add(time.Duration(seconds.Load()) * time.Second) }
	})
	mustServe(t, server, privatePath+"/@v/v1.0.0.info", files[privatePath+"/@v/v1.0.0.info"])
	eventually(t, "the end of a look at an empty store", func() bool { return server.Comparing() == 0 })
	mustServe(t, server, privatePath+"/@v/list", files[privatePath+"/@v/list"])
	seconds.Store(59)
	for range 20 {
		get(t, server, privatePath+"/@v/v1.0.0.info")
	}
	eventually(t, "the end of all comparisons", func() bool { return server.Comparing() == 0 })
	if n := git.count(privatePath + "/@tags"); n != 0 {
		t.Errorf("within a minute its tags were asked for %d times", n)
	}
	seconds.Store(61)
	eventually(t, "a report", func() bool {
		get(t, server, privatePath+"/@v/v1.0.0.info")
		return strings.Contains(get(t, server.Pages(), "/moved").Body.String(), second)
	})
	if n := git.count(privatePath + "/@tags"); n != 1 {
		t.Errorf("its tags were asked for %d times", n)
	}
}

// TestEndlessTags holds that a host which sends tags without end, and never pauses for long,
// has its place for no longer than the time of one comparison: a minute, or that of a fetch.
func TestEndlessTags(t *testing.T) {
	t.Parallel()
	info := fmt.Sprintf(`{"Version":"v1.0.0","Origin":{"VCS":"git","URL":"https://git.test/m","Ref":"refs/tags/v1.0.0","Hash":%q}}`, strings.Repeat("1", 40))
	files := map[string]string{}
	for _, module := range []string{"/git.test/endless", "/git.test/short"} {
		files[module+"/@v/list"], files[module+"/@v/v1.0.0.info"] = "v1.0.0\n", info
	}
	git := startRepositories(t, files)
	var minutes atomic.Int64
	began := time.Now()
	server, _ := instance(t, startUpstream(t), func(o *proxy.Options) {
		o.VersionControl, o.PrivateModules, o.FetchTimeout = git.URL, "*.test", 2*time.Second
		o.Now = func() time.Time { return began.Add(time.Duration(minutes.Load()) * time.Minute) }
	})
	for _, module := range []string{"/git.test/endless", "/git.test/short"} {
		mustServe(t, server, module+"/@v/v1.0.0.info", info)
		eventually(t, "the end of a look at an empty store", func() bool { return server.Comparing() == 0 })
		mustServe(t, server, module+"/@v/list", "v1.0.0\n")
	}
	ended, over := make(chan struct{}, 1), make(chan struct{})
	t.Cleanup(func() { close(over) })
	git.fail(func(w http.ResponseWriter, r *http.Request) {
		for strings.HasPrefix(r.URL.Path, "/git.test/endless/@tags") {
			if _, err := w.Write([]byte("2222 refs/tags/other\n")); err != nil || http.NewResponseController(w).Flush() != nil {
				ended <- struct{}{}
				return
			}
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		_, _ = w.Write([]byte(strings.Repeat("2", 40) + " refs/tags/v1.0.0\n"))
	})
	minutes.Add(11)
	eventually(t, "the comparison of the module with endless tags", func() bool {
		get(t, server, "/git.test/endless/@v/v1.0.0.info")
		return git.count("/git.test/endless/@tags") > 0
	})
	eventually(t, "its end", func() bool { return len(ended) > 0 })
	eventually(t, "a report of another module of the host", func() bool {
		get(t, server, "/git.test/short/@v/v1.0.0.info")
		return strings.Contains(get(t, server.Pages(), "/moved").Body.String(), `"module":"git.test/short"`)
	})
	if n := git.count("/git.test/endless/@tags"); n != 1 {
		t.Errorf("the endless tags were asked for %d times within ten minutes", n)
	}
	usual, _ := instance(t, startUpstream(t), func(o *proxy.Options) { o.FetchTimeout = 10 * time.Minute })
	if got := usual.ComparisonTimeout(); got != time.Minute {
		t.Errorf("a comparison may take %s", got)
	}
}
