package manager

import (
	"slices"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/cached"
)

// onlyOurs restricts the cache to what the operator made, of every kind that
// others use too: a typed read alone would begin to hold a cluster's whole lot
// of them. An object of a needed name that is not ours is then not in the
// cache; apply looks for it on the API server before it writes.
//
// PersistentVolumeClaims are not restricted by a label: those that the populator
// fills are created by users, without a label of the operator. Of all others the
// cache holds the identity alone.
func onlyOurs() map[client.Object]cache.ByObject {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})}
	return map[client.Object]cache.ByObject{
		&corev1.ConfigMap{}:             ours,
		&corev1.Pod{}:                   ours,
		&corev1.Service{}:               ours,
		&corev1.ServiceAccount{}:        ours,
		&appsv1.Deployment{}:            ours,
		&appsv1.StatefulSet{}:           ours,
		&batchv1.Job{}:                  ours,
		&networkingv1.NetworkPolicy{}:   ours,
		&policyv1.PodDisruptionBudget{}: ours,
		&rbacv1.Role{}:                  ours,
		&rbacv1.RoleBinding{}:           ours,
		&snapshotv1.VolumeSnapshot{}:    ours,

		&corev1.PersistentVolumeClaim{}: {Transform: trimPVC},
	}
}

// newCache makes a cache also on a cluster that does not serve CSI snapshots, which a
// cache with a restriction on them refuses. Nothing reads them before they are served.
func newCache(config *rest.Config, o cache.Options) (cache.Cache, error) {
	o.Mapper = withSnapshots{o.Mapper}
	return cache.New(config, o)
}

// withSnapshots has VolumeSnapshots even where they are not served.
type withSnapshots struct{ meta.RESTMapper }

// RESTMapping of a kind.
func (m withSnapshots) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	mapping, err := m.RESTMapper.RESTMapping(kind, versions...)
	if snapshots := snapshotv1.SchemeGroupVersion.WithKind("VolumeSnapshot"); meta.IsNoMatchError(err) && kind == snapshots.GroupKind() {
		return &meta.RESTMapping{Resource: snapshotv1.SchemeGroupVersion.WithResource("volumesnapshots"), GroupVersionKind: snapshots, Scope: meta.RESTScopeNamespace}, nil
	}
	return mapping, err
}

// trimPVC reduces foreign PVCs, and others if they are large.
func trimPVC(object any) (any, error) {
	return cached.Trim(trimForeign(object))
}

// trimForeign reduces a PersistentVolumeClaim that is not the operator's concern
// to its identity, its volume and its phase: that an object of a name exists, and
// whose it is, is all that is ever read of it. Clusters of CI runners have tens of
// thousands of them, with annotations of any size.
func trimForeign(object any) any {
	claim, ok := object.(*corev1.PersistentVolumeClaim)
	if !ok {
		return object // the last known state of a deleted object
	}
	claim.ManagedFields = nil
	if concerns(claim) {
		return claim
	}
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			CreationTimestamp: claim.CreationTimestamp, DeletionTimestamp: claim.DeletionTimestamp, OwnerReferences: claim.OwnerReferences,
		},
		Spec:   corev1.PersistentVolumeClaimSpec{VolumeName: claim.Spec.VolumeName},
		Status: corev1.PersistentVolumeClaimStatus{Phase: claim.Status.Phase},
	}
}

// concerns reports whether the operator made a PVC, fills it, or has marked it.
func concerns(claim *corev1.PersistentVolumeClaim) bool {
	const prefix = v1alpha1.GroupName + "/"
	if claim.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue {
		return true
	}
	for _, marks := range []map[string]string{claim.Labels, claim.Annotations} {
		for key := range marks {
			if strings.HasPrefix(key, prefix) {
				return true
			}
		}
	}
	if slices.ContainsFunc(claim.Finalizers, func(f string) bool { return strings.HasPrefix(f, prefix) }) {
		return true
	}
	if slices.ContainsFunc(claim.OwnerReferences, func(o metav1.OwnerReference) bool { return strings.HasPrefix(o.APIVersion, prefix) }) {
		return true
	}
	ref, source := claim.Spec.DataSourceRef, claim.Spec.DataSource
	return ref != nil && ptr.Deref(ref.APIGroup, "") == v1alpha1.GroupName || source != nil && ptr.Deref(source.APIGroup, "") == v1alpha1.GroupName
}
