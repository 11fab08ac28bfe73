package temporary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var (
	errBroken = errors.New("the server is down")
	forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "all"}, "", nil)
)

// set is a Set on a cluster with these objects, whose events of an object are its own.
func set(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *Set {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), snapshotv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	index := func(field func(*corev1.Event) string) client.IndexerFunc {
		return func(o client.Object) []string { return []string{field(o.(*corev1.Event))} }
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).
		WithIndex(&corev1.Event{}, "involvedObject.uid", index(func(e *corev1.Event) string { return string(e.InvolvedObject.UID) })).
		WithIndex(&corev1.Event{}, "type", index(func(e *corev1.Event) string { return e.Type })).Build()
	return &Set{Client: c, Namespace: "ci", Name: "test", Interval: time.Millisecond}
}

func warningAbout(uid, text string) *corev1.Event {
	return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "event-" + uid}, Type: corev1.EventTypeWarning, Message: text, InvolvedObject: corev1.ObjectReference{UID: "uid-x"}}
}

// mine are the labels of the objects of the Set.
func mine(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "ci", Name: name, UID: "uid-x", Labels: map[string]string{"app.kubernetes.io/instance": "test", "app.kubernetes.io/created-by": "kubectl-gocache"}}
}

// TestBegin holds that the objects of a command end with its Job, which ends by itself, and
// that its pods have no rights.
func TestBegin(t *testing.T) {
	s := set(t, interceptor.Funcs{})
	spec := corev1.PodSpec{InitContainers: []corev1.Container{{Name: "a"}}, Containers: []corev1.Container{{Name: "b"}}}
	if err := s.Begin(t.Context(), spec, 90*time.Second); err != nil {
		t.Fatal(err)
	}
	var job batchv1.Job
	if err := s.Client.Get(t.Context(), client.ObjectKey{Namespace: "ci", Name: "test"}, &job); err != nil {
		t.Fatal(err)
	}
	if *job.Spec.BackoffLimit != 0 || *job.Spec.ActiveDeadlineSeconds != 90 || *job.Spec.TTLSecondsAfterFinished != 60 || job.Labels[InstanceLabel] != "test" || job.Spec.Template.Labels[createdByLabel] != "kubectl-gocache" {
		t.Errorf("%+v", job)
	}
	confined := func(pod corev1.PodSpec) bool {
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			if c.SecurityContext == nil || !ptr.Deref(c.SecurityContext.ReadOnlyRootFilesystem, false) || c.Resources.Limits.Memory().IsZero() {
				return false
			}
		}
		return pod.RestartPolicy == corev1.RestartPolicyNever && !ptr.Deref(pod.AutomountServiceAccountToken, true) && !ptr.Deref(pod.EnableServiceLinks, true)
	}
	if !confined(job.Spec.Template.Spec) {
		t.Errorf("%+v", job.Spec.Template.Spec)
	}
	pod, err := s.Pod(t.Context(), "extra", spec)
	if err != nil || !confined(pod.Spec) || pod.Namespace != "ci" || pod.Labels[InstanceLabel] != "test" || len(pod.OwnerReferences) != 1 || pod.OwnerReferences[0].Name != "test" || pod.OwnerReferences[0].Controller != nil {
		t.Errorf("%+v, %v", pod, err)
	}
}

// live refuses to list for a context that has ended, as an API server does.
var live = interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.List(ctx, list, opts...)
}}

