package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/policy"
	"gocache.dev/operator/internal/proxy"
)

// guarded is an instance with a policy before a reference.
type guarded struct {
	t        *testing.T
	upstream *reference
	server   *proxy.Server
	store    string
	file     string
	url      string

	mu    sync.Mutex
	now   time.Time
	lines []string // of its log
}

func newGuarded(t *testing.T, text string) *guarded {
	t.Helper()
	g := &guarded{t: t, upstream: &reference{files: map[string]string{}, status: map[string]int{}}, file: filepath.Join(t.TempDir(), "policy.json"), now: time.Now()}
	g.write(text)
	up := front(t, g.upstream)
	g.server, g.store = instance(t, &upstream{Server: up}, func(o *proxy.Options) {
		o.Policy, o.Now = g.file, g.clock
		o.Log = logr.New(funcr.New(func(_, args string) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.lines = append(g.lines, args)
		}, funcr.Options{}).GetSink())
	})
	g.url = front(t, g.server).URL
	return g
}

func (g *guarded) clock() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

// later moves the clock, so that the file is read again, too.
func (g *guarded) later(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(d)
}

func (g *guarded) write(text string) {
	g.t.Helper()
	must(g.t, os.WriteFile(g.file+".new", []byte(text), 0o600))
	must(g.t, os.Rename(g.file+".new", g.file))
}

// publish a version some time ago.
func (g *guarded) publish(path, version string, age time.Duration, mod string) {
	g.t.Helper()
	m := module.Version{Path: path, Version: version}
	g.upstream.add(g.t, m, "module "+path+"\n\ngo 1.21\n"+mod, 10)
	g.upstream.files["/"+path+"/@v/"+version+".info"] = fmt.Sprintf(`{"Version":%q,"Time":%q}`, version, g.clock().Add(-age).UTC().Format(time.RFC3339))
	g.upstream.files["/"+path+"/@latest"] = g.upstream.files["/"+path+"/@v/"+version+".info"]
}

func (g *guarded) expect(path string, code int, parts ...string) {
	g.t.Helper()
	w := get(g.t, g.server, path)
	if w.Code != code {
		g.t.Errorf("GET %s: %d %q, want %d", path, w.Code, w.Body, code)
	}
	for _, part := range parts {
		if !strings.Contains(w.Body.String(), part) {
			g.t.Errorf("GET %s: %q, want %q in it", path, w.Body, part)
		}
	}
}

func (g *guarded) list(path, want string) {
	g.t.Helper()
	w := get(g.t, g.server, "/"+path+"/@v/list")
	if got := strings.Join(strings.Fields(w.Body.String()), " "); w.Code != http.StatusOK || got != want {
		g.t.Errorf("the list of %s: %d %q, want %q", path, w.Code, got, want)
	}
}

// metric is the line of one series.
func (g *guarded) metric(want string) {
	g.t.Helper()
	if page := get(g.t, g.server.Pages(), "/metrics").Body.String(); !strings.Contains(page, want+"\n") {
		g.t.Errorf("the metrics lack %s", want)
	}
}

func (g *guarded) logged(parts ...string) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
line:
	for _, line := range g.lines {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue line
			}
		}
		return
	}
	g.t.Errorf("no line of the log has %q", parts)
}

// golang runs the go command against the instance as clients do.
func (g *guarded) golang(arguments ...string) (string, error) {
	g.t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		g.t.Skip("there is no go command on this machine")
	}
	dir := g.t.TempDir()
	must(g.t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/main\n\ngo 1.21\n"), 0o600))
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", arguments...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY="+g.url+"|"+g.url, "GOSUMDB=off", "GONOPROXY=none", "GOPRIVATE=", "GOFLAGS=-modcacherw -mod=mod",
		"GOTOOLCHAIN=local", "GOMODCACHE="+filepath.Join(dir, "modcache"), "GOWORK=off", "GO111MODULE=on")
	out, err := cmd.CombinedOutput()
	text := string(out)
	if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
		text += string(mod)
	}
	return text, err
}

