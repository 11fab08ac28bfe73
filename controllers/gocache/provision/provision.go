package provision

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/plan/naming"
)

// Reconciler provides the PVC and the environment of a GoCache.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// FieldOwner of what is applied.
	FieldOwner string
}

// Result is what a pass did about the PVC and the environment.
type Result struct {
	pass.Result
	// NotExpandable is why the PVC cannot become as large as the spec asks for, and what
	// to do in place of setting the size back; empty: it can.
	NotExpandable string
	// OtherAccessModes is which access modes the PVC has that are not those of the spec,
	// and what to do; empty: it has those of the spec.
	OtherAccessModes string
}

// Reconcile publishes the environment, then creates the PVC or lets it grow. A
// step that fails does not keep the others from theirs.
func (r Reconciler) Reconcile(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) (Result, error) {
	var out Result
	err := errors.Join(
		r.PublishEnvironment(ctx, cache, o),
		// Applied before it is decided whether the PVC has to grow further: a new
		// size is asked for by the next pass, once it is in the stored status.
		r.applyPVC(ctx, cache, o, &out),
	)
	recordGrowth(cache, o, &out)
	return out, err
}

func (r Reconciler) applier() apply.Applier {
	return apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: r.FieldOwner}
}

// +kubebuilder:rbac:groups="",resources=configmaps,verbs=create;patch

// PublishEnvironment writes the ConfigMaps that builds take their environment
// from. They are written whole, or not at all while the proxy has no address:
// a build must not fall back to the toolchain's default unasked.
func (r Reconciler) PublishEnvironment(ctx context.Context, cache *v1alpha1.GoCache, o pass.Observed) error {
	if o.ProxyMissing != "" {
		return nil
	}
	settings := o.Environment(cache)
	for suffix, env := range map[string]map[string]string{
		naming.Environment:        goenv.Online(settings),
		naming.OfflineEnvironment: goenv.Offline(settings),
	} {
		_, err := r.applier().Apply(ctx, apply.ControlledBy(cache), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: cache.Namespace, Name: naming.Child(cache.Name, suffix), Labels: pass.Labels(cache)},
			Data:       env,
		})
		if err != nil {
			return err
		}
	}
	if e := cache.Spec.Environment; o.WalksAround(cache) {
		return &conditions.StalledError{Reason: v1alpha1.ReasonInvalidSpec, Message: fmt.Sprintf(
			"spec.environment.fallback %s is left out of GOPROXY: the go command would get from it what the policy of ModProxy %s refuses. Set fallback to None, or the policy to DryRun",
			e.Fallback, e.ProxyRef.Name)}
	}
	return nil
}
