package writer

import (
	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/jobrun"
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
