package routetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/kube/route"
)

// Instance is a server that the backend under test is to use.
type Instance struct {
	Name    string
	Address string
	Standby bool
}

// Backend is a running router.
type Backend struct {
	// Router is the port under test.
	Router route.Router
	// URL is where clients go.
	URL string
	// Prefixes of paths under which the router offers the same, beside none.
	// What must not be served must not be served under any of them.
	Prefixes []string
	// Restart ends every replica at once, as a crash does, and starts it
	// again. It returns when the processes have been started.
	Restart func(t *testing.T)
	// Settle is how long an intent may take to arrive.
	Settle time.Duration
	// Followed reports whether this test's data plane does what is confirmed, which it
	// may do later, within the backend's Limits; nil: it does when it is confirmed.
	Followed func() bool
}

// Start puts a router before the instances. What it needs to clean up it
// registers with t.
type Start func(t *testing.T, instances []Instance) Backend

// Run examines a backend.
func Run(t *testing.T, start Start) {
	t.Helper()
	tests := []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"nothing is open before the first intent", testClosedAtStart},
		{"an intent arrives and is read back", testReadBack},
		{"shares follow the weights", testShares},
		{"a drained server finishes what it began", testDrain},
		{"a quarantined server loses what is under way", testQuarantineClosesConnections},
		{"a quarantined server serves nothing across restarts", testQuarantineSurvivesRestart},
		{"with no server left, none serves", testNoInstanceLeft},
		{"a dead server is left", testDeadServer},
		{"a hung server is left", testHungServer},
		{"a drained server is better than none", testLastResort},
		{"a standby waits for its turn", testStandby},
		{"failing answers take no server out", testPoisonousModule},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, &fixture{start: start}) })
	}
}

// fixture holds one router and two or three servers.
type fixture struct {
	start Start
	Backend
	servers map[string]*server
	client  *http.Client
	limits  route.Limits
	sent    int
}

// both is the intent that two servers serve, as far as the backend can.
func (f *fixture) both() string {
	if f.limits.OneAtATime {
		return "blue=100 green=drain"
	}
	return "blue=100 green=100"
}

// unless skips what a backend declares that it cannot do.
func unless(t *testing.T, cannot bool, what string) {
	t.Helper()
	if cannot {
		t.Skip("a declared limit of this backend: " + what)
	}
}

func (f *fixture) up(t *testing.T, names ...string) {
	t.Helper()
	f.servers = map[string]*server{}
	var instances []Instance
	for _, name := range names {
		name, standby := strings.CutSuffix(name, "*")
		s := startServer(t, name)
		f.servers[name] = s
		instances = append(instances, Instance{Name: name, Address: s.address, Standby: standby})
	}
	f.Backend = f.start(t, instances)
	f.limits = f.Router.Limits()
	// A new connection for every request: only the choice matters.
	f.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
}

// set publishes an intent like "blue=100 green=drain" and waits until it is
// confirmed.
func (f *fixture) set(t *testing.T, intent string) {
	t.Helper()
	want := parse(intent)
	if err := f.Router.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	f.confirmed(t, want)
	if f.Followed != nil {
		f.eventually(t, "the data plane to follow", f.Followed, func() string { return "it does not" })
	}
}

func (f *fixture) confirmed(t *testing.T, want []route.Server) {
	t.Helper()
	difference := ""
	f.eventually(t, "the intent to be confirmed", func() bool {
		observation, err := f.Router.Observe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var ok bool
		ok, difference = observation.Confirms(want)
		return ok
	}, func() string { return difference })
}