const day = 24 * time.Hour

// TestMinimumAge holds that the go command gets the newest version that is old
// enough, from lists, @latest and queries alike, also of what is stored, and the
// reason for a younger one that it names.
func TestMinimumAge(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, `{"mode":"Enforce","minimumAge":"168h","minimumAgeExempt":["corp.example.com"],"vetted":["example.com/vetted@v1.0.0"]}`)
	g.publish("example.com/m", "v1.0.0", 100*day, "")
	g.publish("example.com/m", "v1.1.0", 30*day, "")
	g.publish("example.com/m", "v1.1.1", 5*day, "")
	g.publish("example.com/m", "v1.2.0", day, "")
	g.publish("corp.example.com/a", "v1.0.0", time.Minute, "")
	g.publish("example.com/vetted", "v1.0.0", time.Minute, "")
	g.publish("example.com/new", "v1.0.0", time.Hour, "")
	g.upstream.files["/example.com/m/@v/master.info"] = g.upstream.files["/example.com/m/@v/v1.2.0.info"]
	pseudo := "v0.0.0-" + g.clock().Add(-day).UTC().Format("20060102150405") + "-0123456789ab"
	g.publish("example.com/pseudo", pseudo, day, "")
	g.upstream.files["/example.com/pseudo/@v/list"] = ""
	g.upstream.files["/example.com/timeless/@v/v1.0.0.info"] = `{"Version":"v1.0.0"}`

	for range 2 { // fetched, and stored
		g.list("example.com/m", "v1.0.0 v1.1.0")
		g.expect("/example.com/m/@latest", 200, `"v1.1.0"`)
		g.expect("/example.com/m/@v/v1.1.0.info", 200, `"v1.1.0"`)
		for _, file := range []string{"v1.1.1.info", "v1.1.1.mod", "v1.2.0.zip", "master.info"} {
			g.expect("/example.com/m/@v/"+file, 403, "minimumAge", "at least 168h old", "(instance blue, request ")
		}
		g.list("corp.example.com/a", "v1.0.0")
		g.expect("/corp.example.com/a/@v/v1.0.0.mod", 200)
		g.expect("/example.com/vetted/@v/v1.0.0.zip", 200)
		g.list("example.com/new", "")
		g.expect("/example.com/new/@latest", 403, "example.com/new@v1.0.0 is refused by the policy of this proxy (minimumAge)")
		g.expect("/example.com/pseudo/@latest", 403, pseudo)
		g.expect("/example.com/none/@latest", 404)
		g.expect("/example.com/timeless/@v/v1.0.0.info", 403, "at least 168h old")
	}
	g.metric(`gocache_proxy_policy_decisions_total{result="left_out",rule="minimumAge"} 6`)
	g.logged("The policy refuses a version", `"module"="example.com/m" "version"="v1.1.1" "rule"="minimumAge"`, `"requestID"=`, `"client"=`)

	out, err := g.golang("get", "example.com/m@latest")
	if err != nil || !strings.Contains(out, "example.com/m v1.1.0") {
		t.Errorf("go get m@latest: %v\n%s", err, out)
	}
	out, err = g.golang("get", "example.com/m@v1.2.0")
	if err == nil || !strings.Contains(out, "at least 168h old") || !strings.Contains(out, "403") {
		t.Errorf("go get m@v1.2.0: %v\n%s", err, out)
	}
	if out, err = g.golang("list", "-m", "-versions", "example.com/m"); err != nil || !strings.Contains(out, "example.com/m v1.0.0 v1.1.0\n") {
		t.Errorf("go list -m -versions: %v\n%s", err, out)
	}

	// What it has stored is not served by another time, and without the upstream.
	for path := range g.upstream.files {
		g.upstream.status[path] = 500
	}
	g.later(3 * day)
	g.list("example.com/m", "v1.0.0 v1.1.0 v1.1.1")
	g.expect("/example.com/m/@v/v1.1.1.info", 200)
	g.expect("/example.com/m/@latest", 200, `"v1.1.1"`)
	g.expect("/example.com/m/@v/v1.2.0.info", 403)
}

