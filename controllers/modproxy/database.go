package modproxy

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/plan/failover"
)

// recordDatabase records since when the checksum database is unreachable through
// every instance. Until the probes have an outcome, what was recorded stays.
func recordDatabase(p *v1alpha1.ModProxy, o pass.Observed) {
	since, reached := &p.Status.ChecksumDatabaseUnreachableSince, o.Database.Reached
	switch {
	case !probesDatabase(p):
		*since = nil
	case reached.Count == 0: // not probed since the operator was started
	case !reached.Confirmed(*since != nil, thresholds(p.Spec.Probes)):
		*since = nil
	case *since == nil:
		*since = ptr.To(metav1.NewTime(o.Now))
	}
}

// databaseFact is the fact for the condition ChecksumDatabaseServed: whether
// clients reach the checksum database through the proxy. It is nil if that is not
// probed.
func databaseFact(p *v1alpha1.ModProxy, o pass.Observed) *pass.Fact {
	if !probesDatabase(p) {
		return nil
	}
	found, out := o.Database, p.Status.ChecksumDatabaseUnreachableSince != nil
	unhealthy := withoutDatabase(p)
	switch {
	case found.Reached.Count == 0 || out && found.Reached.Outcome != failover.Failed:
		return pass.Unchanged(v1alpha1.ReasonProgressing, "No instance was probed for the checksum database yet. If this stays: spec.checksumDatabase is not set, and no instance reports which one it proxies")
	case out:
		return pass.False(v1alpha1.ReasonChecksumDatabaseUnreachable, "No instance reaches %s, so weights stay; clients that request a module for the first time fail. %s", found.Name, found.Reached.Message)
	case len(unhealthy) > 0:
		return pass.False(v1alpha1.ReasonInstanceUnhealthy, "Not by every instance: %s", strings.Join(unhealthy, "; "))
	case found.Absent:
		return pass.True(v1alpha1.ReasonChecksumDatabaseReachable, "No instance proxies %s: clients ask it themselves", found.Name)
	default:
		return pass.True(v1alpha1.ReasonChecksumDatabaseReachable, "%s is reached through every instance", found.Name)
	}
}

// withoutDatabase are the instances that do not reach the database where others
// do.
func withoutDatabase(p *v1alpha1.ModProxy) []string {
	var all []string
	for _, i := range p.Status.Instances {
		for _, f := range i.FailingProbes {
			if f.Kind == v1alpha1.ProbeChecksumDatabase {
				all = append(all, i.Name+": "+f.Message)
			}
		}
	}
	return all
}
