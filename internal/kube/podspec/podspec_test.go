package podspec_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/podspec"
)

// TestAffinity holds that no field of our type is lost on the way to the core
// type: both marshal to the same JSON.
func TestAffinity(t *testing.T) {
	requirement := []v1alpha1.SelectorRequirement{{Key: "k", Operator: "In", Values: []string{"v"}}}
	term := v1alpha1.PodAffinityTerm{TopologyKey: "zone", LabelSelector: &v1alpha1.LabelSelector{MatchLabels: map[string]string{"a": "b"}, MatchExpressions: requirement}}
	pods := &v1alpha1.PodAffinity{
		Required:  []v1alpha1.PodAffinityTerm{term},
		Preferred: []v1alpha1.WeightedPodAffinityTerm{{Weight: 2, PodAffinityTerm: term}},
	}
	ours := &v1alpha1.Affinity{
		NodeAffinity: &v1alpha1.NodeAffinity{
			Required:  &v1alpha1.NodeSelector{NodeSelectorTerms: []v1alpha1.NodeSelectorTerm{{MatchExpressions: requirement}}},
			Preferred: []v1alpha1.PreferredNodeSelectorTerm{{Weight: 3, Preference: v1alpha1.NodeSelectorTerm{MatchExpressions: requirement}}},
		},
		PodAffinity: pods, PodAntiAffinity: pods,
	}
	want, err := json.Marshal(ours)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(podspec.Affinity(ours))
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(want, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
}

// TestNear holds that the user's alternatives and the volume's both restrict.
func TestNear(t *testing.T) {
	term := func(key string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpExists}}}
	}
	pod := &corev1.PodSpec{}
	podspec.Near(pod, nil)
	if pod.Affinity != nil {
		t.Errorf("nothing to be near to: %+v", pod.Affinity)
	}
	podspec.Near(pod, &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term("a"), term("b")}})
	podspec.Near(pod, &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term("c")}})
	var keys []string
	for _, t := range pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		key := ""
		for _, e := range t.MatchExpressions {
			key += e.Key
		}
		keys = append(keys, key)
	}
	if diff := cmp.Diff([]string{"ac", "bc"}, keys); diff != "" {
		t.Error(diff)
	}
}

// TestNearBesideOthers holds that what else a pod's affinity holds stays, and that one
// without alternatives restricts nothing.
func TestNearBesideOthers(t *testing.T) {
	apart, preferred := &corev1.PodAntiAffinity{}, []corev1.PreferredSchedulingTerm{{Weight: 1}}
	near := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name"}}}}}
	for name, had := range map[string]*corev1.NodeAffinity{
		"none":            nil,
		"preferred alone": {PreferredDuringSchedulingIgnoredDuringExecution: preferred},
		"no alternatives": {RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{}, PreferredDuringSchedulingIgnoredDuringExecution: preferred},
	} {
		pod := &corev1.PodSpec{Affinity: &corev1.Affinity{PodAntiAffinity: apart, NodeAffinity: had}}
		want := &corev1.Affinity{PodAntiAffinity: apart, NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: near}}
		if had != nil {
			want.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution = preferred
		}
		podspec.Near(pod, near)
		if diff := cmp.Diff(want, pod.Affinity); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestOwnershipLeftToThePlatform holds that no id is set where the platform
// assigns them.
func TestOwnershipLeftToThePlatform(t *testing.T) {
	sc := podspec.Security(nil)
	if sc.RunAsUser != nil || sc.FSGroup != nil || sc.RunAsNonRoot == nil || !*sc.RunAsNonRoot {
		t.Errorf("got %+v", sc)
	}
}
