package jobrun

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// schedule says where the pod may run: on nodes of the platform that can reach
// the volume, by the user's template.
func schedule(pod *corev1.PodSpec, s Spec) {
	selector := map[string]string{}
	if t := s.Template; t != nil {
		maps.Copy(selector, t.NodeSelector)
		pod.PriorityClassName = t.PriorityClassName
		for _, secret := range t.ImagePullSecrets {
			pod.ImagePullSecrets = append(pod.ImagePullSecrets, corev1.LocalObjectReference{Name: secret.Name})
		}
		for _, tol := range t.Tolerations {
			pod.Tolerations = append(pod.Tolerations, corev1.Toleration{
				Key: tol.Key, Operator: corev1.TolerationOperator(tol.Operator), Value: tol.Value,
				Effect: corev1.TaintEffect(tol.Effect), TolerationSeconds: tol.TolerationSeconds,
			})
		}
		pod.Affinity = affinity(t.Affinity)
	}
	if goos, goarch, ok := strings.Cut(s.Platform, "/"); ok {
		selector[corev1.LabelOSStable], selector[corev1.LabelArchStable] = goos, goarch
	}
	if len(selector) > 0 {
		pod.NodeSelector = selector
	}
	if s.Near != nil {
		restrict(pod, s.Near)
	}
}

// affinity turns our bounded type into the core one. Both have the same field
// names, which TestAffinity holds.
func affinity(a *v1alpha1.Affinity) *corev1.Affinity {
	if a == nil {
		return nil
	}
	out := &corev1.Affinity{}
	b, err := json.Marshal(a)
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil { // plain strings and integers: cannot fail
		panic("affinity: " + err.Error())
	}
	return out
}

// restrict adds to the pod's required node affinity. Terms are alternatives,
// so each of the one must hold together with one of the other.
func restrict(pod *corev1.PodSpec, near *corev1.NodeSelector) {
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
