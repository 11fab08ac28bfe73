package prober_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

// hosts answer without a network: what each host serves by path, and what it was
// asked for.
type hosts struct {
	mu    sync.Mutex
	pages map[string]map[string]string
	asked map[string][]string
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked == nil {
		h.asked = map[string][]string{}
	}
	h.asked[r.URL.Host] = append(h.asked[r.URL.Host], r.Method+" "+r.URL.RequestURI())
	w := httptest.NewRecorder()
	if page, ok := h.pages[r.URL.Host][r.URL.Path]; ok {
		_, _ = w.WriteString(page)
	} else {
		w.WriteHeader(http.StatusNotFound)
	}
	return w.Result(), nil
}

func (h *hosts) set(host, path, page string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pages[host] == nil {
		h.pages[host] = map[string]string{}
	}
	h.pages[host][path] = page
}

// times is how often a host was asked for something.
func (h *hosts) times(host, request string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, asked := range h.asked[host] {
		if asked == request {
			n++
		}
	}
	return n
}

// probed is a prober of hosts, and what it wakes.
func probed(t *testing.T, now func() time.Time) (*hosts, *prober.Prober, func() bool) {
	t.Helper()
	h := &hosts{pages: map[string]map[string]string{}}
	p := prober.New(now, &http.Client{Transport: h})
	queue := woken(t, p)
	return h, p, func() bool { return drained(queue) }
}

// drained empties a queue, and reports whether there was anything in it.
func drained(queue workqueue.TypedRateLimitingInterface[reconcile.Request]) (woken bool) {
	for queue.Len() > 0 {
		r, _ := queue.Get()
		queue.Done(r)
		woken = true
	}
	return woken
}

func target(name string, kinds ...failover.Kind) prober.Target {
	return prober.Target{
		Name: name, URL: "http://" + name, Pages: "http://" + name, Interval: time.Hour, Timeout: 10 * time.Second, DiskLimit: 90,
		Thresholds: failover.Thresholds{Failure: 1, Success: 1}, Kinds: kinds,
	}
}

// TestVolume holds what is known of the volume of a store, and that it wakes the proxy
// when it matters: a volume that fills slowly does not, at each probe.
func TestVolume(t *testing.T) {
	t.Parallel()
	h, p, woken := probed(t, time.Now)
	of := target("blue", failover.Disk)
	of.SupportsStoredOnly = true
	p.Set(proxy, prober.Targets{Instances: []prober.Target{of}})
	const unknown = -1
	for round, tt := range []struct {
		used    int // of 100
		full    int
		percent int32
		disk    failover.Outcome
		fails   bool
		wakes   bool
	}{
		{52, 0, 50, failover.Passed, false, true},
		{54, 0, 50, failover.Passed, false, false},
		{55, 0, 55, failover.Passed, false, true},
		{55, 1, 55, failover.Passed, true, true},
		{55, 1, 55, failover.Passed, true, false},
		{55, 0, 55, failover.Passed, false, true},
		{91, 0, 90, failover.Failed, false, true},
		{unknown, 0, unknown, failover.Failed, false, true}, // what is not known changes no outcome
	} {
		page := fmt.Sprintf("# TYPE gocache_proxy_store_full gauge\ngocache_proxy_store_full %d\n", tt.full)
		if tt.used != unknown {
			page += fmt.Sprintf("# TYPE gocache_proxy_volume_used_bytes gauge\ngocache_proxy_volume_used_bytes %d\n"+
				"# TYPE gocache_proxy_volume_available_bytes gauge\ngocache_proxy_volume_available_bytes %d\n", tt.used, 100-tt.used)
		}
		h.set("blue", "/metrics", page)
		p.Round(t.Context(), proxy)
		got := p.Observe(proxy).Instances["blue"]
		if percent := got.DiskUsedPercent; (percent == nil) != (tt.percent == unknown) || percent != nil && *percent != tt.percent {
			t.Errorf("round %d: %v %% used, want %d", round, percent, tt.percent)
		}
		if s := got.Streaks[failover.Disk]; s.Outcome != tt.disk {
			t.Errorf("round %d: the probe of the disk: %+v, want %v", round, s, tt.disk)
		}
		if (got.Full.Outcome == failover.Failed) != tt.fails {
			t.Errorf("round %d: full: %+v, want %v", round, got.Full, tt.fails)
		}
		if woken() != tt.wakes {
			t.Errorf("round %d: woken: %v", round, !tt.wakes)
		}
	}
}

