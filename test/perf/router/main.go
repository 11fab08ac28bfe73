// Command router measures what the router costs: requests per second, the 99th
// percentile and processor time per request for a small .mod and a large .zip,
// through the router against the instance directly, in the same run, and what a
// build notices: go mod download of a program's modules. The way "plain" is a
// reverse proxy that checks nothing, for comparison. With
// -answers=Checked the sidecar has the h1 of both from a checksum database.
//
// Load generator, HAProxy, sidecar and instance share the machine's processors,
// so what one of them takes the others lack: on two processors the throughput
// through the router is lower by about its share of the work. What a machine of
// its own would see is the processor time per request.
package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/zip"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/proxy"
	"gocache.dev/operator/internal/router"
	"gocache.dev/operator/internal/router/weights"
)

const (
	instanceVariable = "BENCH_ROUTER_STORE"
	sidecarVariable  = "BENCH_ROUTER_SIDECAR"
	plainVariable    = "BENCH_ROUTER_PLAIN"
	database         = "sum.example.com"
	small            = "/example.com/small/@v/v1.0.0.mod"
	large            = "/example.com/large/@v/v1.0.0.zip"
	largeSize        = 6 << 20
	lookup           = "/sumdb/" + database + "/lookup/example.com/"
	// A program needs so many modules, of so many bytes.
	needed, neededSize = 200, 32 << 10
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "router:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if store, upstream, ok := strings.Cut(os.Getenv(instanceVariable), " "); ok {
		return serve(ctx, store, upstream)
	}
	if dir := os.Getenv(sidecarVariable); dir != "" {
		return look(ctx, dir, os.Args[1:])
	}
	if target := os.Getenv(plainVariable); target != "" {
		return pass(ctx, target, os.Args[1])
	}
	var rounds, parallel int
	var each time.Duration
	flag.IntVar(&rounds, "rounds", 5, "rounds, in turn directly and through the router")
	flag.DurationVar(&each, "for", 2*time.Second, "length of a measurement")
	flag.IntVar(&parallel, "parallel", 8, "connections")
	answers := flag.String("answers", string(v1alpha1.ResponseVerificationEnabled), "router.responseVerification: Enabled or Disabled")
	flag.Parse()
	s, err := start(ctx, *answers == string(v1alpha1.ResponseVerificationDisabled))
	if err != nil {
		return err
	}
	defer s.stop()
	fmt.Printf("%s, %s, %d processors, %d connections that are kept, %d rounds of %s, answers %s\n\n", time.Now().UTC().Format("2006-01-02"), runtime.Version(), runtime.NumCPU(), parallel, rounds, each, *answers)
	fmt.Println("| | way | requests/s | p50 | p99 | CPU per request: instance | HAProxy | sidecar | plain |\n|---|---|---|---|---|---|---|---|---|")
	for _, what := range []struct{ name, path string }{{".mod, 40 B", small}, {".zip, 6 MiB", large}} {
		var direct, routed, passed []measurement
		for range rounds {
			direct = append(direct, s.measure(ctx, s.direct+what.path, parallel, each))
			routed = append(routed, s.measure(ctx, s.routed+what.path, parallel, each))
			passed = append(passed, s.measure(ctx, s.passed+what.path, parallel, each))
		}
		d, r := median(direct), median(routed)
		d.print(what.name, "directly")
		r.print(what.name, "router")
		median(passed).print(what.name, "plain")
		fmt.Printf("| %s | router / directly | %.2f | %.2f | %.2f | %.2f | | | |\n", what.name, r.rate/d.rate, ratio(r.p50, d.p50), ratio(r.p99, d.p99), ratio(r.instance, d.instance))
	}
	return s.downloads(ctx, rounds)
}

