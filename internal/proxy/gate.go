package proxy

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// gate bounds the sum of what is under way, in files or bytes, and shares it
// among clients: one gets no more than what stays free after it, so that
// however many wait, another one can begin.
type gate struct {
	capacity int64

	mu      sync.Mutex
	used    int64
	clients map[string]int64
	waiting []*ticket
}

// ticket is a place in the queue.
type ticket struct {
	client string
	weight int64
	ready  chan struct{}
}

func newGate(capacity int64) *gate {
	return &gate{capacity: capacity, clients: map[string]int64{}}
}

// acquire waits for its share. The function that it returns gives the share back.
func (g *gate) acquire(ctx context.Context, client string, weight int64) (release func(), err error) {
	t := &ticket{client: client, weight: min(weight, g.capacity), ready: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, t)
	g.admit()
	g.mu.Unlock()
	select {
	case <-t.ready:
		return g.releaser(t), nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, t); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
		return nil, context.Cause(ctx)
	}
	return g.releaser(t), nil // admitted at the last moment
}

// try acquires a share only if it is free now.
func (g *gate) try(client string, weight int64) (release func(), ok bool) {
	t := &ticket{client: client, weight: min(weight, g.capacity), ready: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) > 0 || !g.fits(t) {
		return nil, false
	}
	g.take(t)
	return g.releaser(t), true
}

func (g *gate) releaser(t *ticket) func() {
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.used -= t.weight
		if g.clients[t.client] -= t.weight; g.clients[t.client] == 0 {
			delete(g.clients, t.client)
		}
		g.admit()
	})
}

// admit takes whatever fits from the queue, of clients with the least first.
func (g *gate) admit() {
	for {
		order := slices.Clone(g.waiting)
		slices.SortStableFunc(order, func(a, b *ticket) int { return cmp.Compare(g.clients[a.client], g.clients[b.client]) })
		i := slices.IndexFunc(order, g.fits)
		if i < 0 {
			return
		}
		t := order[i]
		g.waiting = slices.DeleteFunc(g.waiting, func(o *ticket) bool { return o == t })
		g.take(t)
		close(t.ready)
	}
}

func (g *gate) take(t *ticket) {
	g.used += t.weight
	g.clients[t.client] += t.weight
}

func (g *gate) fits(t *ticket) bool {
	free := g.capacity - g.used - t.weight
	return free >= 0 && (g.used == 0 || g.clients[t.client]+t.weight <= free)
}
