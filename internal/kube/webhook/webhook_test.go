package webhook_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/kube/webhook"
)

var object = types.NamespacedName{Namespace: "n", Name: "ci"}

// notified waits for the end of a call, as a controller does: by being woken.
func notified(t *testing.T, c *webhook.Caller, woken <-chan types.NamespacedName, call webhook.Call) error {
	t.Helper()
	for range 3 { // the same call, begun once
		if done, err := c.Notify(call); done {
			t.Fatalf("done before it was woken: %v", err)
		}
	}
	select {
	case o := <-woken:
		if o != call.Object {
			t.Errorf("woken: %s", o)
		}
	case <-time.After(time.Minute):
		t.Fatal("never woken")
	}
	done, err := c.Notify(call)
	if !done {
		t.Fatal("woken before it was done")
	}
	return err
}

func TestNotify(t *testing.T) {
	var calls, elsewhere atomic.Int32
	hang := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ok", func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != `{"a":1}` || r.Header.Get("Idempotency-Key") != "sha256:d" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s, %v, %v", body, r.Header, err)
		}
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("/down", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", http.StatusServiceUnavailable) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	mux.HandleFunc("/hang", func(http.ResponseWriter, *http.Request) { <-hang })
	server := httptest.NewServer(mux)
	defer server.Close()
	defer close(hang)

	woken := make(chan types.NamespacedName, 8)
	c := webhook.New(func(o types.NamespacedName) { woken <- o })
	call := func(path string) webhook.Call {
		return webhook.Call{Object: object, Key: "sha256:d", URL: server.URL + path, Body: []byte(`{"a":1}`), Timeout: time.Minute}
	}
	if err := notified(t, c, woken, call("/ok")); err != nil || calls.Load() != 1 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
	// It remembers nothing: that is what a status is for.
	if err := notified(t, c, woken, call("/ok")); err != nil || calls.Load() != 2 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
	if err := notified(t, c, woken, call("/down")); err == nil || !strings.Contains(err.Error(), "503") || strings.Contains(err.Error(), "secret") {
		t.Errorf("down: %v", err)
	}
	if err := notified(t, c, woken, call("/moved")); err == nil || elsewhere.Load() != 0 {
		t.Errorf("moved: %v, %d calls elsewhere", err, elsewhere.Load())
	}
	slow := call("/hang")
	slow.Timeout = 50 * time.Millisecond
	if err := notified(t, c, woken, slow); err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("hanging: %v", err)
	}
	closed := call("/ok")
	closed.URL = "http://127.0.0.1:1/"
	if err := notified(t, c, woken, closed); err == nil {
		t.Error("nobody listens, and it was received")
	}
}

// TestRefusedAddress holds that a filter is applied to calls.
func TestRefusedAddress(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer server.Close()
	for name, tt := range map[string]struct {
		filter *untrusted.Filter
		calls  int32
	}{"refused": {&untrusted.Filter{}, 0}, "allowed": {&untrusted.Filter{AllowLoopback: true}, 1}} {
		calls.Store(0)
		woken := make(chan types.NamespacedName, 8)
		c := webhook.New(func(o types.NamespacedName) { woken <- o }).Restrict(tt.filter)
		err := notified(t, c, woken, webhook.Call{Object: object, Key: "k", URL: server.URL, Timeout: time.Minute})
		if (err != nil) != (tt.calls == 0) || calls.Load() != tt.calls {
			t.Errorf("%s: %v, and %d calls arrived", name, err, calls.Load())
		}
	}
}