// expiring is the context of a command with a limit of its own.
func expiring(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestWait holds how a wait ends: with what holds, with an error, in time, and with the
// newest warning about the object.
func TestWait(t *testing.T) {
	reads := 0
	count := interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		reads++
		return c.Get(ctx, key, o, opts...)
	}}
	object := &corev1.ConfigMap{ObjectMeta: mine("o")}
	if err := set(t, count, object).Wait(t.Context(), object.DeepCopy(), time.Minute, func() (bool, string, error) { return reads == 3, "", nil }); err != nil || reads != 3 {
		t.Errorf("after %d reads: %v", reads, err)
	}
	s := set(t, interceptor.Funcs{}, object, warningAbout("o", "no room"))
	for name, tt := range map[string]struct {
		holds func() (bool, string, error)
		limit time.Duration
		want  string
	}{
		"it takes too long":       {func() (bool, string, error) { return false, "it is young", nil }, 20 * time.Millisecond, "not within 20ms: it is young (no room)"},
		"it fails":                {func() (bool, string, error) { return false, "", errBroken }, time.Minute, "the server is down (no room)"},
		"it has the warning":      {func() (bool, string, error) { return false, "no room", nil }, 20 * time.Millisecond, "not within 20ms: no room"},
		"that fails with no room": {func() (bool, string, error) { return false, "", errors.New("no room is left") }, time.Minute, "no room is left"},
	} {
		if err := s.Wait(t.Context(), object.DeepCopy(), tt.limit, tt.holds); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if err := s.Wait(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "gone"}}, time.Minute, func() (bool, string, error) { return true, "", nil }); !apierrors.IsNotFound(err) {
		t.Errorf("an object that is gone: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ended, object.DeepCopy(), time.Minute, func() (bool, string, error) { return false, "", nil }); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "no room") {
		t.Errorf("an interrupted one: %v", err)
	}
	late := set(t, live, object, warningAbout("o", "no room"))
	if err := late.Wait(expiring(t), object.DeepCopy(), time.Minute, func() (bool, string, error) { return false, "it is young", nil }); err == nil || err.Error() != "not within 1m0s: it is young (no room)" {
		t.Errorf("a command that takes too long: %v", err)
	}
	unread := set(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return forbidden
	}}, object)
	if err := unread.Explain(t.Context(), object, errBroken); !errors.Is(err, errBroken) || err.Error() != errBroken.Error() {
		t.Errorf("events that may not be read: %v", err)
	}
}

// TestJobPod holds how a wait for the pod of the Job ends.
func TestJobPod(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: mine("pod")}
	pod.Labels[batchv1.JobNameLabel] = "test"
	pod.Status.Phase = corev1.PodRunning
	begun := func(objects ...client.Object) *Set {
		s := set(t, interceptor.Funcs{}, objects...)
		s.job = &batchv1.Job{ObjectMeta: mine("test")}
		return s
	}
	found, err := begun(pod).JobPod(t.Context(), time.Minute, func(p *corev1.Pod) (bool, error) { return p.Name == "pod", nil })
	if err != nil || found == nil || found.Name != "pod" {
		t.Errorf("%v, %v", found, err)
	}
	if found, err := begun(warningAbout("job", "quota exceeded")).JobPod(t.Context(), 20*time.Millisecond, func(*corev1.Pod) (bool, error) { return true, nil }); err == nil || found != nil || err.Error() != "not within 20ms: the Job has no pod (quota exceeded)" {
		t.Errorf("no pod: %v, %v", found, err)
	}
	if found, err := begun(pod, warningAbout("pod", "no image")).JobPod(t.Context(), 20*time.Millisecond, func(*corev1.Pod) (bool, error) { return false, nil }); err == nil || found == nil || err.Error() != "not within 20ms: pod pod is Running (no image)" {
		t.Errorf("it takes too long: %v", err)
	}
	if _, err := begun(pod).JobPod(t.Context(), time.Minute, func(*corev1.Pod) (bool, error) { return false, errBroken }); !errors.Is(err, errBroken) {
		t.Errorf("it fails: %v", err)
	}
	broken := set(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return errBroken
	}})
	broken.job = &batchv1.Job{ObjectMeta: mine("test")}
	if _, err := broken.JobPod(t.Context(), time.Minute, func(*corev1.Pod) (bool, error) { return true, nil }); !errors.Is(err, errBroken) {
		t.Errorf("pods that cannot be read: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := begun(pod).JobPod(ended, time.Minute, func(*corev1.Pod) (bool, error) { return false, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted one: %v", err)
	}
	late := set(t, live, pod, warningAbout("pod", "no image"))
	late.job = &batchv1.Job{ObjectMeta: mine("test")}
	if found, err := late.JobPod(expiring(t), time.Minute, func(*corev1.Pod) (bool, error) { return false, nil }); found == nil || err == nil || err.Error() != "not within 1m0s: pod pod is Running (no image)" {
		t.Errorf("a command that takes too long: %v, %v", found, err)
	}
}

