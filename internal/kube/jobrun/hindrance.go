package jobrun

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// StartTimeout is how long a Job may be without a running container before it is
// asked why, and how often after that.
const StartTimeout = 30 * time.Second

// Hindrance is why the container of a running Job does not run: no node, no
// image, no quota. It is empty when there is none, or while it is too early.
// The pod is read live, and only then.
func Hindrance(ctx context.Context, live client.Reader, job *batchv1.Job, o Outcome, now time.Time) (string, error) {
	if o.Phase != Running || o.Ready || now.Sub(o.Started) < StartTimeout {
		return "", nil
	}
	pods, err := Pods(ctx, live, job.Namespace, job.Name)
	if err != nil {
		return "", err
	}
	for i := range pods {
		if ownedBy(&pods[i], job) {
			return hinders(&pods[i]), nil
		}
	}
	return fmt.Sprintf("it has no pod: the events of Job %s contain the cause, such as a quota that is used up", job.Name), nil
}

// hinders is what a pod waits for.
func hinders(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("pod %s has no node (%s): %s", pod.Name, c.Reason, c.Message)
		}
	}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range statuses {
			w := s.State.Waiting
			switch {
			case w == nil || w.Reason == "PodInitializing": // waits for an init container, which has its own state
			case w.Message == "":
				return fmt.Sprintf("container %s of pod %s waits (%s): see the events of the pod", s.Name, pod.Name, w.Reason)
			default:
				return fmt.Sprintf("container %s of pod %s waits (%s): %s", s.Name, pod.Name, w.Reason, w.Message)
			}
		}
	}
	return ""
}
