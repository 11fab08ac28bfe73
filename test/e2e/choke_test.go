package e2e

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/test/scenario"
)

// point is a request of the manager's at which it is killed.
type point struct {
	// method and path of the request, and what its body holds; all expressions,
	// the last one optional.
	method, path, body string
	// after: the request takes effect, and its answer never arrives. Otherwise
	// it never arrives itself.
	after bool
}

func (p point) matches(r *http.Request, body []byte) bool {
	return regexp.MustCompile("^(?:"+p.method+")$").MatchString(r.Method) &&
		regexp.MustCompile(p.path).MatchString(r.URL.Path) &&
		regexp.MustCompile(p.body).Match(body)
}

func (p point) String() string {
	when := "before"
	if p.after {
		when = "after"
	}
	return fmt.Sprintf("%s %s %s", when, p.method, p.path)
}

// choke stands between a manager and the API server. It authenticates as the manager
// with the token of its own service account, so that it may do what it may do
// in the cluster and nothing else, and kills it at a point.
type choke struct {
	url     string
	forward http.Handler

	mu     sync.Mutex
	point  *point
	kill   func()
	struck chan struct{} // closed when it kills
	writes []string      // every request but reads, as METHOD path
}

// newChoke listens until the test ends.
func (s *fixture) newChoke() *choke {
	s.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](3600)}}
	token, err := s.Set.CoreV1().ServiceAccounts(scenario.SystemNamespace).CreateToken(s.ctx, scenario.ManagerDeployment, request, metav1.CreateOptions{})
	s.must(err)
	config := rest.AnonymousClientConfig(s.Config)
	config.BearerToken = token.Status.Token
	transport, err := rest.TransportFor(config)
	s.must(err)
	target, err := url.Parse(s.Config.Host)
	s.must(err)
	c := &choke{forward: &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // watches are streams
		ErrorLog:      log.New(io.Discard, "", 0),
	}}
	server := httptest.NewServer(c)
	s.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	c.url = server.URL
	return c
}

// arm has the choke kill at a point, once.
func (c *choke) arm(p point, kill func()) (struck <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.point, c.kill, c.struck = &p, kill, make(chan struct{})
	return c.struck
}

// wrote returns the writes since it was asked last.
func (c *choke) wrote() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	writes := c.writes
	c.writes = nil
	return writes
}

// written counts them, and forgets none.
func (c *choke) written() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.writes)
}

// take returns the armed point if a request is at it, and disarms it.
func (c *choke) take(r *http.Request, body []byte) *point {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.point
	if p == nil || !p.matches(r, body) {
		return nil
	}
	c.point = nil
	return p
}

func (c *choke) strike() {
	close(c.struck)
	c.kill()
	panic(http.ErrAbortHandler) // there is no answer
}

// ServeHTTP forwards a request, unless it is the one.
func (c *choke) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		c.forward.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	c.mu.Lock()
	c.writes = append(c.writes, r.Method+" "+r.URL.Path)
	c.mu.Unlock()
	p := c.take(r, body)
	if p == nil {
		c.forward.ServeHTTP(w, r)
		return
	}
	if !p.after {
		c.strike()
	}
	answer := httptest.NewRecorder()
	c.forward.ServeHTTP(answer, r)
	if answer.Code < http.StatusMultipleChoices {
		c.strike()
	}
	// It took no effect, for example because of a conflict: it will be tried
	// again.
	c.mu.Lock()
	c.point = p
	c.mu.Unlock()
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// kubeconfig is a file that leads to the choke.
func (c *choke) kubeconfig(path string) error {
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c,
clusters: [{name: c, cluster: {server: %q}}], contexts: [{name: c, context: {cluster: c, user: c}}], users: [{name: c, user: {}}]}`, c.url)
	return os.WriteFile(path, []byte(text), 0o600)
}
