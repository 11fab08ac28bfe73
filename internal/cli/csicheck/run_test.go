package csicheck

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/internal/cli/status"
	"gocache.dev/operator/internal/cli/temporary"
)

var (
	errBroken = errors.New("the server is down")
	forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "all"}, "", errors.New("no right"))
)

// storage plays the controllers, the kubelet and the driver: each object is as it should
// be at once, but for what change makes of it.
type storage struct {
	change  func(client.Object)
	patched func(*corev1.PersistentVolumeClaim)
	refuses func(verb string, o client.Object) error
	created []string
}

func (s *storage) act(o client.Object) {
	running := []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	switch o := o.(type) {
	case *corev1.PersistentVolumeClaim:
		o.Status.Capacity = o.Spec.Resources.Requests
	case *snapshotv1.VolumeSnapshot:
		o.Status = &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To("content"), RestoreSize: ptr.To(resource.MustParse("1Gi"))}
	case *corev1.Pod:
		o.Spec.NodeName = "node-1"
		if o.Status.ContainerStatuses = running; strings.HasSuffix(o.Name, "-clone") || strings.HasSuffix(o.Name, "-larger") {
			o.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: `{"files":64,"capacityBytes":2100000000}`}}}}
		}
	}
	if s.change != nil {
		s.change(o)
	}
}

// tried is a run of all checks on the storage, and what it has created.
func tried(t *testing.T, s *storage, o Options, objects ...client.Object) (Report, client.Client, error) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), snapshotv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	refused := func(verb string, o client.Object) error {
		if s.refuses == nil {
			return nil
		}
		return s.refuses(verb, o)
	}
	index := func(field func(*corev1.Event) string) client.IndexerFunc {
		return func(o client.Object) []string { return []string{field(o.(*corev1.Event))} }
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&corev1.Event{}, "involvedObject.uid", index(func(e *corev1.Event) string { return string(e.InvolvedObject.UID) })).
		WithIndex(&corev1.Event{}, "type", index(func(e *corev1.Event) string { return e.Type })).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				if err := refused("create", o); err != nil {
					return err
				}
				s.created = append(s.created, fmt.Sprintf("%T %s", o, o.GetName()))
				if job, is := o.(*batchv1.Job); is {
					pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "writer", Labels: maps.Clone(job.Labels)}}
					pod.Labels[batchv1.JobNameLabel] = job.Name
					if s.act(pod); pod.Name != "" {
						if err := c.Create(ctx, pod); err != nil {
							return err
						}
					}
					return c.Create(ctx, o, opts...)
				}
				s.act(o)
				return c.Create(ctx, o, opts...)
			},
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
				if err := refused("patch", o); err != nil {
					return err
				}
				if err := c.Patch(ctx, o, patch, opts...); err != nil {
					return err
				}
				claim := o.DeepCopyObject().(*corev1.PersistentVolumeClaim)
				claim.Status.Capacity = claim.Spec.Resources.Requests
				if s.patched != nil {
					s.patched(claim)
				}
				return c.Status().Update(ctx, claim)
			},
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if _, is := list.(*snapshotv1.VolumeSnapshotClassList); is {
					if err := refused("list", nil); err != nil {
						return err
					}
				}
				return c.List(ctx, list, opts...)
			},
		}).Build()
	clock := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	o.StorageClass, o.Size, o.Image, o.Timeout = "fast", resource.MustParse("1Gi"), "operator:1", 200*time.Millisecond
	o.Now = func() time.Time { clock = clock.Add(1240 * time.Millisecond); return clock }
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	report, err := Run(t.Context(), &temporary.Set{Client: c, Namespace: "ci", Name: "check", Interval: time.Millisecond}, o)
	return report, c, err
}

// classes are a StorageClass that expands, and its VolumeSnapshotClass.
func classes() []client.Object {
	return []client.Object{
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: "csi.test", AllowVolumeExpansion: ptr.To(true)},
		&snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "snapshots"}, Driver: "csi.test"},
	}
}

