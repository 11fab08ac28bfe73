package modproxy

import (
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/kube/event"
)

// The longest names that a status accepts.
const maxModule, maxVersion = 512, 128

// movedPause is how long moved versions change the status of a proxy no more after they
// did: an instance with an image of its own may name others at each probe.
const movedPause = time.Minute

// movedTimes are when this process last wrote the moved versions of each proxy.
type movedTimes struct {
	mu    sync.Mutex
	wrote map[types.NamespacedName]time.Time
}

// left is how much of the pause after the last write is left.
func (m *movedTimes) left(proxy types.NamespacedName, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	since := now.Sub(m.wrote[proxy])
	if since < 0 { // the clock was set back
		return 0
	}
	return max(movedPause-since, 0)
}

// written records a write.
func (m *movedTimes) written(proxy types.NamespacedName, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wrote == nil {
		m.wrote = map[types.NamespacedName]time.Time{}
	}
	m.wrote[proxy] = now
}

// forget drops a proxy that is gone.
func (m *movedTimes) forget(proxy types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.wrote, proxy)
}

// recordMoved adds the versions that instances have found moved to those that are
// known: the commit that was noticed last counts, whichever instances have it, and of
// too many versions the newest stay. An instance that is started again has found none
// yet, so that nothing is taken back. What comes too soon after a change is recorded by
// a later pass, which is asked for.
func (r *Reconciler) recordMoved(p *progress) {
	known := slices.Clone(p.proxy.Status.MovedVersions)
	for _, i := range p.proxy.Spec.Instances {
		for _, v := range p.Found[i.Name].Moved {
			if len(v.Module) <= maxModule && len(v.Version) <= maxVersion && !v.Noticed.After(p.Now) {
				known = withMoved(known, v)
			}
		}
	}
	if slices.Equal(known, p.proxy.Status.MovedVersions) {
		return
	}
	if left := r.moved.left(client.ObjectKeyFromObject(p.proxy), p.Now); left > 0 {
		p.result.WakeIn(left)
		return
	}
	p.proxy.Status.MovedVersions = known
}

// withMoved adds a version, unless what is known is newer. The oldest comes first.
func withMoved(known []v1alpha1.MovedVersion, v probe.MovedVersion) []v1alpha1.MovedVersion {
	at := slices.IndexFunc(known, func(k v1alpha1.MovedVersion) bool {
		return k.Module == v.Module && k.Version == v.Version && k.StoredCommit == v.Stored
	})
	noticed := metav1.NewTime(v.Noticed.Truncate(time.Second))
	switch {
	case at >= 0 && (known[at].MovedCommit == v.Moved || !known[at].Time.Before(&noticed)):
		return known
	case at >= 0:
		known = slices.Delete(known, at, at+1)
	case len(known) >= probe.MaxMoved && !known[0].Time.Before(&noticed):
		return known
	}
	known = append(known, v1alpha1.MovedVersion{
		Module: v.Module, Version: v.Version, StoredCommit: v.Stored, MovedCommit: v.Moved, Time: noticed,
	})
	slices.SortStableFunc(known, func(a, b v1alpha1.MovedVersion) int { return a.Time.Compare(b.Time.Time) })
	return known[max(len(known)-probe.MaxMoved, 0):]
}

// movedEvents report the versions whose tag was moved to another commit than before, in
// one event.
func movedEvents(was, is []v1alpha1.MovedVersion) []event.Event {
	var moved []v1alpha1.MovedVersion
	for _, v := range is {
		known := slices.ContainsFunc(was, func(w v1alpha1.MovedVersion) bool {
			w.Time = v.Time
			return w == v
		})
		if !known {
			moved = append(moved, v)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	v, others := moved[len(moved)-1], ""
	switch n := len(moved) - 1; n {
	case 0:
	case 1:
		others = "; so was another version (status.movedVersions)"
	default:
		others = fmt.Sprintf("; so were %d other versions (status.movedVersions)", n)
	}
	return []event.Event{event.Warning("VersionMoved", "Compare",
		"Version %s of %s was moved to commit %s; commit %s, which was seen first, is served: tag the new commit with a new version%s", v.Version, v.Module, v.MovedCommit, v.StoredCommit, others)}
}
