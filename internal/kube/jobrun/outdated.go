package jobrun

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// TemplateAnnotation on a Job is the digest of the pod template that it was created
// from, without the node that a writer runs near. It is compared
// with that of the Job that would be created now, and not with the Job as the
// server has it, which admission may have changed.
const TemplateAnnotation = v1alpha1.GroupName + "/template"

// templateDigest of a Job that is about to be created. Its deadline may be what is
// left of another one, so it is not in it.
func templateDigest(template corev1.PodTemplateSpec) string {
	b, err := json.Marshal(template)
	if err != nil { // objects of the API: cannot fail
		panic("template: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Outdated reports whether a Job whose main container has not run would be created
// otherwise now, for example since the image or the node selector was corrected.
// Its pods have written nothing, so it may be deleted. They are read live.
func Outdated(ctx context.Context, live client.Reader, job *batchv1.Job, o Outcome, now *batchv1.Job) (bool, error) {
	if job == nil || now == nil || o.Phase != Running || o.Ready || o.watched {
		return false, nil
	}
	was := job.Annotations[TemplateAnnotation]
	if was == "" || was == now.Annotations[TemplateAnnotation] {
		return false, nil
	}
	for pod, err := range Pods(ctx, live, job.Namespace, job.Name) {
		if err != nil || hasRun(pod) {
			return false, err
		}
	}
	return true, nil
}

// Begun reports whether any container of a pod has run: its node has the volumes then.
func Begun(pod *corev1.Pod) bool {
	return hasRun(pod) || slices.ContainsFunc(slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses), ran)
}

// hasRun reports whether the main container of a pod has run.
func hasRun(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed || !pod.DeletionTimestamp.IsZero() {
		return true
	}
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name == Container && ran(s) {
			return true
		}
	}
	return false
}

func ran(s corev1.ContainerStatus) bool {
	return s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil
}
