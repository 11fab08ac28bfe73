package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
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
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
)

// player plays the controllers, the kubelet and the CSI driver of a cluster for
// temporary objects: each is as it should be as soon as it is created.
type player struct {
	client.WithWatch
	// broken has what does not happen: Job, PersistentVolumeClaim, VolumeSnapshot,
	// Pod or expansion.
	broken map[string]bool
	// message is what pods leave; empty: the report of a volume test.
	message string
	exit    int32
	// onCreate is called for each object after it was created.
	onCreate func(client.Object)
	created  []string
}

// play wraps a client of these objects.
func play(objects ...client.Object) *player {
	p := &player{broken: map[string]bool{}}
	p.WithWatch = interceptor.NewClient(clientOf(objects...), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if o.GetUID() == "" {
				o.SetUID(types.UID("uid-" + o.GetName()))
			}
			if err := c.Create(ctx, o, opts...); err != nil {
				return err
			}
			p.created = append(p.created, fmt.Sprintf("%T/%s", o, o.GetName()))
			if p.onCreate != nil {
				p.onCreate(o)
			}
			return p.act(ctx, c, o.DeepCopyObject())
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if err := c.Patch(ctx, o, patch, opts...); err != nil {
				return err
			}
			claim, ok := o.DeepCopyObject().(*corev1.PersistentVolumeClaim)
			if !ok || p.broken["expansion"] {
				return nil
			}
			claim.Status.Capacity = claim.Spec.Resources.Requests
			return c.Status().Update(ctx, claim)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			events, ok := list.(*corev1.EventList)
			if !ok {
				return c.List(ctx, list, opts...)
			}
			if p.broken["PersistentVolumeClaim"] {
				events.Items = []corev1.Event{{Message: "no space is left on the storage"}}
			}
			return nil
		},
	})
	return p
}

func (p *player) act(ctx context.Context, c client.WithWatch, o any) error {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	switch o := o.(type) {
	case *batchv1.Job:
		if p.broken["Job"] {
			return nil
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name + "-pod", Labels: maps.Clone(o.Spec.Template.Labels)}, Spec: o.Spec.Template.Spec}
		pod.Labels[batchv1.JobNameLabel], pod.Spec.NodeName = o.Name, "node-1"
		if err := c.Create(ctx, pod); err != nil {
			return err
		}
		if p.message != "" {
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: p.exit, Message: p.message}}}}
		} else {
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: running}}
		}
		if p.broken["PersistentVolumeClaim"] {
			pod.Status.ContainerStatuses = nil
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "pod has unbound immediate PersistentVolumeClaims"}}
		}
		return c.Status().Update(ctx, pod)
	case *corev1.PersistentVolumeClaim:
		if p.broken["PersistentVolumeClaim"] {
			return nil
		}
		o.Status.Phase, o.Status.Capacity = corev1.ClaimBound, o.Spec.Resources.Requests
		return c.Status().Update(ctx, o)
	case *snapshotv1.VolumeSnapshot:
		if p.broken["VolumeSnapshot"] {
			return nil
		}
		o.Status = &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To("content")}
		return c.Update(ctx, o)
	case *corev1.Pod:
		message, exit := p.message, p.exit
		if message == "" {
			var claim corev1.PersistentVolumeClaim
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), &claim); err != nil {
				return err
			}
			size := claim.Spec.Resources.Requests[corev1.ResourceStorage]
			if p.broken["growth"] {
				size = resource.MustParse("1Gi")
			}
			message = fmt.Sprintf(`{"files":64,"capacityBytes":%d}`, size.Value()/100*98)
		}
		if p.broken["Pod"] {
			message, exit = "/volume/volume-test/007 has other content than what was written", 3
		}
		o.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: exit, Message: message}}}}
		return c.Status().Update(ctx, o)
	}
	return nil
}

// left are the temporary objects that exist.
func (p *player) left(t *testing.T) (names []string) {
	t.Helper()
	for _, list := range []client.ObjectList{&batchv1.JobList{}, &corev1.PodList{}, &corev1.PersistentVolumeClaimList{}, &snapshotv1.VolumeSnapshotList{}} {
		if err := p.List(context.Background(), list, client.InNamespace("ci")); err != nil {
			t.Fatal(err)
		}
		switch l := list.(type) {
		case *batchv1.JobList:
			for i := range l.Items {
				names = append(names, "job/"+l.Items[i].Name)
			}
		case *corev1.PodList:
			for i := range l.Items {
				names = append(names, "pod/"+l.Items[i].Name)
			}
		case *corev1.PersistentVolumeClaimList:
			for i := range l.Items {
				names = append(names, "pvc/"+l.Items[i].Name)
			}
		case *snapshotv1.VolumeSnapshotList:
			for i := range l.Items {
				names = append(names, "snapshot/"+l.Items[i].Name)
			}
		}
	}
	return names
}

