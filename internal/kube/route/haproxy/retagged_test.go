package haproxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
)

// TestRetaggedModule plays a private version whose tag was moved while one of two
// instances was down, so that their stores differ: go commands whose go.sum has the first
// content download it through the router, all of them.
func TestRetaggedModule(t *testing.T) {
	t.Parallel()
	requireHAProxy(t)
	moved := module.Version{Path: "corp.test/lib", Version: "v1.0.0"}
	var sum strings.Builder
	published := [2]http.Handler{}
	for i := range published {
		dir := t.TempDir()
		if err := writeModule(dir, moved, fmt.Appendf(nil, "content %d", i), &sum); err != nil {
			t.Fatal(err)
		}
		published[i] = http.FileServer(http.Dir(dir))
	}
	var now atomic.Int32
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { published[now.Load()].ServeHTTP(w, r) }))
	t.Cleanup(upstream.Close)

	dir, blueAt, greenAt := t.TempDir(), freeAddress(t), freeAddress(t)
	start := func(address, name string, peers ...string) *process {
		return startInstanceAt(t, address, filepath.Join(dir, name), upstream.URL, peers...)
	}
	load := func(p *process) {
		t.Helper()
		if _, err := (&goproxy.Client{Base: p.url}).Sums(t.Context(), moved); err != nil {
			t.Fatal(err)
		}
	}
	blue := start(blueAt, "blue")
	load(blue)
	_ = blue.cmd.Process.Kill()
	_ = blue.cmd.Wait()
	now.Store(1)
	green := start(greenAt, "green", "http://"+blueAt)
	load(green)
	start(blueAt, "blue", "http://"+greenAt)

	b := startConfigured(t, haproxy.Config{Instances: []haproxy.Instance{{Name: "blue", Address: blueAt}, {Name: "green", Address: greenAt}}})
	want := []route.Server{{Name: "blue", State: route.Ready, Weight: 100}, {Name: "green", State: route.Ready, Weight: 100}}
	if err := b.Router.Set(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the router to open", func() bool {
		o, err := b.Router.Observe(t.Context())
		ok, _ := o.Confirms(want)
		return err == nil && ok
	})
	first := strings.Join(strings.SplitAfter(sum.String(), "\n")[:2], "")
	s := &site{goMod: "module example.com/main\n\ngo 1.26\n\nrequire corp.test/lib v1.0.0\n"}
	var clients sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for n := range 20 {
		clients.Go(func() {
			client := site{goMod: s.goMod, goSum: first}
			if err := client.download(t.Context(), filepath.Join(t.TempDir(), fmt.Sprint(n)), haproxy.GOPROXY(b.URL)); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed++
				t.Log(err)
			}
		})
	}
	clients.Wait()
	if failed > 0 {
		t.Errorf("%d of 20 commands failed", failed)
	}
	if superseded, err := store.ReadSuperseded(green.store); err != nil || len(superseded) != 1 || superseded[0].Version != moved {
		t.Errorf("green has recorded %+v, %v", superseded, err)
	}
}
