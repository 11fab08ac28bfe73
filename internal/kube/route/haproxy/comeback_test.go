package haproxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/testing/loopback"
)

// instanceAt serves every path at an address until it is stopped, as a pod behind
// a Service whose address stays: while it is stopped, connections are refused.
func instanceAt(t *testing.T, address string) (stop func()) {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "module example.com/m\n")
	})}
	go func() { _ = server.Serve(listener) }()
	stop = sync.OnceFunc(func() { _ = server.Close() })
	t.Cleanup(stop)
	return stop
}

// TestReadyWhileAnInstanceIsAdded holds that a router stays ready while the weights name an
// instance that its HAProxy is not configured with yet.
func TestReadyWhileAnInstanceIsAdded(t *testing.T) {
	t.Parallel()
	blue := loopback.Address(t)
	instanceAt(t, blue)
	b := startConfigured(t, haproxy.Config{Instances: []haproxy.Instance{{Name: "blue", Address: blue}}})
	want := []route.Server{{Name: "blue", State: route.Ready, Weight: 100}, {Name: "red", State: route.Down}}
	if err := b.Router.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	status := func() int {
		code, err := tryGet(t.Context(), b.sidecar, "/readyz")
		if err != nil {
			return 0
		}
		return code
	}
	eventually(t, "the router to be ready", func() bool { return status() == http.StatusOK })
}

// TestInstancesThatComeBack holds that no command fails while all instances are
// away for some seconds, as when their pods are deleted at once: whether its
// requests go through the sidecar or not, and whenever they come.
func TestInstancesThatComeBack(t *testing.T) {
	t.Parallel()
	for name, pass := range map[string]bool{"modules verified": false, "modules passed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blue, green := loopback.Address(t), loopback.Address(t)
			stopBlue, stopGreen := instanceAt(t, blue), instanceAt(t, green)
			b := startConfigured(t, haproxy.Config{PassModules: pass, Instances: []haproxy.Instance{{Name: "blue", Address: blue}, {Name: "green", Address: green}}})
			want := []route.Server{{Name: "blue", State: route.Ready, Weight: 100}, {Name: "green", State: route.Ready, Weight: 100}}
			if err := b.Router.Set(t.Context(), want); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the router to open", func() bool {
				o, err := b.Router.Observe(t.Context())
				ok, _ := o.Confirms(want)
				return err == nil && ok
			})
			const away, every = 2 * time.Second, 50 * time.Millisecond
			stopBlue()
			stopGreen()
			var mu sync.Mutex
			failed, total := map[int]int{}, 0
			var slowest time.Duration
			var clients sync.WaitGroup
			for at := time.Duration(0); at < away; at += every {
				clients.Go(func() {
					began := time.Now()
					code, err := 0, error(nil)
					for _, prefix := range []string{"", haproxy.SecondAttempt, haproxy.ThirdAttempt} { // as the go command does
						code, err = tryGet(context.Background(), strings.TrimPrefix(b.URL, "http://"), prefix+"/example.com/m/@v/v1.0.0.mod")
						if err == nil && code == http.StatusOK {
							break
						}
					}
					mu.Lock()
					defer mu.Unlock()
					total++
					slowest = max(slowest, time.Since(began))
					if err != nil || code != http.StatusOK {
						failed[code]++
					}
				})
				time.Sleep(every) // requests come at every moment of the time away
			}
			instanceAt(t, green)
			clients.Wait()
			t.Logf("%d requests, failed by status: %v, slowest %v", total, failed, slowest.Round(time.Millisecond))
			if len(failed) > 0 {
				t.Errorf("of %d requests failed, by status: %v", total, failed)
			}
			// One that is quarantined is not coming: its clients get the error at once.
			if err := b.Router.Set(t.Context(), []route.Server{{Name: "blue", State: route.Down}, {Name: "green", State: route.Down}}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the router to close", func() bool {
				began := time.Now()
				code, err := tryGet(t.Context(), strings.TrimPrefix(b.URL, "http://"), "/example.com/m/@v/v1.0.0.mod")
				return err == nil && code == http.StatusServiceUnavailable && time.Since(began) < time.Second
			})
		})
	}
}