// TestResult holds how a pod has ended, and what it has left.
func TestResult(t *testing.T) {
	terminated := func(code int32) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{}, {State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: " m\n"}}}}}
	}
	ended := func(name string, code int32, message string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message}}}
	}
	// initialized is the status of a pod whose init container has ended, as the kubelet reports it.
	initialized := func(phase corev1.PodPhase, init, main corev1.ContainerStatus) corev1.PodStatus {
		return corev1.PodStatus{Phase: phase, InitContainerStatuses: []corev1.ContainerStatus{init}, ContainerStatuses: []corev1.ContainerStatus{main}}
	}
	waits := corev1.ContainerStatus{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}}
	runs := corev1.ContainerStatus{Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	for name, tt := range map[string]struct {
		status    corev1.PodStatus
		message   string
		ok, ended bool
	}{
		"its init container failed":    {initialized(corev1.PodFailed, ended("write", 1, "no space\n"), waits), "no space", false, true},
		"its init container succeeded": {initialized(corev1.PodRunning, ended("write", 0, "x"), runs), "", false, false},
		"its sidecar failed after it":  {initialized(corev1.PodSucceeded, ended("agent", 143, "x"), ended("main", 0, "m")), "m", true, true},
		"its container succeeded":      {terminated(0), "m", true, true},
		"its container failed":         {terminated(3), "m", false, true},
		"it runs":                      {corev1.PodStatus{Phase: corev1.PodRunning}, "", false, false},
		"it succeeded":                 {corev1.PodStatus{Phase: corev1.PodSucceeded}, "", true, true},
		"it was evicted":               {corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "no memory"}, "Evicted no memory", false, true},
	} {
		pod := &corev1.Pod{Status: tt.status}
		pod.Spec.InitContainers = []corev1.Container{{Name: "write"}, {Name: "agent", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}}
		message, ok, ended := Result(pod)
		if message != tt.message || ok != tt.ok || ended != tt.ended {
			t.Errorf("%s: %q, %t, %t", name, message, ok, ended)
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node"}}
	if got := Seen(pod); !strings.Contains(got, "no node") {
		t.Errorf("seen: %s", got)
	}
}

// TestRemove holds that all objects of the Set and no others are removed, and that a command
// which may not remove them names those that are left.
func TestRemove(t *testing.T) {
	foreign := mine("foreign")
	foreign.Labels[createdByLabel] = "another"
	other := mine("other")
	other.Labels[InstanceLabel] = "another"
	elsewhere := mine("elsewhere")
	elsewhere.Namespace = "cd"
	objects := []client.Object{
		&batchv1.Job{ObjectMeta: mine("test")}, &corev1.Pod{ObjectMeta: mine("pod")}, &snapshotv1.VolumeSnapshot{ObjectMeta: mine("vs")}, &corev1.PersistentVolumeClaim{ObjectMeta: mine("pvc")},
		&corev1.Pod{ObjectMeta: foreign}, &corev1.Pod{ObjectMeta: other}, &corev1.Pod{ObjectMeta: elsewhere},
	}
	left := func(s *Set) (names []string) {
		for _, list := range []client.ObjectList{&batchv1.JobList{}, &corev1.PodList{}, &snapshotv1.VolumeSnapshotList{}, &corev1.PersistentVolumeClaimList{}} {
			if err := s.Client.List(context.Background(), list); err != nil {
				continue
			}
			all, err := apimeta.ExtractList(list)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range all {
				names = append(names, o.(client.Object).GetName())
			}
		}
		slices.Sort(names)
		return names
	}
	others := []string{"elsewhere", "foreign", "other"}
	s := set(t, interceptor.Funcs{}, objects...)
	s.job = &batchv1.Job{}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Remove(ended); err != nil || !slices.Equal(left(s), others) {
		t.Errorf("%v, left %v", err, left(s))
	}
	for name, change := range map[string]func(*Set){"nothing was begun": func(s *Set) { s.job = nil }, "they are kept": func(s *Set) { s.Keep = true }} {
		s := set(t, interceptor.Funcs{}, objects...)
		s.job = &batchv1.Job{}
		change(s)
		if err := s.Remove(t.Context()); err != nil || len(left(s)) != len(objects) {
			t.Errorf("%s: %v, left %v", name, err, left(s))
		}
	}
	refused := set(t, interceptor.Funcs{Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return forbidden }}, objects...)
	refused.job = &batchv1.Job{}
	if err := refused.Remove(t.Context()); err == nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "(job/test, pod/pod, volumesnapshot/vs, pvc/pvc)") ||
		!strings.Contains(err.Error(), "kubectl delete jobs,pods,pvc,volumesnapshots -n ci -l app.kubernetes.io/instance=test") {
		t.Errorf("refused: %v", err)
	}
	failures := 2
	busy := set(t, interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
		if failures > 0 {
			failures--
			return apierrors.NewServiceUnavailable("busy")
		}
		return c.Delete(ctx, o, opts...)
	}}, objects...)
	busy.job = &batchv1.Job{}
	if err := busy.Remove(t.Context()); err != nil || !slices.Equal(left(busy), others) {
		t.Errorf("a server that is busy: %v, left %v", err, left(busy))
	}
	unserved := set(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, is := list.(*snapshotv1.VolumeSnapshotList); is {
			return &apimeta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "VolumeSnapshot"}}
		}
		return c.List(ctx, list, opts...)
	}}, objects...)
	unserved.job = &batchv1.Job{}
	if err := unserved.Remove(t.Context()); err != nil || !slices.Equal(left(unserved), others) {
		t.Errorf("a cluster without snapshots: %v, left %v", err, left(unserved))
	}
	for err, want := range map[error]bool{forbidden: true, apierrors.NewUnauthorized(""): true, errBroken: false} {
		if got := ignoreTransient(err) != nil; got != want {
			t.Errorf("%v ends the removal: %t", err, got)
		}
	}
}