// lines are the checks of a report, one a line.
func lines(r Report) string {
	var all []string
	for _, c := range r.Checks {
		all = append(all, fmt.Sprintf("%s %s: %s", c.Level, c.Name, c.Message))
	}
	return strings.Join(all, "\n")
}

const (
	provisioned = "OK provision: a volume of 1Gi, mounted and written to on node node-1\n"
	snapshotted = "OK snapshot: a snapshot of the mounted volume is ready to use\n"
	cloned      = "OK clone: a volume of 1Gi from the snapshot, with all 64 files that were written\n"
	larger      = "OK larger clone: a volume of 2Gi from the snapshot, with all 64 files that were written\n"
	expanded    = "OK expand: from 1Gi to 2Gi while mounted"
)

// TestRun holds what all checks report of a driver that can do everything, what they create
// for it, and with what rights.
func TestRun(t *testing.T) {
	var progress []string
	s := &storage{}
	report, c, err := tried(t, s, Options{Progress: func(text string) { progress = append(progress, text) }}, classes()...)
	if want := provisioned + snapshotted + cloned + larger + expanded; err != nil || lines(report) != want || report.Failed() {
		t.Errorf("%v\n got %s\nwant %s", err, lines(report), want)
	}
	if report.StorageClass != "fast" || report.Driver != "csi.test" || report.VolumeSnapshotClass != "snapshots" || report.Checks[0].Seconds != 1.2 || report.Checks[0].Fix != "" {
		t.Errorf("%+v", report)
	}
	if !slices.Equal(progress, []string{"provision ...", "snapshot ...", "clone ...", "larger clone ...", "expand ..."}) || len(progress)+1 != Steps {
		t.Errorf("progress %q", progress)
	}
	want := []string{"*v1.Job check", "*v1.PersistentVolumeClaim check", "*v1.VolumeSnapshot check", "*v1.PersistentVolumeClaim check-clone", "*v1.Pod check-clone", "*v1.PersistentVolumeClaim check-larger", "*v1.Pod check-larger"}
	if !slices.Equal(s.created, want) {
		t.Errorf("created %q", s.created)
	}
	for name, size := range map[string]string{"check": "2Gi", "check-clone": "1Gi", "check-larger": "2Gi"} {
		var pvc corev1.PersistentVolumeClaim
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "ci", Name: name}, &pvc); err != nil {
			t.Fatal(err)
		}
		got := pvc.Spec.Resources.Requests[corev1.ResourceStorage]
		if got.String() != size || *pvc.Spec.StorageClassName != "fast" || (pvc.Spec.DataSource != nil) == (name == "check") {
			t.Errorf("PVC %s: %+v", name, pvc.Spec)
		}
	}
	var job batchv1.Job
	var snapshot snapshotv1.VolumeSnapshot
	if err := errors.Join(c.Get(t.Context(), client.ObjectKey{Namespace: "ci", Name: "check"}, &job), c.Get(t.Context(), client.ObjectKey{Namespace: "ci", Name: "check"}, &snapshot)); err != nil {
		t.Fatal(err)
	}
	if *snapshot.Spec.VolumeSnapshotClassName != "snapshots" || *snapshot.Spec.Source.PersistentVolumeClaimName != "check" {
		t.Errorf("%+v", snapshot.Spec)
	}
	pod := job.Spec.Template.Spec
	write, hold := pod.InitContainers[0], pod.Containers[0]
	if write.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
		t.Errorf("the error of a write stays in its log: %+v", write)
	}
	if write.Name != "write" || strings.Join(write.Command, " ") == strings.Join(hold.Command, " ") || hold.Image != "operator:1" || hold.VolumeMounts[0].MountPath != "/volume" || pod.Volumes[0].PersistentVolumeClaim.ClaimName != "check" || *job.Spec.ActiveDeadlineSeconds != 61 {
		t.Errorf("%+v", pod)
	}
	if sc := pod.SecurityContext; !*sc.RunAsNonRoot || *sc.RunAsUser != 65532 || *sc.RunAsGroup != 65532 || *sc.FSGroup != 65532 || sc.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%+v", sc)
	}
}

