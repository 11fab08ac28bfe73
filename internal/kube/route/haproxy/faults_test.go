package haproxy_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/routetest"
	"gocache.dev/operator/internal/proxy"
	"gocache.dev/operator/internal/testing/loopback"
)

// The defaults keep this within a usual test run. To measure:
//
//	go test ./internal/kube/route/haproxy -run TestFaults -v -faults.commands=500 -faults.parallel=20
var (
	faultCommands = flag.Int("faults.commands", 24, "go commands per fault")
	faultProxy    = flag.String("faults.goproxy", "published", "what clients use: published, triple (one address three times) or single")
	faultParallel = flag.Int("faults.parallel", 8, "go commands at once")
)

const instanceVariable = "GOCACHE_TEST_INSTANCE"

// TestMain lets the test binary be an instance, so that one can be killed.
func TestMain(m *testing.M) {
	if arguments := os.Getenv(instanceVariable); arguments != "" {
		if err := serveInstance(strings.Fields(arguments)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if modulesDir != "" {
		_ = os.RemoveAll(modulesDir)
	}
	os.Exit(code)
}

func serveInstance(arguments []string) error {
	address, store, upstream := arguments[0], arguments[1], arguments[2]
	logged, err := os.Create(store + ".log")
	if err != nil {
		return err
	}
	server, err := proxy.New(proxy.Options{
		Store: store, Name: filepath.Base(store), Environment: proxy.Environment{GOPROXY: upstream, GOSUMDB: "off"},
		MinFree: 1, Now: time.Now, Log: logr.FromSlogHandler(slog.NewJSONHandler(logged, nil)),
	})
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	return server.Serve(context.Background(), listener, nil, time.Second)
}

// site is two instances, the router before them, and modules to download.
type site struct {
	backend   routetest.Backend
	modules   []module.Version
	goMod     string
	goSum     string
	instances map[string]*process
	front     *front // before blue
}

type process struct {
	cmd   *exec.Cmd
	store string
	url   string
}

// newSite fills both stores first if warm.
func newSite(t *testing.T, warm bool) *site {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command on this machine")
	}
	requireHAProxy(t)
	s := &site{instances: map[string]*process{}}
	s.makeModules(t)
	source := s.publishModules(t)
	var instances []routetest.Instance
	for _, name := range []string{"blue", "green"} {
		p := startInstance(t, name, source)
		s.instances[name] = p
		address := strings.TrimPrefix(p.url, "http://")
		if name == "blue" {
			s.front = newFront(t, p.url)
			address = s.front.address
		}
		instances = append(instances, routetest.Instance{Name: name, Address: address})
	}
	if warm {
		for _, p := range s.instances {
			client := goproxy.Client{Base: p.url}
			for _, m := range s.modules {
				if _, err := client.Sums(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	s.backend = startRouter(t, instances)
	want := []route.Server{{Name: "blue", State: route.Ready, Weight: 100}, {Name: "green", State: route.Ready, Weight: 100}}
	if err := s.backend.Router.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		observation, err := s.backend.Router.Observe(t.Context())
		if ok, _ := observation.Confirms(want); err == nil && ok {
			return s
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the router does not open its servers")
	return nil
}

var (
	modulesOnce sync.Once
	modulesDir  string // GOPROXY layout, shared by all faults
	modulesMade []module.Version
	modulesMod  string
	modulesSum  string
	modulesErr  error
)

func (s *site) makeModules(t *testing.T) {
	t.Helper()
	modulesOnce.Do(func() { modulesErr = writeModules() })
	if modulesErr != nil {
		t.Fatal(modulesErr)
	}
	s.modules, s.goMod, s.goSum = modulesMade, modulesMod, modulesSum
}

// writeModules makes six small modules and one of 6 MB.
func writeModules() error {
	dir, err := os.MkdirTemp("", "modules")
	if err != nil {
		return err
	}
	modulesDir = dir
	r := rand.New(rand.NewPCG(1, 2))
	var mod, sum strings.Builder
	mod.WriteString("module example.com/main\n\ngo 1.26\n\nrequire (\n")
	for i := range 7 {
		m := module.Version{Path: fmt.Sprintf("example.com/dep%d", i), Version: "v1.0.0"}
		size := 10_000
		if i == 6 {
			size = 6 << 20
		}
		content := make([]byte, size) // random: it does not compress
		for n := range content {
			content[n] = byte(r.Uint32())
		}
		if err := writeModule(dir, m, content, &sum); err != nil {
			return err
		}
		modulesMade = append(modulesMade, m)
		fmt.Fprintf(&mod, "\t%s %s\n", m.Path, m.Version)
	}
	mod.WriteString(")\n")
	modulesMod, modulesSum = mod.String(), sum.String()
	return nil
}

func writeModule(dir string, m module.Version, content []byte, sum *strings.Builder) error {
	tree := filepath.Join(dir, "src", filepath.Base(m.Path))
	if err := os.MkdirAll(tree, 0o750); err != nil {
		return err
	}
	goMod := []byte("module " + m.Path + "\n\ngo 1.26\n")
	for name, text := range map[string][]byte{"go.mod": goMod, "x.go": []byte("package x\n"), "data": content} {
		if err := os.WriteFile(filepath.Join(tree, name), text, 0o600); err != nil {
			return err
		}
	}
	var archive bytes.Buffer
	if err := zip.CreateFromDir(&archive, m, tree); err != nil {
		return err
	}
	at := filepath.Join(dir, m.Path, "@v")
	if err := os.MkdirAll(at, 0o750); err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		"list": []byte(m.Version + "\n"), m.Version + ".mod": goMod, m.Version + ".zip": archive.Bytes(),
		m.Version + ".info": []byte(`{"Version":"` + m.Version + `","Time":"2024-01-02T03:04:05Z"}`),
	} {
		if err := os.WriteFile(filepath.Join(at, name), text, 0o600); err != nil {
			return err
		}
	}
	zipSum, err := goproxy.SumZip(bytes.NewReader(archive.Bytes()), int64(archive.Len()), 1<<30)
	if err != nil {
		return err
	}
	modSum, err := goproxy.SumMod(goMod)
	if err != nil {
		return err
	}
	fmt.Fprintf(sum, "%s %s %s\n%s %s/go.mod %s\n", m.Path, m.Version, zipSum, m.Path, m.Version, modSum)
	return nil
}

func (s *site) publishModules(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(modulesDir)))
	t.Cleanup(server.Close)
	return server.URL
}

func startInstance(t *testing.T, name, upstream string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address, store := loopback.Address(t), filepath.Join(t.TempDir(), name)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), instanceVariable+"="+strings.Join([]string{address, store, upstream}, " "))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := &process{cmd: cmd, store: store, url: "http://" + address}
	waitFor(t, p.url+"/healthz")
	return p
}

func (p *process) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// front stands before an instance and spoils its answers on demand. Until
// then it only copies bytes, so that the instance's own faults pass through.
type front struct {
	address string
	target  string
	spoil   atomic.Pointer[http.Handler]
	proxy   *httputil.ReverseProxy
	served  atomic.Int64
}

func newFront(t *testing.T, target string) *front {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{target: target, proxy: httputil.NewSingleHostReverseProxy(u)}
	// A dead instance is a dead connection, not an answer.
	f.proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	f.proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = f.proxy.ErrorLog
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	f.address = server.Listener.Addr().String()
	return f
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/readyz" {
		f.served.Add(1)
	}
	if spoil := f.spoil.Load(); spoil != nil && r.URL.Path != "/readyz" {
		(*spoil).ServeHTTP(w, r)
		return
	}
	f.proxy.ServeHTTP(w, r)
}

