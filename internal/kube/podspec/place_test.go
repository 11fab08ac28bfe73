package podspec_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/podspec"
)

// TestRestricted holds the context of every container literally: it is a promise
// to people who run Pod Security "restricted", and more than that asks for.
func TestRestricted(t *testing.T) {
	want := &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		ReadOnlyRootFilesystem:   ptr.To(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	if diff := cmp.Diff(want, podspec.Restricted()); diff != "" {
		t.Error(diff)
	}
}

func TestSecurity(t *testing.T) {
	restricted := corev1.PodSecurityContext{
		RunAsNonRoot:   ptr.To(true),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	owned := restricted
	owned.RunAsUser, owned.RunAsGroup = ptr.To[int64](1), ptr.To[int64](2)
	grouped := owned
	grouped.FSGroup, grouped.FSGroupChangePolicy = ptr.To[int64](3), ptr.To(corev1.FSGroupChangeOnRootMismatch)
	for name, tt := range map[string]struct {
		ownership *v1alpha1.Ownership
		want      corev1.PodSecurityContext
	}{
		"left to the platform": {nil, restricted},
		"no group of files":    {&v1alpha1.Ownership{RunAsUser: ptr.To[int64](1), RunAsGroup: ptr.To[int64](2)}, owned},
		"a group of files":     {&v1alpha1.Ownership{RunAsUser: ptr.To[int64](1), RunAsGroup: ptr.To[int64](2), FSGroup: ptr.To[int64](3)}, grouped},
	} {
		if diff := cmp.Diff(&tt.want, podspec.Security(tt.ownership)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPlace(t *testing.T) {
	for name, tt := range map[string]struct {
		template *v1alpha1.PodTemplate
		platform string
		want     corev1.PodSpec
	}{
		"anywhere":      {nil, "", corev1.PodSpec{}},
		"no platform":   {nil, "linux", corev1.PodSpec{}},
		"a platform":    {nil, "linux/arm64", corev1.PodSpec{NodeSelector: map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"}}},
		"a selector":    {&v1alpha1.PodTemplate{NodeSelector: map[string]string{"pool": "ci"}}, "", corev1.PodSpec{NodeSelector: map[string]string{"pool": "ci"}}},
		"both":          {&v1alpha1.PodTemplate{NodeSelector: map[string]string{"pool": "ci"}}, "linux/amd64", corev1.PodSpec{NodeSelector: map[string]string{"pool": "ci", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}}},
		"they disagree": {&v1alpha1.PodTemplate{NodeSelector: map[string]string{"kubernetes.io/arch": "arm64"}}, "linux/amd64", corev1.PodSpec{NodeSelector: map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}}},
		"all else of the template": {
			&v1alpha1.PodTemplate{
				PriorityClassName: "low", ServiceAccountName: "builder", ImagePullSecrets: []v1alpha1.LocalReference{{Name: "pull"}},
				Tolerations: []v1alpha1.Toleration{{Key: "k", Operator: "Equal", Value: "v", Effect: "NoExecute", TolerationSeconds: ptr.To[int64](5)}},
				Affinity:    &v1alpha1.Affinity{PodAntiAffinity: &v1alpha1.PodAffinity{Required: []v1alpha1.PodAffinityTerm{{TopologyKey: "zone"}}}},
			}, "",
			corev1.PodSpec{
				PriorityClassName: "low", ServiceAccountName: "builder", ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
				Tolerations: []corev1.Toleration{{Key: "k", Operator: corev1.TolerationOpEqual, Value: "v", Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](5)}},
				Affinity:    &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "zone"}}}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got corev1.PodSpec
			before := tt.template.DeepCopy()
			podspec.Place(&got, tt.template, tt.platform, nil)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, tt.template); diff != "" {
				t.Errorf("the template was changed: %s", diff)
			}
		})
	}
}

// TestMetadata holds that the operator's own labels win: selectors rely on them.
func TestMetadata(t *testing.T) {
	managed := v1alpha1.ManagedByLabel
	for name, tt := range map[string]struct {
		template            *v1alpha1.PodTemplate
		labels, annotations map[string]string
	}{
		"no template": {nil, map[string]string{"a": "ours", managed: v1alpha1.ManagedByValue}, map[string]string{}},
		"a template": {
			&v1alpha1.PodTemplate{Labels: map[string]string{"a": "theirs", "b": "theirs", managed: "helm"}, Annotations: map[string]string{"c": "theirs"}},
			map[string]string{"a": "ours", "b": "theirs", managed: v1alpha1.ManagedByValue}, map[string]string{"c": "theirs"},
		},
	} {
		labels, annotations := podspec.Metadata(tt.template, map[string]string{"a": "ours"})
		if diff := cmp.Diff(tt.labels, labels); diff != "" {
			t.Errorf("%s: labels: %s", name, diff)
		}
		if diff := cmp.Diff(tt.annotations, annotations); diff != "" {
			t.Errorf("%s: annotations: %s", name, diff)
		}
	}
}

// TestResources holds that every container has requests and limits of CPU and
// memory by default, and that a user's replace them as a whole.
func TestResources(t *testing.T) {
	q := resource.MustParse
	action := &v1alpha1.Resources{Requests: map[string]resource.Quantity{"cpu": q("1")}}
	template := &v1alpha1.PodTemplate{Resources: &v1alpha1.Resources{Limits: map[string]resource.Quantity{"memory": q("1Gi")}}}
	ofAction := corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: q("1")}}
	small := corev1.ResourceList{corev1.ResourceCPU: q("100m"), corev1.ResourceMemory: q("128Mi")}
	limits := func(cpu, memory string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Requests: small, Limits: corev1.ResourceList{corev1.ResourceCPU: q(cpu), corev1.ResourceMemory: q(memory)}}
	}
	for name, tt := range map[string]struct {
		work     podspec.Work
		action   *v1alpha1.Resources
		template *v1alpha1.PodTemplate
		want     corev1.ResourceRequirements
	}{
		"a check":           {podspec.Checking, nil, nil, limits("4", "4Gi")},
		"a build":           {podspec.Compiling, nil, nil, limits("8", "8Gi")},
		"a server":          {podspec.Serving, nil, nil, limits("2", "2Gi")},
		"a router":          {podspec.Routing, nil, nil, limits("2", "1Gi")},
		"a template's none": {podspec.Checking, nil, &v1alpha1.PodTemplate{}, limits("4", "4Gi")},
		"the template's":    {podspec.Compiling, nil, template, corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: q("1Gi")}}},
		"the action's":      {podspec.Compiling, action, nil, ofAction},
		"both":              {podspec.Checking, action, template, ofAction},
	} {
		if diff := cmp.Diff(tt.want, podspec.Resources(tt.work, tt.action, tt.template)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	helpers := &v1alpha1.PodTemplate{HelperResources: action}
	if diff := cmp.Diff(ofAction, podspec.Helper(helpers, "1", "1Gi")); diff != "" {
		t.Errorf("the helper's: %s", diff)
	}
}

// TestApart holds that another node is preferred to another zone, and that neither is required.
func TestApart(t *testing.T) {
	peers := &metav1.LabelSelector{MatchLabels: map[string]string{"role": "router"}}
	term := func(key string, weight int32) corev1.WeightedPodAffinityTerm {
		return corev1.WeightedPodAffinityTerm{Weight: weight, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: key, LabelSelector: peers}}
	}
	want := &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{term("kubernetes.io/hostname", 100), term("topology.kubernetes.io/zone", 50)},
	}}
	if diff := cmp.Diff(want, podspec.Apart(peers)); diff != "" {
		t.Error(diff)
	}
}

// TestPlaceSpreads holds that pods are spread as the template declares, among those of their role.
func TestPlaceSpreads(t *testing.T) {
	peers := &metav1.LabelSelector{MatchLabels: map[string]string{"role": "router"}}
	var got corev1.PodSpec
	podspec.Place(&got, &v1alpha1.PodTemplate{TopologySpreadConstraints: []v1alpha1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: "DoNotSchedule"}}}, "", peers)
	want := corev1.PodSpec{TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: "zone", WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: peers}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEnv(t *testing.T) {
	want := []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}, {Name: "C", Value: ""}}
	for range 10 { // a map gives another order each time
		if diff := cmp.Diff(want, podspec.Env(map[string]string{"B": "2", "C": "", "A": "1"})); diff != "" {
			t.Fatal(diff)
		}
	}
}