func (f *fixture) eventually(t *testing.T, what string, done func() bool, state func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), f.Settle)
	defer cancel()
	for !done() {
		if ctx.Err() != nil {
			t.Fatalf("waited %s for %s: %s", f.Settle, what, state())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func parse(intent string) []route.Server {
	var servers []route.Server
	for field := range strings.FieldsSeq(intent) {
		name, value, _ := strings.Cut(field, "=")
		s := route.Server{Name: name, State: route.State(value)}
		if _, err := fmt.Sscanf(value, "%d", &s.Weight); err == nil {
			s.State = route.Ready
		}
		servers = append(servers, s)
	}
	return servers
}

// get returns the status and the body, which is the server's name.
func (f *fixture) get(t *testing.T, path string) (int, string) {
	t.Helper()
	status, body, err := f.try(t.Context(), path)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return status, body
}

// try sends a request under each prefix in turn.
func (f *fixture) try(ctx context.Context, path string) (int, string, error) {
	prefixes := append([]string{""}, f.Prefixes...)
	f.sent++
	resp, err := f.send(ctx, prefixes[f.sent%len(prefixes)]+path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(body)), err
}

func (f *fixture) send(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	return f.client.Do(req)
}

// only asserts that n requests are all answered by the named server.
func (f *fixture) only(t *testing.T, name string, n int) {
	t.Helper()
	for range n {
		if status, body := f.get(t, "/m/@v/list"); status != http.StatusOK || body != name {
			t.Fatalf("answered %d %q, want 200 %q", status, body, name)
		}
	}
}

func testClosedAtStart(t *testing.T, f *fixture) {
	f.up(t, "blue", "green")
	for range 20 {
		if status, _, err := f.try(t.Context(), "/m/@v/list"); err == nil && status == http.StatusOK {
			t.Fatal("a server was open before it was set so")
		}
		time.Sleep(50 * time.Millisecond)
	}
	observation, err := f.Router.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if ok, _ := observation.Confirms(parse("blue=100 green=100")); ok {
		t.Error("an intent that was never set is confirmed")
	}
}

func testReadBack(t *testing.T, f *fixture) {
	f.up(t, "blue", "green", "red")
	intents := []string{
		"blue=100 green=100 red=100", "blue=50 green=256 red=drain", "blue=1 green=down red=drain",
		"blue=100 green=100 red=down", "blue=drain green=100 red=100",
	}
	if f.limits.OneAtATime {
		intents = []string{
			"blue=100 green=drain red=drain", "blue=drain green=256 red=drain", "blue=drain green=down red=1",
			"blue=down green=down red=down", "blue=100 green=down red=drain",
		}
	}
	for _, intent := range intents {
		f.set(t, intent)
	}
}

func testShares(t *testing.T, f *fixture) {
	f.up(t, "blue", "green")
	unless(t, f.limits.OneAtATime, "one server at a time")
	f.set(t, "blue=100 green=25")
	f.Prefixes = nil // what they lead to need not be weighted
	counts := map[string]int{}
	// A router may choose at random: then fewer than 130 are one run of four million, and
	// so many with equal shares one of seventy thousand.
	for range 200 {
		_, body := f.get(t, "/m/@v/list")
		counts[body]++
	}
	if counts["blue"] < 130 || counts["green"] < 10 {
		t.Errorf("of 200 requests with shares 100:25: %v", counts)
	}
}

func testDrain(t *testing.T, f *fixture) {
	f.up(t, "blue", "green")
	f.set(t, "blue=100 green=down")
	downloads := f.downloads(t)
	f.set(t, "blue=drain green=100")
	f.only(t, "green", 20)
	f.servers["blue"].release()
	for prefix, wait := range downloads {
		if n, err := wait(); err != nil || n != slowSize {
			t.Errorf("%q: the download ended after %d of %d bytes: %v", prefix, n, slowSize, err)
		}
	}
}

func testQuarantineClosesConnections(t *testing.T, f *fixture) {
	f.up(t, "blue", "green")
	f.set(t, "blue=100 green=down")
	downloads := f.downloads(t)
	f.set(t, "blue=down green=100")
	f.only(t, "green", 20)
	for prefix, wait := range downloads {
		if n, err := wait(); err == nil || n >= slowSize {
			t.Errorf("%q: the quarantined server delivered %d of %d bytes, error %v", prefix, n, slowSize, err)
		}
	}
}

func testQuarantineSurvivesRestart(t *testing.T, f *fixture) {
	f.up(t, "blue", "green")
	f.set(t, f.both())
	f.set(t, "blue=down green=100")
	before := f.servers["blue"].served.Load()
	for range 3 {
		f.Restart(t)
		answered := 0
		f.eventually(t, "the router to serve again", func() bool {
			status, body, err := f.try(t.Context(), "/m/@v/list")
			if err == nil && status == http.StatusOK {
				answered++
			}
			if body == "blue" {
				t.Fatal("the quarantined server answered")
			}
			return answered >= 20
		}, func() string { return fmt.Sprintf("%d answers", answered) })
	}
	f.confirmed(t, parse("blue=down green=100"))
	if after := f.servers["blue"].served.Load(); after != before {
		t.Errorf("the quarantined server served %d bytes", after-before)
	}
}

func testNoInstanceLeft(t *testing.T, f *fixture) {
	f.up(t, "blue", "green")
	f.set(t, f.both())
	f.set(t, "blue=down green=down")
	if f.limits.CallerHeals {
		for range 10 {
			if status, body, err := f.try(t.Context(), "/m/@v/list"); err == nil && status < http.StatusInternalServerError {
				t.Errorf("with no server left: %d %q", status, body)
			}
		}
		return
	}
	resp, err := f.send(t.Context(), "/m/@v/list")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" ||
		!strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") || !strings.Contains(string(text), "no module proxy instance") {
		t.Errorf("answer %d %v %q", resp.StatusCode, resp.Header, text)
	}
	f.set(t, "blue=100 green=down")
	f.only(t, "blue", 5)
}

func testDeadServer(t *testing.T, f *fixture) {
	f.up(t, "blue", "green")
	f.set(t, f.both())
	f.servers["blue"].kill()
	if f.limits.CallerHeals {
		f.set(t, "blue=drain green=100")
		f.only(t, "green", 50)
		return
	}
	// Redispatching covers the time until the health check has noticed.
	f.only(t, "green", 50)
	f.confirmed(t, parse("blue=100 green=100"))
	f.eventually(t, "blue to be held for dead", func() bool {
		observation, err := f.Router.Observe(t.Context())
		return err == nil && len(observation.Unhealthy()["blue"]) > 0
	}, func() string { return "it is not" })
}

func testHungServer(t *testing.T, f *fixture) {
	f.up(t, "blue", "green")
	f.set(t, f.both())
	f.servers["blue"].hang()
	if f.limits.CallerHeals {
		f.set(t, "blue=drain green=100")
		f.only(t, "green", 50)
		return
	}
	f.eventually(t, "answers from green alone", func() bool {
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			_, body, err := f.try(ctx, "/m/@v/list")
			cancel()
			if err != nil || body != "green" {
				return false
			}
		}
		return true
	}, func() string { return "blue still gets requests" })
}

