package podspec

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
)

// Restricted is the security context of every container.
func Restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		ReadOnlyRootFilesystem:   ptr.To(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// Security is the security context of a pod under an ownership; nil leaves the
// ids to the platform.
func Security(o *v1alpha1.Ownership) *corev1.PodSecurityContext {
	sc := &corev1.PodSecurityContext{
		RunAsNonRoot:   ptr.To(true),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if o == nil {
		return sc
	}
	sc.RunAsUser, sc.RunAsGroup, sc.FSGroup = o.RunAsUser, o.RunAsGroup, o.FSGroup
	if o.FSGroup != nil {
		// Always would rewrite the mode of every file at each mount.
		sc.FSGroupChangePolicy = ptr.To(corev1.FSGroupChangeOnRootMismatch)
	}
	return sc
}

// Metadata are the labels and annotations of a pod: the template's, and ours
// over them, since selectors rely on those.
func Metadata(t *v1alpha1.PodTemplate, ours map[string]string) (labels, annotations map[string]string) {
	labels, annotations = map[string]string{}, map[string]string{}
	if t != nil {
		maps.Copy(labels, t.Labels)
		maps.Copy(annotations, t.Annotations)
	}
	maps.Copy(labels, ours)
	labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	return labels, annotations
}

// Place is where a pod may run and under which account: by the template, and on
// nodes of a platform (GOOS/GOARCH; empty is any). peers select the pods that a
// spread constraint without a selector counts.
func Place(pod *corev1.PodSpec, t *v1alpha1.PodTemplate, platform string, peers *metav1.LabelSelector) {
	selector := map[string]string{}
	if t != nil {
		maps.Copy(selector, t.NodeSelector)
		pod.PriorityClassName, pod.ServiceAccountName = t.PriorityClassName, t.ServiceAccountName
		pod.TopologySpreadConstraints = Spread(t.TopologySpreadConstraints, peers)
		for _, secret := range t.ImagePullSecrets {
			pod.ImagePullSecrets = append(pod.ImagePullSecrets, corev1.LocalObjectReference{Name: secret.Name})
		}
		for _, tol := range t.Tolerations {
			pod.Tolerations = append(pod.Tolerations, corev1.Toleration{
				Key: tol.Key, Operator: corev1.TolerationOperator(tol.Operator), Value: tol.Value,
				Effect: corev1.TaintEffect(tol.Effect), TolerationSeconds: tol.TolerationSeconds,
			})
		}
		pod.Affinity = Affinity(t.Affinity)
	}
	if goos, goarch, ok := strings.Cut(platform, "/"); ok {
		selector[corev1.LabelOSStable], selector[corev1.LabelArchStable] = goos, goarch
	}
	if len(selector) > 0 {
		pod.NodeSelector = selector
	}
}

// Affinity turns our bounded type into the core one. Both have the same field
// names.
func Affinity(a *v1alpha1.Affinity) *corev1.Affinity {
	if a == nil {
		return nil
	}
	out := &corev1.Affinity{}
	convert(a, out)
	return out
}

// Apart prefers nodes, then zones, where none of the peers runs: two pods on the only
// node are better than one.
func Apart(peers *metav1.LabelSelector) *corev1.Affinity {
	term := func(key string, weight int32) corev1.WeightedPodAffinityTerm {
		return corev1.WeightedPodAffinityTerm{Weight: weight, PodAffinityTerm: corev1.PodAffinityTerm{
			TopologyKey: key, LabelSelector: peers.DeepCopy()}}
	}
	return &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{
			term(corev1.LabelHostname, 100), term(corev1.LabelTopologyZone, 50),
		},
	}}
}

// Spread turns our bounded type into the core one. A constraint without a selector
// counts peers: the core type's default counts no pod at all.
func Spread(constraints []v1alpha1.TopologySpreadConstraint, peers *metav1.LabelSelector) []corev1.TopologySpreadConstraint {
	if len(constraints) == 0 {
		return nil
	}
	var out []corev1.TopologySpreadConstraint
	convert(constraints, &out)
	for i := range out {
		if out[i].LabelSelector == nil {
			out[i].LabelSelector = peers.DeepCopy()
		}
	}
	return out
}

// convert copies by the names of fields, which our types share with the core's.
func convert(from, to any) {
	b, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil { // plain strings and integers: cannot fail
		panic("convert a pod template: " + err.Error())
	}
}

// Near adds to a pod's required node affinity. Terms are alternatives, so each
// of the one must hold together with one of the other. Nil adds nothing.
func Near(pod *corev1.PodSpec, near *corev1.NodeSelector) {
	if near == nil {
		return
	}
	if pod.Affinity == nil {
		pod.Affinity = &corev1.Affinity{}
	}
	if pod.Affinity.NodeAffinity == nil {
		pod.Affinity.NodeAffinity = &corev1.NodeAffinity{}
	}
	node := pod.Affinity.NodeAffinity
	had := node.RequiredDuringSchedulingIgnoredDuringExecution
	if had == nil || len(had.NodeSelectorTerms) == 0 {
		node.RequiredDuringSchedulingIgnoredDuringExecution = near.DeepCopy()
		return
	}
	both := &corev1.NodeSelector{}
	for _, a := range had.NodeSelectorTerms {
		for _, b := range near.NodeSelectorTerms {
			both.NodeSelectorTerms = append(both.NodeSelectorTerms, corev1.NodeSelectorTerm{
				MatchExpressions: slices.Concat(a.MatchExpressions, b.MatchExpressions),
				MatchFields:      slices.Concat(a.MatchFields, b.MatchFields),
			})
		}
	}
	node.RequiredDuringSchedulingIgnoredDuringExecution = both
}

// OnNode selects the node of a name, for [Near]; nil if the name is empty.
func OnNode(name string) *corev1.NodeSelector {
	if name == "" {
		return nil
	}
	return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
		Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{name},
	}}}}}
}

// NodeOf is the node that [OnNode] binds a pod to; empty: it binds it to none. A user's
// template cannot: its terms have no fields.
func NodeOf(pod *corev1.PodSpec) string {
	if pod.Affinity == nil || pod.Affinity.NodeAffinity == nil || pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	name := ""
	for i, term := range pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		of := nodeOf(term)
		if of == "" || i > 0 && of != name { // an alternative that is another node, or any
			return ""
		}
		name = of
	}
	return name
}

func nodeOf(term corev1.NodeSelectorTerm) string {
	for _, f := range term.MatchFields {
		if f.Key == metav1.ObjectNameField && f.Operator == corev1.NodeSelectorOpIn && len(f.Values) == 1 {
			return f.Values[0]
		}
	}
	return ""
}

// Env are environment variables in the order of their names.
func Env(env map[string]string) []corev1.EnvVar {
	vars := make([]corev1.EnvVar, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		vars = append(vars, corev1.EnvVar{Name: name, Value: env[name]})
	}
	return vars
}

// EmptyDir is a volume that lasts as long as its pod.
func EmptyDir(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// Claim is a volume from a PVC.
func Claim(name, claim string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
	}}
}
