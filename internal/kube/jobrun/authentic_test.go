package jobrun_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/jobrun"
)

// warmer is the Job that the operator would create.
func warmer() *batchv1.Job {
	j := jobrun.Spec{
		Namespace: "n", Name: "j", Image: "go:1", Command: []string{"/gocache-agent", "warm"}, Env: map[string]string{"GOPROXY": "https://p"},
		Annotations: map[string]string{v1alpha1.CauseAnnotation: "new", v1alpha1.PVCUIDAnnotation: "u", v1alpha1.VolumeAnnotation: "pv"},
		Volumes:     []corev1.Volume{{Name: "cache", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "ci"}}}},
		Mounts:      []corev1.VolumeMount{{Name: "cache", MountPath: "/cache"}},
	}.Object()
	j.Spec.Template.Annotations = map[string]string{v1alpha1.GroupName + "/packages-0": "std"}
	return j
}

// onServer is a Job as the API server returns it.
func onServer(change func(*batchv1.Job)) *batchv1.Job {
	j := warmer()
	pod := &j.Spec.Template.Spec
	pod.DNSPolicy, pod.SchedulerName, pod.TerminationGracePeriodSeconds = corev1.DNSClusterFirst, "default-scheduler", ptr.To[int64](30)
	c := &pod.Containers[0]
	c.ImagePullPolicy, c.TerminationMessagePath = corev1.PullIfNotPresent, corev1.TerminationMessagePathDefault
	change(j)
	return j
}

// TestAuthenticate plays a client that creates a Job of the operator's name.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	agent := func(j *batchv1.Job) *corev1.Container { return &j.Spec.Template.Spec.Containers[0] }
	for name, tt := range map[string]struct {
		change func(*batchv1.Job)
		why    string // empty: it counts
	}{
		"the same":      {func(*batchv1.Job) {}, ""},
		"another cause": {func(j *batchv1.Job) { j.Annotations[v1alpha1.CauseAnnotation] = "other" }, ""},
		"another place": {func(j *batchv1.Job) { j.Spec.Template.Spec.NodeSelector = map[string]string{"a": "b"} }, ""},
		"a volume that nothing mounts": {func(j *batchv1.Job) {
			j.Spec.Template.Spec.Volumes = append(j.Spec.Template.Spec.Volumes, corev1.Volume{Name: "token"})
		}, ""},
		"before the PVC was bound":     {func(j *batchv1.Job) { j.Annotations[v1alpha1.VolumeAnnotation] = "" }, ""},
		"another volume by annotation": {func(j *batchv1.Job) { j.Annotations[v1alpha1.VolumeAnnotation] = "other" }, "annotation"},
		"another PVC by annotation":    {func(j *batchv1.Job) { j.Annotations[v1alpha1.PVCUIDAnnotation] = "v" }, "annotation"},
		"other packages":               {func(j *batchv1.Job) { j.Spec.Template.Annotations[v1alpha1.GroupName+"/packages-0"] = "x" }, "annotation"},
		"another image":                {func(j *batchv1.Job) { agent(j).Image = "evil" }, "the image of container agent"},
		"another command":              {func(j *batchv1.Job) { agent(j).Command = []string{"echo"} }, "the command of container agent"},
		"another volume":               {func(j *batchv1.Job) { j.Spec.Template.Spec.Volumes[0].PersistentVolumeClaim.ClaimName = "x" }, "volume cache"},
		"a variable of the go command": {func(j *batchv1.Job) {
			agent(j).Env = append(agent(j).Env, corev1.EnvVar{Name: "GOFLAGS", Value: "-toolexec=x"})
		}, "variable GOFLAGS"},
		"a variable twice": {func(j *batchv1.Job) {
			agent(j).Env = append(agent(j).Env, corev1.EnvVar{Name: "GOPROXY", Value: "off"})
		}, "variable GOPROXY"},
		"any variable":           {func(j *batchv1.Job) { agent(j).Env = append(agent(j).Env, corev1.EnvVar{Name: "A", Value: "b"}) }, "something was added"},
		"a container":            {func(j *batchv1.Job) { j.Spec.Template.Spec.InitContainers = []corev1.Container{{Name: "x"}} }, "something was added"},
		"several that complete":  {func(j *batchv1.Job) { j.Spec.Completions = ptr.To[int32](2) }, "the number of its pods"},
		"several pods":           {func(j *batchv1.Job) { j.Spec.Parallelism = ptr.To[int32](2) }, "the number of its pods"},
		"a pod that is repeated": {func(j *batchv1.Job) { j.Spec.BackoffLimit = ptr.To[int32](6) }, "the number of its pods"},
		"addresses of hosts":     {func(j *batchv1.Job) { j.Spec.Template.Spec.HostAliases = []corev1.HostAlias{{IP: "10.0.0.1"}} }, "something was added"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job := onServer(tt.change)
			c := fake.NewClientBuilder().WithObjects(job).Build()
			observed := jobrun.Outcome{Phase: jobrun.Ended, Run: string(job.UID), ExitCode: ptr.To[int32](0), Message: "report"}
			o, err := jobrun.Authenticate(t.Context(), c, job, observed, "of another", func() (*batchv1.Job, error) { return warmer(), nil })
			if err != nil || o.Conclusive() != (tt.why == "") || !strings.Contains(o.Untrusted, tt.why) {
				t.Errorf("%+v, %v; want %q", o, err, tt.why)
			}
		})
	}
}

