package status

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// Options choose what is read.
type Options struct {
	// Namespace to read; empty: all.
	Namespace string
	// Kind and Name of one object; empty: all caches and proxies. A name needs a
	// namespace.
	Kind, Name string
}

// objects are all that was read.
type objects struct {
	caches    []v1alpha1.GoCache
	proxies   []v1alpha1.ModProxy
	snapshots []v1alpha1.CacheSnapshot
	requests  []v1alpha1.CacheRequest
	claims    []corev1.PersistentVolumeClaim
	// populated is, by the name of a volume, the snapshot that it was cloned from.
	populated map[string]string
	notes     []string
}

// Read reads the report. What the user may not read is left out, with a note;
// an object that was named and cannot be read is an error.
func Read(ctx context.Context, c client.Reader, o Options) (Report, error) {
	all, err := read(ctx, c, o)
	if err != nil {
		return Report{}, err
	}
	report := Report{Items: []Node{}, Notes: all.notes}
	for i := range all.caches {
		report.Items = append(report.Items, all.cache(&all.caches[i]))
	}
	for i := range all.proxies {
		report.Items = append(report.Items, all.proxy(&all.proxies[i]))
	}
	slices.SortStableFunc(report.Items, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return report, nil
}

func read(ctx context.Context, c client.Reader, o Options) (*objects, error) {
	all := &objects{populated: map[string]string{}}
	if err := all.tops(ctx, c, o); err != nil {
		return nil, err
	}
	in := client.InNamespace(o.Namespace)
	var snapshots v1alpha1.CacheSnapshotList
	if err := all.list(ctx, c, &snapshots, "CacheSnapshots", in); err != nil {
		return nil, err
	}
	var requests v1alpha1.CacheRequestList
	if err := all.list(ctx, c, &requests, "CacheRequests", in); err != nil {
		return nil, err
	}
	var claims corev1.PersistentVolumeClaimList
	if err := all.list(ctx, c, &claims, "PersistentVolumeClaims", in); err != nil {
		return nil, err
	}
	all.snapshots, all.requests, all.claims = snapshots.Items, requests.Items, claims.Items
	return all, all.volumes(ctx, c)
}

// tops reads the caches and proxies.
func (all *objects) tops(ctx context.Context, c client.Reader, o Options) error {
	key := client.ObjectKey{Namespace: o.Namespace, Name: o.Name}
	switch {
	case o.Name != "" && o.Kind == v1alpha1.ModProxyKind:
		var proxy v1alpha1.ModProxy
		if err := c.Get(ctx, key, &proxy); err != nil {
			return explain(err)
		}
		all.proxies = append(all.proxies, proxy)
	case o.Name != "":
		var cache v1alpha1.GoCache
		if err := c.Get(ctx, key, &cache); err != nil {
			return explain(err)
		}
		all.caches = append(all.caches, cache)
	default:
		var caches v1alpha1.GoCacheList
		if err := c.List(ctx, &caches, client.InNamespace(o.Namespace)); err != nil {
			return explain(err)
		}
		var proxies v1alpha1.ModProxyList
		if err := c.List(ctx, &proxies, client.InNamespace(o.Namespace)); err != nil {
			return explain(err)
		}
		all.caches, all.proxies = caches.Items, proxies.Items
	}
	return nil
}

// explain adds what to do to the error of a cluster without the operator.
func explain(err error) error {
	if noKind(err) {
		return fmt.Errorf("this cluster does not serve %s: install the operator, or choose another --context: %w", v1alpha1.GroupName, err)
	}
	return err
}

// list lists objects that are shown below others.
func (all *objects) list(ctx context.Context, c client.Reader, list client.ObjectList, what string, in client.InNamespace) error {
	err := c.List(ctx, list, in)
	if apierrors.IsForbidden(err) {
		all.notes = append(all.notes, fmt.Sprintf("%s are not shown: you may not list them", what))
		return nil
	}
	return err
}

// volumes reads from which snapshot the consumers' volumes were cloned. Volumes
// are not namespaced: many users may not read them.
func (all *objects) volumes(ctx context.Context, c client.Reader) error {
	for i := range all.claims {
		claim := &all.claims[i]
		if claim.Spec.VolumeName == "" || consumes(claim) == nil {
			continue
		}
		var volume corev1.PersistentVolume
		err := c.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &volume)
		switch {
		case apierrors.IsForbidden(err):
			all.notes = append(all.notes, "the snapshot of each consumer's PVC is not shown: you may not get PersistentVolumes")
			return nil
		case apierrors.IsNotFound(err):
		case err != nil:
			return err
		default:
			all.populated[volume.Name] = volume.Annotations[v1alpha1.PopulatedFromAnnotation]
		}
	}
	return nil
}

// consumes is the cache or snapshot that a PVC is populated from; nil: none.
func consumes(claim *corev1.PersistentVolumeClaim) *corev1.TypedObjectReference {
	ref := claim.Spec.DataSourceRef
	if ref == nil || ref.APIGroup == nil || *ref.APIGroup != v1alpha1.GroupName {
		return nil
	}
	if ref.Namespace != nil && *ref.Namespace != claim.Namespace {
		return nil
	}
	return ref
}
