package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/internal/domain/untrusted"
)

const (
	// maxCalls at once, and of one namespace; further ones wait, so that receivers of
	// one namespace that hang keep no other one waiting.
	maxCalls, maxPerNamespace = 32, 4
	// dialTimeout bounds the making of a connection.
	dialTimeout = 10 * time.Second
	// maxHeader bounds the headers of an answer, in bytes. Nothing else of it is read.
	maxHeader = 64 << 10
	// maxEnded calls are remembered until they are asked for.
	maxEnded = 1000
)

// Call is one notification.
type Call struct {
	// Object that it is about, which is woken at the end. An object has one call at a
	// time.
	Object types.NamespacedName
	// Key of it: two calls of one object and key are the same, and the receiver
	// gets the key.
	Key string
	// URL to post to, and what.
	URL  string
	Body []byte
	// Timeout of the whole call.
	Timeout time.Duration
}

func (c Call) id() string { return c.Key + " " + c.URL }

// Caller makes calls in the background. The zero value is not ready; use [New].
type Caller struct {
	http *http.Client
	wake func(types.NamespacedName)

	slots *semaphore.Weighted
	mu    sync.Mutex
	calls map[types.NamespacedName]*state
	turns map[string]*turns // by namespace
}

// state is of the last call of an object.
type state struct {
	id     string
	cancel context.CancelFunc
	done   bool
	err    error
}

// turns are the places of a namespace.
type turns struct {
	slots *semaphore.Weighted
	users int
}

// New is a caller that calls wake after the end of each call.
func New(wake func(types.NamespacedName)) *Caller {
	return (&Caller{
		wake: wake, slots: semaphore.NewWeighted(maxCalls), calls: map[types.NamespacedName]*state{}, turns: map[string]*turns{},
	}).Restrict(nil)
}

// Restrict makes the caller connect only where a filter allows, and returns it.
// It is called before the first call.
func (c *Caller) Restrict(f *untrusted.Filter) *Caller {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = f.Dialer(dialTimeout).DialContext
	transport.MaxResponseHeaderBytes = maxHeader
	c.http = &http.Client{Transport: answerOnly{transport}}
	return c
}

// answerOnly ends a request at its first answer: a redirect is not followed, and its
// address is not even parsed.
type answerOnly struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (a answerOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(r)
	if resp != nil {
		resp.Header.Del("Location")
	}
	return resp, err
}

// Notify begins a call unless it goes on already. It is done when the call has
// ended; the error is why it was not received, with nothing that the receiver
// sent. Asked again after that, it calls again. Another call of the same object
// that goes on is ended first.
func (c *Caller) Notify(call Call) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.calls[call.Object]
	switch {
	case last == nil:
	case !last.done:
		if last.id != call.id() {
			last.cancel() // its end wakes the object
		}
		return false, nil
	default:
		delete(c.calls, call.Object)
		if last.id == call.id() {
			return true, last.err
		}
	}
	ctx, cancel := context.WithCancel(context.Background()) // the pass that begins it will be over
	begun := &state{id: call.id(), cancel: cancel}
	c.calls[call.Object] = begun
	go c.make(ctx, call, begun)
	return false, nil
}

func (c *Caller) make(ctx context.Context, call Call, s *state) {
	defer s.cancel()
	err := c.inTurn(ctx, call)
	c.mu.Lock()
	c.forget()
	s.done, s.err = true, err
	c.mu.Unlock()
	c.wake(call.Object)
}

// inTurn makes a call when its namespace has its turn.
func (c *Caller) inTurn(ctx context.Context, call Call) error {
	own, done := c.turnsOf(call.Object.Namespace)
	defer done()
	if err := own.Acquire(ctx, 1); err != nil {
		return err
	}
	defer own.Release(1)
	if err := c.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	defer c.slots.Release(1)
	return c.post(ctx, call)
}

// turnsOf returns the places of a namespace, which are kept until all are done.
func (c *Caller) turnsOf(namespace string) (slots *semaphore.Weighted, done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.turns[namespace]
	if t == nil {
		t = &turns{slots: semaphore.NewWeighted(maxPerNamespace)}
		c.turns[namespace] = t
	}
	t.users++
	return t.slots, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(c.turns, namespace)
		}
	}
}

// forget drops results that were not read, such as of objects that are gone,
// when there are many. A dropped call is made again.
func (c *Caller) forget() {
	if len(c.calls) < maxEnded {
		return
	}
	for object, s := range c.calls {
		if s.done {
			delete(c.calls, object)
		}
	}
}

func (c *Caller) post(ctx context.Context, call Call) error {
	ctx, cancel := context.WithTimeout(ctx, call.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, call.URL, bytes.NewReader(call.Body))
	if err != nil {
		return errors.New("the URL cannot be requested") // the error quotes it, and a token may be in it
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "gocache-operator")
	req.Header.Set("Idempotency-Key", call.Key)
	resp, err := c.http.Do(req)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", call.Timeout)
	}
	if err != nil {
		return errors.New(untrusted.Cause(err))
	}
	_ = resp.Body.Close() // it is not read
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the answer has status %d", resp.StatusCode)
	}
	return nil
}