// installed is the operator's Deployment, with its image.
func installed() *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "gocache-system", Name: "gocache-manager", Labels: map[string]string{"app.kubernetes.io/name": "gocache-operator"}}}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "manager", Image: "registry.example.com/gocache:1"}}
	return d
}

// storageClass expands, with a VolumeSnapshotClass.
func storageClass() []client.Object {
	return []client.Object{
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: "csi.example.com", AllowVolumeExpansion: ptr.To(true)},
		&snapshotv1.VolumeSnapshotClass{ObjectMeta: metav1.ObjectMeta{Name: "fast-snapshots"}, Driver: "csi.example.com"},
	}
}

// working is an app whose temporary objects have fixed names, and whose clock goes
// on by a second and a half at each look.
func working(t *testing.T, p *player) (a *app, out, errOut *bytes.Buffer) {
	t.Helper()
	a, out, errOut = fakeApp(t, p, nil)
	a.suffix = func() string { return "x7k2p" }
	clock := now
	a.now = func() time.Time { clock = clock.Add(1500 * time.Millisecond); return clock }
	return a, out, errOut
}

func TestCSICheck(t *testing.T) {
	p := play(append(storageClass(), installed())...)
	a, out, _ := working(t, p)
	if err := run(t, a, "csicheck", "fast"); err != nil {
		t.Errorf("a class that can do everything: %v", err)
	}
	golden(t, "csicheck.txt", out.String())
	page, err := os.ReadFile("../../docs/operate/kubectl-plugin.md")
	if err != nil || !strings.Contains(string(page), "$ kubectl gocache csicheck fast\n"+out.String()+"```\n") {
		t.Errorf("docs/operate/kubectl-plugin.md does not show testdata/csicheck.txt: %v", err)
	}
	if left := p.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if want := []string{"*v1.Job/gocache-csicheck-x7k2p", "*v1.PersistentVolumeClaim/gocache-csicheck-x7k2p", "*v1.VolumeSnapshot/gocache-csicheck-x7k2p",
		"*v1.PersistentVolumeClaim/gocache-csicheck-x7k2p-clone", "*v1.Pod/gocache-csicheck-x7k2p-clone",
		"*v1.PersistentVolumeClaim/gocache-csicheck-x7k2p-larger", "*v1.Pod/gocache-csicheck-x7k2p-larger"}; !slices.Equal(p.created, want) {
		t.Errorf("created %v, want %v", p.created, want)
	}
}

