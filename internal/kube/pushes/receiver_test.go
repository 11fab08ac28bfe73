package pushes_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what some servers sign with as well, and what is not accepted
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/internal/kube/pushes"
)

const (
	repository = "https://git.example.com/group/program.git"
	body       = `{"ref":"refs/heads/main","after":"1111111111111111111111111111111111111111"}`
	token      = "a token of the first namespace"
	other      = "a token of the second namespace"
)

var (
	first  = types.NamespacedName{Namespace: "first", Name: "ci"}
	second = types.NamespacedName{Namespace: "second", Name: "ci"}
)

// world is a receiver with a hook in each of two namespaces.
type world struct {
	*pushes.Receiver
	mu     sync.Mutex
	now    time.Time
	pushed []string
}

func newWorld() *world {
	w := &world{now: time.Unix(1_800_000_000, 0)}
	w.Receiver = pushes.New(func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.now
	})
	w.OnPush(func(_ time.Time, object types.NamespacedName, url string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pushed = append(w.pushed, object.String()+" "+url)
	})
	w.Set(first, []pushes.Hook{{Path: path(first), URL: repository, Token: []byte(token)}})
	w.Set(second, []pushes.Hook{{Path: path(second), URL: repository, Token: []byte(other)}})
	return w
}

func path(o types.NamespacedName) string {
	return pushes.Path(types.UID("uid of "+o.Namespace), repository)
}

func sign(newHash func() hash.Hash, token, body string) string {
	m := hmac.New(newHash, []byte(token))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

func signed(token, body string) http.Header {
	return http.Header{"X-Hub-Signature-256": {"sha256=" + sign(sha256.New, token, body)}}
}

// send returns the answer to a request.
func (w *world) send(method, path string, header http.Header, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, body)
	r.Header = header
	out := httptest.NewRecorder()
	w.ServeHTTP(out, r)
	return out
}

// TestServers holds that the pushes of each kind of git server are accepted, and
// lead to what their own path is for.
func TestServers(t *testing.T) {
	t.Parallel()
	digest := sign(sha256.New, token, body)
	for name, header := range map[string]http.Header{
		"GitHub":    {"X-Hub-Signature-256": {"sha256=" + digest}, "X-Hub-Signature": {"sha1=" + sign(sha1.New, token, body)}},
		"GitLab":    {"X-Gitlab-Token": {token}},
		"Gitea":     {"X-Gitea-Signature": {digest}},
		"Forgejo":   {"X-Forgejo-Signature": {digest}},
		"Bitbucket": {"X-Hub-Signature": {"sha256=" + digest}},
		"by hand":   {"X-Signature": {digest}},
	} {
		w := newWorld()
		if out := w.send("POST", path(first), header, strings.NewReader(body)); out.Code != http.StatusAccepted {
			t.Errorf("%s: %d %s", name, out.Code, out.Body)
		}
		if got := fmt.Sprint(w.pushed); got != "[first/ci "+repository+"]" {
			t.Errorf("%s led to %s", name, got)
		}
	}
}

// TestUnproven holds that no push without proof has an effect: not a forged one,
// not that of another namespace, and not one at a path that was withdrawn; and
// that an answer repeats nothing of the request.
func TestUnproven(t *testing.T) {
	t.Parallel()
	digest := sign(sha256.New, token, body)
	for name, tt := range map[string]struct {
		method, path string
		header       http.Header
		body         string
		want         int
	}{
		"nothing":                        {"POST", path(first), nil, body, http.StatusUnauthorized},
		"a guess":                        {"POST", path(first), signed("guess", body), body, http.StatusUnauthorized},
		"an empty token":                 {"POST", path(first), http.Header{"X-Gitlab-Token": {""}}, body, http.StatusUnauthorized},
		"signed with nothing":            {"POST", path(first), signed("", body), body, http.StatusUnauthorized},
		"a part of the token":            {"POST", path(first), http.Header{"X-Gitlab-Token": {token[:20]}}, body, http.StatusUnauthorized},
		"another body":                   {"POST", path(first), signed(token, body), body + " ", http.StatusUnauthorized},
		"SHA-1":                          {"POST", path(first), http.Header{"X-Hub-Signature": {"sha1=" + sign(sha1.New, token, body)}}, body, http.StatusUnauthorized},
		"half a digest":                  {"POST", path(first), http.Header{"X-Gitea-Signature": {digest[:32]}}, body, http.StatusUnauthorized},
		"no digits":                      {"POST", path(first), http.Header{"X-Signature": {strings.Repeat("zz", 32)}}, body, http.StatusUnauthorized},
		"the token of another namespace": {"POST", path(second), signed(token, body), body, http.StatusUnauthorized},
		"its token itself":               {"POST", path(second), http.Header{"X-Gitlab-Token": {token}}, body, http.StatusUnauthorized},
		"another path":                   {"POST", path(first) + "0", signed(token, body), body, http.StatusNotFound},
		"no path":                        {"POST", "/", signed(token, body), body, http.StatusNotFound},
		"GET":                            {"GET", path(first), signed(token, ""), "", http.StatusMethodNotAllowed},
	} {
		w := newWorld()
		out := w.send(tt.method, tt.path, tt.header, strings.NewReader(tt.body))
		if out.Code != tt.want || len(w.pushed) > 0 {
			t.Errorf("%s: %d, want %d; led to %v", name, out.Code, tt.want, w.pushed)
		}
		if out.Header().Get("Connection") != "close" || out.Header().Get("Retry-After") != "" || out.Body.Len() == 0 {
			t.Errorf("%s: the rest of the body is read, or the answer says nothing: %v, %q", name, out.Header(), out.Body)
		}
		if text := out.Body.String() + fmt.Sprint(out.Header()); strings.Contains(text, "refs/heads") || strings.Contains(text, token[:20]) || strings.Contains(text, tt.path) && tt.path != "/" {
			t.Errorf("%s is answered with a part of the request: %s", name, text)
		}
	}
	w := newWorld()
	w.Set(first, nil)
	if out := w.send("POST", path(first), signed(token, body), strings.NewReader(body)); out.Code != http.StatusNotFound || len(w.pushed) > 0 {
		t.Errorf("after the hook was withdrawn: %d, %v", out.Code, w.pushed)
	}
}

