package direct

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/router/weights"
)

// IntentAnnotation holds the intent, in the format of package weights.
const IntentAnnotation = v1alpha1.GroupName + "/weights"

// Intent that stands in an object; false: none that can be understood.
func Intent(o client.Object) (weights.Weights, bool) {
	w, err := weights.Parse([]byte(o.GetAnnotations()[IntentAnnotation]))
	return w, err == nil
}

// Note writes the intent into an object that is about to be applied.
func Note(o client.Object, owner string, servers []route.Server) error {
	w := weights.Weights{Owner: owner, Generation: 1, Servers: make(map[string]weights.Server, len(servers))}
	for _, s := range servers {
		w.Servers[s.Name] = weights.Server{State: weights.State(s.State), Weight: s.Weight}
	}
	text, err := weights.Format(w)
	if err != nil {
		return fmt.Errorf("publish weights: %w", err)
	}
	annotate(o, IntentAnnotation, string(text))
	return nil
}

func annotate(o client.Object, key, value string) {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	o.SetAnnotations(annotations)
}

// Observed is an intent as what a router does, once it is known to do it.
func Observed(w weights.Weights, healthy func(server string) bool) map[string]route.Observed {
	all := make(map[string]route.Observed, len(w.Servers))
	for name, s := range w.Servers {
		all[name] = route.Observed{State: route.State(s.State), Weight: s.Weight, Healthy: healthy(name)}
	}
	return all
}