// TestCSICheckFindsWhatIsBroken breaks one ability after the other.
func TestCSICheckFindsWhatIsBroken(t *testing.T) {
	rigid := storageClass()
	rigid[0] = &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fast"}, Provisioner: "csi.example.com"}
	for _, c := range []struct {
		name, broken string
		objects      []client.Object
		want         []string
	}{
		{"rigid", "", rigid, []string{"✓   larger clone", "✗   expand", "kubectl patch storageclass fast -p"}},
		{"no snapshot class", "", storageClass()[:1], []string{"✗   snapshot", "there is no VolumeSnapshotClass for driver csi.example.com", "kubectl create -f -", "⚠   clone", "✓   expand"}},
		{"no volume", "PersistentVolumeClaim", storageClass(), []string{"✗   provision", "Unschedulable", "no space is left on the storage", "--keep", "⚠   expand"}},
		{"no pod", "Job", storageClass(), []string{"✗   provision", "the Job has no pod"}},
		{"no snapshot", "VolumeSnapshot", storageClass(), []string{"✗   snapshot", "does the snapshot controller run?", "⚠   larger clone", "✓   expand"}},
		{"other content", "Pod", storageClass(), []string{"✗   clone", "the content is not what was written: /volume/volume-test/007", "✗   larger clone"}},
		{"no growth of the clone", "growth", storageClass(), []string{"✓   clone", "✗   larger clone", "was to have 2Gi, and its file system has"}},
		{"no expansion", "expansion", storageClass(), []string{"✓   larger clone", "✗   expand", "the PVC has 1Gi"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := play(append(c.objects, installed())...)
			p.broken[c.broken] = true
			a, out, _ := working(t, p)
			err := run(t, a, "csicheck", "fast", "--timeout", "1s")
			if !errors.Is(err, ErrReported) {
				t.Errorf("%v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("lacks %q:\n%s", want, out)
				}
			}
			if left := p.left(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestCSICheckCleansUpWhenInterrupted cancels at the creation of each object.
func TestCSICheckCleansUpWhenInterrupted(t *testing.T) {
	for _, at := range []string{"gocache-csicheck-x7k2p", "gocache-csicheck-x7k2p-clone", "gocache-csicheck-x7k2p-larger"} {
		p := play(append(storageClass(), installed())...)
		a, _, errOut := working(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		p.onCreate = func(o client.Object) {
			if o.GetName() == at {
				cancel()
			}
		}
		root := a.root("v0.1.0")
		root.SetArgs([]string{"csicheck", "fast"})
		err := root.ExecuteContext(ctx)
		cancel()
		if !errors.Is(err, context.Canceled) || !strings.Contains(errOut.String(), "interrupted: removing") {
			t.Errorf("at %s: %v, %s", at, err, errOut)
		}
		if left := p.left(t); len(left) > 0 {
			t.Errorf("at %s: left behind: %v", at, left)
		}
	}
}

// TestCSICheckReclaims has volumes and snapshots deleted that classes retain.
func TestCSICheckReclaims(t *testing.T) {
	p := play(append(storageClass(), installed())...)
	p.onCreate = func(o client.Object) {
		ctx := context.Background()
		ref := corev1.ObjectReference{UID: o.GetUID()}
		switch claim := o.(type) {
		case *corev1.PersistentVolumeClaim:
			pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-" + claim.Name}}
			pv.Spec.PersistentVolumeReclaimPolicy, pv.Spec.ClaimRef = corev1.PersistentVolumeReclaimRetain, &ref
			claim.Spec.VolumeName = pv.Name
			if err := errors.Join(p.Create(ctx, pv), p.Update(ctx, claim)); err != nil {
				t.Error(err)
			}
		case *snapshotv1.VolumeSnapshot:
			content := &snapshotv1.VolumeSnapshotContent{ObjectMeta: metav1.ObjectMeta{Name: "content"}}
			content.Spec.DeletionPolicy, content.Spec.VolumeSnapshotRef = snapshotv1.VolumeSnapshotContentRetain, ref
			if err := p.Create(ctx, content); err != nil {
				t.Error(err)
			}
		}
	}
	a, _, _ := working(t, p)
	if err := run(t, a, "csicheck", "fast"); err != nil {
		t.Fatal(err)
	}
	var volumes corev1.PersistentVolumeList
	var content snapshotv1.VolumeSnapshotContent
	if err := errors.Join(p.List(t.Context(), &volumes), p.Get(t.Context(), client.ObjectKey{Name: "content"}, &content)); err != nil || len(volumes.Items) != 3 {
		t.Fatalf("%d volumes, %v", len(volumes.Items), err)
	}
	for i := range volumes.Items {
		if policy := volumes.Items[i].Spec.PersistentVolumeReclaimPolicy; policy != corev1.PersistentVolumeReclaimDelete {
			t.Errorf("volume %s would stay: %s", volumes.Items[i].Name, policy)
		}
	}
	if content.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentDelete {
		t.Errorf("the snapshot would stay: %s", content.Spec.DeletionPolicy)
	}
}

// TestCSICheckRefuses has errors that are no result of the check.
func TestCSICheckRefuses(t *testing.T) {
	forbidden := interceptor.NewClient(clientOf(append(storageClass(), installed())...), interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			return apierrors.NewForbidden(schema.GroupResource{Group: "batch", Resource: "jobs"}, "", errors.New("no right"))
		},
	})
	for _, c := range []struct {
		client client.Client
		args   []string
		want   string
	}{
		{clientOf(installed()), []string{"nosuch"}, "kubectl get storageclass"},
		{clientOf(storageClass()...), []string{"fast"}, "--image"},
		{clientOf(), []string{"fast", "--size", "0"}, "--size"},
		{clientOf(), []string{"fast", "--timeout", "1ms"}, "--timeout"},
		{clientOf(), []string{"fast", "-o", "wide"}, "--output"},
		{forbidden, []string{"fast"}, "no right"},
	} {
		a, _, _ := fakeApp(t, c.client, nil)
		a.suffix = func() string { return "x7k2p" }
		if err := run(t, a, append([]string{"csicheck"}, c.args...)...); err == nil || errors.Is(err, ErrReported) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
}

// snapshots are two of a cache, the first of which is corrupt.
func snapshots() []client.Object {
	all := make([]client.Object, 0, 3)
	for i, verdict := range []v1alpha1.Verdict{v1alpha1.VerdictCorrupt, v1alpha1.VerdictIntact, v1alpha1.VerdictIntact} {
		s := &v1alpha1.CacheSnapshot{ObjectMeta: meta(fmt.Sprintf("ci-%d", i+1), time.Hour)}
		s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}
		s.Status.VolumeSnapshotName = s.Name
		s.Status.Source = &v1alpha1.SourceRecord{PersistentVolumeClaimName: "ci", StorageClassName: "fast", Capacity: ptr.To(resource.MustParse("10Gi")), SealedDigest: fmt.Sprintf("sha256:%d", i+1)}
		s.Status.Verification.Verdict, s.Status.Verification.Digest = verdict, "sha256:2"
		all = append(all, s)
	}
	return all
}

const changeLines = `{"change":"added","key":"m example.com/new@v1.0.0"}
{"change":"removed","key":"m example.com/old@v1.0.0"}
{"change":"changed","key":"m example.com/a@v1.2.0"}
{"change":"added","key":"m example.com/newer@v2.0.0"}
{"change":"added","key":"a 01"}
{"change":"rebuilt","key":"a 02"}
1 line of the agent for people
`

func TestDiff(t *testing.T) {
	message := `{"from":"sha256:1","to":"sha256:2","counts":{"added":3,"removed":1,"changed":1,"rebuilt":1}}`
	for _, c := range []struct {
		golden string
		args   []string
	}{
		{"diff.txt", nil},
		{"diff-entries.txt", []string{"--build-cache", "--limit", "1"}},
		{"diff.json", []string{"-o", "json"}},
	} {
		p := play(append(snapshots(), installed())...)
		p.message, p.exit = message, 3
		a, out, errOut := working(t, p)
		a.logs = func(context.Context, *corev1.Pod, *corev1.PodLogOptions) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(changeLines)), nil
		}
		if err := run(t, a, append([]string{"diff", "ci-1", "ci-2"}, c.args...)...); !errors.Is(err, ErrReported) {
			t.Errorf("other content under the same name: %v", err)
		}
		golden(t, c.golden, out.String())
		if !strings.Contains(errOut.String(), "Note: ci-1 is Corrupt: ") {
			t.Errorf("nothing about the verdict: %s", errOut)
		}
		if left := p.left(t); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		page, err := os.ReadFile("../../docs/operate/kubectl-plugin.md")
		if c.args == nil && (err != nil || !strings.Contains(string(page), "$ kubectl gocache diff ci-1 ci-2\n"+out.String()+"```\n")) {
			t.Errorf("docs/operate/kubectl-plugin.md does not show testdata/%s: %v", c.golden, err)
		}
	}
}

// TestDiffOfTheSameContent creates nothing.
func TestDiffOfTheSameContent(t *testing.T) {
	p := play(snapshots()...)
	a, out, _ := working(t, p)
	if err := run(t, a, "diff", "ci-2", "ci-3"); err != nil || out.String() != "The same content: sha256:2\n" || len(p.created) > 0 {
		t.Errorf("%q, %v, created %v", out, err, p.created)
	}
}

// TestDiffReportsDoubts checks the notes about the manifests.
func TestDiffReportsDoubts(t *testing.T) {
	for _, c := range []struct{ name, message, want string }{
		{"truncated log", `{"from":"sha256:1","to":"sha256:2","counts":{"added":99}}`, "Note: 6 of 99 changes were read"},
		{"another manifest", `{"from":"sha256:9","to":"sha256:2","counts":{"added":6}}`, "Note: the manifest of ci-1 is not the one that its writer recorded (sha256:1)"},
		{"no manifest", "gocache-agent: open /from/.gocache/manifest.zst: no such file or directory", "cannot be compared: gocache-agent: open"},
	} {
		p := play(append(snapshots(), installed())...)
		p.message = c.message
		a, _, errOut := working(t, p)
		a.logs = func(context.Context, *corev1.Pod, *corev1.PodLogOptions) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(changeLines)), nil
		}
		err := run(t, a, "diff", "ci-1", "ci-2")
		if all := fmt.Sprint(err, errOut); !strings.Contains(all, c.want) {
			t.Errorf("%s: %s", c.name, all)
		}
		if left := p.left(t); len(left) > 0 {
			t.Errorf("%s: left behind: %v", c.name, left)
		}
	}
	proxy := snapshots()
	of, ok := proxy[0].(*v1alpha1.CacheSnapshot)
	if !ok {
		t.Fatal("no snapshot")
	}
	of.Spec.SourceRef.Kind = v1alpha1.ModProxyKind
	later := &v1alpha1.CacheSnapshot{ObjectMeta: meta("later", 0)}
	later.Spec.SourceRef.Kind = v1alpha1.GoCacheKind
	for _, c := range []struct{ from, to, want string }{
		{"ci-1", "ci-2", "of a ModProxy"}, {"ci-2", "later", "is not created yet"}, {"ci-2", "nosuch", "not found"},
	} {
		a, _, _ := working(t, play(append(proxy, later)...))
		if err := run(t, a, "diff", c.from, c.to); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v", c.from, c.to, err)
		}
	}
	a, _, _ := working(t, play())
	if err := run(t, a, "diff", "ci-1", "ci-2", "--timeout", "999ms"); err == nil || err.Error() != "--timeout 999ms: want a second or more" {
		t.Errorf("a limit that is too short: %v", err)
	}
}
