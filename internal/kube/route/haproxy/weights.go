package haproxy

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/router/weights"
)

// Publisher keeps the weights where the routers find them.
type Publisher interface {
	// Current returns what was published last, and false if nothing was or
	// it cannot be understood. It must not be answered from a cache.
	Current(ctx context.Context) (weights.Weights, bool, error)
	// Publish replaces it, and fails if another client did since Current.
	Publish(ctx context.Context, w weights.Weights) error
}

// publish makes servers the intent, with the next generation.
func publish(ctx context.Context, p Publisher, owner string, servers []route.Server) error {
	current, _, err := p.Current(ctx)
	if err != nil {
		return fmt.Errorf("read the published weights: %w", err)
	}
	next := weights.Weights{Owner: owner, Generation: 1, Servers: make(map[string]weights.Server, len(servers))}
	for _, server := range servers {
		next.Servers[server.Name] = weights.Server{State: weights.State(server.State), Weight: server.Weight}
	}
	if next.Equal(current) {
		return nil
	}
	if current.Owner == owner {
		next.Generation = current.Generation + 1
	}
	if err := next.Validate(); err != nil {
		return fmt.Errorf("publish weights: %w", err)
	}
	if err := p.Publish(ctx, next); err != nil {
		return fmt.Errorf("publish weights: %w", err)
	}
	return nil
}

// ConfigMap publishes weights in a ConfigMap.
type ConfigMap struct {
	// Client writes, Reader reads past every cache.
	Client client.Client
	Reader client.Reader
	// FieldOwner of the server-side apply.
	FieldOwner      string
	Namespace, Name string
	// Labels that identify its purpose, beside the operator's own.
	Labels map[string]string
	// Owner makes the ConfigMap go with the object it belongs to.
	Owner metav1.OwnerReference

	resourceVersion string
}

// Current implements Publisher. The owner of the ConfigMap is checked first: a
// foreign one is not what was published, and it is never written to. That is an
// apply.ConflictError.
func (c *ConfigMap) Current(ctx context.Context) (weights.Weights, bool, error) {
	var cm corev1.ConfigMap
	err := c.Reader.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: c.Name}, &cm)
	c.resourceVersion = cm.ResourceVersion
	if apierrors.IsNotFound(err) {
		return weights.Weights{}, false, nil
	}
	if err != nil {
		return weights.Weights{}, false, err
	}
	owner := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: c.Owner.UID}}
	if err := apply.Check(owner, c.Labels, &cm, "ConfigMap"); err != nil {
		return weights.Weights{}, false, err
	}
	w, err := weights.Parse([]byte(cm.Data[weights.Key]))
	if err != nil {
		return weights.Weights{}, false, nil //nolint:nilerr // what cannot be understood is replaced
	}
	return w, true, nil
}

// Publish implements Publisher.
func (c *ConfigMap) Publish(ctx context.Context, w weights.Weights) error {
	text, err := weights.Format(w)
	if err != nil {
		return err
	}
	desired := corev1ac.ConfigMap(c.Name, c.Namespace).WithLabels(c.Labels).
		WithLabels(map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}).WithData(map[string]string{weights.Key: string(text)})
	if c.Owner.UID != "" {
		owner := metav1ac.OwnerReference().WithAPIVersion(c.Owner.APIVersion).WithKind(c.Owner.Kind).
			WithName(c.Owner.Name).WithUID(c.Owner.UID)
		if c.Owner.Controller != nil {
			owner.WithController(*c.Owner.Controller)
		}
		if c.Owner.BlockOwnerDeletion != nil {
			owner.WithBlockOwnerDeletion(*c.Owner.BlockOwnerDeletion)
		}
		desired.WithOwnerReferences(owner)
	}
	if c.resourceVersion != "" {
		desired.WithResourceVersion(c.resourceVersion)
	}
	if err := c.Client.Apply(ctx, desired, client.FieldOwner(c.FieldOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("apply ConfigMap %s/%s: %w", c.Namespace, c.Name, err)
	}
	return nil
}