// TestFailures holds what is reported of a driver that cannot do something, and which checks
// are made all the same.
func TestFailures(t *testing.T) {
	const noSnapshot, noVolume = "Warning %s: not checked: there is no snapshot", "Warning %s: not checked: there is no volume"
	skipped := func(format string, names ...string) (text string) {
		for _, name := range names {
			text += fmt.Sprintf(format, name) + "\n"
		}
		return text
	}
	rigid := classes()
	rigid[0].(*storagev1.StorageClass).AllowVolumeExpansion = nil
	ends := func(name string, status corev1.ContainerState) func(client.Object) {
		return func(o client.Object) {
			if pod, is := o.(*corev1.Pod); is && pod.Name == name {
				pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: status}}
			}
		}
	}
	// cannotWrite is a pod whose init container has failed, as the kubelet reports it.
	cannotWrite := func(o client.Object) {
		if pod, is := o.(*corev1.Pod); is && pod.Name == "writer" {
			pod.Status = corev1.PodStatus{
				Phase: corev1.PodFailed,
				InitContainerStatuses: []corev1.ContainerStatus{{Name: "write", State: corev1.ContainerState{
					Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "read-only file system\n"},
				}}},
				ContainerStatuses: []corev1.ContainerStatus{{Name: "check", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}}}},
			}
		}
	}
	terminated := func(code int32, message string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message}}
	}
	for name, tt := range map[string]struct {
		s       storage
		objects []client.Object
		want    string
	}{
		"it does not expand":      {storage{}, rigid, provisioned + snapshotted + cloned + larger + "Failure expand: the StorageClass does not allow it, so that spec.storage.growth and a larger size have no effect"},
		"it has no snapshots":     {storage{}, classes()[:1], provisioned + "Failure snapshot: there is no VolumeSnapshotClass for driver csi.test\n" + skipped(noSnapshot, "clone", "larger clone") + expanded},
		"the writer ends":         {storage{change: cannotWrite}, classes(), "Failure provision: pod writer ended: read-only file system\n" + strings.TrimSuffix(skipped(noVolume, "snapshot", "clone", "larger clone", "expand"), "\n")},
		"the writer does not run": {storage{change: ends("writer", corev1.ContainerState{})}, classes(), "Failure provision: not within 200ms: pod writer is\n" + strings.TrimSuffix(skipped(noVolume, "snapshot", "clone", "larger clone", "expand"), "\n")},
		"no snapshot is ready": {storage{change: func(o client.Object) {
			if s, is := o.(*snapshotv1.VolumeSnapshot); is {
				s.Status = nil
			}
		}}, classes(), provisioned + "Failure snapshot: not within 200ms: the snapshot is not ready to use, and the driver reports nothing: does the snapshot controller run?\n" + skipped(noSnapshot, "clone", "larger clone") + expanded},
		"the driver fails": {storage{change: func(o client.Object) {
			if s, is := o.(*snapshotv1.VolumeSnapshot); is {
				s.Status = &snapshotv1.VolumeSnapshotStatus{Error: &snapshotv1.VolumeSnapshotError{Message: ptr.To("quota")}}
			}
		}}, classes(), provisioned + "Failure snapshot: not within 200ms: quota\n" + skipped(noSnapshot, "clone", "larger clone") + expanded},
		"a clone has other content": {storage{change: ends("check-clone", terminated(3, "file 7 differs"))}, classes(), provisioned + snapshotted + "Failure clone: the content is not what was written: file 7 differs\n" + larger + expanded},
		"a clone has no report":     {storage{change: ends("check-clone", terminated(0, "none"))}, classes(), provisioned + snapshotted + "Failure clone: pod check-clone ended without a report: \"none\"\n" + larger + expanded},
		"a clone does not run":      {storage{change: ends("check-clone", corev1.ContainerState{})}, classes(), provisioned + snapshotted + "Failure clone: not within 200ms: pod check-clone is\n" + larger + expanded},
		"a clone is no larger": {storage{change: ends("check-larger", terminated(0, `{"files":64,"capacityBytes":1073741824}`))}, classes(),
			provisioned + snapshotted + cloned + "Failure larger clone: the volume was to have 2Gi, and its file system has 1Gi: the driver does not grow it to the size of the volume\n" + expanded},
		"a clone is a little larger": {storage{change: ends("check-larger", terminated(0, `{"files":64,"capacityBytes":1073741825}`))}, classes(), provisioned + snapshotted + cloned + larger + expanded},
		"the volume does not grow": {storage{patched: func(c *corev1.PersistentVolumeClaim) {
			c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
			c.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: corev1.PersistentVolumeClaimResizing, Status: corev1.ConditionTrue, Message: "it works"}, {Type: "Other", Status: corev1.ConditionFalse}}
		}}, classes(), provisioned + snapshotted + cloned + larger + "Failure expand: not within 200ms: the PVC has 1Gi, condition Resizing it works"},
		"the volume grows more": {storage{patched: func(c *corev1.PersistentVolumeClaim) {
			c.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("3Gi")}
		}}, classes(), provisioned + snapshotted + cloned + larger + expanded},
	} {
		report, _, err := tried(t, &tt.s, Options{}, tt.objects...)
		if err != nil || lines(report) != tt.want || !report.Failed() && !strings.Contains(name, "little") && !strings.Contains(name, "more") {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, lines(report), tt.want)
		}
		for _, c := range report.Checks {
			if (c.Fix != "") != (c.Level == status.LevelFailure) {
				t.Errorf("%s: %s: fix %q", name, c.Name, c.Fix)
			}
		}
	}
}

