package diff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/temporary"
	"gocache.dev/operator/internal/domain/manifest"
)

var errBroken = errors.New("the server is down")

// created is a CacheSnapshot that can be cloned.
func created(name string, change func(*v1alpha1.CacheSnapshot)) *v1alpha1.CacheSnapshot {
	s := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name}}
	s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}
	s.Status.VolumeSnapshotName = "vs-" + name
	s.Status.Source = &v1alpha1.SourceRecord{StorageClassName: "fast", Capacity: ptr.To(resource.MustParse("10Gi"))}
	s.Status.Verification.Verdict, s.Status.Verification.Digest = v1alpha1.VerdictIntact, "sha256:"+name
	change(s)
	return s
}

func asIs(*v1alpha1.CacheSnapshot) {}

// waits and works are in place of the message of a pod that does not end: it has no node,
// or runs.
const waits, works = "waits", "works"

// cluster runs each Job at once: its pod ends with a message.
func cluster(t *testing.T, message string, fails func(client.Object) error, objects ...client.Object) *temporary.Set {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme), snapshotv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	index := func(field func(*corev1.Event) string) client.IndexerFunc {
		return func(o client.Object) []string { return []string{field(o.(*corev1.Event))} }
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return c.List(ctx, list, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if fails != nil {
				if err := fails(o); err != nil {
					return err
				}
			}
			o.SetUID(types.UID("uid-" + o.GetName()))
			if err := c.Create(ctx, o, opts...); err != nil {
				return err
			}
			job, is := o.(*batchv1.Job)
			if !is {
				return nil
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "pod", Labels: maps.Clone(job.Labels)}, Spec: job.Spec.Template.Spec}
			pod.Labels[batchv1.JobNameLabel] = job.Name
			switch message {
			case waits:
				pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "unbound PVCs"}}
			case works:
				pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
			default:
				pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Message: message}}}}
			}
			return c.Create(ctx, pod)
		},
	}).
		WithIndex(&corev1.Event{}, "involvedObject.uid", index(func(e *corev1.Event) string { return string(e.InvolvedObject.UID) })).
		WithIndex(&corev1.Event{}, "type", index(func(e *corev1.Event) string { return e.Type })).Build()
	return &temporary.Set{Client: c, Namespace: "ci", Name: "diff", Interval: time.Millisecond}
}

// options read this log.
func options(log string) Options {
	return Options{
		From: "a", To: "b", Timeout: time.Minute, Progress: func(string) {},
		Image: func(context.Context) (string, error) { return "operator:1", nil },
		Logs: func(_ context.Context, _ *corev1.Pod, o *corev1.PodLogOptions) (io.ReadCloser, error) {
			if o.Container != container || !o.Follow {
				return nil, fmt.Errorf("log options %+v", o)
			}
			return io.NopCloser(strings.NewReader(log)), nil
		},
	}
}

const report = `{"from":"sha256:a","to":"sha256:b","counts":{"added":1,"removed":1}}`

// TestRun holds what a comparison returns, and what it creates for it.
func TestRun(t *testing.T) {
	a, b := created("a", func(s *v1alpha1.CacheSnapshot) {
		s.Spec.PodTemplate = &v1alpha1.PodTemplate{NodeSelector: map[string]string{"pool": "x"}}
		s.Status.RestoreSize = ptr.To(resource.MustParse("12Gi"))
	}), created("b", func(s *v1alpha1.CacheSnapshot) { s.Status.Source.StorageClassName = "" })
	set := cluster(t, report, nil, a, b)
	o := options("{\"change\":\"added\",\"key\":\"m x\"}\na line for people\n{\"other\":1}\n{\"change\":\"removed\",\"key\":\"m y\"}\n")
	var progress []string
	o.Progress = func(text string) { progress = append(progress, text) }
	var changes []manifest.Change
	result, err := Run(t.Context(), set, o, func(c manifest.Change) error { changes = append(changes, c); return nil })
	if err != nil || result.Listed != 2 || len(changes) != 2 || changes[1].Key != "m y" || result.From != "sha256:a" || result.To != "sha256:b" || result.Checked || len(result.Notes) > 0 {
		t.Errorf("%+v, %+v, %v", result, changes, err)
	}
	if !slices.Equal(progress, []string{"comparing clones of a and b"}) {
		t.Errorf("progress %q", progress)
	}
	for name, want := range map[string]struct{ size, class, snapshot string }{"diff-from": {"12Gi", "fast", "vs-a"}, "diff-to": {"10Gi", "", "vs-b"}} {
		var pvc corev1.PersistentVolumeClaim
		if err := set.Client.Get(t.Context(), client.ObjectKey{Namespace: "ci", Name: name}, &pvc); err != nil {
			t.Fatal(err)
		}
		size := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
		if size.String() != want.size || ptr.Deref(pvc.Spec.StorageClassName, "") != want.class || pvc.Spec.DataSource == nil && pvc.Spec.DataSourceRef == nil {
			t.Errorf("%s: %+v", name, pvc.Spec)
		}
		if source := pvc.Spec.DataSource; source != nil && source.Name != want.snapshot {
			t.Errorf("%s: %+v", name, source)
		}
	}
	var job batchv1.Job
	if err := set.Client.Get(t.Context(), client.ObjectKey{Namespace: "ci", Name: "diff"}, &job); err != nil {
		t.Fatal(err)
	}
	pod := job.Spec.Template.Spec
	c := pod.Containers[0]
	if got := strings.Join(c.Command, " "); got != "/gocache-agent diff --from /from/.gocache/manifest.zst --to /to/.gocache/manifest.zst" && !strings.Contains(got, "/from/") {
		t.Errorf("%s", got)
	}
	if c.Image != "operator:1" || c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError || len(c.VolumeMounts) != 2 || c.VolumeMounts[1].MountPath != "/to" || !c.VolumeMounts[0].ReadOnly ||
		len(pod.Volumes) != 2 || pod.Volumes[1].PersistentVolumeClaim.ClaimName != "diff-to" || pod.NodeSelector["pool"] != "x" || *job.Spec.ActiveDeadlineSeconds != 60 {
		t.Errorf("%+v", pod)
	}
}