// TestReclaimVolume holds which volumes are deleted with their PVC that their class retains,
// and when it is reported that one may stay.
func TestReclaimVolume(t *testing.T) {
	retained := func(uid string, policy corev1.PersistentVolumeReclaimPolicy) *corev1.PersistentVolume {
		pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}}
		pv.Spec.PersistentVolumeReclaimPolicy = policy
		if uid != "" {
			pv.Spec.ClaimRef = &corev1.ObjectReference{UID: "uid-x"}
		}
		return pv
	}
	another := retained("x", corev1.PersistentVolumeReclaimRetain)
	another.Spec.ClaimRef.UID = "another"
	class := func(policy corev1.PersistentVolumeReclaimPolicy) *storagev1.StorageClass {
		c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}}
		if policy != "" {
			c.ReclaimPolicy = &policy
		}
		return c
	}
	getFails := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, is := o.(*corev1.PersistentVolume); is {
				return err
			}
			return c.Get(ctx, key, o, opts...)
		}}
	}
	patchFails := interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return forbidden
	}}
	for name, tt := range map[string]struct {
		funcs   interceptor.Funcs
		objects []client.Object
		volume  string
		policy  corev1.PersistentVolumeReclaimPolicy // afterwards; empty: there is none
		want    string
	}{
		"retained":                    {interceptor.Funcs{}, []client.Object{retained("x", corev1.PersistentVolumeReclaimRetain)}, "pv", corev1.PersistentVolumeReclaimDelete, ""},
		"deleted anyway":              {interceptor.Funcs{}, []client.Object{retained("x", corev1.PersistentVolumeReclaimDelete)}, "pv", corev1.PersistentVolumeReclaimDelete, ""},
		"recycled":                    {interceptor.Funcs{}, []client.Object{retained("x", corev1.PersistentVolumeReclaimRecycle)}, "pv", corev1.PersistentVolumeReclaimRecycle, ""},
		"of another PVC":              {interceptor.Funcs{}, []client.Object{another}, "pv", corev1.PersistentVolumeReclaimRetain, ""},
		"of no PVC":                   {interceptor.Funcs{}, []client.Object{retained("", corev1.PersistentVolumeReclaimRetain)}, "pv", corev1.PersistentVolumeReclaimRetain, ""},
		"no volume":                   {getFails(errBroken), nil, "", "", ""},
		"gone":                        {interceptor.Funcs{}, nil, "pv", "", ""},
		"not readable, deleted":       {getFails(forbidden), []client.Object{class(corev1.PersistentVolumeReclaimDelete)}, "pv", "", ""},
		"not readable, by default":    {getFails(forbidden), []client.Object{class("")}, "pv", "", ""},
		"not readable, retained":      {getFails(forbidden), []client.Object{class(corev1.PersistentVolumeReclaimRetain)}, "pv", "", "it is not known whether PersistentVolume pv stays on the storage"},
		"not readable, class unknown": {getFails(forbidden), nil, "pv", "", "kubectl get pv pv, and delete it"},
		"not read":                    {getFails(errBroken), []client.Object{class(corev1.PersistentVolumeReclaimDelete)}, "pv", "", "it is not known whether PersistentVolume pv stays on the storage"},
		"not writable":                {patchFails, []client.Object{retained("x", corev1.PersistentVolumeReclaimRetain)}, "pv", corev1.PersistentVolumeReclaimRetain, "PersistentVolume pv stays on the storage"},
	} {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: mine("pvc")}
		claim.Spec.VolumeName, claim.Spec.StorageClassName = tt.volume, ptr.To("fast")
		s := set(t, tt.funcs, append(tt.objects, claim)...)
		if err := s.reclaim(t.Context()); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if tt.policy != "" {
			var pv corev1.PersistentVolume
			if err := s.Client.Get(t.Context(), client.ObjectKey{Name: "pv"}, &pv); err != nil || pv.Spec.PersistentVolumeReclaimPolicy != tt.policy {
				t.Errorf("%s: %s, %v", name, pv.Spec.PersistentVolumeReclaimPolicy, err)
			}
		}
	}
}

