package request

import (
	"cmp"
	"slices"
	"time"

	"gocache.dev/operator/api/v1alpha1"
)

// Reports are created by consumers of a cache, which may do nothing else: one for each
// build. What is kept of them is bounded, whatever a reporter asks for.
const (
	// MaxReportTTL is how long a finished report is kept at most.
	MaxReportTTL = 24 * time.Hour
	// MaxReports of one action are kept that succeeded for one object.
	MaxReports = 1000
	// MaxUnacceptedReports of one action are kept that did not succeed, for all objects
	// of a namespace together: reporters choose the names.
	MaxUnacceptedReports = 100
)

// IsReport reports whether an action is for those who may only report.
func IsReport(action v1alpha1.RequestAction) bool {
	return action == v1alpha1.RequestReportBuild || action == v1alpha1.RequestReportFailure
}

// group of finished reports that are counted together.
type group struct {
	action v1alpha1.RequestAction
	target v1alpha1.RequestTarget // none: reports that did not succeed
}

// Surplus are the finished reports among all requests of a namespace that are deleted before
// their time, since so many newer ones are kept.
func Surplus(all []v1alpha1.CacheRequest) []*v1alpha1.CacheRequest {
	groups := map[group][]*v1alpha1.CacheRequest{}
	for i := range all {
		r := &all[i]
		if !IsReport(r.Spec.Action) || !Finished(r) || !r.DeletionTimestamp.IsZero() {
			continue
		}
		g := group{action: r.Spec.Action}
		if r.Status.Outcome == v1alpha1.RequestSucceeded {
			g.target = r.Spec.TargetRef
		}
		groups[g] = append(groups[g], r)
	}
	var surplus []*v1alpha1.CacheRequest
	for g, reports := range groups {
		most := MaxReports
		if g.target == (v1alpha1.RequestTarget{}) {
			most = MaxUnacceptedReports
		}
		if len(reports) <= most {
			continue
		}
		slices.SortFunc(reports, func(a, b *v1alpha1.CacheRequest) int {
			return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(b.Name, a.Name))
		})
		surplus = append(surplus, reports[most:]...)
	}
	return surplus
}
