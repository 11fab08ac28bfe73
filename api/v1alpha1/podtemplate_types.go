package v1alpha1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodTemplate is a bounded subset of the core pod template, with the same names,
// for the pods that the operator creates.
type PodTemplate struct {
	// labels that are added to the pods. Reserved for the operator, whose selectors
	// rely on them: the prefix cache.gocache.dev/, and of app.kubernetes.io/ name,
	// instance, component and managed-by.
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('cache.gocache.dev/'))",message="the prefix cache.gocache.dev/ is reserved for the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/component', 'app.kubernetes.io/managed-by']))",message="app.kubernetes.io/name, instance, component and managed-by are set by the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k,k.size()<=317&&self[k].size()<=63)",message="keys of up to 317 characters, values of up to 63"
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// annotations that are added to the pods. The prefix cache.gocache.dev/ is
	// reserved for the operator.
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('cache.gocache.dev/'))",message="the prefix cache.gocache.dev/ is reserved for the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k,k.size()<=317&&self[k].size()<=8192)",message="keys of up to 317 characters, values of up to 8192"
	// +kubebuilder:validation:MaxProperties=32
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// nodeSelector of the pods, in addition to the platform's.
	// +kubebuilder:validation:XValidation:rule="self.all(k,k.size()<=317&&self[k].size()<=63)",message="keys of up to 317 characters, values of up to 63"
	// +kubebuilder:validation:MaxProperties=16
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// tolerations of the pods.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	Tolerations []Toleration `json:"tolerations,omitempty"`
	// affinity of the pods.
	// +optional
	Affinity *Affinity `json:"affinity,omitempty"`
	// topologySpreadConstraints of the pods.
	// +kubebuilder:validation:MaxItems=8
	// +listType=map
	// +listMapKey=topologyKey
	// +listMapKey=whenUnsatisfiable
	// +optional
	TopologySpreadConstraints []TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	// serviceAccountName of the pods, for pull Secrets, admission policies and
	// security context constraints that are granted to it. Its token is not mounted.
	// Unset: default.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=253
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// priorityClassName of the pods.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// imagePullSecrets of the pods.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	ImagePullSecrets []LocalReference `json:"imagePullSecrets,omitempty"`
	// resources of the main container. They replace the defaults as a whole:
	// resources without limits have none. Unset: requests of 100m and 128Mi, and
	// limits by what runs: 8 CPUs and 8Gi for Jobs that compile, 4 CPUs and 4Gi for
	// other Jobs, 2 CPUs and 2Gi for instances, 2 CPUs and 1Gi for HAProxy.
	// +optional
	Resources *Resources `json:"resources,omitempty"`
	// helperResources of each container beside the main one, such as the agent
	// beside a store, the sidecar of the router, or those that fetch sources. They
	// replace the defaults as a whole. Unset: requests of 10m and 64Mi, and limits of
	// 1 CPU and 256Mi; 1 CPU and 2Gi for the agent beside a store, which decompresses
	// files in memory; 2 CPUs and 512Mi for the sidecar of the router; 1 CPU and 512Mi
	// for each git source, where a repository that needs more memory fails alone.
	// +optional
	HelperResources *Resources `json:"helperResources,omitempty"`
}

// Toleration as in a pod.
type Toleration struct {
	// key of the taint; empty tolerates all keys with operator Exists.
	// +kubebuilder:validation:MaxLength=316
	// +optional
	Key string `json:"key,omitempty"`
	// operator between key and value.
	// +kubebuilder:validation:Enum=Exists;Equal
	// +optional
	Operator string `json:"operator,omitempty"`
	// value of the taint.
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Value string `json:"value,omitempty"`
	// effect of the taint; empty is all.
	// +kubebuilder:validation:Enum=NoSchedule;PreferNoSchedule;NoExecute
	// +optional
	Effect string `json:"effect,omitempty"`
	// tolerationSeconds bounds a NoExecute toleration.
	// +optional
	TolerationSeconds *int64 `json:"tolerationSeconds,omitempty"`
}

// UnsatisfiableAction is what happens to a pod that does not satisfy a spread
// constraint.
// +kubebuilder:validation:Enum=DoNotSchedule;ScheduleAnyway
type UnsatisfiableAction string

// NodeInclusion is whether nodes that a pod cannot run on count for its spread.
// +kubebuilder:validation:Enum=Honor;Ignore
type NodeInclusion string

