package jobrun

import (
	"context"
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/refusal"
)

const (
	// StartTimeout is how long a Job may be without a running container before it is
	// asked why, and how often after that.
	StartTimeout = 30 * time.Second
	// refusalInterval is how often a Job without a pod is asked why: that a pod is
	// refused is known at once, and no watch reports it.
	refusalInterval = 5 * time.Second
	// lostAfter is how long a pod may exist after the time by which it was to end.
	lostAfter = time.Minute
)

// Recheck is when a Job is to be observed again, since no watch reports how it
// goes on; 0: a watch does.
func (o Outcome) Recheck() time.Duration {
	switch {
	case o.Phase != Running && o.Phase != Deleting || o.watched:
		return 0
	case o.Phase == Running && !o.hasPod:
		return refusalInterval
	}
	return StartTimeout
}

// Hindrance is why the container of a running Job does not run: no quota, no
// node, no image, or a node that is lost. It is empty when there is none, or while
// it is too early. Pods and events are read live, and only then.
func Hindrance(ctx context.Context, live client.Reader, job *batchv1.Job, o Outcome, now time.Time) (string, error) {
	early := now.Sub(o.Started) < StartTimeout
	if o.Phase != Running || o.Ready || early && o.hasPod {
		return "", nil
	}
	pod, err := owned(ctx, live, job)
	switch {
	case err != nil:
		return "", err
	case pod != nil && early:
		return "", nil
	case pod != nil:
		return explained(ctx, live, pod, PodHindrance(pod, now))
	}
	warning, err := refusal.Newest(ctx, live, job.Namespace, job.UID)
	switch {
	case err != nil:
		return "", err
	case warning != "":
		return "its pod cannot be created: " + refusal.Pod(warning), nil
	case early:
		return "", nil
	}
	return fmt.Sprintf("it has no pod: the events of Job %s contain the cause, such as a quota that is used up", job.Name), nil
}

// owned is a pod of a Job; nil: there is none.
func owned(ctx context.Context, live client.Reader, job *batchv1.Job) (*corev1.Pod, error) {
	for pod, err := range Pods(ctx, live, job.Namespace, job.Name) {
		if err != nil {
			return nil, err
		}
		if ownedBy(pod, job) {
			return pod.DeepCopy(), nil
		}
	}
	return nil, nil
}

// seeEvents ends what is reported of a pod whose status does not contain what it waits for.
const seeEvents = ": see the events of the pod"

// explained replaces seeEvents by what the events contain, such as that the volume is still
// attached to another node.
func explained(ctx context.Context, live client.Reader, pod *corev1.Pod, why string) (string, error) {
	waits, ok := strings.CutSuffix(why, seeEvents)
	if !ok {
		return why, nil
	}
	warning, err := refusal.Newest(ctx, live, pod.Namespace, pod.UID)
	if err != nil || warning == "" {
		return why, err
	}
	return waits + ": " + warning, nil
}

// PodHindrance is why the containers of a pod do not run; empty: nothing is known
// that keeps them.
func PodHindrance(pod *corev1.Pod, now time.Time) string {
	if why := Lost(pod, now); why != "" {
		return why
	}
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
				return fmt.Sprintf("container %s of pod %s waits (%s)%s", s.Name, pod.Name, w.Reason, seeEvents)
			default:
				return fmt.Sprintf("container %s of pod %s waits (%s): %s", s.Name, pod.Name, w.Reason, w.Message)
			}
		}
	}
	return ""
}

// Lost explains a pod that was to end and is not seen gone: its node does not
// answer, so the pod may still write to its volume. It is empty for other pods.
func Lost(pod *corev1.Pod, now time.Time) string {
	if pod.DeletionTimestamp == nil || pod.Spec.NodeName == "" || now.Sub(pod.DeletionTimestamp.Time) < lostAfter ||
		pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return ""
	}
	return fmt.Sprintf("node %s does not report that pod %s has ended, which was to end by %s, so it may still write, and no other pod is started; if the node is shut down or lost for good, run: kubectl taint nodes %s node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
		pod.Spec.NodeName, pod.Name, pod.DeletionTimestamp.UTC().Format(time.RFC3339), pod.Spec.NodeName)
}
