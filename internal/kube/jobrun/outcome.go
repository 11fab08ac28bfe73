package jobrun

import (
	"context"
	"fmt"
	"iter"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/read"
)

// Phase of a Job.
type Phase string

// The phases.
const (
	// Absent: there is no Job.
	Absent Phase = "Absent"
	// Running: the Job has not ended.
	Running Phase = "Running"
	// Ended: the Job has ended, one way or the other.
	Ended Phase = "Ended"
	// Deleting: the Job is being deleted.
	Deleting Phase = "Deleting"
)

// Outcome is how a Job stands.
type Outcome struct {
	// Phase of the Job.
	Phase Phase
	// Run identifies this Job and no later one of its name: its uid.
	Run string
	// Ready: the container of a running Job runs.
	Ready bool
	// hasPod: a running Job has a pod. watched: the status of the Job changes when
	// the container ends.
	hasPod, watched bool
	// Annotations of the Job.
	Annotations map[string]string
	// Started and Ended are its times, as far as known.
	Started, Ended time.Time
	// ExitCode of the main container; nil when it cannot be had.
	ExitCode *int32
	// Message that the main container left.
	Message string
	// Cause is why there is no exit code, or what killed the container.
	Cause string
	// Pod is the Job's pod; empty when there is none any more.
	Pod string
	// Untrusted is why the Job is not the operator's own, so that its report does
	// not count; empty: it is, or [Authenticate] was not called.
	Untrusted string
}

// Conclusive reports whether the container ended by itself and its exit code can
// be taken at its word.
func (o Outcome) Conclusive() bool {
	return o.Phase == Ended && o.ExitCode != nil && o.Cause == ""
}

// Observe reads how a Job stands. The pods are read live, since a cache that lags
// behind would make a verdict look lost, and not while the Job's container runs.
// A Job has ended when its main container has, although a container runs on that
// admission has added.
func Observe(ctx context.Context, live client.Reader, job *batchv1.Job) (Outcome, error) {
	if job == nil {
		return Outcome{Phase: Absent}, nil
	}
	o := Outcome{Phase: Running, Run: string(job.UID), Annotations: job.Annotations, Started: job.CreationTimestamp.Time}
	if job.Status.StartTime != nil {
		o.Started = job.Status.StartTime.Time
	}
	ended := endOf(job)
	switch {
	case !job.DeletionTimestamp.IsZero():
		o.Phase = Deleting
		return o, nil
	case ended == nil:
		o.watched = ptr.Deref(job.Status.Ready, 0) > 0
		o.Ready, o.hasPod = o.watched, job.Status.Active > 0
		if !o.hasPod || o.Ready {
			return o, nil
		}
	}
	if ended != nil {
		o.Phase, o.Ended = Ended, ended.LastTransitionTime.Time
	}
	pods, err := controlled(ctx, live, job)
	if err != nil {
		return o, err
	}
	pod, doubt := evidence(job, pods)
	if ended == nil {
		if doubt == "" && pod != nil {
			o.lookInto(pod)
		}
		return o, nil
	}
	if doubt != "" {
		o.Cause = doubt
		return o, nil
	}
	o.conclude(ended, pod)
	return o, nil
}

// lookInto reads from the pod of a Job that has not ended whether its main
// container runs, or has ended while others run on.
func (o *Outcome) lookInto(pod *corev1.Pod) {
	var main *corev1.ContainerStatus
	others := false
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range statuses {
			if s := &statuses[i]; s.Name == Container {
				main = s
			} else {
				others = others || s.State.Running != nil || s.State.Waiting != nil
			}
		}
	}
	switch {
	case main == nil:
	case main.State.Running != nil:
		o.Ready = pod.DeletionTimestamp.IsZero() // a node that is lost reports no change
	case main.State.Terminated != nil && others:
		end := main.State.Terminated.FinishedAt
		o.Phase, o.Ended = Ended, end.Time
		o.conclude(&batchv1.JobCondition{LastTransitionTime: end}, pod)
	}
}

