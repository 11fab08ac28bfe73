package prober

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/domain/untrusted"
)

// Instances are servers of users, and may answer with as many bytes as a probe
// reads. What a probe has read stays in memory until it ends, so each byte is
// charged to a budget when it is read, and given back at the end of the probe.

const (
	// budgetBytes of answers are in memory at once, over all probes.
	budgetBytes = 64 << 20
	// shareBytes of them are for the probes of one namespace: enough for the
	// largest reference module. The instances of one namespace cannot use up what
	// the probes of the others need.
	shareBytes = 40 << 20
	// step is how many bytes are charged at once.
	step = 32 << 10
)

// errBudget is the error of a read for which the budget had no room before the
// probe's timeout. It is not the instance's fault.
var errBudget = fmt.Errorf("%w: too many bytes of other probes are in memory", probe.ErrLocal)

// budget is what the probes in flight may hold in memory.
type budget struct {
	all *semaphore.Weighted

	mu     sync.Mutex
	shares map[string]*share
}

// share is the part of the budget that a namespace may use.
type share struct {
	left   *semaphore.Weighted
	probes int // that use it
}

func newBudget() *budget {
	return &budget{all: semaphore.NewWeighted(budgetBytes), shares: map[string]*share{}}
}

// open begins an account for one probe of a namespace; it is to be closed.
func (b *budget) open(namespace string) *account {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shares[namespace]
	if s == nil {
		s = &share{left: semaphore.NewWeighted(shareBytes)}
		b.shares[namespace] = s
	}
	s.probes++
	return &account{budget: b, namespace: namespace, share: s}
}

// account is what one probe holds.
type account struct {
	budget    *budget
	namespace string
	share     *share

	mu     sync.Mutex
	used   int64
	closed bool
}

// take charges bytes, and waits for room until the context ends.
func (a *account) take(ctx context.Context, n int64) error {
	if err := a.share.left.Acquire(ctx, n); err != nil {
		return errBudget
	}
	if err := a.budget.all.Acquire(ctx, n); err != nil {
		a.share.left.Release(n)
		return errBudget
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		a.release(n)
		return errBudget
	}
	a.used += n
	return nil
}

// give gives bytes back that were not read after all.
func (a *account) give(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.used -= n
		a.release(n)
	}
}

// close gives back all that is left.
func (a *account) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	a.release(a.used)
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	if a.share.probes--; a.share.probes == 0 {
		delete(a.budget.shares, a.namespace)
	}
}

func (a *account) release(n int64) {
	a.share.left.Release(n)
	a.budget.all.Release(n)
}

// connection is how the instances of one proxy are asked.
type connection struct {
	http      *http.Client
	budget    *budget
	namespace string
}

func (p *Prober) connection(proxy types.NamespacedName) connection {
	return connection{p.http, p.budget, proxy.Namespace}
}

type accountKey struct{}

// within bounds a probe in time, and charges what it reads until it is
// cancelled.
func (c connection) within(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	account := c.budget.open(c.namespace)
	return context.WithValue(ctx, accountKey{}, account), func() {
		cancel()
		account.close()
	}
}

// read runs what reads the answer of an instance, and logs and returns the panic that
// ended it.
func (c connection) read(instance, what string, read func()) error {
	panicked := untrusted.Read(read)
	if panicked == nil {
		return nil
	}
	log.Log.WithName("prober").Error(panicked.Cause, "Reading the answer of an instance failed", "namespace", c.namespace, "instance", instance, "probe", what, "stack", panicked.Stack)
	return panicked
}

// guarded is a client that follows no redirect, which could lead to an address
// that the operator alone can reach, and charges what is read of answers.
func guarded(client *http.Client) *http.Client {
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Transport = metered{client.Transport}
	return &c
}

// metered charges the bodies of answers to the account of their request.
type metered struct{ next http.RoundTripper }

// RoundTrip sends a request.
func (m metered) RoundTrip(req *http.Request) (*http.Response, error) {
	next := m.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if a, ok := req.Context().Value(accountKey{}).(*account); ok {
		resp.Body = &charged{ReadCloser: resp.Body, ctx: req.Context(), account: a}
	}
	return resp, nil
}

// charged is a body whose bytes are charged.
type charged struct {
	io.ReadCloser
	ctx     context.Context
	account *account
}

// Read reads what there is room for.
func (c *charged) Read(p []byte) (int, error) {
	p = p[:min(len(p), step)]
	if err := c.account.take(c.ctx, int64(len(p))); err != nil {
		return 0, err
	}
	n, err := c.ReadCloser.Read(p)
	c.account.give(int64(len(p) - n))
	return n, err
}
