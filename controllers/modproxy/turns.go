package modproxy

import (
	"sync"
	"time"
)

const (
	// workers is how many passes are made at the same time.
	workers = 8
	// namespaceShare is how many of them may be for proxies of one namespace. A pass waits
	// for answers of the router's pods, which another client of the namespace may hold back:
	// proxies of other namespaces must not wait for these.
	namespaceShare = 2
	// turnPause is the time until a proxy tries again that has no turn.
	turnPause = 200 * time.Millisecond
)

// turns counts the passes under way, by namespace. The zero value is ready for use.
type turns struct {
	mu    sync.Mutex
	begun map[string]int
}

// begin reports whether a proxy of the namespace has its turn. Call end after it.
func (t *turns) begin(namespace string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.begun[namespace] >= namespaceShare {
		return false
	}
	if t.begun == nil {
		t.begun = map[string]int{}
	}
	t.begun[namespace]++
	return true
}

func (t *turns) end(namespace string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.begun[namespace]--; t.begun[namespace] == 0 {
		delete(t.begun, namespace)
	}
}