func testLastResort(t *testing.T, f *fixture) {
	f.up(t, "blue", "green")
	unless(t, f.limits.CallerHeals, "a drained server is used only when the caller sets it")
	f.set(t, "blue=100 green=drain")
	f.only(t, "blue", 10)
	f.servers["blue"].kill()
	f.eventually(t, "the drained server to step in", func() bool {
		status, body, err := f.try(t.Context(), "/m/@v/list")
		return err == nil && status == http.StatusOK && body == "green"
	}, func() string { return "it does not" })
	f.only(t, "green", 20)
	f.set(t, "blue=100 green=down")
	if status, body := f.get(t, "/m/@v/list"); status != http.StatusServiceUnavailable {
		t.Errorf("a quarantined server is no last resort: answered %d %q", status, body)
	}
}

func testStandby(t *testing.T, f *fixture) {
	f.up(t, "blue", "green", "spare*")
	unless(t, f.limits.CallerHeals, "the caller chooses the standby")
	f.set(t, "blue=100 green=100 spare=100")
	for range 30 {
		if _, body := f.get(t, "/m/@v/list"); body == "spare" {
			t.Fatal("the standby served beside active servers")
		}
	}
	f.set(t, "blue=down green=drain spare=100")
	f.only(t, "spare", 10)
	f.set(t, "blue=100 green=100 spare=100")
	f.servers["blue"].kill()
	f.servers["green"].kill()
	f.eventually(t, "the standby to step in", func() bool {
		status, body, err := f.try(t.Context(), "/m/@v/list")
		return err == nil && status == http.StatusOK && body == "spare"
	}, func() string { return "it does not" })
}