// TestReports holds that the report of the agent is kept in the operator's own time,
// that an agent which does not answer takes nothing back, and that a check is
// requested until one has begun that is late enough.
func TestReports(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	h, p, woken := probed(t, func() time.Time { return now })
	of := target("blue", failover.Ready)
	of.Agent, of.Layout, of.Token = "http://agent", store.Goproxy, "secret"
	h.set("blue", "/readyz", "ok")
	h.set("agent", "/check", "")
	p.Set(proxy, prober.Targets{Instances: []prober.Target{of}})
	reported := func() *prober.StoreReport {
		t.Helper()
		p.Round(t.Context(), proxy)
		return p.Observe(proxy).Instances["blue"].Store
	}
	reported()
	woken() // as the instance is ready
	if r := reported(); r != nil || woken() {
		t.Errorf("no report is %+v", r)
	}
	verdict := `"verdict":{"verdict":"Intact","digest":"sha256:x","examples":[{"severity":"note","path":"n"}]},"began":60000000000,"ended":30000000000`
	h.set("agent", "/report", `{`+verdict+`,"sample":[{"Path":"example.com/c","Version":"v1.0.0","Zip":"h1:x"}]}`)
	r := reported()
	if r == nil || r.Verdict.Verdict != integrity.Intact || !r.Began.Equal(now.Add(-time.Minute)) || !r.Ended.Equal(now.Add(-30*time.Second)) ||
		!r.Running.IsZero() || len(r.Sample) != 1 || len(r.Verdict.Examples) != 0 {
		t.Fatalf("%+v", r)
	}
	if !woken() {
		t.Error("the first report does not wake the proxy")
	}
	if reported(); woken() {
		t.Error("the same report wakes the proxy again")
	}
	// The same check, as it is reported a minute later, with the jitter of a network.
	now = now.Add(time.Minute)
	h.set("agent", "/report", `{`+strings.Replace(strings.Replace(verdict, `"began":60`, `"began":121`, 1), `"ended":30`, `"ended":91`, 1)+`}`)
	if reported(); woken() {
		t.Error("the jitter of a network wakes the proxy")
	}
	h.set("agent", "/report", `{`+strings.Replace(verdict, `"ended":30`, `"ended":10`, 1)+`}`)
	if reported(); !woken() {
		t.Error("another check does not wake the proxy")
	}
	h.set("agent", "/report", "<html>")
	if r := reported(); r == nil || r.Verdict.Verdict != integrity.Intact || woken() {
		t.Errorf("an agent that does not answer takes the report back: %+v", r)
	}

	h.set("agent", "/report", `{`+verdict+`}`) // began a minute ago
	request := func(c prober.Check, want string) {
		t.Helper()
		plain, hurried := h.times("agent", "POST /check"), h.times("agent", "POST /check?unhurried=false")
		p.RequestChecks(proxy, map[string]prober.Check{"blue": c, "other": {Since: now}})
		reported()
		got := ""
		switch {
		case h.times("agent", "POST /check") > plain:
			got = "unhurried"
		case h.times("agent", "POST /check?unhurried=false") > hurried:
			got = "hurried"
		}
		if got != want {
			t.Errorf("%+v: %q is requested, want %q", c, got, want)
		}
	}
	request(prober.Check{}, "")
	request(prober.Check{Since: now.Add(-2 * time.Minute), Unhurried: true}, "")
	request(prober.Check{Since: now.Add(-time.Minute), Unhurried: true}, "unhurried")
	request(prober.Check{Since: now}, "hurried")
	h.set("agent", "/report", `{`+verdict+`,"running":5000000000}`)
	request(prober.Check{Since: now}, "hurried")
	request(prober.Check{Since: now.Add(-6 * time.Second)}, "")
	if got := p.Observe(proxy).Instances["blue"].Store.Running; !got.Equal(now.Add(-5 * time.Second)) {
		t.Errorf("the check that runs began at %s", got)
	}
}

