package prober

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// RoundAtOnce makes one round of each instance of a proxy, all at the same time.
func (p *Prober) RoundAtOnce(ctx context.Context, proxy types.NamespacedName) {
	p.mu.Lock()
	var all sync.WaitGroup
	for _, i := range p.proxies[proxy].instances {
		all.Go(func() { p.round(ctx, proxy, i) })
	}
	p.mu.Unlock()
	all.Wait()
}

// Held is how many bytes of the budget are held, and how many namespaces have a
// share.
func (p *Prober) Held() (held int64, shares int) {
	p.budget.mu.Lock()
	defer p.budget.mu.Unlock()
	left := int64(0)
	for n := int64(budgetBytes); n > 0; n /= 2 {
		for p.budget.all.TryAcquire(n) {
			left += n
		}
	}
	p.budget.all.Release(left)
	return budgetBytes - left, len(p.budget.shares)
}

// Exhausted reports whether the probes of a namespace hold all that is for them:
// one that reads on has to wait.
func (p *Prober) Exhausted(namespace string) bool {
	p.budget.mu.Lock()
	defer p.budget.mu.Unlock()
	s := p.budget.shares[namespace]
	if s == nil || !s.left.TryAcquire(step) {
		return s != nil
	}
	s.left.Release(step)
	return false
}
