package cli

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	clientsetfake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
)

var errBroken = errors.New("the server is down")

// listing fails for lists of one type.
func listing[T client.ObjectList](c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, is := list.(T); is {
			return errBroken
		}
		return c.List(ctx, list, opts...)
	}})
}

// reading fails for objects of one type.
func reading[T client.Object](c client.WithWatch, err error) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, is := o.(T); is {
			return err
		}
		return c.Get(ctx, key, o, opts...)
	}})
}

// TestContainerOf holds whose log matters: of the container that failed, or that runs and is
// no sidecar, or the first.
func TestContainerOf(t *testing.T) {
	ended := func(name string, code int32) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
	}
	runs := func(name string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	}
	waits := func(name string) corev1.ContainerStatus { return corev1.ContainerStatus{Name: name} }
	// crashed is a container that is started again in some time, or runs again.
	crashed := func(s corev1.ContainerStatus, code int32) corev1.ContainerStatus {
		s.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: code}
		if s.State.Running == nil {
			s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
		}
		return s
	}
	all := func(all ...corev1.ContainerStatus) []corev1.ContainerStatus { return all }
	for name, tt := range map[string]struct {
		init, main []corev1.ContainerStatus
		want       string
	}{
		"nothing yet":                 {nil, nil, "main"},
		"all wait":                    {all(waits("fetch")), all(waits("main"), waits("second")), "main"},
		"an init container runs":      {all(runs("fetch")), all(waits("main")), "fetch"},
		"an init container failed":    {all(ended("fetch", 1)), all(waits("main")), "fetch"},
		"it succeeded, the next runs": {all(ended("fetch", 0)), all(waits("main"), runs("second")), "second"},
		"a sidecar runs":              {all(runs("agent")), all(waits("main")), "main"},
		"one failed beside a sidecar": {all(runs("agent")), all(runs("main"), ended("second", 2)), "second"},
		"a sidecar failed":            {all(ended("agent", 1)), all(runs("main")), "agent"},
		"one crashes again and again": {nil, all(runs("main"), crashed(waits("second"), 2)), "second"},
		"an init container crashes":   {all(crashed(waits("fetch"), 1)), all(waits("main")), "fetch"},
		"one failed, another crashes": {nil, all(crashed(waits("main"), 1), ended("second", 2)), "second"},
		"one ends again and again":    {nil, all(crashed(waits("main"), 0), runs("second")), "second"},
		"one runs after a crash":      {nil, all(runs("main"), crashed(runs("second"), 2)), "main"},
		"an init container restarts":  {all(runs("once")), all(waits("main")), "once"},
	} {
		p := &corev1.Pod{}
		p.Spec.InitContainers = []corev1.Container{{Name: "fetch"}, {Name: "agent", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}, {Name: "once", RestartPolicy: ptr.To(corev1.ContainerRestartPolicy("Never"))}}
		p.Spec.Containers = []corev1.Container{{Name: "main"}, {Name: "second"}}
		p.Status.InitContainerStatuses, p.Status.ContainerStatuses = tt.init, tt.main
		if got := containerOf(p); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestJobPod holds which Job and which of its pods matter.
func TestJobPod(t *testing.T) {
	job := func(name string, age time.Duration, conditions ...batchv1.JobCondition) *batchv1.Job {
		j := &batchv1.Job{ObjectMeta: meta(name, age)}
		j.Labels = map[string]string{v1alpha1.CacheLabel: "ci", v1alpha1.ActionLabel: "warm-up"}
		j.Status.Conditions = conditions
		return j
	}
	pod := func(name, of string, age time.Duration) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: meta(name, age)}
		p.Labels = map[string]string{batchv1.JobNameLabel: of}
		return p
	}
	is := func(kind batchv1.JobConditionType, status corev1.ConditionStatus) batchv1.JobCondition {
		return batchv1.JobCondition{Type: kind, Status: status}
	}
	complete, failed := is(batchv1.JobComplete, corev1.ConditionTrue), is(batchv1.JobFailed, corev1.ConditionTrue)
	other := job("other", 0)
	other.Labels[v1alpha1.CacheLabel] = "another"
	pods := []client.Object{pod("a-1", "a", 3*time.Minute), pod("a-2", "a", time.Minute), pod("a-0", "a", 2*time.Minute), pod("b-1", "b", time.Minute), other, pod("other-1", "other", 0)}
	target := v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}
	for name, tt := range map[string]struct {
		jobs []client.Object
		want string
	}{
		"both run":                 {[]client.Object{job("a", time.Hour), job("b", 2*time.Hour)}, "a-2 Job a (warm-up)"},
		"the older runs":           {[]client.Object{job("a", time.Hour), job("b", time.Minute, complete)}, "a-2 Job a (warm-up)"},
		"the older runs, in order": {[]client.Object{job("a", time.Minute, failed), job("b", time.Hour)}, "b-1 Job b (warm-up)"},
		"both have ended":          {[]client.Object{job("a", time.Hour, complete), job("b", time.Minute, failed)}, "b-1 Job b (warm-up)"},
		"it is suspended":          {[]client.Object{job("a", time.Hour, is(batchv1.JobSuspended, corev1.ConditionTrue)), job("b", time.Minute, complete)}, "a-2 Job a (warm-up)"},
		"it is not complete":       {[]client.Object{job("a", time.Hour, is(batchv1.JobComplete, corev1.ConditionFalse)), job("b", time.Minute, complete)}, "a-2 Job a (warm-up)"},
		"it has no pod":            {[]client.Object{job("c", time.Hour)}, "Job c (warm-up) has no pod: see kubectl describe job c -n ci"},
		"there is none":            {nil, "GoCache ci has no Job now"},
	} {
		p, what, err := jobPod(t.Context(), clientOf(append(tt.jobs, pods...)...), "ci", target, v1alpha1.CacheLabel)
		got := ""
		if err == nil {
			got = p.Name + " " + what
		} else {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	c := clientOf(append(pods, job("a", time.Hour))...)
	for name, c := range map[string]client.Client{"Jobs": listing[*batchv1.JobList](c), "pods": listing[*corev1.PodList](c)} {
		if _, _, err := jobPod(t.Context(), c, "ci", target, v1alpha1.CacheLabel); !errors.Is(err, errBroken) {
			t.Errorf("%s that cannot be read: %v", name, err)
		}
	}
}

// TestInstancePod holds which instance of a proxy matters: the one that needs attention most,
// and of it the newest pod that is not of a Job.
func TestInstancePod(t *testing.T) {
	pod := func(name, instance string, age time.Duration, labels ...string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: meta(name, age)}
		p.Labels = map[string]string{v1alpha1.ProxyLabel: "p", v1alpha1.InstanceLabel: instance}
		for _, l := range labels {
			p.Labels[l] = "x"
		}
		return p
	}
	c := clientOf(pod("blue-0", "blue", time.Hour), pod("blue-1", "blue", time.Minute), pod("blue-job", "blue", 0, batchv1.JobNameLabel), pod("green-0", "green", time.Hour), pod("red-job", "red", 0, batchv1.JobNameLabel))
	standby, serving := v1alpha1.InstanceStatus{Healthy: true}, v1alpha1.InstanceStatus{Healthy: true, Serving: true}
	unhealthy, quarantined := v1alpha1.InstanceStatus{}, v1alpha1.InstanceStatus{Healthy: true, Quarantined: &v1alpha1.Quarantine{}}
	for name, tt := range map[string]struct {
		instance    string
		blue, green *v1alpha1.InstanceStatus
		want        string
	}{
		"one serves":         {"", &standby, &serving, "green-0 instance green"},
		"one is unhealthy":   {"", &unhealthy, &serving, "blue-1 instance blue"},
		"one is quarantined": {"", &unhealthy, &quarantined, "green-0 instance green"},
		"a named one":        {"blue", &standby, &quarantined, "blue-1 instance blue"},
		"both serve":         {"", &serving, &serving, "blue-1 instance blue"},
		"none yet":           {"", nil, nil, "ModProxy p has no instances yet: see kubectl gocache status modproxy/p -n ci"},
		"a Job alone":        {"red", nil, nil, "instance red of ModProxy p has no pod (instances: blue, green)"},
	} {
		p := &v1alpha1.ModProxy{ObjectMeta: meta("p", time.Hour)}
		p.Spec.Instances = []v1alpha1.ProxyInstance{{Name: "blue"}, {Name: "green"}}
		for name, status := range map[string]*v1alpha1.InstanceStatus{"blue": tt.blue, "green": tt.green} {
			if status != nil {
				s := *status
				s.Name = name
				p.Status.Instances = append(p.Status.Instances, s)
			}
		}
		if len(p.Status.Instances) == 2 && p.Status.Instances[0].Name == "green" {
			p.Status.Instances[0], p.Status.Instances[1] = p.Status.Instances[1], p.Status.Instances[0]
		}
		got, what, err := instancePod(t.Context(), c, p, tt.instance)
		text := ""
		if err == nil {
			text = got.Name + " " + what
		} else {
			text = err.Error()
		}
		if text != tt.want {
			t.Errorf("%s: %s, want %s", name, text, tt.want)
		}
	}
	if _, _, err := instancePod(t.Context(), listing[*corev1.PodList](c), &v1alpha1.ModProxy{ObjectMeta: meta("p", 0)}, "blue"); !errors.Is(err, errBroken) {
		t.Errorf("pods that cannot be read: %v", err)
	}
}

