package cachesnapshot

import (
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

// source is what a snapshot is taken of, as it is now: a cache, or the store of
// a proxy's instance.
type source struct {
	// record is what the snapshot remembers of it; without its volume.
	record v1alpha1.SourceRecord
	// warmed is the uid of the claim that was warmed last; empty: any will do.
	warmed string
	// restored is the volume that was last made from a snapshot, and need not be
	// warmed.
	restored string
	// sums are the ConfigMaps that the cache is warmed with: their go.sum is
	// trusted.
	sums []string
	// template of its pods.
	template *v1alpha1.PodTemplate
	// policy of its snapshots; nil: it has none.
	policy *v1alpha1.SnapshotPolicy
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=gocaches,verbs=get;list;watch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=modproxies,verbs=get;list;watch

// source reads what is to be captured; nil if it does not exist.
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
			Platform:                  cache.Spec.Platform,
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
	}
}

// storeSource is the store of an instance; nil if the proxy has no such
// instance yet.
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
		return nil, cannot("is external and has no store here that could be captured")
	}
	layout := store.Goproxy
	switch serverType(proxy, instance) {
	case v1alpha1.ServerAthens:
		layout = store.Athens
	case v1alpha1.ServerCustom:
		return nil, cannot("has a server of type Custom, the layout of whose store is not known, so that nobody could verify it")
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

// writer is the name of the Job that may write to the source. A proxy's
// instance always may: it writes beside and renames, so that any moment will do.
func (s *scope) writer() string {
	if s.snapshot.Spec.SourceRef.Kind == v1alpha1.ModProxyKind {
		return ""
	}
	return naming.Child(s.snapshot.Spec.SourceRef.Name, naming.Writer)
}

// sourceName names the source for a person.
func (s *scope) sourceName() string {
	ref := s.snapshot.Spec.SourceRef
	if ref.Instance != "" {
		return fmt.Sprintf("instance %s of %s %s", ref.Instance, ref.Kind, ref.Name)
	}
	return ref.Kind + " " + ref.Name
}

// verifyCommand checks all that a volume holds.
func verifyCommand(of *v1alpha1.SourceRecord) []string { return check.Command(of, cacheDir) }

// volumeFlags name what a volume holds below the directory it is mounted at, and
// that directory.
func volumeFlags(of *v1alpha1.SourceRecord, root string) []string {
	return check.VolumeFlags(of, root)
}

// bySource wakes the snapshots of a source of a kind that were not cut yet.
func (r *Reconciler) bySource(kind string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		list, err := csisnapshot.Of(ctx, r.Client, true, o.GetNamespace(), kind, o.GetName())
		if err != nil {
			return nil // they look again by themselves
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