// TestTokenIsReplaced holds that a new token counts at once and the old one no
// more, at the same path.
func TestTokenIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.Set(first, []pushes.Hook{{Path: path(first), URL: repository, Token: []byte("the next token of it")}})
	for used, want := range map[string]int{token: http.StatusUnauthorized, "the next token of it": http.StatusAccepted} {
		if out := w.send("POST", path(first), signed(used, body), strings.NewReader(body)); out.Code != want {
			t.Errorf("with %q: %d, want %d", used, out.Code, want)
		}
	}
}

// TestPath holds that the path of a repository cannot be found without the uid
// of the object.
func TestPath(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, uid := range []types.UID{"1", "2"} {
		for _, url := range []string{repository, repository + "2"} {
			p := pushes.Path(uid, url)
			if len(p) != len("/push/")+32 || !strings.HasPrefix(p, "/push/") || seen[p] || p != pushes.Path(uid, url) {
				t.Errorf("%s of %s and %s", p, uid, url)
			}
			seen[p] = true
		}
	}
}

// TestRateOfANamespace holds that requests to the paths of one namespace, proven,
// forged or repeated, are bounded, and take nothing from another.
func TestRateOfANamespace(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]http.Header{"repeated": signed(token, body), "forged": signed("guess", body)} {
		w := newWorld()
		codes := map[int]int{}
		for range 1000 {
			out := w.send("POST", path(first), header, strings.NewReader(body))
			codes[out.Code]++
			if out.Code == http.StatusTooManyRequests && out.Header().Get("Retry-After") == "" {
				t.Fatalf("%s: no Retry-After", name)
			}
		}
		if n := 1000 - codes[http.StatusTooManyRequests]; n != 50 {
			t.Errorf("%s: %d of 1000 were read at once, want 50: %v", name, n, codes)
		}
		w.now = w.now.Add(2 * time.Second)
		again := 0
		for range 20 {
			if w.send("POST", path(first), header, strings.NewReader(body)).Code != http.StatusTooManyRequests {
				again++
			}
		}
		if again != 10 {
			t.Errorf("%s: %d more in two seconds, want 10", name, again)
		}
		if out := w.send("POST", path(second), signed(other, body), strings.NewReader(body)); out.Code != http.StatusAccepted {
			t.Errorf("%s: the other namespace got %d", name, out.Code)
		}
		w.now = w.now.Add(time.Minute)
		if out := w.send("POST", path(first), signed(token, body), strings.NewReader(body)); out.Code != http.StatusAccepted {
			t.Errorf("%s: a minute later: %d", name, out.Code)
		}
	}
}

// endless is a body that a client sends slowly or for ever: it blocks at its end.
type endless struct{ release chan struct{} }

func (e endless) Read([]byte) (int, error) {
	<-e.release
	return 0, io.EOF
}