// TestAuthenticateUndecided holds what counts while a Job cannot be compared.
func TestAuthenticateUndecided(t *testing.T) {
	t.Parallel()
	job := onServer(func(j *batchv1.Job) { j.UID = "1" })
	there := fake.NewClientBuilder().WithObjects(job).Build()
	ended := jobrun.Outcome{Phase: jobrun.Ended, Run: "1", ExitCode: ptr.To[int32](0)}
	for name, tt := range map[string]struct {
		live     client.Reader
		recorded string
		expected func() (*batchv1.Job, error)
		phase    jobrun.Phase
		counts   bool
		fails    bool
	}{
		"its uid is recorded":     {there, "1", nil, jobrun.Ended, true, false},
		"the cache is behind":     {fake.NewClientBuilder().Build(), "", nil, jobrun.Deleting, false, false},
		"it is not decided":       {there, "", func() (*batchv1.Job, error) { return nil, nil }, jobrun.Running, false, false},
		"it cannot be created":    {there, "", func() (*batchv1.Job, error) { return nil, &conditions.StalledError{Message: "no"} }, jobrun.Ended, false, false},
		"the API server is away":  {there, "", func() (*batchv1.Job, error) { return nil, errors.New("timeout") }, jobrun.Ended, false, true},
		"it is being created now": {there, "", func() (*batchv1.Job, error) { return warmer(), nil }, jobrun.Ended, true, false},
	} {
		o, err := jobrun.Authenticate(t.Context(), tt.live, job, ended, tt.recorded, tt.expected)
		if (err != nil) != tt.fails || err == nil && (o.Phase != tt.phase || o.Conclusive() != tt.counts) {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
}

// TestStart holds that a Job is known by the uid of the answer, that one that
// runs the same is taken over, and that another one is deleted.
func TestStart(t *testing.T) {
	t.Parallel()
	scheme := fake.NewClientBuilder().Build().Scheme()
	_ = v1alpha1.AddToScheme(scheme)
	owner := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci", UID: "owner"}}
	owned := func(change func(*batchv1.Job)) *batchv1.Job {
		return onServer(func(j *batchv1.Job) {
			j.UID = "1"
			j.OwnerReferences = []metav1.OwnerReference{{UID: "owner", Controller: ptr.To(true)}}
			change(j)
		})
	}
	start := func(ctx context.Context, there ...client.Object) (jobrun.Started, client.Client, error) {
		c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(there...).Build()
		s, err := jobrun.Start(ctx, apply.Applier{Client: c, Live: c, FieldOwner: "test"}, owner, warmer())
		return s, c, err
	}
	if s, _, err := start(t.Context(), owned(func(*batchv1.Job) {})); err != nil || s.UID != "1" || s.Untrusted != "" {
		t.Errorf("the same: %+v, %v", s, err)
	}
	s, c, err := start(t.Context(), owned(func(j *batchv1.Job) { j.Spec.Template.Spec.Containers[0].Image = "evil" }))
	if err != nil || s.UID != "" || !strings.Contains(s.Untrusted, "the image of container agent") {
		t.Errorf("another one: %+v, %v", s, err)
	}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "j"}, &batchv1.Job{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("it was not deleted: %v", err)
	}
	s, c, err = start(t.Context())
	var created batchv1.Job
	if getErr := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "j"}, &created); err != nil || getErr != nil || s.UID != string(created.UID) || s.Untrusted != "" ||
		len(created.OwnerReferences) != 1 || created.OwnerReferences[0].UID != "owner" {
		t.Errorf("none before: %+v, %v; created %+v, %v", s, err, created.ObjectMeta, getErr)
	}
	going := owned(func(j *batchv1.Job) { j.DeletionTimestamp, j.Finalizers = ptr.To(metav1.Now()), []string{"a.test/b"} })
	if s, _, err := start(t.Context(), going); err != nil || s != (jobrun.Started{}) {
		t.Errorf("one that is being deleted: %+v, %v", s, err)
	}
	if s, _, err := start(t.Context(), onServer(func(j *batchv1.Job) { j.UID = "2" })); conditions.Stalled(err) == nil {
		t.Errorf("of another owner: %+v, %v", s, err)
	}
}