// downloads measures what a build notices: go mod download of all modules of a
// program into an empty cache, with a go.sum.
func (s *setup) downloads(ctx context.Context, rounds int) error {
	ways := []struct{ name, proxy string }{{"directly", s.direct}, {"router", haproxy.GOPROXY(s.routed)}}
	took := make([][]time.Duration, len(ways))
	for range rounds + 1 { // the first one fills the store
		for i, way := range ways {
			d, err := s.download(ctx, way.proxy)
			if err != nil {
				return err
			}
			took[i] = append(took[i], d)
		}
	}
	fmt.Printf("\n| go mod download of %d modules | median | fastest | slowest |\n|---|---|---|---|\n", needed)
	medians := make([]time.Duration, len(ways))
	for i, way := range ways {
		all := took[i][1:]
		slices.Sort(all)
		medians[i] = all[len(all)/2]
		fmt.Printf("| %s | %s | %s | %s |\n", way.name, medians[i].Round(time.Millisecond), all[0].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond))
	}
	fmt.Printf("| router / directly | %.2f | | |\n", ratio(medians[1], medians[0]))
	return ctx.Err()
}

// download runs go mod download with an empty module cache.
func (s *setup) download(ctx context.Context, goproxy string) (took time.Duration, err error) {
	dir, err := os.MkdirTemp(s.dir, "client")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd := exec.CommandContext(ctx, "go", "mod", "download")
	cmd.Dir = filepath.Join(s.dir, "program")
	cmd.Env = append(os.Environ(), "GOPROXY="+goproxy, "GOMODCACHE="+dir, "GOFLAGS=-modcacherw", "GOSUMDB="+s.key, "GONOSUMDB=", "GONOPROXY=", "GOPRIVATE=", "GOWORK=off", "GOTOOLCHAIN=local")
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go mod download through %s: %w: %s", goproxy, err, out)
	}
	return time.Since(began), nil
}

// setup is an instance and a router before it.
type setup struct {
	direct, routed, passed            string
	instance, haproxy, sidecar, plain *exec.Cmd
	dir                               string // of all files
	key                               string // value of GOSUMDB
	stops                             []func()
}

func (s *setup) stop() {
	for _, stop := range slices.Backward(s.stops) {
		stop()
	}
}

// serve is the instance, in a process of its own.
func serve(ctx context.Context, store, upstream string) error {
	server, err := proxy.New(proxy.Options{
		Store: store, Name: "blue", Environment: proxy.Environment{GOPROXY: upstream, GOSUMDB: os.Getenv("GOSUMDB")}, MinFree: 1, Now: time.Now,
		Log: logr.FromSlogHandler(slog.NewJSONHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", os.Args[1])
	if err != nil {
		return err
	}
	return server.Serve(ctx, listener, nil, time.Second)
}

// pass is a reverse proxy of the standard library that checks nothing, in a
// process of its own: the least that one Go program in place of HAProxy and
// sidecar would cost.
func pass(ctx context.Context, target, address string) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256},
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return (&http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}).Serve(listener)
}

// look is the sidecar, in a process of its own.
func look(ctx context.Context, dir string, addresses []string) error {
	return router.Run(ctx, router.Options{
		Agent: addresses[0], Pages: addresses[1], File: filepath.Join(dir, weights.File), Interval: time.Second, Now: time.Now, Log: logr.Discard(),
		Answers: router.AnswersOptions{Now: time.Now, Listen: addresses[2], Attempts: haproxy.Attempts(addresses[3]), Spool: dir},
	})
}

