package cachesnapshot

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/naming"
)

// source is the current state of the object that a snapshot is created of: a
// GoCache, or the store of an instance of a ModProxy.
type source struct {
	// record is what status.source records of it, without the fields of its volume.
	record v1alpha1.SourceRecord
	// warmed is the uid of the PVC that was warmed last; empty: any PVC is accepted.
	warmed string
	// restored is the name of the volume that was last created from a snapshot: it
	// need not be warmed.
	restored string
	// sums are the ConfigMaps that the cache is warmed with, whose go.sum is
	// trusted.
	sums []string
	// template is its pod template.
	template *v1alpha1.PodTemplate
	// suspended: it starts nothing now.
	suspended bool
	// policy is its snapshot policy; nil: it has none.
	policy *v1alpha1.SnapshotPolicy
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=gocaches,verbs=get;list;watch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=modproxies,verbs=get;list;watch

// source reads the source of a snapshot; nil if it does not exist. It returns a
// StalledError if no snapshot of it can be verified.
func (r *Reconciler) source(ctx context.Context, namespace string, ref v1alpha1.SnapshotSource) (*source, error) {
	if ref.Kind == v1alpha1.ModProxyKind {
		proxy, err := read.Object[v1alpha1.ModProxy](ctx, r.Client, namespace, ref.Name)
		if err != nil || proxy == nil {
			return nil, err
		}
		return storeSource(proxy, ref.Instance)
	}
	cache, err := read.Object[v1alpha1.GoCache](ctx, r.Client, namespace, ref.Name)
	if err != nil || cache == nil {
		return nil, err
	}
	return r.cacheSource(cache), nil
}

func (r *Reconciler) cacheSource(cache *v1alpha1.GoCache) *source {
	restored := ""
	if cache.Status.Content != nil {
		restored = cache.Status.Content.VolumeName
	}
	image := cache.Spec.Toolchain.Image
	if image == "" {
		image = r.Images.ToolchainFor(cache.Spec.Toolchain.Version)
	}
	return &source{
		restored: restored,
		record: v1alpha1.SourceRecord{
			UID:                       string(cache.UID),
			PersistentVolumeClaimName: cache.Status.Storage.PersistentVolumeClaimName,
			Ownership:                 cache.Spec.Storage.Ownership.DeepCopy(),
			Platform:                  cmp.Or(cache.Spec.Platform, cache.Status.Platform),
			Layers:                    cache.Spec.Layers,
			Toolchain:                 cache.Status.Toolchain.DeepCopy(),
			Counts:                    cache.Status.Counts,
			SealedDigest:              cache.Status.ManifestDigest,

			ToolchainImage: image,
			MountPath:      cache.Spec.Environment.MountPath,
		},
		sums:     check.Sources(cache.Spec.WarmUp),
		warmed:   cache.Status.WarmUp.PersistentVolumeClaimUID,
		template: cache.Spec.PodTemplate,
		policy:   cache.Spec.Snapshots,

		suspended: cache.Spec.Suspend,
	}
}

// storeSource returns the store of an instance; nil if the proxy has no instance
// of this name yet.
func storeSource(proxy *v1alpha1.ModProxy, name string) (*source, error) {
	i := slices.IndexFunc(proxy.Spec.Instances, func(i v1alpha1.ProxyInstance) bool { return i.Name == name })
	if i < 0 {
		return nil, nil
	}
	instance := &proxy.Spec.Instances[i]
	cannot := func(why string) error {
		return &conditions.StalledError{
			Reason:  v1alpha1.ReasonInvalidSpec,
			Message: fmt.Sprintf("spec.sourceRef: instance %s of ModProxy %s %s: delete this CacheSnapshot", name, proxy.Name, why),
		}
	}
	if instance.Storage == nil {
		return nil, cannot("is external and has no PVC that a snapshot could be created of")
	}
	layout := store.Goproxy
	switch serverType(proxy, instance) {
	case v1alpha1.ServerAthens:
		layout = store.Athens
	case v1alpha1.ServerCustom:
		return nil, cannot("has a server of type Custom, whose store cannot be verified because its layout is not known")
	case v1alpha1.ServerGoproxy:
	}
	return &source{
		record: v1alpha1.SourceRecord{
			UID:                       string(proxy.UID),
			PersistentVolumeClaimName: naming.Child(proxy.Name, name),
			Ownership:                 instance.Storage.Ownership.DeepCopy(),
			Layout:                    string(layout),
		},
		template: proxy.Spec.PodTemplate,
		policy:   proxy.Spec.Snapshots,

		suspended: proxy.Spec.Suspend,
	}, nil
}

func serverType(proxy *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) v1alpha1.ServerType {
	for _, server := range []*v1alpha1.ProxyServer{instance.Server, proxy.Spec.Server} {
		if server != nil {
			return server.Type
		}
	}
	return v1alpha1.ServerGoproxy
}

// writer is the name of the Job that writes to the source; empty for an instance
// of a ModProxy. Its server writes at any time, but adds files by rename, so that a
// snapshot of any moment is consistent.
func (s *scope) writer() string {
	if s.snapshot.Spec.SourceRef.Kind == v1alpha1.ModProxyKind {
		return ""
	}
	return naming.Child(s.snapshot.Spec.SourceRef.Name, naming.Writer)
}

// sourceName is the kind and name of the source, for messages.
func (s *scope) sourceName() string {
	ref := s.snapshot.Spec.SourceRef
	if ref.Instance != "" {
		return fmt.Sprintf("instance %s of %s %s", ref.Instance, ref.Kind, ref.Name)
	}
	return ref.Kind + " " + ref.Name
}

// bySource maps a source of a kind to its CacheSnapshots without a CSI snapshot.
func (r *Reconciler) bySource(kind string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		list, err := csisnapshot.Of(ctx, r.Client, true, o.GetNamespace(), kind, o.GetName(), client.UnsafeDisableDeepCopy)
		if err != nil {
			return nil // they are reconciled again after their wake-up time
		}
		var requests []reconcile.Request
		for i := range list {
			if list[i].Status.CreationTime == nil {
				requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list[i])})
			}
		}
		return requests
	}
}