// TestRetractionsOfYoungVersions holds that a version which a too young one
// retracts is not offered in its place.
func TestRetractionsOfYoungVersions(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, `{"mode":"Enforce","minimumAge":"168h"}`)
	g.publish("example.com/m", "v1.0.0", 100*day, "")
	g.publish("example.com/m", "v1.1.0", 30*day, "")
	g.publish("example.com/m", "v1.1.1", day, "\nretract v1.1.0 // deletes files\n")
	g.list("example.com/m", "v1.0.0")
	g.expect("/example.com/m/@latest", 200, `"v1.0.0"`)
	g.expect("/example.com/m/@v/v1.1.0.info", 200) // a client that names it gets it, as without a policy
	out, err := g.golang("get", "example.com/m")
	if err != nil || !strings.Contains(out, "example.com/m v1.0.0") {
		t.Errorf("go get m: %v\n%s", err, out)
	}
}

// TestAllowAndDeny holds that lists are enforced for what is fetched and what was
// stored before, and that modules which do not exist are not refused: the go
// command asks for every prefix of a package's path.
func TestAllowAndDeny(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, `{"mode":"Enforce"}`)
	g.publish("example.com/m", "v1.0.0", 9*day, "")
	g.publish("example.com/m", "v1.1.0", 8*day, "")
	g.publish("example.com/other", "v1.0.0", 9*day, "")
	g.expect("/example.com/m/@v/v1.1.0.zip", 200)
	g.expect("/example.com/other/@v/v1.0.0.mod", 200)
	g.write(`{"mode":"Enforce","allow":[{"name":"ours","modules":["example.com/m"]}],"deny":[{"name":"cve","modules":["example.com/m"],"versions":[">v1.0.0 <v1.2.0"],"reason":"CVE-2026-1: use v1.0.0"}]}`)
	g.later(2 * time.Second)
	g.expect("/example.com/m/@v/v1.1.0.zip", 403, "example.com/m@v1.1.0 is refused by the policy of this proxy (deny/cve): CVE-2026-1: use v1.0.0")
	g.expect("/example.com/other/@v/v1.0.0.mod", 403, "no allow rule matches it")
	g.expect("/example.com/other/@latest", 403, "(allow)")
	g.list("example.com/other", "")
	g.list("example.com/m", "v1.0.0")
	g.expect("/example.com/@v/list", 404)
	g.expect("/example.com/m/sub/@latest", 404)
	g.metric(`gocache_proxy_policy_decisions_total{result="refused",rule="deny/cve"} 1`)

	// A client cannot choose another way, and another instance is not given it.
	request := httptest.NewRequest(http.MethodGet, "/example.com/m/@v/v1.1.0.zip", http.NoBody)
	request.Header.Set("Disable-Module-Fetch", "true")
	w := httptest.NewRecorder()
	g.server.ServeHTTP(w, request)
	if w.Code != http.StatusNotFound {
		t.Errorf("from the store alone: %d", w.Code)
	}

	out, err := g.golang("get", "example.com/m/sub/pkg@latest")
	if err == nil || strings.Contains(out, "403") || !strings.Contains(out, "v1.0.0") {
		t.Errorf("go get of a package in a module that is allowed: %v\n%s", err, out) // the module has no such package
	}
	out, err = g.golang("get", "example.com/m@v1.1.0")
	if err == nil || !strings.Contains(out, "CVE-2026-1: use v1.0.0") {
		t.Errorf("go get of a denied version: %v\n%s", err, out)
	}

	// A correction counts, and what cannot be read does not.
	g.write(`{"mode":"Enforce","deny":`)
	g.later(2 * time.Second)
	g.expect("/example.com/m/@v/v1.1.0.zip", 403)
	g.write(`{"mode":"Enforce","deny":[{"name":"other","modules":["example.com/other"]}]}`)
	g.later(2 * time.Second)
	g.expect("/example.com/m/@v/v1.1.0.zip", 200)
	g.list("example.com/m", "v1.0.0 v1.1.0")
	if page := get(t, g.server.Pages(), "/metrics").Body.String(); strings.Contains(page, "deny/cve") {
		t.Error("a rule that is gone keeps its series")
	}
}

