package populator

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// remindAfter is when a standing cause is said again: an API server keeps
	// events for an hour.
	remindAfter = 50 * time.Minute
	// rephraseAfter is how long other words for the same cause are held back:
	// drivers put request ids into their errors.
	rephraseAfter = 5 * time.Minute
)

// told remembers what was said last about each claim. It is lost with the
// process: then a cause that stands is said once more.
type told struct {
	mu   sync.Mutex
	last map[types.NamespacedName]said
}

type said struct {
	claim        types.UID
	reason, text string
	at           time.Time
}

// first says whether a notice is to be given, and remembers it if so.
func (t *told) first(claim *corev1.PersistentVolumeClaim, n *notice, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := client.ObjectKeyFromObject(claim)
	last, ok := t.last[key]
	if ok && last.claim == claim.UID && last.reason == n.reason {
		pause := remindAfter
		if last.text != n.text {
			pause = rephraseAfter
		}
		if n.once || now.Sub(last.at) < pause {
			return false
		}
	}
	if t.last == nil {
		t.last = map[types.NamespacedName]said{}
	}
	t.last[key] = said{claim: claim.UID, reason: n.reason, text: n.text, at: now}
	return true
}

// forget drops what was said about a claim that is gone.
func (t *told) forget(claim types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.last, claim)
}