func start(ctx context.Context, pass bool) (_ *setup, err error) {
	s := &setup{}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	dir, err := os.MkdirTemp("", "bench-router")
	if err != nil {
		return nil, err
	}
	s.dir = dir
	s.stops = append(s.stops, func() { _ = os.RemoveAll(dir) })
	upstream, err := s.modules(ctx, dir)
	if err != nil {
		return nil, err
	}
	var addresses [8]string
	for i := range addresses {
		if addresses[i], err = free(ctx); err != nil {
			return nil, err
		}
	}
	client, pages, agent, sidecar, instance, answers, attempts := addresses[0], addresses[1], addresses[2], addresses[3], addresses[4], addresses[5], addresses[6]
	s.direct, s.routed, s.passed = "http://"+instance, "http://"+client, "http://"+addresses[7]
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.instance = exec.CommandContext(ctx, self, instance) //nolint:gosec // itself
	s.instance.Env = append(os.Environ(), instanceVariable+"="+filepath.Join(dir, "store")+" "+upstream, "GOSUMDB="+s.key)
	if err := s.begin(s.instance); err != nil {
		return nil, err
	}
	s.plain = exec.CommandContext(ctx, self, addresses[7]) //nolint:gosec // itself
	s.plain.Env = append(os.Environ(), plainVariable+"="+s.direct)
	if err := s.begin(s.plain); err != nil {
		return nil, err
	}
	config, err := haproxy.Render(haproxy.Config{Name: "bench", Bind: client, PagesBind: pages, Agent: agent, Answers: answers, Attempts: attempts, PassModules: pass, Instances: []haproxy.Instance{{Name: "blue", Address: instance}}})
	if err != nil {
		return nil, err
	}
	text, err := weights.Format(weights.Weights{Owner: "bench", Generation: 1, Servers: map[string]weights.Server{"blue": {State: weights.Ready, Weight: 100}}})
	if err != nil {
		return nil, err
	}
	for name, text := range map[string][]byte{"haproxy.cfg": []byte(config), weights.File: text} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	s.sidecar = exec.CommandContext(ctx, self, agent, sidecar, answers, attempts) //nolint:gosec // itself
	s.sidecar.Env = append(os.Environ(), sidecarVariable+"="+dir)
	if err := s.begin(s.sidecar); err != nil {
		return nil, err
	}
	s.haproxy = exec.CommandContext(ctx, "haproxy", "-db", "-f", filepath.Join(dir, "haproxy.cfg")) //nolint:gosec // a tool
	s.haproxy.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	if path, err := exec.LookPath("/usr/sbin/haproxy"); err == nil {
		s.haproxy.Path, s.haproxy.Err = path, nil
	}
	if err := s.begin(s.haproxy); err != nil {
		return nil, err
	}
	for _, path := range []string{small, large, lookup + "small@v1.0.0", lookup + "large@v1.0.0"} {
		if err := s.answers(path); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// answers waits until the router serves a path, from a store that has it.
func (s *setup) answers(path string) error {
	last := "nothing"
	for range 300 {
		if resp, err := http.Get(s.routed + path); err == nil { //nolint:noctx // this machine
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if last = resp.Status; resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the router does not serve %s: %s", path, last)
}

// modules makes a small one and a large one, and serves them to the instance.
func (s *setup) modules(ctx context.Context, dir string) (upstream string, err error) {
	root := filepath.Join(dir, "upstream")
	lines := map[module.Version]string{}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // content, no secret
	sizes := map[string]int{"example.com/small": 1 << 10, "example.com/large": largeSize}
	for n := range needed {
		sizes[fmt.Sprintf("example.com/needed%03d", n)] = neededSize
	}
	for path, size := range sizes {
		m := module.Version{Path: path, Version: "v1.0.0"}
		tree, at := filepath.Join(dir, "src", path), filepath.Join(root, path, "@v")
		content := make([]byte, size) // it does not compress
		for n := range content {
			content[n] = byte(random.Uint32())
		}
		goMod := []byte("module " + path + "\n\ngo 1.26\n")
		var archive bytes.Buffer
		err := errors.Join(os.MkdirAll(tree, 0o750), os.MkdirAll(at, 0o750),
			os.WriteFile(filepath.Join(tree, "go.mod"), goMod, 0o600), os.WriteFile(filepath.Join(tree, "data"), content, 0o600),
			zip.CreateFromDir(&archive, m, tree),
			os.WriteFile(filepath.Join(at, "v1.0.0.mod"), goMod, 0o600),
			os.WriteFile(filepath.Join(at, "v1.0.0.info"), []byte(`{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}`), 0o600))
		if err := errors.Join(err, os.WriteFile(filepath.Join(at, "v1.0.0.zip"), archive.Bytes(), 0o600)); err != nil {
			return "", err
		}
		zipSum, zipErr := goproxy.SumZip(bytes.NewReader(archive.Bytes()), int64(archive.Len()), zip.MaxZipFile)
		modSum, modErr := goproxy.SumMod(goMod)
		if err := errors.Join(zipErr, modErr); err != nil {
			return "", err
		}
		lines[m] = fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", m.Path, m.Version, zipSum, m.Path, m.Version, modSum)
	}
	if err := program(filepath.Join(dir, "program"), lines); err != nil {
		return "", err
	}
	signer, verifier, err := note.GenerateKey(crand.Reader, database)
	if err != nil {
		return "", err
	}
	s.key = verifier
	mux := http.NewServeMux()
	mux.HandleFunc("/sumdb/"+database+"/supported", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/sumdb/"+database+"/", http.StripPrefix("/sumdb/"+database, sumdb.NewServer(sumdb.NewTestServer(signer, func(path, version string) ([]byte, error) {
		return []byte(lines[module.Version{Path: path, Version: version}]), nil
	}))))
	mux.Handle("/", http.FileServer(http.Dir(root)))
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: mux} //nolint:gosec // a test's own
	s.stops = append(s.stops, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), nil
}

