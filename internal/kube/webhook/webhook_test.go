package webhook_test

import (
	"fmt"
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
	for range 2 { // the same call, begun once
		if done, err := c.Notify(call); done {
			t.Fatalf("done before it was woken: %v", err)
		}
	}
	return ended(t, c, woken, call)
}

// ended begins a call, unless it goes on, and returns its result.
func ended(t *testing.T, c *webhook.Caller, woken <-chan types.NamespacedName, call webhook.Call) error {
	t.Helper()
	if done, err := c.Notify(call); done {
		t.Fatalf("done before it was woken: %v", err)
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
		if err != nil || string(body) != `{"a":1}` || r.Header.Get("Idempotency-Key") != "sha256:d" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("User-Agent") != "gocache-operator" {
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
	if err := notified(t, c, woken, closed); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listens: %v", err)
	}
	for _, url := range []string{"http://user:s3cret@%zz/", "http://user:s3cret@127.0.0.1:1/s3cret?s3cret"} {
		closed.URL = url
		// It may end at once, before it is asked for again.
		if err := ended(t, c, woken, closed); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("an address with a secret: %v", err)
		}
	}
}

// TestNothingIsRepeated holds that no error has anything that the receiver sent: a
// user chooses the address, and reads the error in a status.
func TestNothingIsRepeated(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":      "SECRET-2.0-server\r\n",
		"a reason":     "HTTP/1.1 503 SECRET of the server\r\nContent-Length: 0\r\n\r\n",
		"a header":     "HTTP/1.1 200 OK\r\nSECRET\r\n\r\n",
		"a status":     "HTTP/1.1 SECRET OK\r\n\r\n",
		"a redirect":   "HTTP/1.1 307 SECRET\r\nLocation: %SECRET\r\nContent-Length: 0\r\n\r\n",
		"large header": "HTTP/1.1 200 OK\r\nSECRET: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(conn, answer) // the caller may have left
				_ = conn.Close()
			}))
			defer server.Close()
			woken := make(chan types.NamespacedName, 8)
			c := webhook.New(func(o types.NamespacedName) { woken <- o }).Restrict(&untrusted.Filter{AllowLoopback: true})
			err := notified(t, c, woken, webhook.Call{Object: object, Key: "k", URL: server.URL, Timeout: time.Minute})
			if err == nil || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestReceiversThatHang holds that receivers of one namespace that never answer do
// not keep the notifications of another one waiting.
func TestReceiversThatHang(t *testing.T) {
	hang := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/hang", func(http.ResponseWriter, *http.Request) { <-hang })
	mux.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewServer(mux)
	defer server.Close()
	defer close(hang)
	woken := make(chan types.NamespacedName, 100)
	c := webhook.New(func(o types.NamespacedName) { woken <- o })
	for i := range 50 {
		o := types.NamespacedName{Namespace: "hostile", Name: strings.Repeat("x", i+1)}
		if done, err := c.Notify(webhook.Call{Object: o, Key: "k", URL: server.URL + "/hang", Timeout: 5 * time.Minute}); done || err != nil {
			t.Fatal(done, err)
		}
	}
	if err := notified(t, c, woken, webhook.Call{Object: object, Key: "k", URL: server.URL + "/ok", Timeout: time.Minute}); err != nil {
		t.Error(err)
	}
}

