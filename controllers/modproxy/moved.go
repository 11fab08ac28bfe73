package modproxy

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/kube/event"
)

// The longest names that a status accepts.
const maxModule, maxVersion = 512, 128

// recordMoved adds the versions that instances have found moved to those that are
// known. An instance that is started again has found none yet, so that nothing is taken
// back; the oldest give way.
func recordMoved(p *v1alpha1.ModProxy, o pass.Observed) {
	known := p.Status.MovedVersions
	for _, i := range p.Spec.Instances {
		for _, v := range o.Found[i.Name].Moved {
			if len(v.Module) > maxModule || len(v.Version) > maxVersion {
				continue
			}
			at := slices.IndexFunc(known, func(k v1alpha1.MovedVersion) bool {
				return k.Module == v.Module && k.Version == v.Version && k.StoredCommit == v.Stored
			})
			if at >= 0 && known[at].MovedCommit == v.Moved {
				continue
			}
			if at >= 0 {
				known = slices.Delete(slices.Clone(known), at, at+1)
			}
			known = append(known, v1alpha1.MovedVersion{
				Module: v.Module, Version: v.Version, StoredCommit: v.Stored, MovedCommit: v.Moved, Time: metav1.NewTime(o.Now),
			})
		}
	}
	p.Status.MovedVersions = known[max(len(known)-probe.MaxMoved, 0):]
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
