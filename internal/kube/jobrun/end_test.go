package jobrun_test

import (
	"errors"
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

// observed is how a Job stands that has a pod, or none.
func observed(t *testing.T, j *batchv1.Job, p *corev1.Pod) jobrun.Outcome {
	t.Helper()
	var objects []client.Object
	if p != nil {
		objects = append(objects, p)
	}
	o, err := jobrun.Observe(t.Context(), fake.NewClientBuilder().WithObjects(objects...).Build(), j)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestObserveContainers holds that a Job has ended when its main container has, although
// a container runs on that admission has added, and not before.
func TestObserveContainers(t *testing.T) {
	ended := terminated(jobrun.Container, 3, "", "report")
	ended.State.Terminated.FinishedAt = over
	runs := func(name string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	}
	waits := corev1.ContainerStatus{Name: "mesh", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}
	for name, tt := range map[string]struct {
		init, containers []corev1.ContainerStatus
		change           func(*corev1.Pod)
		phase            jobrun.Phase
		ready            bool
	}{
		"nothing is reported yet":                 {nil, nil, nil, jobrun.Running, false},
		"only the other one runs":                 {nil, []corev1.ContainerStatus{runs("mesh")}, nil, jobrun.Running, false},
		"it runs":                                 {nil, []corev1.ContainerStatus{runs(jobrun.Container), waits}, nil, jobrun.Running, true},
		"it runs on a node that was lost":         {nil, []corev1.ContainerStatus{runs(jobrun.Container)}, deleted, jobrun.Running, false},
		"it runs, in a pod that is not the Job's": {nil, []corev1.ContainerStatus{runs(jobrun.Container)}, stranger, jobrun.Running, false},
		"the other one runs on":                   {nil, []corev1.ContainerStatus{ended, runs("mesh")}, nil, jobrun.Ended, false},
		"an init container runs on":               {[]corev1.ContainerStatus{runs("mesh")}, []corev1.ContainerStatus{ended}, nil, jobrun.Ended, false},
		"the other one waits":                     {nil, []corev1.ContainerStatus{waits, ended}, nil, jobrun.Ended, false},
		"it ended last":                           {nil, []corev1.ContainerStatus{terminated("mesh", 0, "", ""), ended}, nil, jobrun.Running, false},
		"the other one runs on, in a stranger":    {nil, []corev1.ContainerStatus{ended, runs("mesh")}, stranger, jobrun.Running, false},
	} {
		j := job("", "", "")
		j.Status.Active = 1
		p := pod(func(p *corev1.Pod) {
			p.Status.InitContainerStatuses, p.Status.ContainerStatuses = tt.init, tt.containers
			if tt.change != nil {
				tt.change(p)
			}
		})
		o := observed(t, j, p)
		if o.Phase != tt.phase || o.Ready != tt.ready || o.Conclusive() != (tt.phase == jobrun.Ended) {
			t.Errorf("%s: %+v", name, o)
		}
		if tt.phase == jobrun.Ended && (*o.ExitCode != 3 || o.Message != "report" || !o.Ended.Equal(over.Time) || o.Pod != "j-1") {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func deleted(p *corev1.Pod) {
	p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: over.Time}, []string{"a.test/b"}
}

func stranger(p *corev1.Pod) {
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
}

// TestCauses holds which of several causes is reported, and what is none.
func TestCauses(t *testing.T) {
	failed := job(batchv1.JobFailed, "BackoffLimitExceeded", "")
	late := job(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded, "")
	disrupted := func(status corev1.ConditionStatus) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: status, Reason: "Taint", Message: "m"}, {Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
	}
	evicted := func(p *corev1.Pod) { p.Status.Reason, p.Status.Message = "Evicted", "no room" }
	install := func(code int32) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "mesh"}, terminated("install", code, "", "full")}
		}
	}
	for name, tt := range map[string]struct {
		job     *batchv1.Job
		pod     *corev1.Pod
		changes []func(*corev1.Pod)
		cause   string
	}{
		"no disruption":               {failed, agent(3, "", ""), []func(*corev1.Pod){disrupted(corev1.ConditionFalse)}, ""},
		"disrupted before all":        {late, agent(137, "OOMKilled", ""), []func(*corev1.Pod){disrupted(corev1.ConditionTrue), evicted, install(1)}, "the pod was disrupted (Taint): m"},
		"evicted before the deadline": {late, agent(137, "OOMKilled", ""), []func(*corev1.Pod){evicted, install(1)}, "the pod was ended (Evicted): no room"},
		"late before init":            {late, agent(137, "OOMKilled", ""), []func(*corev1.Pod){install(1)}, "the Job ran past its deadline"},
		"init before memory":          {failed, agent(137, "OOMKilled", ""), []func(*corev1.Pod){install(1)}, "init container install ended with exit code 1: full"},
		"init ended well":             {failed, agent(3, "", ""), []func(*corev1.Pod){install(0)}, ""},
		"memory before the signal":    {failed, agent(137, "OOMKilled", ""), nil, "the container ran out of memory; raise its limit"},
		"a code that is no signal":    {failed, agent(127, "", ""), nil, ""},
		"the first signal":            {failed, agent(128, "", ""), nil, "the container was killed by signal 0"},
		"the pod is gone":             {failed, nil, nil, "the pod is gone, and its report with it"},
		"it still runs": {failed, pod(func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: jobrun.Container}} }), nil,
			"the container left no exit code"},
	} {
		for _, change := range tt.changes {
			change(tt.pod)
		}
		if o := observed(t, tt.job, tt.pod); o.Cause != tt.cause || o.Conclusive() != (tt.cause == "") {
			t.Errorf("%s: %+v, want %q", name, o, tt.cause)
		}
	}
}