// TestOneCallForEachObject holds that a call for an object takes the place of the
// one before it, such as of another address: an object has one at a time.
func TestOneCallForEachObject(t *testing.T) {
	var calls, running, most atomic.Int32
	hang := make(chan struct{})
	began := make(chan struct{}, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("/hang/", func(_ http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		began <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body) // the server then notices that the client leaves
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	server := httptest.NewServer(mux)
	defer server.Close()
	defer close(hang)
	woken := make(chan types.NamespacedName, 100)
	c := webhook.New(func(o types.NamespacedName) { woken <- o })
	call := func(path string) webhook.Call {
		return webhook.Call{Object: object, Key: "k", URL: server.URL + path, Timeout: 5 * time.Minute}
	}
	if done, err := c.Notify(call("/hang/0")); done || err != nil {
		t.Fatal(done, err)
	}
	<-began
	for range 50 {
		if done, err := c.Notify(call("/ok")); done || err != nil {
			t.Fatal(done, err)
		}
	}
	<-woken // the first one has ended, without a result for the second
	if err := notified(t, c, woken, call("/ok")); err != nil || calls.Load() != 1 || most.Load() != 1 {
		t.Errorf("%v; %d calls, %d at once", err, calls.Load(), most.Load())
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
		err := ended(t, c, woken, webhook.Call{Object: object, Key: "k", URL: server.URL, Timeout: time.Minute})
		if (err != nil) != (tt.calls == 0) || calls.Load() != tt.calls {
			t.Errorf("%s: %v, and %d calls arrived", name, err, calls.Load())
		}
	}
}

// TestAnswers holds with which answers a notification counts as received, and that the headers
// of one are bounded.
func TestAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		code   int
		header int // its size
		want   string
	}{
		"the first of success": {200, 0, ""},
		"the last of success":  {299, 0, ""},
		"the first after it":   {300, 0, "the answer has status 300"},
		"large headers":        {200, 60 << 10, ""},
		"too large headers":    {200, 64<<10 + 100, "headers"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Large", strings.Repeat("x", tt.header))
			w.WriteHeader(tt.code)
		}))
		woken := make(chan types.NamespacedName, 8)
		c := webhook.New(func(o types.NamespacedName) { woken <- o })
		err := ended(t, c, woken, webhook.Call{Object: object, Key: "k", URL: server.URL, Timeout: time.Minute})
		if (err == nil) != (tt.want == "") || err != nil && tt.want != "headers" && err.Error() != tt.want {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		server.Close()
	}
}

// TestCallsAtOnce holds how many calls of a namespace, and of all, are made at once, that
// one which is given up while it waits for its turn was not received, and that nothing is
// left of namespaces without calls.
func TestCallsAtOnce(t *testing.T) {
	for name, tt := range map[string]struct{ namespaces, of, most int }{"of a namespace": {1, 20, 4}, "of all": {12, 4, 32}} {
		t.Run(name, func(t *testing.T) {
			var running, most atomic.Int32
			began, more, hang := make(chan struct{}, 100), make(chan struct{}, 100), make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				now := running.Add(1)
				defer running.Add(-1)
				for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
				}
				if int(now) > tt.most {
					more <- struct{}{}
				}
				began <- struct{}{}
				<-hang
			}))
			defer server.Close()
			woken := make(chan types.NamespacedName, 100)
			c := webhook.New(func(o types.NamespacedName) { woken <- o })
			call := func(i int, path string) webhook.Call {
				o := types.NamespacedName{Namespace: fmt.Sprint("n-", i%tt.namespaces), Name: fmt.Sprint(i)}
				return webhook.Call{Object: o, Key: "k", URL: server.URL + path, Timeout: 5 * time.Minute}
			}
			for i := range tt.most {
				if done, err := c.Notify(call(i, "/")); done || err != nil {
					t.Fatal(done, err)
				}
			}
			for range tt.most {
				<-began
			}
			waiting := call(tt.most, "/")
			if tt.namespaces > 1 {
				waiting.Object.Namespace = "another"
			}
			if done, err := c.Notify(waiting); done || err != nil {
				t.Fatal(done, err)
			}
			select {
			case <-more:
				t.Errorf("more than %d at once", tt.most)
			case <-time.After(50 * time.Millisecond): // nothing shows that a call does not come
			}
			other := waiting
			other.URL += "other"
			if done, err := c.Notify(other); done || err != nil { // ends the one that waits
				t.Fatal(done, err)
			}
			if o := <-woken; o != waiting.Object {
				t.Fatalf("woken: %s", o)
			}
			if done, err := c.Notify(waiting); !done || err == nil {
				t.Errorf("given up while it waited: done %v, %v", done, err)
			}
			for i := tt.most + 1; i < tt.namespaces*tt.of; i++ {
				if done, err := c.Notify(call(i, "/")); done || err != nil {
					t.Fatal(done, err)
				}
			}
			close(hang)
			for range tt.namespaces*tt.of - 1 {
				<-woken
			}
			if got := int(most.Load()); got != tt.most {
				t.Errorf("%d at once, want %d", got, tt.most)
			}
			if n := c.Namespaces(); n != 0 {
				t.Errorf("%d namespaces without calls are remembered", n)
			}
		})
	}
}
