package populator

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// remindAfter is when a standing cause is reported again: an API server keeps
	// events for an hour.
	remindAfter = 50 * time.Minute
	// repeatAfter is how long a cause is held back that comes again after
	// another one, or in other words: a full pool is met again at each try of
	// the scheduler, and drivers put request ids into their errors.
	repeatAfter = 5 * time.Minute
)

// reports remembers the events about each PVC. It is lost with the process:
// then a cause that stands is reported once more.
type reports struct {
	mu     sync.Mutex
	claims map[types.NamespacedName]*history
}

// history is the record of the events about one PVC.
type history struct {
	uid types.UID
	// latest cause that there was, reported or held back.
	latest string
	// reported is the last notice for each cause.
	reported map[string]reported
}

type reported struct {
	text string
	at   time.Time
}

// first reports whether a notice is to be given, and remembers it if so.
func (t *reports) first(claim *corev1.PersistentVolumeClaim, n *notice, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	about := t.about(claim)
	last, known := about.reported[n.reason]
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
	about.reported[n.reason] = reported{text: n.text, at: now}
	return true
}

// about is the tale of a PVC; another PVC of the same name has a new one.
func (t *reports) about(claim *corev1.PersistentVolumeClaim) *history {
	key := client.ObjectKeyFromObject(claim)
	if about := t.claims[key]; about != nil && about.uid == claim.UID {
		return about
	}
	if t.claims == nil {
		t.claims = map[types.NamespacedName]*history{}
	}
	t.claims[key] = &history{uid: claim.UID, reported: map[string]reported{}}
	return t.claims[key]
}

// forget drops the record of a PVC that is gone.
func (t *reports) forget(claim types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.claims, claim)
}
