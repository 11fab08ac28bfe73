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
	// repeatAfter is how long a cause is held back that comes again after
	// another one, or in other words: a full pool is met again at each try of
	// the scheduler, and drivers put request ids into their errors.
	repeatAfter = 5 * time.Minute
)

// told remembers what was said about each claim. It is lost with the process:
// then a cause that stands is said once more.
type told struct {
	mu     sync.Mutex
	claims map[types.NamespacedName]*tale
}

// tale is what was said about one claim.
type tale struct {
	uid types.UID
	// latest cause that there was, said or held back.
	latest string
	// said is the last notice for each cause.
	said map[string]said
}

type said struct {
	text string
	at   time.Time
}

// first reports whether a notice is to be given, and remembers it if so.
func (t *told) first(claim *corev1.PersistentVolumeClaim, n *notice, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	about := t.about(claim)
	last, known := about.said[n.reason]
	stands := about.latest == n.reason && last.text == n.text
	about.latest = n.reason
	if known {
		pause := repeatAfter
		if stands {
			pause = remindAfter
		}
		if n.once || now.Sub(last.at) < pause {
			return false
		}
	}
	about.said[n.reason] = said{text: n.text, at: now}
	return true
}

// about is the tale of a claim; another claim of the same name has a new one.
func (t *told) about(claim *corev1.PersistentVolumeClaim) *tale {
	key := client.ObjectKeyFromObject(claim)
	if about := t.claims[key]; about != nil && about.uid == claim.UID {
		return about
	}
	if t.claims == nil {
		t.claims = map[types.NamespacedName]*tale{}
	}
	t.claims[key] = &tale{uid: claim.UID, said: map[string]said{}}
	return t.claims[key]
}

// forget drops what was said about a claim that is gone.
func (t *told) forget(claim types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.claims, claim)
}
