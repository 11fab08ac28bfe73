package modproxy

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/plan/failover"
)

// setDatabase says whether clients reach the checksum database through the
// proxy. What stood there stays until the probes know.
func (s *scope) setDatabase(set conditions.Set) {
	const served = v1alpha1.ChecksumDatabaseServedCondition
	if !probesDatabase(s.proxy) {
		set.Clear(served)
		return
	}
	found := s.Database
	was := meta.FindStatusCondition(s.Stored.Status.Conditions, served)
	out := was != nil && was.Status == metav1.ConditionFalse && was.Reason == v1alpha1.ReasonChecksumDatabaseUnreachable
	switch missing := s.withoutDatabase(); {
	case found.Reached.Count == 0 && was != nil:
		set.Keep(served)
	case found.Reached.Count == 0:
		set.Unknown(served, v1alpha1.ReasonProgressing, "No instance was asked for the checksum database yet. If this stays: spec.checksumDatabase is not set, and no instance tells which one it proxies")
	case out && found.Reached.Outcome != failover.Failed && found.Reached.Confirmed(out, thresholds(s.proxy.Spec.Probes)):
		set.Keep(served) // it is not over yet
	case found.Reached.Confirmed(out, thresholds(s.proxy.Spec.Probes)):
		set.False(served, v1alpha1.ReasonChecksumDatabaseUnreachable, "No instance reaches %s, so weights stay; clients that meet a module for the first time fail. %s", found.Name, found.Reached.Message)
	case len(missing) > 0:
		set.False(served, v1alpha1.ReasonInstanceUnhealthy, "Not by every instance: %s", strings.Join(missing, "; "))
	case found.Absent:
		set.True(served, v1alpha1.ReasonChecksumDatabaseReachable, "No instance proxies %s: clients ask it themselves", found.Name)
	default:
		set.True(served, v1alpha1.ReasonChecksumDatabaseReachable, "%s is reached through every instance", found.Name)
	}
}

// withoutDatabase are the instances that fail where others do not.
func (s *scope) withoutDatabase() []string {
	var all []string
	for _, i := range s.proxy.Status.Instances {
		for _, f := range i.FailingProbes {
			if f.Kind == v1alpha1.ProbeChecksumDatabase {
				all = append(all, i.Name+": "+f.Message)
			}
		}
	}
	return all
}
