package gitrefs

import "sync"

const (
	// maxLookups that run at once.
	maxLookups = 16
	// maxPerNamespace of them for one namespace.
	maxPerNamespace = 4
)

// turns shares the places for look-ups between namespaces. The zero value is
// ready.
type turns struct {
	mu      sync.Mutex
	running map[string]int
	total   int
	waiting map[string][]turn
	// order of the namespaces that wait: the first one is served next.
	order []string
}

type turn struct {
	start func(func())
	work  func()
}

// run has start run work as soon as the namespace has a place, without waiting
// for that.
func (t *turns) run(namespace string, start func(func()), work func()) {
	t.mu.Lock()
	if t.running == nil {
		t.running, t.waiting = map[string]int{}, map[string][]turn{}
	}
	if len(t.waiting[namespace]) == 0 {
		t.order = append(t.order, namespace)
	}
	t.waiting[namespace] = append(t.waiting[namespace], turn{start, work})
	t.mu.Unlock()
	t.serve()
}

// serve starts what there are places for.
func (t *turns) serve() {
	for {
		next, namespace, ok := t.take()
		if !ok {
			return
		}
		next.start(func() {
			next.work()
			t.end(namespace)
			t.serve()
		})
	}
}

// take gives a place to the first namespace in the order that may have one,
// which then goes to the end of the order.
func (t *turns) take() (next turn, namespace string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total >= maxLookups {
		return turn{}, "", false
	}
	for i, namespace := range t.order {
		if t.running[namespace] >= maxPerNamespace {
			continue
		}
		next := t.waiting[namespace][0]
		t.order = append(t.order[:i:i], t.order[i+1:]...)
		if t.waiting[namespace] = t.waiting[namespace][1:]; len(t.waiting[namespace]) == 0 {
			delete(t.waiting, namespace)
		} else {
			t.order = append(t.order, namespace)
		}
		t.running[namespace]++
		t.total++
		return next, namespace, true
	}
	return turn{}, "", false
}

// end gives a place back.
func (t *turns) end(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total--
	if t.running[namespace]--; t.running[namespace] == 0 {
		delete(t.running, namespace)
	}
}
