package jobrun_test

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/kube/jobrun"
)

var (
	began = metav1.NewTime(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	over  = metav1.NewTime(began.Add(time.Minute))
)

// job is a Job that has ended, or not if no condition is given.
func job(condition batchv1.JobConditionType, reason, message string) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "j", UID: "1", CreationTimestamp: began, Annotations: map[string]string{"a": "b"}},
		Status:     batchv1.JobStatus{StartTime: &began},
	}
	if condition != "" {
		j.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: over}}
	}
	return j
}

func terminated(name string, code int32, reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}}
}

func pod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "n", Name: "j-1", Labels: map[string]string{batchv1.JobNameLabel: "j", batchv1.ControllerUidLabel: "1"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "j", UID: "1", Controller: ptr.To(true)}},
	}}
	change(p)
	return p
}

func agent(code int32, reason, message string) *corev1.Pod {
	return pod(func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{terminated("sidecar", 0, "", "hello"), terminated(jobrun.Container, code, reason, message)}
	})
}

func TestObserve(t *testing.T) {
	failed := job(batchv1.JobFailed, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
	complete := job(batchv1.JobComplete, "CompletionsReached", "")
	deleting := job(batchv1.JobComplete, "", "")
	deleting.DeletionTimestamp, deleting.Finalizers = &over, []string{"test/hold"}
	tests := []struct {
		name       string
		job        *batchv1.Job
		pod        *corev1.Pod
		phase      jobrun.Phase
		conclusive bool
		exit       *int32
		message    string
		cause      string
	}{
		{name: "no Job", phase: jobrun.Absent},
		{name: "it runs", job: job("", "", ""), pod: agent(0, "", ""), phase: jobrun.Running},
		{name: "it is about to fail", job: job(batchv1.JobFailureTarget, "", ""), pod: agent(1, "", ""), phase: jobrun.Running},
		{name: "it is being deleted", job: deleting, pod: agent(0, "", ""), phase: jobrun.Deleting},
		{name: "it succeeded", job: complete, pod: agent(0, "Completed", "report"), phase: jobrun.Ended, conclusive: true, exit: ptr.To[int32](0), message: "report"},
		{name: "it failed by itself", job: failed, pod: agent(3, "Error", "report"), phase: jobrun.Ended, conclusive: true, exit: ptr.To[int32](3), message: "report"},
		{name: "out of memory", job: failed, pod: agent(137, "OOMKilled", ""), phase: jobrun.Ended, exit: ptr.To[int32](137), cause: "ran out of memory; raise its limit"},
		{name: "killed", job: failed, pod: agent(143, "Error", ""), phase: jobrun.Ended, exit: ptr.To[int32](143), cause: "killed by signal 15"},
		{name: "evicted with a report", job: failed, pod: with(agent(3, "", "report"), func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", Message: "evicting"}}
		}), phase: jobrun.Ended, exit: ptr.To[int32](3), message: "report", cause: "the pod was disrupted (EvictionByEvictionAPI): evicting"},
		{name: "ended by the kubelet", job: failed, pod: pod(func(p *corev1.Pod) {
			p.Status.Reason, p.Status.Message = "Evicted", "The node was low on resource: ephemeral-storage"
		}), phase: jobrun.Ended, cause: "the pod was ended (Evicted): The node was low on resource"},
		{name: "past its deadline", job: job(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded, ""), pod: agent(0, "", ""), phase: jobrun.Ended, exit: ptr.To[int32](0), cause: "ran past its deadline"},
		{name: "the init container failed", job: failed, pod: pod(func(p *corev1.Pod) {
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{terminated("install", 1, "", "no space")}
		}), phase: jobrun.Ended, cause: "init container install ended with exit code 1: no space"},
		{name: "the container never ran", job: failed, pod: pod(func(*corev1.Pod) {}), phase: jobrun.Ended, cause: "left no exit code"},
		{name: "the pod is gone", job: failed, phase: jobrun.Ended, cause: "the pod is gone, and its report with it: Job has reached"},
		{name: "only the pod of an earlier Job", job: failed, pod: with(agent(0, "", "report"), func(p *corev1.Pod) { p.OwnerReferences[0].UID = "0" }), phase: jobrun.Ended, cause: "the pod is gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var objects []client.Object
			if tt.pod != nil {
				objects = append(objects, tt.pod)
			}
			o, err := jobrun.Observe(t.Context(), fake.NewClientBuilder().WithObjects(objects...).Build(), tt.job)
			if err != nil {
				t.Fatal(err)
			}
			if o.Phase != tt.phase || o.Conclusive() != tt.conclusive || o.Message != tt.message || ptr.Deref(o.ExitCode, -1) != ptr.Deref(tt.exit, -1) {
				t.Errorf("got %+v", o)
			}
			if !strings.Contains(o.Cause, tt.cause) || (o.Cause == "") != (tt.cause == "") {
				t.Errorf("cause %q, want %q", o.Cause, tt.cause)
			}
			if tt.job == nil {
				return
			}
			if o.Run != "1" || o.Annotations["a"] != "b" || !o.Started.Equal(began.Time) {
				t.Errorf("got %+v", o)
			}
			if tt.phase == jobrun.Ended && !o.Ended.Equal(over.Time) {
				t.Errorf("ended %v, want %v", o.Ended, over)
			}
		})
	}
}

func with(p *corev1.Pod, change func(*corev1.Pod)) *corev1.Pod {
	change(p)
	return p
}