// TestStartOfJob holds that a Job began when it was created, until its status names a
// later time, and that only a condition that is true ends it.
func TestStartOfJob(t *testing.T) {
	j := job(batchv1.JobComplete, "", "")
	j.Status.Conditions[0].Status = corev1.ConditionFalse
	j.CreationTimestamp = metav1.NewTime(began.Add(-time.Hour))
	if o := observed(t, j, nil); o.Phase != jobrun.Running || !o.Started.Equal(began.Time) {
		t.Errorf("%+v", o)
	}
	j.Status.StartTime = nil
	if o := observed(t, j, nil); !o.Started.Equal(began.Add(-time.Hour)) {
		t.Errorf("without a start: %+v", o)
	}
	ended := jobrun.Outcome{Phase: jobrun.Ended, ExitCode: ptr.To[int32](0)}
	if !ended.Conclusive() {
		t.Error("an exit code alone is conclusive")
	}
	ended.Cause = "killed"
	if ended.Conclusive() || (jobrun.Outcome{Phase: jobrun.Ended}).Conclusive() {
		t.Error("conclusive although killed, or without an exit code")
	}
}

// TestLost holds for which pods a node does not answer.
func TestLost(t *testing.T) {
	now := over.Time
	for name, tt := range map[string]struct {
		change func(*corev1.Pod)
		lost   bool
	}{
		"for a minute":        {func(*corev1.Pod) {}, true},
		"not yet for one":     {func(p *corev1.Pod) { p.DeletionTimestamp.Time = now.Add(-time.Minute + 1) }, false},
		"it is to go on":      {func(p *corev1.Pod) { p.DeletionTimestamp = nil }, false},
		"it never had a node": {func(p *corev1.Pod) { p.Spec.NodeName = "" }, false},
		"it succeeded":        {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, false},
		"it failed":           {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false},
	} {
		p := pod(func(p *corev1.Pod) {
			p.Spec.NodeName, p.DeletionTimestamp = "n1", &metav1.Time{Time: now.Add(-time.Minute)}
		})
		tt.change(p)
		if got := jobrun.Lost(p, now); (got != "") != tt.lost {
			t.Errorf("%s: %q", name, got)
		}
		if got := jobrun.PodHindrance(p, now); (got != "") != tt.lost {
			t.Errorf("%s: the pod is reported as %q", name, got)
		}
	}
}

// TestHindranceOfOthers holds that the pod of another Job of the name is no pod, that a
// node that was found is no hindrance, and that what cannot be read is an error.
func TestHindranceOfOthers(t *testing.T) {
	now := over.Time
	o := jobrun.Outcome{Phase: jobrun.Running, Started: now.Add(-time.Hour)}
	j := job("", "", "")
	for name, tt := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"of another Job": {func(p *corev1.Pod) { p.OwnerReferences[0].UID = "2" }, "it has no pod: the events of Job j"},
		"on a node": {func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionFalse}}
		}, ""},
	} {
		live := eventReader(fake.NewClientBuilder().WithObjects(pod(tt.change)))
		got, err := jobrun.Hindrance(t.Context(), live, j, o, now)
		if err != nil || !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := jobrun.Hindrance(t.Context(), unlistable(), j, o, now); !errors.Is(err, errList) {
		t.Errorf("unlistable: %v", err)
	}
	if got, err := jobrun.Hindrance(t.Context(), unlistable(), j, jobrun.Outcome{Phase: jobrun.Ended}, now); got != "" || err != nil {
		t.Errorf("it has ended: %q, %v", got, err)
	}
	if _, err := jobrun.Observe(t.Context(), unlistable(), job(batchv1.JobComplete, "", "")); !errors.Is(err, errList) {
		t.Errorf("observed without its pods: %v", err)
	}
}

// eventReader finds events as the API server does.
func eventReader(b *fake.ClientBuilder) client.Reader {
	return b.WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string { return []string{string(o.(*corev1.Event).InvolvedObject.UID)} }).
		WithIndex(&corev1.Event{}, "type", func(o client.Object) []string { return []string{o.(*corev1.Event).Type} }).Build()
}