// testPoisonousModule: a module that always fails must not take the others
// with it.
func testPoisonousModule(t *testing.T, f *fixture) {
	f.up(t, "blue", "green")
	f.set(t, f.both())
	for i := range 100 {
		if status, _ := f.get(t, "/fail/@v/list"); status != http.StatusInternalServerError {
			t.Fatalf("the failing module answered %d", status)
		}
		if status, body := f.get(t, "/m/@v/list"); status != http.StatusOK {
			t.Fatalf("after %d failures another module answered %d %q", i+1, status, body)
		}
	}
}

// downloads begins, under each prefix, a body that ends only when the server
// is released, and returns how to wait for their ends.
func (f *fixture) downloads(t *testing.T) map[string]func() (int64, error) {
	t.Helper()
	waits := map[string]func() (int64, error){}
	for _, prefix := range append([]string{""}, f.Prefixes...) {
		waits[prefix] = f.download(t, prefix)
	}
	return waits
}

func (f *fixture) download(t *testing.T, prefix string) (wait func() (int64, error)) {
	t.Helper()
	resp, err := f.send(t.Context(), prefix+"/slow/@v/v1.0.0.zip")
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the download answered %d", resp.StatusCode)
	}
	return func() (int64, error) {
		defer func() { _ = resp.Body.Close() }()
		return io.Copy(io.Discard, resp.Body)
	}
}

// slowSize is more than a router may hold back, in bytes.
const slowSize = 2 << 20

// server answers with its name.
type server struct {
	name     string
	address  string
	http     *http.Server
	served   atomic.Int64 // bytes of bodies, without health checks
	hung     chan struct{}
	released chan struct{}
	isHung   atomic.Bool
}

func startServer(t *testing.T, name string) *server {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{name: name, address: listener.Addr().String(), hung: make(chan struct{}), released: make(chan struct{})}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.http.Serve(listener) }() // ends with kill
	t.Cleanup(func() {
		close(s.hung)
		s.kill()
	})
	return s
}

func (s *server) kill()    { _ = s.http.Close() }
func (s *server) hang()    { s.isHung.Store(true) }
func (s *server) release() { close(s.released) }

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.isHung.Load() {
		<-s.hung
		return
	}
	switch {
	case r.URL.Path == "/readyz", r.URL.Path == "/healthz":
	case strings.HasPrefix(r.URL.Path, "/fail/"):
		http.Error(w, "this module always fails", http.StatusInternalServerError)
	case strings.HasPrefix(r.URL.Path, "/slow/"):
		s.slow(w, r)
	default:
		n, _ := io.WriteString(w, s.name+"\n")
		s.served.Add(int64(n))
	}
}

func (s *server) slow(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", fmt.Sprint(slowSize))
	left := slowSize
	write := func(n int) {
		n, _ = w.Write(make([]byte, n))
		left -= n
		s.served.Add(int64(n))
		_ = http.NewResponseController(w).Flush()
	}
	write(slowSize / 2)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C: // it is slow, and not silent
			write(1)
		case <-s.released:
			write(left)
			return
		case <-r.Context().Done():
			return
		}
	}
}
