package modproxy

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/plan/failover"
)

// fullSince is since when a store is full, after what was found. Until the probes
// have an outcome, what was recorded stays.
func fullSince(recorded *metav1.Time, found failover.Streak, t failover.Thresholds, now time.Time) *metav1.Time {
	switch {
	case !found.Confirmed(recorded != nil, t):
		return nil
	case recorded == nil:
		return ptr.To(metav1.NewTime(now))
	}
	return recorded
}

// storesFact is the fact for the condition StorageSufficient: whether every store
// has room for what its instance fetches. It is nil without a store.
func storesFact(p *v1alpha1.ModProxy) *pass.Fact {
	stores := 0
	var full []string
	for _, i := range p.Status.Instances {
		if !pass.HasStore(p, i.Name) {
			continue
		}
		stores++
		if i.StoreFullSince != nil {
			full = append(full, storeFull(p, i))
			continue
		}
		for _, f := range i.FailingProbes {
			if f.Kind == v1alpha1.ProbeDisk {
				full = append(full, fmt.Sprintf("%s: %s. %s", i.Name, f.Message, makeRoom(p, i.Name)))
			}
		}
	}
	switch {
	case stores == 0:
		return nil
	case len(full) > 0:
		return pass.False(v1alpha1.ReasonStoreFull, "%s", strings.Join(full, "; "))
	}
	return pass.True(v1alpha1.ReasonStoresHaveRoom, "Every store has room for what its instance fetches")
}

// storeFull is what a full store means, and what to do.
func storeFull(p *v1alpha1.ModProxy, i v1alpha1.InstanceStatus) string {
	used := ""
	if i.DiskUsedPercent != nil {
		used = fmt.Sprintf(" (%d %% used)", *i.DiskUsedPercent)
	}
	return fmt.Sprintf("%s: the store is full%s: what does not fit is fetched again for each client. %s", i.Name, used, makeRoom(p, i.Name))
}

func makeRoom(p *v1alpha1.ModProxy, instance string) string {
	if most := pass.Storage(p, instance).MaxUsedPercent; most != nil {
		return fmt.Sprintf("Removing archives cannot keep the volume below maxUsedPercent %d with room for what is fetched: increase storage.size", *most)
	}
	return "Set storage.maxUsedPercent, so that archives which were not served for long are removed, or increase storage.size"
}
