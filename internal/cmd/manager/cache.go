package manager

import (
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// onlyOurs restricts the cache to what the operator made, of every kind that
// others use too: a typed read alone would begin to hold a cluster's whole lot
// of them. An object of a needed name that is not ours is then not in the
// cache; apply looks for it on the API server before it writes.
//
// PersistentVolumeClaims are not in this list: those that the populator fills
// are created by users, without a label of the operator.
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
		&policyv1.PodDisruptionBudget{}: ours,
		&rbacv1.Role{}:                  ours,
		&rbacv1.RoleBinding{}:           ours,
		&snapshotv1.VolumeSnapshot{}:    ours,
	}
}
