package writer

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/plan/naming"
	plan "gocache.dev/operator/internal/plan/writer"
)

// jobSpec is what the Jobs of all actions have in common.
func (t *turn) jobSpec(action action, due plan.DueAction) jobrun.Spec {
	cache := t.cache
	labels := pass.Labels(t.cache)
	labels[v1alpha1.ActionLabel] = string(action.name())
	annotations := map[string]string{
		v1alpha1.CauseAnnotation:  due.Cause,
		v1alpha1.PVCUIDAnnotation: string(t.PVC.UID),
		v1alpha1.VolumeAnnotation: t.PVC.Spec.VolumeName,
	}
	for _, verb := range action.requests() {
		if req, ok := t.Standing(t.cache, verb); ok {
			annotations[v1alpha1.CacheRequestAnnotation] = req.Cause()
		}
	}
	return jobrun.Spec{
		Namespace: cache.Namespace, Name: naming.Child(cache.Name, naming.Writer), Labels: labels, Annotations: annotations,
		Template: cache.Spec.PodTemplate, Ownership: cache.Spec.Storage.Ownership, Platform: pass.Platform(cache),
		Deadline: defaultDeadline,
	}
}

// nearConsumers restricts a pod to the node where others have mounted the
// cache PVC, if its volume can be on one node only: the scheduler does not see
// that, and elsewhere the pod would wait for them to end. Nil restricts nothing.
func (t *turn) nearConsumers(ctx context.Context) (*corev1.NodeSelector, error) {
	if slices.Contains(t.cache.Spec.Storage.AccessModes, corev1.ReadWriteMany) {
		return nil, nil
	}
	for p, err := range read.All[corev1.Pod](ctx, t.Live, &corev1.PodList{}, client.InNamespace(t.cache.Namespace)) {
		if err != nil {
			return nil, fmt.Errorf("list the pods that have mounted the PVC: %w", err)
		}
		if p.Spec.NodeName != "" && !podFinished(p) && mounts(p, t.cache.Name) {
			return &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{
				Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{p.Spec.NodeName},
			}}}}}, nil
		}
	}
	return nil, nil
}

func podFinished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func mounts(p *corev1.Pod, pvc string) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == pvc
	})
}
