package haproxy_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"

	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/route/routetest"
	"gocache.dev/operator/internal/router"
	"gocache.dev/operator/internal/router/certificate"
	"gocache.dev/operator/internal/router/weights"
	"gocache.dev/operator/internal/testing/loopback"
)

func TestConformance(t *testing.T) {
	routetest.Run(t, func(t *testing.T, instances []routetest.Instance) routetest.Backend {
		return startRouter(t, instances)
	})
}

// file publishes weights in a file, which the sidecar follows.
type file string

func (f file) Current(context.Context) (weights.Weights, bool, error) {
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return weights.Weights{}, false, nil
	}
	if err != nil {
		return weights.Weights{}, false, err
	}
	w, err := weights.Parse(text)
	return w, err == nil, err
}

func (f file) Publish(_ context.Context, w weights.Weights) error {
	text, err := weights.Format(w)
	if err != nil {
		return err
	}
	if err := os.WriteFile(string(f)+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(string(f)+".new", string(f))
}

// startRouter runs a real HAProxy and the sidecar.
func startRouter(t *testing.T, instances []routetest.Instance) routetest.Backend {
	t.Helper()
	var config haproxy.Config
	for _, i := range instances {
		config.Instances = append(config.Instances, haproxy.Instance{Name: i.Name, Address: i.Address, Standby: i.Standby})
	}
	return startConfigured(t, config).Backend
}

// backend is a router and its details for tests.
type backend struct {
	routetest.Backend
	sidecar string // address of its pages
	log     string // file of HAProxy's log
	// stopSidecar ends it as a crash does, and startSidecar starts it again.
	stopSidecar, startSidecar func()
}

// startConfigured runs a router. With a directory that plays the mounted
// Secret it serves HTTPS, once that holds a certificate. With a second one, of
// credentials, it serves only clients that send them.
func startConfigured(t *testing.T, config haproxy.Config, secret ...string) backend {
	t.Helper()
	program := requireHAProxy(t)
	dir := shortDir(t)
	client, pages, agent, sidecar := loopback.Address(t), loopback.Address(t), loopback.Address(t), loopback.Address(t)
	config.Answers, config.Attempts = loopback.Address(t), loopback.Address(t)
	config.Name, config.Bind, config.PagesBind, config.Agent, config.RunDir = "goproxy", client, pages, agent, dir
	scheme := "http"
	options := router.Options{Agent: agent, Pages: sidecar, File: filepath.Join(dir, weights.File)}
	for _, i := range config.Instances {
		options.Servers = append(options.Servers, i.Name)
	}
	options.Answers = router.AnswersOptions{Now: time.Now, Listen: config.Answers, Attempts: haproxy.Attempts(config.Attempts), Spool: dir}
	if len(secret) > 1 {
		config.ClientsFile = filepath.Join(dir, "clients")
		options.Clients = router.ClientsOptions{Directory: secret[1], File: config.ClientsFile, Socket: filepath.Join(dir, "admin.sock")}
		secret = secret[:1]
	}
	for _, s := range secret {
		scheme, config.CertificateFile = "https", filepath.Join(dir, "tls.pem")
		options.Certificate = router.CertificateOptions{Directory: s, File: config.CertificateFile, Socket: filepath.Join(dir, "admin.sock"), Host: "localhost"}
	}
	text, err := haproxy.Render(config)
	if err != nil {
		t.Fatal(err)
	}
	configFile := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(configFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	published := file(options.File)
	stopSidecar := startSidecar(t, options)
	if len(secret) > 0 {
		waitFor(t, "http://"+sidecar+certificate.Path)
	}

	start := func(t *testing.T) *exec.Cmd {
		t.Helper()
		cmd := exec.Command(program, "-db", "-f", configFile)
		log, err := os.OpenFile(filepath.Join(dir, "haproxy.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "http://"+pages+"/healthz")
		return cmd
	}
	var running *exec.Cmd
	stop := func() {
		_ = running.Process.Kill()
		_ = running.Wait()
	}
	t.Cleanup(func() {
		if running != nil {
			stop()
		}
		if log, err := os.ReadFile(filepath.Join(dir, "haproxy.log")); err == nil && t.Failed() {
			t.Logf("HAProxy's log:\n%s", tail(string(log), 40))
		}
	})
	running = start(t)
	return backend{sidecar: sidecar, log: filepath.Join(dir, "haproxy.log"), stopSidecar: func() { stopSidecar() },
		startSidecar: func() { stopSidecar = startSidecar(t, options) }, Backend: routetest.Backend{
			Router: &haproxy.Router{
				Owner: "test", Publisher: published, HTTP: &http.Client{},
				Replicas: func(context.Context) ([]haproxy.Replica, error) {
					return []haproxy.Replica{{Name: "loopback", Metrics: "http://" + pages + "/metrics"}}, nil
				},
			},
			URL:      scheme + "://" + client,
			Prefixes: []string{haproxy.SecondAttempt, haproxy.ThirdAttempt},
			Restart: func(t *testing.T) {
				stop()
				running = start(t)
			},
			Settle: 10 * time.Second,
		}}
}

// shortDir is for sockets, whose paths are bounded.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "router")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func startSidecar(t *testing.T, options router.Options) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		options.Interval, options.Now = 20*time.Millisecond, time.Now
		options.Log = testr.NewWithOptions(t, testr.Options{Verbosity: -1})
		done <- router.Run(ctx, options)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the sidecar ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func requireHAProxy(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		program = "/usr/sbin/haproxy"
		if _, err := os.Stat(program); err != nil {
			t.Skip("there is no haproxy program on this machine")
		}
	}
	return program
}

func waitFor(t *testing.T, url string) {
	t.Helper()
	for range 500 {
		resp, err := http.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not answer", url)
}

func tail(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