// TestLogOptions holds what of the flags of logs reaches the API server, and that its errors
// name the pod.
func TestLogOptions(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: meta("p", 0), Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}}}
	for name, tt := range map[string]struct {
		o    logOptions
		want corev1.PodLogOptions
	}{
		"as it is":   {logOptions{tail: -1}, corev1.PodLogOptions{Container: "main"}},
		"none of it": {logOptions{tail: 0}, corev1.PodLogOptions{Container: "main", TailLines: ptr.To[int64](0)}},
		"some of it": {logOptions{tail: 7, follow: true}, corev1.PodLogOptions{Container: "main", TailLines: ptr.To[int64](7), Follow: true}},
		"of another": {logOptions{tail: -1, previous: true, container: "x"}, corev1.PodLogOptions{Container: "x", Previous: true}},
	} {
		clientset := clientsetfake.NewClientset()
		a, out, errOut := fakeApp(t, nil, clientset)
		if err := a.printLogs(t.Context(), pod, "it", tt.o); err != nil || out.String() != "fake logs" || errOut.String() != "it: pod p, container "+tt.want.Container+"\n" {
			t.Errorf("%s: %v, %q, %q", name, err, out, errOut)
		}
		got, is := clientset.Actions()[0].(clienttesting.GenericAction)
		if !is {
			t.Fatalf("%T", clientset.Actions()[0])
		}
		if o := got.GetValue().(*corev1.PodLogOptions); o.Container != tt.want.Container || o.Follow != tt.want.Follow || o.Previous != tt.want.Previous || ptr.Deref(o.TailLines, -1) != ptr.Deref(tt.want.TailLines, -1) {
			t.Errorf("%s: %+v", name, o)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("container") == "ends" { // the connection ends within the log
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("begin"))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	clientset, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for container, want := range map[string]string{"ends": "begin", "none": ""} {
		a, out, _ := fakeApp(t, nil, clientset)
		if err := a.printLogs(t.Context(), pod, "it", logOptions{container: container}); err == nil || !strings.HasPrefix(err.Error(), "logs of pod p: ") || out.String() != want {
			t.Errorf("%s: %v, printed %q", container, err, out)
		}
	}
	a, _, _ := fakeApp(t, nil, clientset)
	a.ErrOut = full{}
	if err := a.printLogs(t.Context(), pod, "it", logOptions{}); !errors.Is(err, errFull) {
		t.Errorf("an output that takes nothing: %v", err)
	}
	a.clientset = func() (kubernetes.Interface, error) { return nil, errBroken }
	if err := a.printLogs(t.Context(), pod, "it", logOptions{}); !errors.Is(err, errBroken) {
		t.Errorf("no cluster: %v", err)
	}
	for line, c := range map[string]client.WithWatch{
		"logs modproxy/goproxy": reading[*v1alpha1.ModProxy](clientOf(world()...), errBroken), "logs cachesnapshot/ci-1": reading[*v1alpha1.CacheSnapshot](clientOf(world()...), errBroken),
		"logs ci": reading[*v1alpha1.GoCache](clientOf(world()...), errBroken),
	} {
		a, _, _ := fakeApp(t, c, clientset)
		if err := run(t, a, strings.Fields(line)...); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// full is an output that takes nothing.
type full struct{}

var errFull = errors.New("the output is closed")

func (full) Write([]byte) (int, error) { return 0, errFull }
