package prober_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

// reference is a module that instances are asked for.
var reference = probe.ReferenceModule{Module: module.Version{Path: "example.com/c", Version: "v1.0.0"}, Zip: "h1:x"}

func instances(url string, n int, timeout time.Duration) (all prober.Targets) {
	for i := range n {
		all.Instances = append(all.Instances, prober.Target{
			Name: fmt.Sprint("i", i), URL: url, Pages: url, Interval: time.Hour, Timeout: timeout, References: []probe.ReferenceModule{reference},
			Thresholds: failover.Thresholds{Failure: 3, Success: 2}, Kinds: []failover.Kind{failover.Protocol, failover.Checksum},
		})
	}
	return all
}

// TestRedirectsAreNotFollowed holds that an instance cannot lead a probe to
// another address.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(internal.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		instance := httptest.NewServer(http.RedirectHandler(internal.URL, status))
		t.Cleanup(instance.Close)
		p := prober.New(time.Now, nil)
		to := instances(instance.URL, 1, 10*time.Second)
		to.Instances[0].Agent, to.Instances[0].Layout = instance.URL, "goproxy"
		to.Instances[0].Kinds = []failover.Kind{failover.Ready, failover.Protocol, failover.Checksum, failover.Disk}
		to.Database = prober.DatabaseTarget{Probed: true, Interval: time.Hour, Timeout: 10 * time.Second, Database: probe.Database{Name: "db.test"}}
		p.Set(proxy, to)
		p.RequestChecks(proxy, map[string]prober.Check{"i0": {Since: time.Now()}})
		p.Round(t.Context(), proxy)
		if n := reached.Load(); n != 0 {
			t.Errorf("status %d: %d requests reached the other address", status, n)
		}
	}
}

// TestAddressesOfExternalInstances holds that an instance that the operator does
// not run is reached only where the filter allows; the addresses of pods are the
// cluster's, and are probed.
func TestAddressesOfExternalInstances(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		external bool
		filter   *untrusted.Filter
		reached  bool
	}{
		"a pod":                {false, &untrusted.Filter{}, true},
		"external":             {true, &untrusted.Filter{}, false},
		"external, for tests":  {true, &untrusted.Filter{AllowLoopback: true}, true},
		"external, unfiltered": {true, nil, true},
	} {
		var asked atomic.Int64
		instance := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
		t.Cleanup(instance.Close)
		p := prober.New(time.Now, prober.NewRestrictedClient(tt.filter))
		to := instances(instance.URL, 1, 10*time.Second)
		to.Instances[0].Kinds = []failover.Kind{failover.Ready, failover.Protocol, failover.Checksum}
		to.Database = prober.DatabaseTarget{Probed: true, Interval: time.Hour, Timeout: 10 * time.Second, Database: probe.Database{Name: "db.test"}}
		if to.Instances[0].Agent = ""; !tt.external {
			to.Instances[0].Agent = instance.URL
		}
		p.Set(proxy, to)
		p.Round(t.Context(), proxy)
		if reached := asked.Load() > 0; reached != tt.reached {
			t.Errorf("%s: reached: %v, want %v", name, reached, tt.reached)
		}
	}
}

// TestMemoryOfHostileInstances holds that 64 instances which all send the
// largest archive and then hang cannot make the prober hold more than its
// budget, and that the probes for which there was no room have no outcome.
// An instance in another namespace is probed meanwhile.
func TestMemoryOfHostileInstances(t *testing.T) {
	const each, timeout = 31 << 20, 15 * time.Second
	block := bytes.Repeat([]byte("x"), 64<<10)
	handler := func(last func(*http.Request)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, ".info"):
				_, _ = fmt.Fprint(w, `{"Version":"v1.0.0"}`)
			case strings.HasSuffix(r.URL.Path, ".mod"):
				_, _ = fmt.Fprintln(w, "module example.com/c")
			default:
				for sent := 0; sent < each; sent += len(block) {
					if _, err := w.Write(block); err != nil {
						return
					}
				}
				_ = http.NewResponseController(w).Flush()
				last(r)
			}
		})
	}
	hostile := httptest.NewServer(handler(func(r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hostile.Close)
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, ".info"):
			_, _ = fmt.Fprint(w, `{"Version":"v1.0.0"}`)
		case strings.HasSuffix(r.URL.Path, ".mod"):
			_, _ = fmt.Fprintln(w, "module example.com/c")
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(good.Close)

	p := prober.New(time.Now, nil)
	to := instances(hostile.URL, 64, timeout)
	for i := range to.Instances {
		to.Instances[i].Interval = time.Hour
	}
	p.Set(types.NamespacedName{Namespace: "hostile", Name: "p"}, to)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ctx, stop := t.Context(), make(chan struct{})
	peak := make(chan uint64)
	go func() {
		var most uint64
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-time.After(20 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		p.RoundAtOnce(ctx, types.NamespacedName{Namespace: "hostile", Name: "p"})
		close(done)
	}()
	for until := time.After(timeout); !p.Exhausted("hostile"); {
		select {
		case <-until:
			t.Fatal("the hostile instances do not use up their share")
		case <-time.After(time.Millisecond):
		}
	}
	p.Set(proxy, instances(good.URL, 1, timeout))
	began := time.Now()
	p.Round(ctx, proxy)
	if took := time.Since(began); took > timeout/2 {
		t.Errorf("an instance of another namespace was probed after %s", took)
	}
	<-done
	close(stop)
	most := int64(<-peak) - int64(before.HeapAlloc)
	t.Logf("peak %d MiB above %d MiB", most>>20, before.HeapAlloc>>20)
	if most > 160<<20 {
		t.Errorf("the heap grew by %d MiB", most>>20)
	}
	for name, o := range p.Observe(types.NamespacedName{Namespace: "hostile", Name: "p"}).Instances {
		if s := o.Streaks[failover.Checksum]; s.Outcome == failover.Failed {
			t.Errorf("%s: an archive that was not read is called wrong: %+v", name, s)
		}
		for _, s := range o.Streaks {
			if len(s.Message) > 4<<10 {
				t.Errorf("%s: a message of %d bytes", name, len(s.Message))
			}
		}
	}
	if held, shares := p.Held(); held != 0 || shares != 0 {
		t.Errorf("%d bytes and %d shares are held when no probe is made", held, shares)
	}
}
