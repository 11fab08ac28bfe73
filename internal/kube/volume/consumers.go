package volume

import (
	"context"
	"fmt"
	"slices"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Consumers are the pods that name a PVC, read live and sorted by name. Those
// that have ended count too: they keep a PVC from going until they are gone.
func Consumers(ctx context.Context, live client.Reader, namespace, claim string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	if err := live.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list the pods that use PVC %s: %w", claim, err)
	}
	found := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return !consumes(&p, claim) })
	slices.SortFunc(found, func(a, b corev1.Pod) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return found, nil
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
	var all snapshotv1.VolumeSnapshotList
	err := live.List(ctx, &all, client.InNamespace(namespace))
	if meta.IsNoMatchError(err) { // a cluster without CSI snapshots
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list the CSI snapshots of PVC %s: %w", claim, err)
	}
	for i := range all.Items {
		s := &all.Items[i]
		from := s.Spec.Source.PersistentVolumeClaimName
		if from != nil && *from == claim && !s.CreationTimestamp.Time.Before(since) && s.DeletionTimestamp.IsZero() && (s.Status == nil || s.Status.CreationTime == nil && !ReadyToUse(s)) {
			return s.Name, nil
		}
	}
	return "", nil
}
