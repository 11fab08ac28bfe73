package jobrun_test

import (
	"errors"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/kube/jobrun"
)

// TestOutdated holds that a Job is replaced only if it would be created otherwise now,
// and its main container has not run in any pod.
func TestOutdated(t *testing.T) {
	state := func(name string, s corev1.ContainerState) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{Name: name, State: s}}}
	}
	waiting := state(jobrun.Container, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}})
	again := waiting
	again.ContainerStatuses = []corev1.ContainerStatus{{Name: jobrun.Container, LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}}}
	with := func(template string) *batchv1.Job {
		j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "j"}, Status: batchv1.JobStatus{StartTime: ptr.To(metav1.NewTime(time.Now()))}}
		if template != "" {
			j.Annotations = map[string]string{jobrun.TemplateAnnotation: template}
		}
		return j
	}
	ready := with("a")
	ready.Status.Ready = ptr.To[int32](1)
	deleted := with("a")
	deleted.DeletionTimestamp, deleted.Finalizers = ptr.To(metav1.Now()), []string{"a.test/b"}
	for name, tt := range map[string]struct {
		job, now *batchv1.Job
		pods     []corev1.PodStatus
		deleting bool // the pods
		want     bool
	}{
		"another template":              {with("a"), with("b"), nil, false, true},
		"a pod that waits":              {with("a"), with("b"), []corev1.PodStatus{waiting}, false, true},
		"an init container that runs":   {with("a"), with("b"), []corev1.PodStatus{state("install", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})}, false, true},
		"the same template":             {with("a"), with("a"), nil, false, false},
		"a Job of an earlier version":   {with(""), with("b"), nil, false, false},
		"no Job":                        {nil, with("b"), nil, false, false},
		"none would be created":         {with("a"), nil, nil, false, false},
		"it is ready":                   {ready, with("b"), nil, false, false},
		"it is being deleted":           {deleted, with("b"), nil, false, false},
		"a container that runs":         {with("a"), with("b"), []corev1.PodStatus{state(jobrun.Container, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})}, false, false},
		"a container that ran":          {with("a"), with("b"), []corev1.PodStatus{state(jobrun.Container, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}})}, false, false},
		"a container that is restarted": {with("a"), with("b"), []corev1.PodStatus{again}, false, false},
		"a pod that succeeded":          {with("a"), with("b"), []corev1.PodStatus{{Phase: corev1.PodSucceeded}}, false, false},
		"a pod that failed":             {with("a"), with("b"), []corev1.PodStatus{{Phase: corev1.PodFailed}}, false, false},
		"the second pod ran":            {with("a"), with("b"), []corev1.PodStatus{waiting, {Phase: corev1.PodFailed}}, false, false},
		"a pod that is being deleted":   {with("a"), with("b"), []corev1.PodStatus{waiting}, true, false},
	} {
		live := fake.NewClientBuilder()
		for i, status := range tt.pods {
			p := podOf("n", string(rune('a'+i)), "j", nil)
			p.Status = status
			if tt.deleting {
				p.DeletionTimestamp, p.Finalizers = ptr.To(metav1.Now()), []string{"a.test/b"}
			}
			live.WithObjects(p)
		}
		reader := live.Build()
		var o jobrun.Outcome
		if tt.job != nil {
			var err error
			if o, err = jobrun.Observe(t.Context(), reader, tt.job); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := jobrun.Outdated(t.Context(), reader, tt.job, o, tt.now); err != nil || got != tt.want {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
	if got, err := jobrun.Outdated(t.Context(), unlistable(), with("a"), jobrun.Outcome{Phase: jobrun.Running}, with("b")); got || !errors.Is(err, errList) {
		t.Errorf("pods that cannot be listed: %t, %v", got, err)
	}
}

// TestBegun holds that a pod has begun if any of its containers has run.
func TestBegun(t *testing.T) {
	runs := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	waits := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}
	of := func(statuses ...corev1.ContainerStatus) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodPending, InitContainerStatuses: statuses[:1], ContainerStatuses: statuses[1:]}
	}
	for name, tt := range map[string]struct {
		status corev1.PodStatus
		want   bool
	}{
		"nothing is known":              {corev1.PodStatus{}, false},
		"all wait":                      {of(corev1.ContainerStatus{State: waits}, corev1.ContainerStatus{State: waits}), false},
		"an init container runs":        {of(corev1.ContainerStatus{State: runs}, corev1.ContainerStatus{State: waits}), true},
		"an init container has run":     {of(corev1.ContainerStatus{State: ended}, corev1.ContainerStatus{State: waits}), true},
		"one is to be started again":    {of(corev1.ContainerStatus{State: waits, LastTerminationState: ended}), true},
		"one that was added to it runs": {of(corev1.ContainerStatus{State: waits}, corev1.ContainerStatus{Name: "mesh", State: runs}), true},
		"it failed":                     {corev1.PodStatus{Phase: corev1.PodFailed}, true},
	} {
		if got := jobrun.Begun(&corev1.Pod{Status: tt.status}); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if !jobrun.Begun(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: ptr.To(metav1.Now())}}) {
		t.Error("one that is being deleted may still begin")
	}
}
