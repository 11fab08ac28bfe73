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

// TestHindrance holds what is reported of a Job whose pod does not run.
func TestHindrance(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	waits := func(container, reason, message string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: container, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
	}
	for name, tt := range map[string]struct {
		age   time.Duration
		ready bool
		event string // of the Job, or of the pod if there is one
		pod   *corev1.PodStatus
		gone  time.Duration // since the pod was to end; 0: it was not
		want  string        // a part; empty: nothing is reported
	}{
		"too early": {age: 29 * time.Second, want: ""},
		"refused":   {age: time.Second, event: `Error creating: pods "ci-writer-x" is forbidden: exceeded quota: compute, requested: limits.cpu=2`, want: "its pod cannot be created: exceeded quota: compute, requested: limits.cpu=2"},
		"a lost node": {age: time.Hour, gone: 2 * time.Minute, pod: &corev1.PodStatus{Phase: corev1.PodRunning},
			want: "node n1 does not report that pod p has ended, which was to end by 2026-11-21T11:58:00Z, so it may still write, and no other pod is started; if the node is shut down or lost for good, run: kubectl taint nodes n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"},
		"a pod that is about to end": {age: time.Hour, gone: time.Second, pod: &corev1.PodStatus{Phase: corev1.PodRunning}, want: ""},
		"a pod that has ended":       {age: time.Hour, gone: time.Hour, pod: &corev1.PodStatus{Phase: corev1.PodFailed}, want: ""},
		"it runs":                    {age: time.Hour, ready: true, want: ""},
		"no pod":                     {age: time.Minute, want: "the events of Job ci-writer"},
		"has just ended":             {age: time.Minute, pod: &corev1.PodStatus{Phase: corev1.PodSucceeded}, want: ""},
		"no node":                    {age: time.Minute, pod: &corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes"}}}, want: "no node (Unschedulable): 0/3 nodes"},
		"no image":                   {age: time.Minute, pod: &corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{waits("agent", "ImagePullBackOff", "Back-off pulling image \"x\"")}}, want: "container agent of pod p waits (ImagePullBackOff): Back-off pulling"},
		"no volume":                  {age: time.Minute, pod: &corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{waits("agent", "ContainerCreating", "")}}, want: "waits (ContainerCreating): see the events of the pod"},
		"attached to another node": {age: time.Minute, event: `Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node and can't be attached to another`,
			pod:  &corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{waits("agent", "ContainerCreating", "")}},
			want: `container agent of pod p waits (ContainerCreating): Multi-Attach error for volume "pvc-1" Volume is already`},
		"no init's image": {age: time.Minute, pod: &corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{waits("install", "ErrImagePull", "no such image")}, ContainerStatuses: []corev1.ContainerStatus{waits("agent", "PodInitializing", "")}}, want: "container install of pod p waits (ErrImagePull): no such image"},
	} {
		t.Run(name, func(t *testing.T) {
			started := metav1.NewTime(now.Add(-tt.age))
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "ci-writer", UID: "1"}, Status: batchv1.JobStatus{StartTime: &started}}
			if tt.ready {
				job.Status.Ready = ptr.To[int32](1)
			}
			live := fake.NewClientBuilder()
			live.WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string { return []string{string(o.(*corev1.Event).InvolvedObject.UID)} }).
				WithIndex(&corev1.Event{}, "type", func(o client.Object) []string { return []string{o.(*corev1.Event).Type} })
			if tt.event != "" {
				of := job.UID
				if tt.pod != nil {
					of = "2"
				}
				live.WithObjects(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "e"}, InvolvedObject: corev1.ObjectReference{UID: of}, Type: corev1.EventTypeWarning, Message: tt.event})
			}
			if tt.pod != nil {
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
					Namespace: "a", Name: "p", UID: "2", Labels: map[string]string{batchv1.JobNameLabel: "ci-writer"},
					OwnerReferences: []metav1.OwnerReference{{Kind: "Job", Name: "ci-writer", UID: "1"}},
				}, Spec: corev1.PodSpec{NodeName: "n1"}, Status: *tt.pod}
				if tt.gone > 0 {
					pod.DeletionTimestamp, pod.Finalizers = &metav1.Time{Time: now.Add(-tt.gone)}, []string{"a.test/b"}
				}
				live.WithObjects(pod)
			}
			reader := live.Build()
			o, err := jobrun.Observe(t.Context(), reader, job)
			if err != nil {
				t.Fatal(err)
			}
			got, err := jobrun.Hindrance(t.Context(), reader, job, o, now)
			if err != nil || !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}