// TestReclaimContent holds the same of snapshots.
func TestReclaimContent(t *testing.T) {
	content := func(uid string, policy snapshotv1.DeletionPolicy) *snapshotv1.VolumeSnapshotContent {
		c := &snapshotv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "content"}}
		c.Spec.DeletionPolicy, c.Spec.VolumeSnapshotRef.UID = policy, "another"
		if uid == "x" {
			c.Spec.VolumeSnapshotRef.UID = "uid-x"
		}
		return c
	}
	class := func(policy snapshotv1.DeletionPolicy) *snapshotv1.VolumeSnapshotClass {
		return &snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, DeletionPolicy: policy}
	}
	getFails := func(err error) interceptor.Funcs {
		return interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, is := o.(*snapshotv1.VolumeSnapshotContent); is {
				return err
			}
			return c.Get(ctx, key, o, opts...)
		}}
	}
	patchFails := interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return forbidden
	}}
	const deletes, retains = snapshotv1.VolumeSnapshotContentDelete, snapshotv1.VolumeSnapshotContentRetain
	for name, tt := range map[string]struct {
		funcs   interceptor.Funcs
		objects []client.Object
		bound   *string
		policy  snapshotv1.DeletionPolicy
		want    string
	}{
		"retained":                    {interceptor.Funcs{}, []client.Object{content("x", retains)}, ptr.To("content"), deletes, ""},
		"deleted anyway":              {interceptor.Funcs{}, []client.Object{content("x", deletes)}, ptr.To("content"), deletes, ""},
		"of another snapshot":         {interceptor.Funcs{}, []client.Object{content("y", retains)}, ptr.To("content"), retains, ""},
		"not bound":                   {getFails(errBroken), nil, nil, "", ""},
		"bound to nothing":            {getFails(errBroken), nil, ptr.To(""), "", ""},
		"gone":                        {interceptor.Funcs{}, nil, ptr.To("content"), "", ""},
		"not readable, deleted":       {getFails(forbidden), []client.Object{class(deletes)}, ptr.To("content"), "", ""},
		"not readable, retained":      {getFails(forbidden), []client.Object{class(retains)}, ptr.To("content"), "", "it is not known whether VolumeSnapshotContent content stays on the storage"},
		"not readable, class unknown": {getFails(forbidden), nil, ptr.To("content"), "", "kubectl get volumesnapshotcontent content"},
		"not read":                    {getFails(errBroken), []client.Object{class(deletes)}, ptr.To("content"), "", "it is not known"},
		"not writable":                {patchFails, []client.Object{content("x", retains)}, ptr.To("content"), retains, "VolumeSnapshotContent content stays on the storage"},
	} {
		snapshot := &snapshotv1.VolumeSnapshot{ObjectMeta: mine("vs"), Status: &snapshotv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: tt.bound}}
		snapshot.Spec.VolumeSnapshotClassName = ptr.To("fast")
		s := set(t, tt.funcs, append(tt.objects, snapshot)...)
		if err := s.reclaim(t.Context()); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if tt.policy != "" {
			var c snapshotv1.VolumeSnapshotContent
			if err := s.Client.Get(t.Context(), client.ObjectKey{Name: "content"}, &c); err != nil || c.Spec.DeletionPolicy != tt.policy {
				t.Errorf("%s: %s, %v", name, c.Spec.DeletionPolicy, err)
			}
		}
	}
	if err := set(t, interceptor.Funcs{}, &snapshotv1.VolumeSnapshot{ObjectMeta: mine("vs")}).reclaim(t.Context()); err != nil {
		t.Errorf("a snapshot without a status: %v", err)
	}
	for name, tt := range map[string]struct {
		err  error
		list string
		want bool
	}{
		"snapshots that are not served": {&apimeta.NoKindMatchError{}, "*v1.VolumeSnapshotList", false},
		"snapshots that are unknown":    {apierrors.NewNotFound(schema.GroupResource{}, ""), "*v1.VolumeSnapshotList", false},
		"snapshots that cannot be read": {errBroken, "*v1.VolumeSnapshotList", true},
		"PVCs that cannot be read":      {errBroken, "*v1.PersistentVolumeClaimList", true},
	} {
		s := set(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if fmt.Sprintf("%T", list) == tt.list {
				return tt.err
			}
			return c.List(ctx, list, opts...)
		}})
		if err := s.reclaim(t.Context()); (err != nil) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOperatorImage holds which image a command uses that is not named one.
