package podspec_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/podspec"
)

// TestForRole holds that a role's template replaces field by field, and changes
// neither template.
func TestForRole(t *testing.T) {
	all := &v1alpha1.PodTemplate{NodeSelector: map[string]string{"pool": "ci"}, PriorityClassName: "low", Labels: map[string]string{"team": "a"}}
	role := &v1alpha1.PodTemplate{Labels: map[string]string{"tier": "edge"}, ServiceAccountName: "proxy"}
	want := &v1alpha1.PodTemplate{NodeSelector: map[string]string{"pool": "ci"}, PriorityClassName: "low", Labels: map[string]string{"tier": "edge"}, ServiceAccountName: "proxy"}
	got := podspec.ForRole(all, role)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got.Labels["tier"], got.NodeSelector["pool"] = "changed", "changed"
	if all.NodeSelector["pool"] != "ci" || role.Labels["tier"] != "edge" {
		t.Error("a template was changed")
	}
	if podspec.ForRole(nil, role) != role || podspec.ForRole(all, nil) != all || podspec.ForRole(nil, nil) != nil {
		t.Error("one template alone is not the result")
	}
}

// TestForRoleWithout holds that a role can do without what all pods have: an empty
// list of it is set.
func TestForRoleWithout(t *testing.T) {
	all := &v1alpha1.PodTemplate{Tolerations: []v1alpha1.Toleration{{Key: "ci"}}, ImagePullSecrets: []v1alpha1.LocalReference{{Name: "pull"}}}
	role := &v1alpha1.PodTemplate{}
	if err := json.Unmarshal([]byte(`{"tolerations": []}`), role); err != nil {
		t.Fatal(err)
	}
	if got := podspec.ForRole(all, role); len(got.Tolerations) != 0 || len(got.ImagePullSecrets) != 1 {
		t.Errorf("%+v, want no toleration and the pull Secret of all", got)
	}
}

// TestSpread holds that no field is lost, and that a constraint without a selector
// counts the pods of the same role.
func TestSpread(t *testing.T) {
	peers := &metav1.LabelSelector{MatchLabels: map[string]string{"role": "router"}}
	own := &v1alpha1.LabelSelector{MatchLabels: map[string]string{"a": "b"}, MatchExpressions: []v1alpha1.SelectorRequirement{{Key: "k", Operator: "In", Values: []string{"v"}}}}
	got := podspec.Spread([]v1alpha1.TopologySpreadConstraint{
		{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: "DoNotSchedule", MinDomains: ptr.To[int32](3)},
		{MaxSkew: 2, TopologyKey: "host", WhenUnsatisfiable: "ScheduleAnyway", LabelSelector: own, NodeAffinityPolicy: ptr.To[v1alpha1.NodeInclusion]("Ignore"), NodeTaintsPolicy: ptr.To[v1alpha1.NodeInclusion]("Honor")},
	}, peers)
	want := []corev1.TopologySpreadConstraint{
		{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: corev1.DoNotSchedule, MinDomains: ptr.To[int32](3), LabelSelector: peers},
		{
			MaxSkew: 2, TopologyKey: "host", WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector:      &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "k", Operator: metav1.LabelSelectorOpIn, Values: []string{"v"}}}},
			NodeAffinityPolicy: ptr.To(corev1.NodeInclusionPolicyIgnore), NodeTaintsPolicy: ptr.To(corev1.NodeInclusionPolicyHonor),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
