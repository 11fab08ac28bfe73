package sharing

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"gocache.dev/operator/api/v1alpha1"
)

// Standing is whether a GoCache may use its source, and if not, why.
type Standing string

// The standings. The zero value refuses.
const (
	// NotShared: the source does not exist, or does not select the namespace.
	NotShared Standing = ""
	// Chained: the source has a source itself.
	Chained Standing = "Chained"
	// Unavailable: the operator may not read what decides.
	Unavailable Standing = "Unavailable"
	// Granted: the namespace may use the verified snapshots of the source.
	Granted Standing = "Granted"
)

// Observation is all that is known of a GoCache with a source.
type Observation struct {
	// Namespace of the GoCache, and its labels; nil: it does not exist.
	Namespace string
	Labels    map[string]string
	// Source that the GoCache names.
	Source v1alpha1.CacheSource
	// Cache is the source; nil: it does not exist.
	Cache *v1alpha1.GoCache
	// Refused is the answer of the API server, if it does not let the operator read
	// the source or the namespace.
	Refused string
}

// Decision is whether the source may be used now.
type Decision struct {
	// Standing of the GoCache with its source.
	Standing Standing
	// Message is what is missing; empty if nothing is.
	Message string
}

// Granted reports whether the source may be used.
func (d Decision) Granted() bool { return d.Standing == Granted }

// Decide returns whether a GoCache may use its source.
func Decide(o Observation) Decision {
	source := o.Source.Namespace + "/" + o.Source.Name
	switch {
	case o.Refused != "":
		return Decision{Unavailable, fmt.Sprintf("GoCache %s cannot be shared: this installation of the operator may not read it, or the namespaces; see docs/ci/sharing.md: %s", source, o.Refused)}
	case o.Cache == nil || !o.Cache.DeletionTimestamp.IsZero() || o.Labels == nil || !selects(o.Cache.Spec.Consumers, o.Labels):
		return Decision{NotShared, fmt.Sprintf("GoCache %s does not exist or is not shared with namespace %s: its spec.consumers.namespaceSelector must match the labels of this namespace", source, o.Namespace)}
	case o.Cache.Spec.Source != nil:
		s := o.Cache.Spec.Source
		return Decision{Chained, fmt.Sprintf("GoCache %s is shared from %s/%s itself: name the GoCache that holds the content, and let it select this namespace", source, s.Namespace, s.Name)}
	default:
		return Decision{Standing: Granted}
	}
}

// selects reports whether a namespace with some labels is selected. A selector that
// cannot be parsed selects nothing.
func selects(c *v1alpha1.CacheConsumers, namespace map[string]string) bool {
	if c == nil {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(c.NamespaceSelector.Core())
	return err == nil && selector.Matches(labels.Set(namespace))
}
