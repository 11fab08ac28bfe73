package retry

import (
	"cmp"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/conditions"
)

const (
	minPause = 5 * time.Millisecond
	// maxPause is the longest time until an object with an error is reconciled again:
	// the obstacle may be gone without an event of a watch.
	maxPause = time.Minute
	// maxLogged is the longest text of an error that is logged, in bytes.
	maxLogged = 4 << 10
)

// Pacer is the rate limiter of a controller. The zero value is ready for use.
type Pacer struct {
	once sync.Once
	all  workqueue.TypedRateLimiter[reconcile.Request]

	mu  sync.Mutex
	due map[reconcile.Request]time.Duration
	// kept are objects whose next Forget is that of a pass which was not made.
	kept map[reconcile.Request]bool
}

// Later is how a pass ends that was not made: it is, after a while, and the errors of the
// object still count.
func (p *Pacer) Later(req reconcile.Request, after time.Duration) ctrl.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == nil {
		p.kept = map[reconcile.Request]bool{}
	}
	p.kept[req] = true
	return ctrl.Result{RequeueAfter: after}
}

// Result is how a pass ends that had an error, or nil. After a pass that went well
// comes another after wake, or only when something happens if that is 0. There is no use in
// an early retry where only a user can help; any other error is tried again with growing
// pauses. In both cases the next pass is not later than wake.
func (p *Pacer) Result(req reconcile.Request, err error, wake time.Duration) (ctrl.Result, error) {
	if stalled := conditions.Stalled(err); stalled != nil {
		return ctrl.Result{RequeueAfter: sooner(cmp.Or(stalled.RetryAfter, maxPause), wake)}, nil
	}
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.due == nil {
			p.due = map[reconcile.Request]time.Duration{}
		}
		p.due[req] = wake
		return ctrl.Result{}, shortened{err}
	}
	return ctrl.Result{RequeueAfter: wake}, nil
}

// sooner of a pause and what was due; 0: nothing was.
func sooner(pause, wake time.Duration) time.Duration {
	if wake <= 0 {
		return pause
	}
	return min(pause, wake)
}

// When is the pause after a pass with an error.
func (p *Pacer) When(req reconcile.Request) time.Duration {
	pause := p.limiter().When(req)
	p.mu.Lock()
	defer p.mu.Unlock()
	wake := p.due[req]
	delete(p.due, req)
	return sooner(pause, wake)
}

// Forget begins with short pauses again.
func (p *Pacer) Forget(req reconcile.Request) {
	p.mu.Lock()
	kept := p.kept[req]
	delete(p.kept, req)
	p.mu.Unlock()
	if !kept {
		p.limiter().Forget(req)
	}
}

// NumRequeues is how many passes had an error since the last Forget.
func (p *Pacer) NumRequeues(req reconcile.Request) int { return p.limiter().NumRequeues(req) }

func (p *Pacer) limiter() workqueue.TypedRateLimiter[reconcile.Request] {
	p.once.Do(func() {
		p.all = workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minPause, maxPause)
	})
	return p.all
}

// shortened is an error for the log: API servers repeat refused values, which may be as
// large as an object, in their errors.
type shortened struct{ error }

// Error is the beginning of the text.
func (s shortened) Error() string { return bounded.Text(s.error.Error(), maxLogged) }

// Unwrap returns the error itself.
func (s shortened) Unwrap() error { return s.error }
