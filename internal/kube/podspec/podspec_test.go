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

// TestNodeOf holds that the node that a pod was bound to is read back, beside what the
// user's template demands, and that what does not bind it to one node is none.
func TestNodeOf(t *testing.T) {
	zones := &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
		{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"x"}}}},
		{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{"y"}}}},
	}}
	field := func(key string, operator corev1.NodeSelectorOperator, values ...string) *corev1.NodeSelector {
		return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: key, Operator: operator, Values: values}}}}}
	}
	either := &corev1.NodeSelector{NodeSelectorTerms: append(podspec.OnNode("a").NodeSelectorTerms, podspec.OnNode("b").NodeSelectorTerms...)}
	anyway := &corev1.NodeSelector{NodeSelectorTerms: append(podspec.OnNode("a").NodeSelectorTerms, zones.NodeSelectorTerms...)}
	for name, tt := range map[string]struct {
		near []*corev1.NodeSelector
		want string
	}{
		"nothing":               {nil, ""},
		"no node":               {[]*corev1.NodeSelector{podspec.OnNode("")}, ""},
		"a node":                {[]*corev1.NodeSelector{podspec.OnNode("a")}, "a"},
		"zones":                 {[]*corev1.NodeSelector{zones}, ""},
		"a node in zones":       {[]*corev1.NodeSelector{zones, podspec.OnNode("a")}, "a"},
		"either node":           {[]*corev1.NodeSelector{either}, ""},
		"a node, or zones":      {[]*corev1.NodeSelector{anyway}, ""},
		"two nodes":             {[]*corev1.NodeSelector{field("metadata.name", corev1.NodeSelectorOpIn, "a", "b")}, ""},
		"all nodes but one":     {[]*corev1.NodeSelector{field("metadata.name", corev1.NodeSelectorOpNotIn, "a")}, ""},
		"another field":         {[]*corev1.NodeSelector{field("metadata.namespace", corev1.NodeSelectorOpIn, "a")}, ""},
		"no alternative at all": {[]*corev1.NodeSelector{{}}, ""},
	} {
		pod := &corev1.PodSpec{}
		for _, near := range tt.near {
			podspec.Near(pod, near)
		}
		if got := podspec.NodeOf(pod); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	for name, affinity := range map[string]*corev1.Affinity{"no affinity to nodes": {}, "none that is required": {NodeAffinity: &corev1.NodeAffinity{}}} {
		if got := podspec.NodeOf(&corev1.PodSpec{Affinity: affinity}); got != "" {
			t.Errorf("%s: %q", name, got)
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