// TestLargerSnapshot holds that no clone is smaller than its snapshot needs.
func TestLargerSnapshot(t *testing.T) {
	s := &storage{change: func(o client.Object) {
		if s, is := o.(*snapshotv1.VolumeSnapshot); is {
			s.Status.RestoreSize = ptr.To(resource.MustParse("1536Mi"))
		}
	}}
	report, _, err := tried(t, s, Options{}, classes()...)
	if err != nil || len(report.Checks) != 5 || !strings.HasPrefix(report.Checks[2].Message, "a volume of 1536Mi ") || !strings.HasPrefix(report.Checks[3].Message, "a volume of 2Gi ") {
		t.Errorf("%v\n%s", err, lines(report))
	}
}

// TestRunRefused holds that what the user may not do is no result of a check.
func TestRunRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		verb, kind string
		err        error
		want       string // in the error; empty: it is a result
	}{
		"a Job":                     {"create", "*v1.Job", forbidden, "provision: "},
		"the first PVC":             {"create", "*v1.PersistentVolumeClaim", forbidden, "provision: "},
		"a snapshot":                {"create", "*v1.VolumeSnapshot", forbidden, "snapshot: "},
		"a clone":                   {"create", "*v1.Pod", forbidden, "clone: "},
		"an expansion":              {"patch", "*v1.PersistentVolumeClaim", forbidden, "expand: "},
		"snapshot classes":          {"list", "", forbidden, "name one with --snapshot-class"},
		"snapshot classes not read": {"list", "", errBroken, errBroken.Error()},
		"a Job that fails":          {"create", "*v1.Job", errBroken, ""},
		"a snapshot that fails":     {"create", "*v1.VolumeSnapshot", errBroken, ""},
		"a pod that fails":          {"create", "*v1.Pod", errBroken, ""},
		"an expansion that fails":   {"patch", "*v1.PersistentVolumeClaim", errBroken, ""},
	} {
		s := &storage{refuses: func(verb string, o client.Object) error {
			if verb == tt.verb && (o == nil || fmt.Sprintf("%T", o) == tt.kind) {
				return tt.err
			}
			return nil
		}}
		report, _, err := tried(t, s, Options{}, classes()...)
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) || tt.want == "" && (err != nil || !report.Failed() || !strings.Contains(lines(report), "the server is down")) {
			t.Errorf("%s: %v\n%s", name, err, lines(report))
		}
	}
	if _, _, err := tried(t, &storage{}, Options{}); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "StorageClass fast: ") || !strings.Contains(err.Error(), "kubectl get storageclass") {
		t.Errorf("no StorageClass: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := run{Options: Options{Progress: func(string) {}, Now: time.Now}, set: &temporary.Set{Namespace: "ci"}}
	if done, err := r.check(ctx, "x", func(context.Context) (string, error) { return "", errBroken }); !errors.Is(err, context.Canceled) || done || len(r.report.Checks) > 0 {
		t.Errorf("interrupted: %t, %v, %+v", done, err, r.report)
	}
	if done, err := r.check(t.Context(), "x", func(context.Context) (string, error) { return "", fmt.Errorf("%w: %w", errResult, forbidden) }); err != nil || done || len(r.report.Checks) != 1 {
		t.Errorf("a result that speaks of rights: %t, %v, %+v", done, err, r.report)
	}
}

// TestSnapshotClass holds which class a snapshot gets, and what is wrong with those that
// there are.
func TestSnapshotClass(t *testing.T) {
	of := func(name, driver string, isDefault bool) client.Object {
		c := &snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Driver: driver}
		if isDefault {
			c.Annotations = map[string]string{defaultSnapshotClass: "true"}
		}
		return c
	}
	for name, tt := range map[string]struct {
		named   string
		err     error
		objects []client.Object
		want    string
		reason  string
		fix     string
	}{
		"the only one":          {"", nil, []client.Object{of("a", "csi.test", false), of("b", "other", true)}, "a", "", ""},
		"the default one":       {"", nil, []client.Object{of("a", "csi.test", false), of("b", "csi.test", true)}, "b", "", ""},
		"a named one":           {"a", nil, []client.Object{of("a", "csi.test", false), of("b", "csi.test", true)}, "a", "", ""},
		"one that is not there": {"c", nil, []client.Object{of("a", "csi.test", false)}, "c", "", ""},
		"a named one, not read": {"a", forbidden, nil, "a", "", ""},
		"of another driver":     {"b", nil, []client.Object{of("a", "csi.test", false), of("b", "other", true)}, "", "VolumeSnapshotClass b is of driver other, and StorageClass fast of csi.test", "kubectl get volumesnapshotclass"},
		"none":                  {"", nil, []client.Object{of("b", "other", true)}, "", "there is no VolumeSnapshotClass for driver csi.test", "kubectl create -f -"},
		"two":                   {"", nil, []client.Object{of("a", "csi.test", false), of("b", "csi.test", false)}, "", "driver csi.test has 2 VolumeSnapshotClasses, 0 of them default", "kubectl annotate volumesnapshotclass a "},
		"two defaults":          {"", nil, []client.Object{of("a", "csi.test", true), of("b", "csi.test", true)}, "", "driver csi.test has 2 VolumeSnapshotClasses, 2 of them default", "kubectl annotate volumesnapshotclass a "},
		"not served":            {"", &apimeta.NoKindMatchError{}, nil, "", "snapshot.storage.k8s.io/v1 is not served", "kubectl apply -k"},
		"not found":             {"", apierrors.NewNotFound(schema.GroupResource{}, ""), nil, "", "snapshot.storage.k8s.io/v1 is not served", "kubectl apply -k"},
	} {
		s := &storage{refuses: func(verb string, _ client.Object) error {
			if verb == "list" {
				return tt.err
			}
			return nil
		}}
		report, _, err := tried(t, s, Options{VolumeSnapshotClass: tt.named}, append(tt.objects, classes()[0])...)
		if err != nil || report.VolumeSnapshotClass != tt.want {
			t.Errorf("%s: %v, class %q", name, err, report.VolumeSnapshotClass)
			continue
		}
		if c := report.Checks[1]; (c.Level == status.LevelFailure) != (tt.reason != "") || tt.reason != "" && (!strings.HasPrefix(c.Message, tt.reason) || !strings.Contains(c.Fix, tt.fix)) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
