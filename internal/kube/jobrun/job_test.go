package jobrun_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
)

// described is a Job with all that a Spec can hold.
func described(change func(*jobrun.Spec)) *batchv1.Job {
	s := jobrun.Spec{
		Namespace: "n", Name: "j", Labels: map[string]string{"app": "a"}, Annotations: map[string]string{"x": "y"},
		Image: "go:1", Command: []string{"/gocache-agent", "warm"}, Env: map[string]string{"B": "2", "A": "1"},
		Volumes:   []corev1.Volume{podspec.EmptyDir("tmp")},
		Mounts:    []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
		Init:      []corev1.Container{{Name: "install"}},
		Template:  &v1alpha1.PodTemplate{NodeSelector: map[string]string{"disk": "fast"}},
		Ownership: &v1alpha1.Ownership{RunAsUser: ptr.To[int64](7), RunAsGroup: ptr.To[int64](8)},
		Platform:  "linux/arm64",
		Near:      &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name"}}}}},
		Deadline:  90*time.Second + time.Millisecond,
	}
	change(&s)
	return s.Object()
}

// TestObject holds that a Job runs one pod, once, without rights, where the volume is.
func TestObject(t *testing.T) {
	j := described(func(*jobrun.Spec) {})
	if j.Namespace != "n" || j.Name != "j" || j.Labels["app"] != "a" || j.Annotations["x"] != "y" || j.Annotations[jobrun.TemplateAnnotation] == "" {
		t.Errorf("metadata: %+v", j.ObjectMeta)
	}
	want := batchv1.JobSpec{
		BackoffLimit: ptr.To[int32](0), ActiveDeadlineSeconds: ptr.To[int64](90), PodReplacementPolicy: ptr.To(batchv1.Failed),
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action:          batchv1.PodFailurePolicyActionFailJob,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
		}}},
	}
	got := j.Spec
	got.Template = corev1.PodTemplateSpec{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the Job (-want +got):\n%s", diff)
	}
	pod := j.Spec.Template
	if pod.Labels["app"] != "a" || pod.Annotations["x"] != "" {
		t.Errorf("metadata of the pod: %+v", pod.ObjectMeta)
	}
	spec := pod.Spec
	if spec.RestartPolicy != corev1.RestartPolicyNever || ptr.Deref(spec.AutomountServiceAccountToken, true) || ptr.Deref(spec.EnableServiceLinks, true) ||
		spec.NodeSelector["disk"] != "fast" || spec.NodeSelector[corev1.LabelArchStable] != "arm64" || spec.Affinity == nil ||
		*spec.SecurityContext.RunAsUser != 7 {
		t.Errorf("the pod: %+v", spec)
	}
	for _, c := range []corev1.Container{spec.InitContainers[0], spec.Containers[0]} {
		if diff := cmp.Diff(podspec.Restricted(), c.SecurityContext); diff != "" {
			t.Errorf("rights of %s (-want +got):\n%s", c.Name, diff)
		}
	}
	main := spec.Containers[0]
	if main.Name != jobrun.Container || main.Image != "go:1" || main.Env[0].Name != "A" || main.VolumeMounts[0].MountPath != "/tmp" ||
		main.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
		t.Errorf("the container: %+v", main)
	}
}

// TestObjectOfItsOwn holds that a Job shares nothing with the Spec that can be changed,
// and that what its annotation is the digest of has no deadline in it.
func TestObjectOfItsOwn(t *testing.T) {
	var kept jobrun.Spec
	first := described(func(s *jobrun.Spec) { kept = *s })
	if kept.Init[0].SecurityContext != nil || kept.Annotations[jobrun.TemplateAnnotation] != "" {
		t.Errorf("the Spec was changed: %+v", kept)
	}
	second := kept.Object()
	second.Spec.Template.Spec.Volumes[0].EmptyDir.Medium = corev1.StorageMediumMemory
	if first.Spec.Template.Spec.Volumes[0].EmptyDir.Medium != "" || kept.Volumes[0].EmptyDir.Medium != "" || kept.Volumes[0].EmptyDir.SizeLimit != nil {
		t.Error("the emptyDir is shared")
	}
	digest := func(change func(*jobrun.Spec)) string {
		return described(change).Annotations[jobrun.TemplateAnnotation]
	}
	same := digest(func(*jobrun.Spec) {})
	if got := digest(func(s *jobrun.Spec) { s.Deadline = time.Hour }); got != same || len(same) != 32 {
		t.Errorf("another deadline: digest %s, was %s", got, same)
	}
	if digest(func(s *jobrun.Spec) { s.Image = "go:2" }) == same {
		t.Error("another image has the same digest")
	}
	for deadline, want := range map[time.Duration]int64{0: 1, -time.Hour: 1, time.Second: 1, 2 * time.Second: 2} {
		if got := *described(func(s *jobrun.Spec) { s.Deadline = deadline }).Spec.ActiveDeadlineSeconds; got != want {
			t.Errorf("deadline %s: %d s", deadline, got)
		}
	}
}

// TestRecheck holds when a Job is observed again without an event of its own.
func TestRecheck(t *testing.T) {
	running := func(active, ready int32) *batchv1.Job {
		j := job("", "", "")
		j.Status.Active, j.Status.Ready = active, ptr.To(ready)
		return j
	}
	deleting := job(batchv1.JobComplete, "", "")
	deleting.DeletionTimestamp = &metav1.Time{Time: over.Time}
	runs := pod(func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: jobrun.Container, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	})
	for name, tt := range map[string]struct {
		job  *batchv1.Job
		pod  *corev1.Pod
		want time.Duration
	}{
		"no Job":                        {nil, nil, 0},
		"no pod yet":                    {running(0, 0), nil, 5 * time.Second},
		"a pod that waits":              {running(1, 0), pod(func(*corev1.Pod) {}), 30 * time.Second},
		"a pod of which one part waits": {running(1, 0), runs, 30 * time.Second},
		"a pod that is ready":           {running(1, 1), runs, 0},
		"it is being deleted":           {deleting, nil, 30 * time.Second},
		"it has ended":                  {job(batchv1.JobComplete, "", ""), agent(0, "", ""), 0},
	} {
		o := observed(t, tt.job, tt.pod)
		if got := o.Recheck(); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