func (f *front) set(h http.HandlerFunc) {
	handler := http.Handler(h)
	f.spoil.Store(&handler)
}

// download runs one real go command with fresh caches.
func (s *site) download(ctx context.Context, dir, goproxy string) error {
	home := filepath.Join(dir, "home")
	// With telemetry on, a child of the go command outlives it and writes below
	// the home directory, while that is being removed.
	telemetry := filepath.Join(home, ".config", "go", "telemetry")
	if err := os.MkdirAll(telemetry, 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(telemetry, "mode"), []byte("off"), 0o600); err != nil {
		return err
	}
	for name, text := range map[string]string{"go.mod": s.goMod, "go.sum": s.goSum} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "download")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GOPATH=" + home, "GOCACHE=" + filepath.Join(dir, "cache"),
		"GOMODCACHE=" + filepath.Join(dir, "mod"), "GOFLAGS=-modcacherw", "GOENV=off", "GOTOOLCHAIN=local", "GOSUMDB=off",
		"GOPROXY=" + goproxy, "SSL_CERT_FILE=" + os.Getenv("SSL_CERT_FILE"), "NETRC=" + os.Getenv("NETRC")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return os.RemoveAll(dir)
}

func (s *site) goproxy(t *testing.T) string {
	t.Helper()
	switch *faultProxy {
	case "published":
		return haproxy.GOPROXY(s.backend.URL)
	case "triple":
		return strings.Join([]string{s.backend.URL, s.backend.URL, s.backend.URL}, "|")
	case "single":
		return s.backend.URL
	}
	t.Fatalf("-faults.goproxy=%s is not known", *faultProxy)
	return ""
}

