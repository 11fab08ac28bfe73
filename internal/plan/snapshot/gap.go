package snapshot

import (
	"slices"
	"strings"

	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
)

// Gap names what a policy asks of a verification that another verification
// does not do, as fields with their values; empty: nothing. What a Corrupt
// verdict leads to and how long a check may take make no verification weaker.
func Gap(policy, than v1alpha1.Verification) string {
	if policy.Mode == v1alpha1.VerificationSkip {
		return ""
	}
	var lacks []string
	asked, done := ptr.Deref(policy.Trust, v1alpha1.Trust{}), ptr.Deref(than.Trust, v1alpha1.Trust{})
	for _, ref := range asked.GoSumRefs {
		if !slices.Contains(done.GoSumRefs, ref) {
			lacks = append(lacks, "trust.goSumRefs: "+ref.Name)
		}
	}
	if asked.ChecksumDatabase != "" && asked.ChecksumDatabase != done.ChecksumDatabase {
		lacks = append(lacks, "trust.checksumDatabase: "+asked.ChecksumDatabase)
	}
	if asked.FirstSeen && !done.FirstSeen {
		lacks = append(lacks, "trust.firstSeen")
	}
	declared := len(asked.GoSumRefs) > 0 || asked.ChecksumDatabase != ""
	if declared && done.Coverage == v1alpha1.CoveragePartial && asked.Coverage != v1alpha1.CoveragePartial {
		lacks = append(lacks, "trust.coverage: Full")
	}
	if build := policy.OfflineBuild; build != nil {
		switch own := than.OfflineBuild; {
		case own == nil || own.ConfigMapRef != build.ConfigMapRef:
			lacks = append(lacks, "offlineBuild: "+build.ConfigMapRef.Name)
		case build.Vendor && !own.Vendor:
			lacks = append(lacks, "offlineBuild.vendor")
		}
	}
	return strings.Join(lacks, ", ")
}