// TestSharedDatabase holds that the checksum database is asked for through all
// instances, and that an outage of it is not the fault of an instance.
func TestSharedDatabase(t *testing.T) {
	t.Parallel()
	h, p, woken := probed(t, time.Now)
	to := prober.Targets{
		Instances: []prober.Target{target("blue", failover.ChecksumDatabase), target("green", failover.ChecksumDatabase)},
		Database:  prober.DatabaseTarget{Probed: true, Interval: time.Hour, Timeout: 10 * time.Second, Thresholds: failover.Thresholds{Failure: 2, Success: 2}},
	}
	to.Instances[1].Ready = probe.OwnPage
	p.Set(proxy, to)
	tree := string(tlog.FormatTree(tlog.Tree{N: 7}))
	serve := func(host, page string) {
		h.set(host, "/sumdb/db.test/supported", "")
		h.set(host, "/sumdb/db.test/latest", page)
	}
	round := func() (db prober.DatabaseObservation, blue, green failover.Streak) {
		p.Round(t.Context(), proxy)
		o := p.Observe(proxy)
		return o.Database, o.Instances["blue"].Streaks[failover.ChecksumDatabase], o.Instances["green"].Streaks[failover.ChecksumDatabase]
	}
	serve("blue", tree)
	serve("green", tree)
	if db, blue, _ := round(); db.Name != "" || blue.Count != 0 || woken() {
		t.Errorf("no instance names a database: %+v, %+v", db, blue)
	}
	h.set("green", "/metrics", "# TYPE gocache_proxy_checksum_database gauge\ngocache_proxy_checksum_database{name=\"db.test\"} 1\n")
	db, blue, green := round()
	if db.Name != "db.test" || db.Absent || db.Reached.Outcome != failover.Passed || blue.Outcome != failover.Passed || green.Outcome != failover.Passed || !woken() {
		t.Errorf("both serve it: %+v, %+v, %+v", db, blue, green)
	}
	round()
	woken()
	if round(); woken() {
		t.Error("the same again wakes the proxy")
	}
	serve("blue", "<html>")
	db, blue, green = round()
	if db.Reached.Outcome != failover.Passed || blue.Outcome != failover.Failed || green.Outcome != failover.Passed || !woken() {
		t.Errorf("one does not: %+v, %+v, %+v", db, blue, green)
	}
	serve("green", "<html>")
	db, blue, green = round()
	if db.Reached.Outcome != failover.Failed || db.Reached.Message == "" || blue.Outcome == failover.Failed && blue.Count > 1 || green.Outcome == failover.Failed || !woken() {
		t.Errorf("none does: %+v, %+v, %+v", db, blue, green)
	}
	first := db.Reached.Message
	serve("green", "<html><p>")
	h.set("blue", "/sumdb/db.test/latest", strings.Repeat("x", 1<<20))
	if db, _, _ = round(); db.Reached.Count != 2 || db.Reached.Message != first {
		t.Errorf("one outage has two texts: %q and %q", first, db.Reached.Message)
	}
	delete(h.pages["blue"], "/sumdb/db.test/supported")
	delete(h.pages["green"], "/sumdb/db.test/supported")
	if db, blue, green = round(); !db.Absent || blue.Outcome == failover.Failed || green.Outcome == failover.Failed {
		t.Errorf("all leave it to the clients: %+v, %+v, %+v", db, blue, green)
	}
	to.Database.Probed = false
	p.Set(proxy, to)
	asked := len(h.asked["blue"])
	if round(); len(h.asked["blue"]) != asked || p.Observe(proxy).Database.Name != "" {
		t.Error("a database that is no longer probed is asked for")
	}
}

// TestContradiction holds that instances are compared by what each served in its last
// round, without a request, and that one that is excluded is not.
func TestContradiction(t *testing.T) {
	t.Parallel()
	h, p, woken := probed(t, time.Now)
	m := module.Version{Path: "example.com/c", Version: "v1.0.0"}
	serve := func(host, source string) {
		const at = "/example.com/c/@v/v1.0.0"
		h.set(host, at+".info", `{"Version":"v1.0.0"}`)
		h.set(host, at+".mod", "module example.com/c\n")
		h.set(host, at+".zip", archive(t, source))
	}
	var to prober.Targets
	for _, name := range []string{"blue", "green", "red"} {
		of := target(name, failover.Consistency)
		of.References = []probe.ReferenceModule{{Module: m}}
		to.Instances = append(to.Instances, of)
		serve(name, "package c\n")
	}
	p.Set(proxy, to)
	outcomes := func() (all [3]failover.Outcome) {
		t.Helper()
		p.Round(t.Context(), proxy)
		p.Round(t.Context(), proxy) // what the last one served is compared with by all
		for i, name := range []string{"blue", "green", "red"} {
			all[i] = p.Observe(proxy).Instances[name].Streaks[failover.Consistency].Outcome
		}
		return all
	}
	const passed, failed = failover.Passed, failover.Failed
	if got := outcomes(); got != [3]failover.Outcome{passed, passed, passed} || len(p.Observe(proxy).Agreed) != 1 || !woken() {
		t.Errorf("all agree: %v, %v", got, p.Observe(proxy).Agreed)
	}
	agreed := p.Observe(proxy).Agreed
	serve("red", "package c // other\n")
	if got := outcomes(); got != [3]failover.Outcome{passed, passed, failed} || len(p.Observe(proxy).Agreed) != 0 || !woken() {
		t.Errorf("one contradicts two: %v, %v", got, p.Observe(proxy).Agreed)
	}
	if o := p.Observe(proxy).Instances["red"]; o.Agrees.Outcome != failed || !strings.Contains(o.Agrees.Message, "red") {
		t.Errorf("the difference is not named: %+v", o.Agrees)
	}
	p.CompareBy(proxy, prober.Reference{Excluded: map[string]bool{"red": true}})
	if got := outcomes(); got[0] != passed || got[1] != passed || p.Observe(proxy).Instances["red"].Agrees.Count > 2 {
		t.Errorf("the one that contradicts is excluded: %v", got)
	}
	// Two against each other: what all had agreed on before decides.
	serve("green", "package c // other\n")
	p.CompareBy(proxy, prober.Reference{Agreed: agreed, Excluded: map[string]bool{"red": true}})
	if got := outcomes(); got[0] != passed || got[1] != failed {
		t.Errorf("the one that has changed is not singled out: %v", got)
	}
	if h.times("blue", "GET /example.com/c/@v/v1.0.0.zip") == 0 {
		t.Error("nothing was served")
	}
}

// archive is a module archive with some source.
func archive(t *testing.T, source string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range map[string]string{"go.mod": "module example.com/c\n", "c.go": source} {
		f, err := z.Create("example.com/c@v1.0.0/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