// TestRunWithoutClones holds that nothing is created for snapshots that are known to hold
// the same, or that cannot be cloned.
func TestRunWithoutClones(t *testing.T) {
	never := func(o client.Object) error { return fmt.Errorf("%T was created", o) }
	equal := func(s *v1alpha1.CacheSnapshot) { s.Status.Verification.Digest = "sha256:same" }
	set := cluster(t, "", never, created("a", equal), created("b", equal), created("c", asIs),
		created("store", func(s *v1alpha1.CacheSnapshot) { s.Spec.SourceRef.Kind = v1alpha1.ModProxyKind }),
		created("new", func(s *v1alpha1.CacheSnapshot) { s.Status.Source = nil }), created("newer", func(s *v1alpha1.CacheSnapshot) { s.Status.VolumeSnapshotName = "" }),
		created("corrupt", func(s *v1alpha1.CacheSnapshot) { equal(s); s.Status.Verification.Verdict = v1alpha1.VerdictCorrupt }))
	for name, tt := range map[string]struct {
		from, to string
		want     string // in the error; empty: the same
	}{
		"the same content":      {"a", "b", ""},
		"the same snapshot":     {"c", "c", ""},
		"a snapshot of a store": {"a", "store", "CacheSnapshot store is of a ModProxy"},
		"one without a source":  {"new", "a", "CacheSnapshot new is not created yet"},
		"one without a volume":  {"a", "newer", "CacheSnapshot newer is not created yet"},
		"one that is gone":      {"a", "gone", "not found"},
		"a corrupt one":         {"a", "corrupt", "Job was created"},
		"corrupt, the other":    {"corrupt", "a", "Job was created"},
		"another content":       {"a", "c", "Job was created"},
	} {
		o := options("")
		o.From, o.To = tt.from, tt.to
		result, err := Run(t.Context(), set, o, nil)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || result.Checked != (tt.want == "") || result.From != result.To {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
	}
}

// TestRunFails holds what a comparison ends with that cannot be made.
func TestRunFails(t *testing.T) {
	refuses := func(kind string) func(client.Object) error {
		return func(o client.Object) error {
			if fmt.Sprintf("%T", o) == kind {
				return errBroken
			}
			return nil
		}
	}
	for name, tt := range map[string]struct {
		change  func(*Options)
		message string
		fails   func(client.Object) error
		want    string
	}{
		"no image": {func(o *Options) { o.Image = func(context.Context) (string, error) { return "", errBroken } }, report, nil, errBroken.Error()},
		"no Job":   {func(*Options) {}, report, refuses("*v1.Job"), errBroken.Error()},
		"no PVC":   {func(*Options) {}, report, refuses("*v1.PersistentVolumeClaim"), errBroken.Error()},
		"no log": {func(o *Options) {
			o.Logs = func(context.Context, *corev1.Pod, *corev1.PodLogOptions) (io.ReadCloser, error) {
				return nil, errBroken
			}
		}, report, nil, "logs of pod pod: " + errBroken.Error()},
		"no report":        {func(*Options) {}, "no such file", nil, "the manifests of a and b cannot be compared: no such file"},
		"an empty report":  {func(*Options) {}, "{}", nil, "cannot be compared: {}"},
		"a refused change": {func(*Options) {}, report, nil, "refused"},
	} {
		o := options(`{"change":"added","key":"m x"}`)
		tt.change(&o)
		_, err := Run(t.Context(), cluster(t, tt.message, tt.fails, created("a", asIs), created("b", asIs)), o, func(manifest.Change) error {
			if name == "a refused change" {
				return errors.New("refused")
			}
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// hanging is a log that goes on until its context has ended.
type hanging struct{ ctx context.Context }

func (h hanging) Read([]byte) (int, error) { <-h.ctx.Done(); return 0, h.ctx.Err() }

func (hanging) Close() error { return nil }

// TestTimeout holds that a comparison which takes too long reports what it waited for, and
// the warning about that.
func TestTimeout(t *testing.T) {
	warning := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "event"}, Type: corev1.EventTypeWarning, Message: "no space is left", InvolvedObject: corev1.ObjectReference{UID: "uid-diff-to"}}
	for message, want := range map[string]string{
		waits: "not within 200ms: pod pod has no node (Unschedulable): unbound PVCs (no space is left)",
		works: "not within 200ms: pod pod is still comparing",
	} {
		o := options("")
		o.Timeout = 200 * time.Millisecond
		o.Logs = func(ctx context.Context, _ *corev1.Pod, _ *corev1.PodLogOptions) (io.ReadCloser, error) {
			return hanging{ctx}, nil
		}
		if _, err := Run(t.Context(), cluster(t, message, nil, created("a", asIs), created("b", asIs), warning), o, nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", message, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := options("")
	o.Progress = func(text string) {
		if strings.HasPrefix(text, "pod ") {
			cancel()
		}
	}
	if _, err := Run(ctx, cluster(t, waits, nil, created("a", asIs), created("b", asIs), warning), o, nil); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "no space") {
		t.Errorf("an interrupted one: %v", err)
	}
}

// closing is a log whose end cannot be read.
type closing struct{ io.Reader }

func (closing) Close() error { return errBroken }

// TestList holds that a log which is too long in a line, or cannot be closed, is an error.
func TestList(t *testing.T) {
	o := options("")
	o.Logs = func(context.Context, *corev1.Pod, *corev1.PodLogOptions) (io.ReadCloser, error) {
		return closing{strings.NewReader("")}, nil
	}
	if n, err := list(t.Context(), o, &corev1.Pod{}, nil); !errors.Is(err, errBroken) || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := list(t.Context(), options(strings.Repeat("x", maxLine+1)), &corev1.Pod{}, nil); err == nil {
		t.Error("a line without an end is read")
	}
}

// TestNotes holds what makes a comparison incomplete, or the manifests doubtful.
func TestNotes(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(from, to *v1alpha1.CacheSnapshot)
		listed int
		want   []string
	}{
		"nothing": {func(_, _ *v1alpha1.CacheSnapshot) {}, 3, nil},
		"fewer":   {func(_, _ *v1alpha1.CacheSnapshot) {}, 2, []string{"2 of 3 changes were read: the log of the Job was truncated"}},
		"other manifests": {func(from, to *v1alpha1.CacheSnapshot) {
			from.Status.Source.SealedDigest, to.Status.Source.SealedDigest = "sha256:x", "sha256:b"
		}, 3,
			[]string{"the manifest of a is not the one that its writer recorded (sha256:x)"}},
		"repaired since": {func(from, _ *v1alpha1.CacheSnapshot) {
			from.Status.Source.SealedDigest, from.Status.Repair = "sha256:x", &v1alpha1.RepairStatus{}
		}, 3, nil},
		"not intact": {func(from, to *v1alpha1.CacheSnapshot) {
			from.Status.Verification.Verdict, to.Status.Verification.Verdict = "", v1alpha1.VerdictCorrupt
		}, 3,
			[]string{"a is not verified: its volume may hold other content than its manifest lists", "b is Corrupt: its volume may hold other content than its manifest lists"}},
	} {
		from, to := created("a", asIs), created("b", asIs)
		tt.change(from, to)
		r := Result{Listed: tt.listed}
		r.From, r.To = "sha256:a", "sha256:b"
		r.Counts = map[manifest.ChangeKind]int{"added": 1, "removed": 2}
		if got := notes(options(""), r, from, to); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if !apierrors.IsNotFound(read(t.Context(), cluster(t, "", nil).Client, "ci", "gone", &v1alpha1.CacheSnapshot{})) {
		t.Error("a snapshot that is gone")
	}
}