// TopologySpreadConstraint as in a pod.
//
// +kubebuilder:validation:XValidation:rule="!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",message="minDomains requires whenUnsatisfiable DoNotSchedule"
type TopologySpreadConstraint struct {
	// maxSkew is the difference between the number of pods in a domain and the
	// least in any domain.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +required
	MaxSkew int32 `json:"maxSkew"`
	// topologyKey is the node label that defines the domain.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=316
	// +required
	TopologyKey string `json:"topologyKey"`
	// whenUnsatisfiable is what happens to a pod that would make the skew larger.
	// +required
	WhenUnsatisfiable UnsatisfiableAction `json:"whenUnsatisfiable"`
	// labelSelector of the pods that are counted. Unset: the pods of the same
	// role, which are all instances of the proxy, all replicas of its router, or the
	// Jobs of the same action.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['Exists', 'DoesNotExist'] ? !has(e.values) || e.values.size() == 0 : e.operator in ['In', 'NotIn'] && has(e.values) && e.values.size() > 0)",message="matchExpressions need an operator of In and NotIn, with values, or of Exists and DoesNotExist, without"
	// +optional
	LabelSelector *LabelSelector `json:"labelSelector,omitempty"`
	// minDomains is how many domains there must be.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	MinDomains *int32 `json:"minDomains,omitempty"`
	// nodeAffinityPolicy is whether only nodes count that match nodeSelector and
	// affinity. Unset: Honor.
	// +optional
	NodeAffinityPolicy *NodeInclusion `json:"nodeAffinityPolicy,omitempty"`
	// nodeTaintsPolicy is whether only nodes count whose taints are tolerated.
	// Unset: Ignore.
	// +optional
	NodeTaintsPolicy *NodeInclusion `json:"nodeTaintsPolicy,omitempty"`
}

// Affinity as in a pod.
type Affinity struct {
	// nodeAffinity of the pods.
	// +optional
	NodeAffinity *NodeAffinity `json:"nodeAffinity,omitempty"`
	// podAffinity of the pods.
	// +optional
	PodAffinity *PodAffinity `json:"podAffinity,omitempty"`
	// podAntiAffinity of the pods.
	// +optional
	PodAntiAffinity *PodAffinity `json:"podAntiAffinity,omitempty"`
}

// NodeAffinity as in a pod.
type NodeAffinity struct {
	// requiredDuringSchedulingIgnoredDuringExecution must hold.
	// +optional
	Required *NodeSelector `json:"requiredDuringSchedulingIgnoredDuringExecution,omitempty"`
	// preferredDuringSchedulingIgnoredDuringExecution should hold.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	Preferred []PreferredNodeSelectorTerm `json:"preferredDuringSchedulingIgnoredDuringExecution,omitempty"`
}

// NodeSelector as in a pod: any of its terms.
type NodeSelector struct {
	// nodeSelectorTerms of which one must match.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +required
	NodeSelectorTerms []NodeSelectorTerm `json:"nodeSelectorTerms"`
}

// NodeSelectorTerm as in a pod: all of its expressions.
type NodeSelectorTerm struct {
	// matchExpressions that must all match.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	MatchExpressions []SelectorRequirement `json:"matchExpressions,omitempty"`
}

// Core is the selector as the core API has it; nil stays nil.
func (s *LabelSelector) Core() *metav1.LabelSelector {
	if s == nil {
		return nil
	}
	out := &metav1.LabelSelector{MatchLabels: s.MatchLabels}
	for _, e := range s.MatchExpressions {
		out.MatchExpressions = append(out.MatchExpressions, metav1.LabelSelectorRequirement{
			Key: e.Key, Operator: metav1.LabelSelectorOperator(e.Operator), Values: slices.Clone(e.Values),
		})
	}
	return out
}

// SelectorRequirement as in a pod.
type SelectorRequirement struct {
	// key of the label.
	// +kubebuilder:validation:MaxLength=316
	// +required
	Key string `json:"key"`
	// operator between the label and the values.
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist;Gt;Lt
	// +required
	Operator string `json:"operator"`
	// values to compare with.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=63
	// +listType=atomic
	// +optional
	Values []string `json:"values,omitempty"`
}

// PreferredNodeSelectorTerm as in a pod.
type PreferredNodeSelectorTerm struct {
	// weight of the preference.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +required
	Weight int32 `json:"weight"`
	// preference for nodes.
	// +required
	Preference NodeSelectorTerm `json:"preference"`
}

// PodAffinity as in a pod, for affinity and anti-affinity.
type PodAffinity struct {
	// requiredDuringSchedulingIgnoredDuringExecution must hold.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	Required []PodAffinityTerm `json:"requiredDuringSchedulingIgnoredDuringExecution,omitempty"`
	// preferredDuringSchedulingIgnoredDuringExecution should hold.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	Preferred []WeightedPodAffinityTerm `json:"preferredDuringSchedulingIgnoredDuringExecution,omitempty"`
}

// WeightedPodAffinityTerm as in a pod.
type WeightedPodAffinityTerm struct {
	// weight of the preference.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +required
	Weight int32 `json:"weight"`
	// podAffinityTerm that should hold.
	// +required
	PodAffinityTerm PodAffinityTerm `json:"podAffinityTerm"`
}

// PodAffinityTerm as in a pod.
type PodAffinityTerm struct {
	// labelSelector of the other pods.
	// +optional
	LabelSelector *LabelSelector `json:"labelSelector,omitempty"`
	// topologyKey is the node label that defines the domain.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=316
	// +required
	TopologyKey string `json:"topologyKey"`
}

// LabelSelector as in the core API, bounded.
type LabelSelector struct {
	// matchLabels that must all be equal.
	// +kubebuilder:validation:XValidation:rule="self.all(k,k.size()<=317&&self[k].size()<=63)",message="keys of up to 317 characters, values of up to 63"
	// +kubebuilder:validation:MaxProperties=16
	// +optional
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
	// matchExpressions that must all match.
	// +kubebuilder:validation:MaxItems=8
	// +listType=atomic
	// +optional
	MatchExpressions []SelectorRequirement `json:"matchExpressions,omitempty"`
}