// Pods are the pods of all Jobs of a name, read live. Any client that may create pods
// can add any number of them: copy what is kept, and see [read.All].
func Pods(ctx context.Context, live client.Reader, namespace, job string) iter.Seq2[*corev1.Pod, error] {
	return func(yield func(*corev1.Pod, error) bool) {
		for pod, err := range read.All[corev1.Pod](ctx, live, &corev1.PodList{}, client.InNamespace(namespace), client.MatchingLabels{batchv1.JobNameLabel: job}) {
			if err != nil {
				err = fmt.Errorf("list the pods of Job %s: %w", job, err)
			}
			if !yield(pod, err) {
				return
			}
		}
	}
}

// controlled are the pods that name a Job as their controller, and two at most: none
// of several is trusted.
func controlled(ctx context.Context, live client.Reader, job *batchv1.Job) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	for pod, err := range Pods(ctx, live, job.Namespace, job.Name) {
		if err != nil {
			return nil, err
		}
		if controls(job, pod) {
			pods = append(pods, *pod.DeepCopy())
		}
		if len(pods) == 2 {
			break
		}
	}
	return pods, nil
}

// AnyPods reports whether pods of any of the Jobs exist that bear the labels,
// read live. A stranger's Job may have the name of one of them.
func AnyPods(ctx context.Context, live client.Reader, namespace string, bearing map[string]string, jobs ...string) (bool, error) {
	of, err := labels.NewRequirement(batchv1.JobNameLabel, selection.In, jobs)
	if err != nil {
		return false, fmt.Errorf("list the pods of Jobs %v: %w", jobs, err)
	}
	var list corev1.PodList
	if err := live.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(bearing).Add(*of)}, client.Limit(1)); err != nil {
		return false, fmt.Errorf("list the pods of Jobs %v: %w", jobs, err)
	}
	return len(list.Items) > 0, nil
}

func ownedBy(pod *corev1.Pod, job *batchv1.Job) bool {
	for _, ref := range pod.OwnerReferences {
		if ref.UID == job.UID {
			return true
		}
	}
	return false
}

func endOf(job *batchv1.Job) *batchv1.JobCondition {
	for i, c := range job.Status.Conditions {
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}

// conclude reads exit code, message and cause from the Job's end and its pod.
func (o *Outcome) conclude(ended *batchv1.JobCondition, pod *corev1.Pod) {
	if pod == nil {
		o.Cause = "the pod is gone, and its report with it"
		if ended.Message != "" {
			o.Cause += ": " + ended.Message
		}
		return
	}
	o.Pod = pod.Name
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			o.Cause = fmt.Sprintf("the pod was disrupted (%s): %s", c.Reason, c.Message)
		}
	}
	if pod.Status.Reason != "" && o.Cause == "" { // such as Evicted, DeadlineExceeded, NodeLost
		o.Cause = fmt.Sprintf("the pod was ended (%s): %s", pod.Status.Reason, pod.Status.Message)
	}
	if ended.Reason == batchv1.JobReasonDeadlineExceeded && o.Cause == "" {
		o.Cause = "the Job ran past its deadline"
	}
	for _, s := range pod.Status.InitContainerStatuses {
		if t := s.State.Terminated; t != nil && t.ExitCode != 0 && o.Cause == "" {
			o.Cause = fmt.Sprintf("init container %s ended with exit code %d: %s", s.Name, t.ExitCode, t.Message)
		}
	}
	for _, s := range pod.Status.ContainerStatuses {
		if s.Name != Container || s.State.Terminated == nil {
			continue
		}
		t := s.State.Terminated
		code := t.ExitCode
		o.ExitCode, o.Message = &code, t.Message
		if t.Reason == "OOMKilled" && o.Cause == "" {
			o.Cause = "the container ran out of memory; raise its limit"
		}
		if o.Cause == "" && code >= 128 {
			o.Cause = fmt.Sprintf("the container was killed by signal %d", code-128)
		}
	}
	if o.ExitCode == nil && o.Cause == "" {
		o.Cause = "the container left no exit code"
	}
}
