package volume

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/read"
)

// Consumers are the pods that name a PVC, read live and sorted by name. Those
// that have ended count too: they keep a PVC from going until they are gone. Each has
// its identity, its controller and the operator's labels, and nothing else: there may
// be any number of them, of any size.
func Consumers(ctx context.Context, live client.Reader, namespace, claim string) ([]corev1.Pod, error) {
	var found []corev1.Pod
	for mount, err := range Mounts(ctx, live, namespace, claim) {
		if err != nil {
			return nil, err
		}
		found = append(found, identity(mount.Pod))
	}
	slices.SortFunc(found, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

// Mount is a pod that names a PVC.
type Mount struct {
	// Claim is the name of the PVC.
	Claim string
	// Pod that names it: copy what is kept.
	Pod *corev1.Pod
}

// Mounts are the pods that name any of some PVCs, read live in one list; without PVCs
// nothing is read. Those that have ended count too.
func Mounts(ctx context.Context, live client.Reader, namespace string, claims ...string) iter.Seq2[Mount, error] {
	return func(yield func(Mount, error) bool) {
		if len(claims) == 0 {
			return
		}
		for pod, err := range read.All[corev1.Pod](ctx, live, &corev1.PodList{}, client.InNamespace(namespace)) {
			if err != nil {
				yield(Mount{}, fmt.Errorf("list the pods that use PVC %s: %w", strings.Join(claims, ", "), err))
				return
			}
			for _, claim := range claims {
				if consumes(pod, claim) && !yield(Mount{Claim: claim, Pod: pod}, nil) {
					return
				}
			}
		}
	}
}

// identity of a pod, copied.
func identity(pod *corev1.Pod) corev1.Pod {
	is := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, DeletionTimestamp: pod.DeletionTimestamp.DeepCopy(),
	}}
	if controller := metav1.GetControllerOf(pod); controller != nil {
		is.OwnerReferences = []metav1.OwnerReference{*controller}
	}
	for _, label := range []string{v1alpha1.ManagedByLabel, v1alpha1.CacheLabel} {
		if value, ok := pod.Labels[label]; ok {
			metav1.SetMetaDataLabel(&is.ObjectMeta, label, value)
		}
	}
	return is
}

func consumes(pod *corev1.Pod, claim string) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		if v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName == claim
		}
		return v.Ephemeral != nil && pod.Name+"-"+v.Name == claim
	})
}

// evictionTimeout bounds one eviction: while the API server has not made up its
// mind about a budget, the client would ask again for minutes by itself.
const evictionTimeout = 5 * time.Second

// Evict evicts a pod, and returns the objection of a PodDisruptionBudget, in
// the words of the API server. A pod that is gone or on its way needs nothing.
func Evict(ctx context.Context, c client.Client, pod *corev1.Pod) (objection string, err error) {
	if !pod.DeletionTimestamp.IsZero() {
		return "", nil
	}
	eviction := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))},
	}
	bounded, cancel := context.WithTimeout(ctx, evictionTimeout)
	defer cancel()
	err = c.SubResource("eviction").Create(bounded, pod, eviction)
	switch {
	case err != nil && bounded.Err() != nil && ctx.Err() == nil:
		return "the API server asks to try again later: a PodDisruptionBudget is not settled yet", nil
	case apierrors.IsTooManyRequests(err):
		return err.Error(), nil
	case err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return "", nil
	default:
		return "", fmt.Errorf("evict pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
}

// PendingSnapshot names a CSI snapshot of a PVC that its driver has not created
// yet, read live; empty: there is none. The PVC must keep its volume until
// then.
func PendingSnapshot(ctx context.Context, live client.Reader, namespace, claim string) (string, error) {
	return PendingSnapshotSince(ctx, live, namespace, claim, time.Time{})
}

// PendingSnapshotSince is PendingSnapshot of those CSI snapshots that were requested
// since a time.
func PendingSnapshotSince(ctx context.Context, live client.Reader, namespace, claim string, since time.Time) (string, error) {
	for s, err := range read.All[snapshotv1.VolumeSnapshot](ctx, live, &snapshotv1.VolumeSnapshotList{}, client.InNamespace(namespace)) {
		if meta.IsNoMatchError(err) { // a cluster without CSI snapshots
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("list the CSI snapshots of PVC %s: %w", claim, err)
		}
		from := s.Spec.Source.PersistentVolumeClaimName
		if from != nil && *from == claim && !s.CreationTimestamp.Time.Before(since) && s.DeletionTimestamp.IsZero() && (s.Status == nil || s.Status.CreationTime == nil && !ReadyToUse(s)) {
			return s.Name, nil
		}
	}
	return "", nil
}

// BeingCloned names the sources of the PVCs of a namespace that are being populated,
// read live.
func BeingCloned(ctx context.Context, live client.Reader, namespace string) (map[string]bool, error) {
	names := map[string]bool{}
	for pvc, err := range read.All[corev1.PersistentVolumeClaim](ctx, live, &corev1.PersistentVolumeClaimList{}, client.InNamespace(namespace), client.HasLabels{IntermediateLabel}) {
		if err != nil {
			return nil, fmt.Errorf("list the PVCs that are being populated: %w", err)
		}
		if from := pvc.Annotations[v1alpha1.PopulatedFromAnnotation]; len(from) <= maxSource {
			names[from] = true
		}
	}
	return names, nil
}

// maxSource is the longest name of a source: NAMESPACE/NAME.
const maxSource = 64 + 253
