package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/internal/domain/untrusted"
)

const (
	// maxCalls at once; further ones wait.
	maxCalls = 8
	// dialTimeout bounds the making of a connection.
	dialTimeout = 10 * time.Second
	// maxEnded calls are remembered until they are asked for.
	maxEnded = 1000
)

// Call is one notification.
type Call struct {
	// Object that it is about, which is woken at the end.
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

func (c Call) id() string { return c.Object.String() + " " + c.Key + " " + c.URL }

// Caller makes calls in the background. The zero value is not ready; use [New].
type Caller struct {
	http *http.Client
	wake func(types.NamespacedName)

	slots chan struct{}
	mu    sync.Mutex
	ended map[string]result // false while it goes on
}

type result struct {
	done bool
	err  error
}

// New is a caller that calls wake after the end of each call.
func New(wake func(types.NamespacedName)) *Caller {
	return &Caller{
		wake: wake, slots: make(chan struct{}, maxCalls), ended: map[string]result{},
		http: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// Restrict makes the caller connect only where a filter allows, and returns it.
// It is called before the first call.
func (c *Caller) Restrict(f *untrusted.Filter) *Caller {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = f.Dialer(dialTimeout).DialContext
	c.http.Transport = transport
	return c
}

// Notify begins a call unless it goes on already. It is done when the call has
// ended; the error is why it was not received. Asked again after that, it
// calls again.
func (c *Caller) Notify(call Call) (done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r, begun := c.ended[call.id()]; {
	case begun && r.done:
		delete(c.ended, call.id())
		return true, r.err
	case begun:
		return false, nil
	}
	c.ended[call.id()] = result{}
	go c.make(call)
	return false, nil
}

func (c *Caller) make(call Call) {
	c.slots <- struct{}{}
	err := c.post(call)
	<-c.slots
	c.mu.Lock()
	c.forget()
	c.ended[call.id()] = result{done: true, err: err}
	c.mu.Unlock()
	c.wake(call.Object)
}

// forget drops results that were not read, such as of objects that are gone,
// when there are many. A dropped call is made again.
func (c *Caller) forget() {
	if len(c.ended) < maxEnded {
		return
	}
	for id, r := range c.ended {
		if r.done {
			delete(c.ended, id)
		}
	}
}

func (c *Caller) post(call Call) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), call.Timeout) // the pass that began it is over
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, call.URL, bytes.NewReader(call.Body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "gocache-operator")
	req.Header.Set("Idempotency-Key", call.Key)
	resp, err := c.http.Do(req)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", call.Timeout)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the answer is %s", resp.Status)
	}
	return nil
}
