package router_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"gocache.dev/operator/internal/router"
	"gocache.dev/operator/internal/router/weights"
	"gocache.dev/operator/internal/testing/loopback"
)

// sidecar is a running one.
type sidecar struct {
	agent, pages, file string
}

func start(t *testing.T, change func(*router.Options)) *sidecar {
	t.Helper()
	s := &sidecar{agent: loopback.Address(t), pages: loopback.Address(t), file: filepath.Join(t.TempDir(), weights.File)}
	options := router.Options{Agent: s.agent, Pages: s.pages, File: s.file, Interval: 5 * time.Millisecond, Now: time.Now,
		Log: testr.NewWithOptions(t, testr.Options{Verbosity: -1})}
	if change != nil {
		change(&options)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- router.Run(ctx, options) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return s
}

func (s *sidecar) publish(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(s.file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.file+".new", s.file); err != nil {
		t.Fatal(err)
	}
}

func document(generation int, servers string) string {
	return fmt.Sprintf(`{"version":1,"owner":"test","generation":%d,"servers":{%s}}`, generation, servers)
}

// ask does what HAProxy does; "" means that nothing listens.
func (s *sidecar) ask(question string) string {
	conn, err := (&net.Dialer{Timeout: time.Second}).Dial("tcp", s.agent)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, question+"\n"); err != nil {
		return ""
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSpace(line)
}

func (s *sidecar) eventually(t *testing.T, question, want string) {
	t.Helper()
	got := ""
	for range 1000 {
		if got = s.ask(question); got == want {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%q is answered %q, want %q", question, got, want)
}

// refusals are how often a source had nothing good to offer.
func (s *sidecar) refusals(t *testing.T, source string) int {
	t.Helper()
	resp, err := http.Get("http://" + s.pages + "/metrics")
	for n := 0; err != nil && n < 1000; n++ { // the pages may be there after the answers
		time.Sleep(5 * time.Millisecond)
		resp, err = http.Get("http://" + s.pages + "/metrics")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if _, value, ok := strings.Cut(string(text), fmt.Sprintf("gocache_router_weights_errors_total{source=%q} ", source)); ok {
		if _, err := fmt.Sscan(value, &n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// refuses makes a change, again if need be, until the sidecar has refused what a source
// offers.
func (s *sidecar) refuses(t *testing.T, source string, change func()) {
	t.Helper()
	before := s.refusals(t, source)
	for range 1000 {
		change()
		for range 10 {
			if s.refusals(t, source) > before {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	t.Fatal("nothing is refused")
}

// ignores publishes a text that is not refused, and waits until it was read. The file must
// be "{", which is refused: it is again only when another text was read in between.
func (s *sidecar) ignores(t *testing.T, text string) {
	t.Helper()
	s.refuses(t, "file", func() {
		s.publish(t, text)
		time.Sleep(20 * time.Millisecond)
		s.publish(t, "{")
	})
}

func (s *sidecar) ready(t *testing.T) (bool, string) {
	t.Helper()
	resp, err := http.Get("http://" + s.pages + "/readyz")
	if err != nil {
		return false, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode == http.StatusOK, string(body)
}

func TestAnswers(t *testing.T) {
	s := start(t, nil)
	s.publish(t, document(1, `"blue":{"state":"ready","weight":50},"green":{"state":"drain"},"red":{"state":"down"}`))
	s.eventually(t, "blue", "ready up 50%")
	for question, want := range map[string]string{
		"last-resort/blue":    "ready up 100%",
		"green":               "drain",
		"last-resort/green":   "ready up 1%",
		"red":                 "down",
		"last-resort/red":     "down",
		"unknown":             "down",
		"last-resort/unknown": "down",
		"":                    "down",
	} {
		if got := s.ask(question); got != want {
			t.Errorf("%q is answered %q, want %q", question, got, want)
		}
	}
	if got := s.ask(strings.Repeat("x", 5000)); got != "" {
		t.Errorf("an endless question is answered %q", got)
	}
}

func TestNothingListensWithoutWeights(t *testing.T) {
	s := start(t, nil)
	s.publish(t, "not weights")
	for range 20 {
		if got := s.ask("blue"); got != "" {
			t.Fatalf("answered %q without weights", got)
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.publish(t, document(1, `"blue":{"state":"ready","weight":1}`))
	s.eventually(t, "blue", "ready up 1%")
}

func TestTheLastGoodWeightsStay(t *testing.T) {
	s := start(t, nil)
	s.publish(t, document(5, `"blue":{"state":"down"}`))
	s.eventually(t, "blue", "down")
	for _, bad := range []string{"", document(6, `"blue":{"state":"maint"}`), "{"} {
		s.refuses(t, "file", func() { s.publish(t, bad) })
		if got := s.ask("blue"); got != "down" {
			t.Errorf("after %q: %q", bad, got)
		}
	}
	s.ignores(t, document(4, `"blue":{"state":"ready","weight":100}`))
	if got := s.ask("blue"); got != "down" {
		t.Errorf("after an older generation: %q", got)
	}
	s.refuses(t, "file", func() {
		if err := os.RemoveAll(s.file); err != nil {
			t.Fatal(err)
		}
	})
	if got := s.ask("blue"); got != "down" {
		t.Errorf("without a file: %q", got)
	}
	s.publish(t, document(6, `"blue":{"state":"drain"}`))
	s.eventually(t, "blue", "drain")
}

func TestReadyOnlyWhenHAProxyAsksForAll(t *testing.T) {
	s := start(t, nil)
	s.publish(t, document(1, `"blue":{"state":"ready","weight":1},"green":{"state":"ready","weight":1}`))
	s.eventually(t, "blue", "ready up 1%")
	if ok, text := s.ready(t); ok || !strings.Contains(text, "green") {
		t.Errorf("ready = %v %q, green was never asked for", ok, text)
	}
	s.ask("last-resort/green")
	if ok, _ := s.ready(t); ok {
		t.Error("the last resort is not what clients use first")
	}
	s.ask("green")
	if ok, text := s.ready(t); !ok {
		t.Errorf("not ready: %s", text)
	}
}

// An instance that is added is in the weights before this HAProxy is replaced by one that
// is configured with it. All routers would leave the Service until then, or without end.
func TestReadyWhileWeightsNameAServerOfTheNextHAProxy(t *testing.T) {
	s := start(t, func(o *router.Options) { o.Servers = []string{"blue", "green"} })
	s.publish(t, document(1, `"blue":{"state":"ready","weight":1},"red":{"state":"down"}`))
	s.eventually(t, "blue", "ready up 1%")
	if ok, text := s.ready(t); ok || !strings.Contains(text, "green") {
		t.Errorf("ready = %v %q, green was never asked for", ok, text)
	}
	s.ask("green") // which the weights do not name any more: it is answered down
	if ok, text := s.ready(t); !ok {
		t.Errorf("not ready: %s", text)
	}
	// Weights of before, with none of its servers: it would refuse every client.
	s.publish(t, document(2, `"teal":{"state":"ready","weight":1}`))
	s.eventually(t, "teal", "ready up 1%")
	s.ask("blue")
	s.ask("green")
	if ok, text := s.ready(t); ok || !strings.Contains(text, "no server of this HAProxy") {
		t.Errorf("ready = %v %q, with weights for another HAProxy", ok, text)
	}
}

func TestWatch(t *testing.T) {
	cm := func(text string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "w"}, Data: map[string]string{weights.Key: text}}
	}
	client := fake.NewClientset(cm(document(1, `"blue":{"state":"drain"}`)))
	s := start(t, func(o *router.Options) { o.Client, o.Namespace, o.Name = client, "ns", "w" })
	s.eventually(t, "blue", "drain")
	update := func(text string) {
		t.Helper()
		if _, err := client.CoreV1().ConfigMaps("ns").Update(t.Context(), cm(text), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	update(document(2, `"blue":{"state":"ready","weight":7}`))
	s.eventually(t, "blue", "ready up 7%")
	// A file that lags behind, as a mounted ConfigMap does, changes nothing.
	s.refuses(t, "file", func() { s.publish(t, "{") })
	s.ignores(t, document(1, `"blue":{"state":"drain"}`))
	s.refuses(t, "watch", func() { update("{") })
	if got := s.ask("blue"); got != "ready up 7%" {
		t.Errorf("answered %q", got)
	}
	if err := client.CoreV1().ConfigMaps("ns").Delete(t.Context(), "w", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "watch", func() { // after the deletion
		if _, err := client.CoreV1().ConfigMaps("ns").Create(t.Context(), cm("{"), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	})
	if got := s.ask("blue"); got != "ready up 7%" {
		t.Errorf("after the ConfigMap has gone: %q", got)
	}
}

// TestWatchNamesTheConfigMap: without the field selector a Role that is
// restricted to one name forbids list and watch.
func TestWatchNamesTheConfigMap(t *testing.T) {
	asked := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path + " " + r.URL.Query().Get("fieldSelector"):
		default:
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	client := router.NewTestClient(t, server.URL)
	start(t, func(o *router.Options) { o.Client, o.Namespace, o.Name = client, "ns", "w" })
	select {
	case got := <-asked:
		if want := "/api/v1/namespaces/ns/configmaps metadata.name=w"; got != want {
			t.Errorf("asked for %q, want %q", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Error("the API server was not asked")
	}
}
