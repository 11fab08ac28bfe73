package reflinkcsi

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// operations lets one request per volume or snapshot work at a time, and lets it
// finish although its caller stopped waiting: sidecars give up after seconds and
// ask again, and the second request must find the first one's work, not start
// it again.
type operations struct {
	mu      sync.Mutex
	running map[string]*operation
}

type operation struct {
	done chan struct{}
	err  error
}

func newOperations() *operations { return &operations{running: map[string]*operation{}} }

// do runs work under a key, or waits for the work that runs under it already.
func (o *operations) do(ctx context.Context, key string, work func(context.Context) error) error {
	op := o.join(ctx, key, work)
	select {
	case <-op.done:
		return op.err
	case <-ctx.Done():
		return status.Errorf(codes.Aborted, "%s: still in progress", key)
	}
}

func (o *operations) join(ctx context.Context, key string, work func(context.Context) error) *operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	if op, ok := o.running[key]; ok {
		return op
	}
	op := &operation{done: make(chan struct{})}
	o.running[key] = op
	go func() {
		op.err = work(context.WithoutCancel(ctx))
		o.mu.Lock()
		delete(o.running, key)
		o.mu.Unlock()
		close(op.done)
	}()
	return op
}