// TestSlowRequestsOfANamespace holds that requests which do not end take the
// places of their own namespace only.
func TestSlowRequestsOfANamespace(t *testing.T) {
	t.Parallel()
	w := newWorld()
	slow := endless{make(chan struct{})}
	var all sync.WaitGroup
	codes := make(chan int, 30)
	for range cap(codes) {
		all.Go(func() {
			codes <- w.send("POST", path(first), signed(token, body), slow).Code
		})
	}
	for range cap(codes) - 8 {
		if code := <-codes; code != http.StatusTooManyRequests {
			t.Errorf("one was answered with %d", code)
		}
	}
	if out := w.send("POST", path(second), signed(other, body), strings.NewReader(body)); out.Code != http.StatusAccepted {
		t.Errorf("the other namespace got %d", out.Code)
	}
	close(slow.release)
	all.Wait()
	if out := w.send("POST", path(first), signed(token, body), strings.NewReader(body)); out.Code != http.StatusAccepted {
		t.Errorf("after they ended: %d", out.Code)
	}
}

// zeros is a body of a size, without its length.
func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLargeBodies holds that a body above the limit is refused, with and without
// its length, that one at the limit is accepted, and that neither is held in
// memory.
func TestLargeBodies(t *testing.T) {
	m := hmac.New(sha256.New, []byte(token))
	if _, err := io.Copy(m, zeros(pushes.MaxBody)); err != nil {
		t.Fatal(err)
	}
	header := http.Header{"X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(m.Sum(nil))}}
	w := newWorld()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for size, want := range map[int64]int{pushes.MaxBody: http.StatusAccepted, pushes.MaxBody + 1: http.StatusRequestEntityTooLarge, 1 << 40: http.StatusRequestEntityTooLarge} {
		r := httptest.NewRequest("POST", path(first), zeros(size))
		r.Header, r.ContentLength = header, -1
		out := httptest.NewRecorder()
		w.ServeHTTP(out, r)
		if out.Code != want {
			t.Errorf("%d bytes: %d, want %d", size, out.Code, want)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 2<<20 {
		t.Errorf("%d MiB were allocated", took>>20)
	}
	if out := newWorld().send("POST", path(first), header, bytes.NewReader(make([]byte, 25<<20))); out.Code != http.StatusAccepted {
		t.Errorf("25 MiB with their length: %d", out.Code)
	}
	out := w.send("POST", path(first), header, bytes.NewReader(make([]byte, 25<<20+1)))
	if out.Code != http.StatusRequestEntityTooLarge || len(w.pushed) != 1 {
		t.Errorf("with its length: %d; %d pushes", out.Code, len(w.pushed))
	}
}

// broken is a body that ends before its end.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestBrokenBodies holds that a signature proves nothing without the whole body, and that the
// token proves a push whatever the body is: it is not read.
func TestBrokenBodies(t *testing.T) {
	t.Parallel()
	w := newWorld()
	if out := w.send("POST", path(first), signed(token, body), broken{}); out.Code != http.StatusBadRequest || len(w.pushed) > 0 {
		t.Errorf("signed: %d, %v", out.Code, w.pushed)
	}
	if out := w.send("POST", path(first), http.Header{"X-Gitlab-Token": {token}}, broken{}); out.Code != http.StatusAccepted || len(w.pushed) != 1 {
		t.Errorf("with the token: %d, %v", out.Code, w.pushed)
	}
}

// TestNotReady holds that a push which would have no effect is refused.
func TestNotReady(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.OnPush(nil)
	if out := w.send("POST", path(first), signed(token, body), strings.NewReader(body)); out.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", out.Code)
	}
}

// TestSeveralSecrets holds that each Secret of a path proves pushes of what it is for, and
// that an empty one proves none.
func TestSeveralSecrets(t *testing.T) {
	t.Parallel()
	hooks := []pushes.Hook{
		{Path: path(first), URL: "one", Token: []byte(token)}, {Path: path(first), URL: "two", Token: []byte(other)},
		{Path: path(first), URL: "three", Token: []byte(token)}, {Path: path(first), URL: "four"},
	}
	for name, tt := range map[string]struct {
		header http.Header
		want   string
	}{
		"the first, signed":  {signed(token, body), "[first/ci one first/ci three]"},
		"the second, signed": {signed(other, body), "[first/ci two]"},
		"the first itself":   {http.Header{"X-Gitlab-Token": {token}}, "[first/ci one first/ci three]"},
		"both":               {http.Header{"X-Gitlab-Token": {token}, "X-Signature": {sign(sha256.New, other, body)}}, "[first/ci one first/ci two first/ci three]"},
		"none":               {http.Header{"X-Gitlab-Token": {""}}, "[]"},
	} {
		w := newWorld()
		w.Set(first, hooks)
		out := w.send("POST", path(first), tt.header, strings.NewReader(body))
		if got := fmt.Sprint(w.pushed); got != tt.want || (out.Code == http.StatusAccepted) != (tt.want != "[]") {
			t.Errorf("%s: %d, led to %s, want %s", name, out.Code, got, tt.want)
		}
	}
}