func TestOperatorImage(t *testing.T) {
	deployment := func(namespace, name, image string) *appsv1.Deployment {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "d", Labels: map[string]string{"app.kubernetes.io/name": name}}}
		if image != "" {
			d.Spec.Template.Spec.Containers = []corev1.Container{{Image: image}, {Image: "sidecar"}}
		}
		return d
	}
	lists := func(err error) interceptor.Funcs {
		return interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return err }}
	}
	for name, tt := range map[string]struct {
		funcs      interceptor.Funcs
		deployment *appsv1.Deployment
		image      string
		want       string
	}{
		"installed":       {interceptor.Funcs{}, deployment("system", "gocache-operator", "operator:1"), "operator:1", ""},
		"another program": {interceptor.Funcs{}, deployment("system", "another", "operator:1"), "", "the operator is not installed in namespace system"},
		"elsewhere":       {interceptor.Funcs{}, deployment("ci", "gocache-operator", "operator:1"), "", "--operator-namespace"},
		"no container":    {interceptor.Funcs{}, deployment("system", "gocache-operator", ""), "", "the operator is not installed"},
		"not readable":    {lists(forbidden), deployment("system", "gocache-operator", "operator:1"), "", "name the image with --image"},
		"not read":        {lists(errBroken), deployment("system", "gocache-operator", "operator:1"), "", "read the image of the operator: the server is down"},
	} {
		image, err := OperatorImage(t.Context(), set(t, tt.funcs, tt.deployment).Client, "system")
		if image != tt.image || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v", name, image, err)
		}
	}
}