// result of one fault.
type result struct {
	commands, failed int
	slowest          time.Duration
	errors           []string
}

// run keeps go commands under way and injects the fault when a third of them
// has ended, so that others are in flight.
func (s *site) run(t *testing.T, goproxy string, inject func()) result {
	t.Helper()
	var mu sync.Mutex
	var r result
	var ended atomic.Int64
	var once sync.Once
	jobs := make(chan int)
	var workers sync.WaitGroup
	root := t.TempDir()
	for range *faultParallel {
		workers.Go(func() {
			for job := range jobs {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				begin := time.Now()
				err := s.download(ctx, filepath.Join(root, fmt.Sprint(job)), goproxy)
				cancel()
				mu.Lock()
				r.commands++
				r.slowest = max(r.slowest, time.Since(begin))
				if err != nil {
					r.failed++
					r.errors = append(r.errors, err.Error())
				}
				mu.Unlock()
				if ended.Add(1) >= int64(*faultCommands/3) {
					once.Do(inject)
				}
			}
		})
	}
	for job := range *faultCommands {
		jobs <- job
	}
	close(jobs)
	workers.Wait()
	return r
}

// faults are what may happen to blue. integrity ones are for the operator to
// see, health ones for the router.
var faults = []struct {
	name   string
	inject func(t *testing.T, s *site)
}{
	{"kill -9", func(t *testing.T, s *site) { s.instances["blue"].signal(t, syscall.SIGKILL) }},
	{"SIGSTOP", func(t *testing.T, s *site) { s.instances["blue"].signal(t, syscall.SIGSTOP) }},
	{"500 to everything", func(_ *testing.T, s *site) {
		s.front.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	}},
	{"bodies cut in the middle", func(_ *testing.T, s *site) { s.front.set(s.closed) }},
	{"flipped byte in the store", func(t *testing.T, s *site) { s.spoilStore(t, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }) }},
	{"truncated archive in the store", func(t *testing.T, s *site) { s.spoilStore(t, func(b []byte) []byte { return b[:len(b)/2] }) }},
	{"root of the store gone", func(t *testing.T, s *site) {
		var err error
		for range 100 { // the instance writes into it meanwhile
			if err = os.RemoveAll(s.instances["blue"].store); err == nil {
				return
			}
		}
		t.Error(err)
	}},
}

// closed delivers half of each body and breaks the connection.
func (s *site) closed(w http.ResponseWriter, r *http.Request) {
	resp, err := http.Get(s.front.target + r.URL.Path)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = resp.Body.Close() }()
	w.Header().Set("Content-Length", fmt.Sprint(resp.ContentLength))
	_, _ = io.CopyN(w, resp.Body, resp.ContentLength/2)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// spoilStore damages blue's largest archive in place.
func (s *site) spoilStore(t *testing.T, change func([]byte) []byte) {
	m := s.modules[len(s.modules)-1]
	file := filepath.Join(s.instances["blue"].store, m.Path, "@v", m.Version+".zip")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	if err := os.WriteFile(file, change(content), 0o600); err != nil {
		t.Error(err)
	}
}

// TestFaults: whatever happens to one instance, no go command fails that uses
// the published GOPROXY.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("runs hundreds of go commands")
	}
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			s := newSite(t, true)
			r := s.run(t, s.goproxy(t), func() { fault.inject(t, s) })
			t.Logf("failed client commands: %d of %d, slowest %s, requests to blue %d",
				r.failed, r.commands, r.slowest.Round(10*time.Millisecond), s.front.served.Load())
			if r.failed > 0 {
				t.Errorf("for example: %s", r.errors[0])
			}
			if s.front.served.Load() == 0 {
				t.Error("blue never served: the fault was not tried")
			}
		})
	}
}