// program is a module that needs all others.
func program(dir string, lines map[module.Version]string) error {
	mod, sum := "module example.com/program\n\ngo 1.26\n\nrequire (\n", ""
	for m, text := range lines {
		mod += "\t" + m.String() + "\n"
		sum += text
	}
	mod = strings.ReplaceAll(mod, "@", " ") + ")\n"
	return errors.Join(os.MkdirAll(dir, 0o750), os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o600), os.WriteFile(filepath.Join(dir, "go.sum"), []byte(sum), 0o600))
}

func (s *setup) begin(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	s.stops = append(s.stops, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return nil
}

func free(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// measurement of one way.
type measurement struct {
	rate                              float64
	p50, p99                          time.Duration
	instance, haproxy, sidecar, plain time.Duration // processor time per request
}

func (m measurement) print(what, way string) {
	fmt.Printf("| %s | %s | %.0f | %s | %s | %s | %s | %s | %s |\n", what, way, m.rate, m.p50.Round(10*time.Microsecond), m.p99.Round(10*time.Microsecond),
		m.instance.Round(time.Microsecond), m.haproxy.Round(time.Microsecond), m.sidecar.Round(time.Microsecond), m.plain.Round(time.Microsecond))
}

func (s *setup) measure(ctx context.Context, address string, parallel int, each time.Duration) measurement {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: parallel, DisableCompression: true}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	instance, router, sidecar, plain := used(s.instance), used(s.haproxy), used(s.sidecar), used(s.plain)
	began := time.Now()
	var mu sync.Mutex
	var took []time.Duration
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			var own []time.Duration
			for ctx.Err() == nil {
				at := time.Now()
				if get(ctx, client, address) {
					own = append(own, time.Since(at))
				}
			}
			mu.Lock()
			took = append(took, own...)
			mu.Unlock()
		})
	}
	workers.Wait()
	n := max(len(took), 1)
	slices.Sort(took)
	took = append(took, 0)
	return measurement{
		rate: float64(n) / time.Since(began).Seconds(), p50: took[n/2], p99: took[n*99/100],
		instance: (used(s.instance) - instance) / time.Duration(n), haproxy: (used(s.haproxy) - router) / time.Duration(n),
		sidecar: (used(s.sidecar) - sidecar) / time.Duration(n), plain: (used(s.plain) - plain) / time.Duration(n),
	}
}

func get(ctx context.Context, client *http.Client, address string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK
}

// used is the processor time of a process, in steps of 10 ms.
func used(cmd *exec.Cmd) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func median(all []measurement) measurement {
	slices.SortFunc(all, func(a, b measurement) int { return int(a.rate - b.rate) })
	return all[len(all)/2]
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, 1)) }
