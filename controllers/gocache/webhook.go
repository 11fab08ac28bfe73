package gocache

import (
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/webhook"
)

// webhookCalls is the source of passes over caches whose calls have ended.
func (r *Reconciler) webhookCalls() ctrlsource.Source {
	ended := make(chan event.TypedGenericEvent[client.Object])
	if r.Webhooks == nil {
		r.Webhooks = webhook.New(func(o types.NamespacedName) {
			cache := &v1alpha1.GoCache{}
			cache.Namespace, cache.Name = o.Namespace, o.Name
			ended <- event.TypedGenericEvent[client.Object]{Object: cache}
		}).Restrict(r.Filter)
	}
	return ctrlsource.Channel(ended, &handler.EnqueueRequestForObject{})
}