// TestAdvisories holds that the go command gets the newest version that no advisory
// is about, and for another one the advisory.
func TestAdvisories(t *testing.T) {
	t.Parallel()
	advisories, err := policy.ParseOSV([]byte(`{"id":"GO-2026-0001","aliases":["CVE-2026-1"],"summary":"Denial of service in example.com/m",
		"affected":[{"package":{"ecosystem":"Go","name":"example.com/m"},"ranges":[{"type":"SEMVER","events":[{"introduced":"1.1.0"}]}]}]}`))
	must(t, err)
	text, err := (&policy.Policy{Mode: policy.Enforce, Advisories: advisories}).Format()
	must(t, err)
	g := newGuarded(t, string(text))
	g.publish("example.com/m", "v1.0.0", 9*day, "")
	g.publish("example.com/m", "v1.1.0", 8*day, "")
	g.publish("example.com/m/v2", "v2.0.0", 8*day, "")
	g.list("example.com/m", "v1.0.0")
	g.expect("/example.com/m/@v/v1.1.0.zip", 403, "example.com/m@v1.1.0 is refused by the policy of this proxy (advisory/GO-2026-0001): CVE-2026-1: Denial of service in example.com/m")
	g.expect("/example.com/m/v2/@v/v2.0.0.mod", 200)
	g.metric(`gocache_proxy_policy_decisions_total{result="refused",rule="advisory/GO-2026-0001"} 1`)

	out, err := g.golang("get", "example.com/m@v1.1.0")
	if err == nil || !strings.Contains(out, "403") || !strings.Contains(out, "advisory/GO-2026-0001") {
		t.Errorf("go get of an affected version: %v\n%s", err, out)
	}
	out, err = g.golang("get", "example.com/m@latest")
	if err != nil || !strings.Contains(out, "example.com/m v1.0.0") {
		t.Errorf("go get m@latest: %v\n%s", err, out)
	}
}

// TestDryRun holds that a dry run counts and serves.
func TestDryRun(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, `{"mode":"DryRun","minimumAge":"168h","deny":[{"name":"all","modules":["example.com/bad"]}]}`)
	g.publish("example.com/m", "v1.0.0", day, "")
	g.publish("example.com/bad", "v1.0.0", 9*day, "")
	g.list("example.com/m", "v1.0.0")
	g.expect("/example.com/m/@latest", 200, "v1.0.0")
	g.expect("/example.com/m/@v/v1.0.0.mod", 200)
	g.expect("/example.com/bad/@v/v1.0.0.zip", 200)
	g.metric(`gocache_proxy_policy_decisions_total{result="dry_run",rule="minimumAge"} 1`)
	g.metric(`gocache_proxy_policy_decisions_total{result="dry_run",rule="deny/all"} 1`)
	g.logged("The policy refuses a version", `"rule"="deny/all"`, `"result"="dry_run"`)
}

// TestPolicyIsNeededToStart holds that an instance does not serve without the
// policy that it is given.
func TestPolicyIsNeededToStart(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"missing": "", "invalid": `{"mode":"Off"}`} {
		file := filepath.Join(t.TempDir(), "policy.json")
		if text != "" {
			must(t, os.WriteFile(file, []byte(text), 0o600))
		}
		_, err := proxy.New(proxy.Options{
			Store: filepath.Join(t.TempDir(), "store"), Now: time.Now, Log: logr.Discard(), Policy: file,
			Environment: proxy.Environment{GOPROXY: "off", GOSUMDB: "off"},
		})
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
