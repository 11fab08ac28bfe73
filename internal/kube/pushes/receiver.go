package pushes

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// MaxBody of a request: the limit of GitHub, which no git server exceeds by
	// default.
	MaxBody = 25 << 20
	// MinToken is the length, in bytes, of the shortest token that is accepted.
	MinToken = 16

	// perSecond is the rate of the requests of a namespace in the long run, and
	// burst how many may come at once.
	perSecond, burst = 5, 50
	// maxAtOnce requests of one namespace are read at once.
	maxAtOnce = 8
	// prefix of all paths.
	prefix = "/push/"
)

// Hook accepts the pushes of one repository.
type Hook struct {
	// Path that requests are sent to: [Path].
	Path string
	// URL of the repository, as the GoCache has it.
	URL string
	// Token that proves a push.
	Token []byte
}

// Path returns where pushes of a repository are received for an object. It stays
// when the token is replaced.
func Path(object types.UID, url string) string {
	sum := sha256.Sum256([]byte("push\x00" + string(object) + "\x00" + url))
	return prefix + hex.EncodeToString(sum[:16])
}

// Pushed is called for each push that was proven, with the object whose Hook
// received it and the URL of the repository. It must not block.
type Pushed func(now time.Time, object types.NamespacedName, url string)

// Receiver serves the paths of hooks. Use [New].
type Receiver struct {
	clock func() time.Time

	mu     sync.Mutex
	pushed Pushed
	// byPath has the hooks of a path: several if an object names a repository with
	// several Secrets.
	byPath map[string][]registered
	// paths of each object.
	paths  map[types.NamespacedName][]string
	shares map[string]*share // by namespace
}

type registered struct {
	object types.NamespacedName
	hook   Hook
}

// share is what a namespace may use.
type share struct {
	objects int
	limiter *rate.Limiter
	reading int
}

// New returns a Receiver without hooks.
func New(clock func() time.Time) *Receiver {
	return &Receiver{
		clock: clock, byPath: map[string][]registered{}, paths: map[types.NamespacedName][]string{}, shares: map[string]*share{},
	}
}

// OnPush sets what is called for each push. A push without it is refused.
func (r *Receiver) OnPush(pushed Pushed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pushed = pushed
}

// Set replaces the hooks of an object; none forgets it.
func (r *Receiver) Set(object types.NamespacedName, hooks []Hook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	had := len(r.paths[object]) > 0
	for _, path := range r.paths[object] {
		delete(r.byPath, path) // paths of two objects differ, as their uids do
	}
	delete(r.paths, object)
	for _, hook := range hooks {
		r.byPath[hook.Path] = append(r.byPath[hook.Path], registered{object, hook})
		r.paths[object] = append(r.paths[object], hook.Path)
	}
	r.account(object.Namespace, had, len(hooks) > 0)
}

// account keeps the share of a namespace as long as an object of it has hooks;
// the lock is held.
func (r *Receiver) account(namespace string, had, has bool) {
	s := r.shares[namespace]
	switch {
	case had == has:
	case has && s == nil:
		r.shares[namespace] = &share{objects: 1, limiter: rate.NewLimiter(perSecond, burst)}
	case has:
		s.objects++
	default:
		if s.objects--; s.objects == 0 {
			delete(r.shares, namespace)
		}
	}
}

// ServeHTTP answers 202 to a push that is proven. No answer repeats anything of
// the request.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	outcome := r.receive(w, req)
	requests.WithLabelValues(outcome.name).Inc()
	if outcome.code == http.StatusAccepted {
		w.WriteHeader(outcome.code)
		return
	}
	w.Header().Set("Connection", "close") // rather than read the rest of the body
	if outcome.code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "10")
	}
	http.Error(w, outcome.text, outcome.code)
}

// outcome of a request, as it is answered and counted.
type outcome struct {
	name string
	code int
	text string
}

var (
	accepted   = outcome{"Accepted", http.StatusAccepted, ""}
	unknown    = outcome{"UnknownPath", http.StatusNotFound, "no push webhook is received at this path"}
	noPost     = outcome{"NotPost", http.StatusMethodNotAllowed, "push webhooks are sent with POST"}
	limited    = outcome{"RateLimited", http.StatusTooManyRequests, "too many requests for this namespace"}
	tooLarge   = outcome{"TooLarge", http.StatusRequestEntityTooLarge, "the request is too large"}
	incomplete = outcome{"Incomplete", http.StatusBadRequest, "the request was not received completely"}
	unproven   = outcome{"Unproven", http.StatusUnauthorized, "the request has neither the token of the webhook nor a signature that was made with it"}
	notReady   = outcome{"NotReady", http.StatusServiceUnavailable, "not ready"}
)

func (r *Receiver) receive(w http.ResponseWriter, req *http.Request) outcome {
	hooks, pushed := r.find(req.URL.Path)
	switch {
	case len(hooks) == 0:
		return unknown
	case req.Method != http.MethodPost:
		return noPost
	case pushed == nil:
		return notReady
	case req.ContentLength > MaxBody:
		return tooLarge
	}
	now := r.clock()
	end, ok := r.begin(now, hooks[0].object.Namespace)
	if !ok {
		return limited
	}
	defer end()
	claims := claimsOf(req.Header)
	proven := func(h registered) bool { return claims.hasToken(h.hook.Token) }
	if len(claims.signatures) > 0 {
		digests, err := digest(http.MaxBytesReader(w, req.Body, MaxBody), hooks)
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			return tooLarge
		}
		if err != nil {
			return incomplete
		}
		hasToken := proven
		proven = func(h registered) bool { return hasToken(h) || claims.signedBy(digests[string(h.hook.Token)]) }
	}
	answer := unproven
	for _, h := range hooks {
		if proven(h) {
			pushed(now, h.object, h.hook.URL)
			answer = accepted
		}
	}
	return answer
}

// find returns the hooks of a path.
func (r *Receiver) find(path string) ([]registered, Pushed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byPath[path], r.pushed
}

// begin takes a place of a namespace, until end is called.
func (r *Receiver) begin(now time.Time, namespace string) (end func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.shares[namespace]
	if s == nil || s.reading >= maxAtOnce || !s.limiter.AllowN(now, 1) {
		return nil, false
	}
	s.reading++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		s.reading--
	}, true
}

// digest returns the HMAC-SHA256 of a body for the token of each hook.
func digest(body io.Reader, hooks []registered) (map[string]hash.Hash, error) {
	digests := map[string]hash.Hash{}
	var writers []io.Writer
	for _, h := range hooks {
		if token := string(h.hook.Token); digests[token] == nil {
			digests[token] = hmac.New(sha256.New, h.hook.Token)
			writers = append(writers, digests[token])
		}
	}
	_, err := io.Copy(io.MultiWriter(writers...), body)
	return digests, err
}
