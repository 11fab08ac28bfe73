package modproxy

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/kube/event"
)

// The longest names that a status accepts.
const maxModule, maxVersion = 512, 128

// recordMoved adds the versions that instances have found moved to those that are
// known: the commit that was noticed last counts, whichever instances have it, and of
// too many versions the newest stay. An instance that is started again has found none
// yet, so that nothing is taken back.
func recordMoved(p *v1alpha1.ModProxy, o pass.Observed) {
	known := slices.Clone(p.Status.MovedVersions)
	for _, i := range p.Spec.Instances {
		for _, v := range o.Found[i.Name].Moved {
			if len(v.Module) <= maxModule && len(v.Version) <= maxVersion && !v.Noticed.After(o.Now) {
				known = withMoved(known, v)
			}
		}
	}
	p.Status.MovedVersions = known
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

// movedEvents report each version once for each commit that its tag was moved to.
func movedEvents(was, is []v1alpha1.MovedVersion) []event.Event {
	var events []event.Event
	for _, v := range is {
		known := slices.ContainsFunc(was, func(w v1alpha1.MovedVersion) bool {
			w.Time = v.Time
			return w == v
		})
		if !known {
			events = append(events, event.Warning("VersionMoved", "Compare",
				"Version %s of %s was moved to commit %s; commit %s, which was seen first, is served: tag the new commit with a new version", v.Version, v.Module, v.MovedCommit, v.StoredCommit))
		}
	}
	return events
}
