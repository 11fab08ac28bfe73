package storerollback

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
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/jobrun"
	replacementrun "gocache.dev/operator/internal/kube/replacement"
	"gocache.dev/operator/internal/plan/replacement"
	"gocache.dev/operator/internal/prober"
	"gocache.dev/operator/internal/testing/failing"
)

var errBroken = errors.New("the server is down")

// serving is a proxy whose store of blue has a volume, and is to be snapshotted each hour.
func serving() *v1alpha1.ModProxy {
	p := replacing()
	p.CreationTimestamp = metav1.NewTime(noon.Add(-24 * time.Hour))
	p.Spec.Snapshots = &v1alpha1.SnapshotPolicy{Schedule: v1alpha1.Schedule{Schedule: "0 * * * *"}, Retention: v1alpha1.Retention{KeepLast: 1}}
	p.Status.Instances = []v1alpha1.InstanceStatus{{Name: "blue", Healthy: true}}
	return p
}

// storePVC is the PVC of the store of blue.
func storePVC(phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
	pvc := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p-blue", UID: "claim"}}
	pvc.Spec.VolumeName, pvc.Status.Phase = "v1", phase
	return pvc
}

// snapshotsOf are of the store of an instance, one of each day before noon.
func snapshotsOf(instance string, days ...int) []v1alpha1.CacheSnapshot {
	var all []v1alpha1.CacheSnapshot
	for _, day := range days {
		s := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprintf("%s-%d", instance, day), UID: types.UID(fmt.Sprint(instance, day)), Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}}}
		s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.ModProxyKind, Name: "p", Instance: instance}
		s.Status.CreationTime = ptr.To(metav1.NewTime(noon.Add(-time.Duration(day) * 24 * time.Hour)))
		s.Status.Verification.Verdict = v1alpha1.VerdictIntact
		s.Status.Source, s.Status.VolumeSnapshotName, s.Status.VolumeSnapshotContentName = &v1alpha1.SourceRecord{}, s.Name, s.Name
		all = append(all, s)
	}
	return all
}

// TestCreateSnapshot holds when a store is snapshotted: by schedule or on request, and only
// while nothing is wrong with it.
func TestCreateSnapshot(t *testing.T) {
	requested := func(action v1alpha1.RequestAction) func(*v1alpha1.ModProxy) {
		return func(p *v1alpha1.ModProxy) {
			p.Status.Instances[0].LastScheduledSnapshot = ptr.To(metav1.NewTime(noon))
			p.Status.Request = &v1alpha1.RequestStatus{UID: "request", Action: action, Outcome: v1alpha1.RequestAccepted}
		}
	}
	for name, tt := range map[string]struct {
		change  func(*v1alpha1.ModProxy)
		phase   corev1.PersistentVolumeClaimPhase
		created bool
		wakes   time.Duration
	}{
		"by schedule":     {func(*v1alpha1.ModProxy) {}, corev1.ClaimBound, true, 0},
		"not yet":         {func(p *v1alpha1.ModProxy) { p.Status.Instances[0].LastScheduledSnapshot = ptr.To(metav1.NewTime(noon)) }, corev1.ClaimBound, false, time.Hour},
		"on request":      {requested(v1alpha1.RequestSnapshot), corev1.ClaimBound, true, 0},
		"another request": {requested(v1alpha1.RequestFailback), corev1.ClaimBound, false, time.Hour},
		"quarantined":     {func(p *v1alpha1.ModProxy) { p.Status.Instances[0].Quarantined = &v1alpha1.Quarantine{} }, corev1.ClaimBound, false, 0},
		"being replaced": {func(p *v1alpha1.ModProxy) {
			p.Status.Instances[0].VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
		}, corev1.ClaimBound, false, 0},
		"not healthy":          {func(p *v1alpha1.ModProxy) { p.Status.Instances[0].Healthy = false }, corev1.ClaimBound, false, 0},
		"not reported yet":     {func(p *v1alpha1.ModProxy) { p.Status.Instances = nil }, corev1.ClaimBound, false, 0},
		"without a volume":     {func(*v1alpha1.ModProxy) {}, corev1.ClaimPending, false, 0},
		"no policy":            {func(p *v1alpha1.ModProxy) { p.Spec.Snapshots = nil }, corev1.ClaimBound, false, 0},
		"no policy, requested": {func(p *v1alpha1.ModProxy) { requested(v1alpha1.RequestSnapshot)(p); p.Spec.Snapshots = nil }, corev1.ClaimBound, true, 0},
		"an unknown server": {func(p *v1alpha1.ModProxy) {
			p.Spec.Instances[0].Server = &v1alpha1.ProxyServer{Type: v1alpha1.ServerCustom}
		}, corev1.ClaimBound, false, 0},
	} {
		p := serving()
		tt.change(p)
		c := clientOf(t, storePVC(tt.phase))
		var out Result
		if err := (Reconciler{Client: c, Live: c, FieldOwner: "test"}).keepSnapshots(t.Context(), p, pass.Observed{Now: noon, Stored: p}, &out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var list v1alpha1.CacheSnapshotList
		if err := c.List(t.Context(), &list); err != nil || (len(list.Items) == 1) != tt.created || len(out.Created) != len(list.Items) || out.Wake != tt.wakes {
			t.Errorf("%s: %d snapshots, %v created, wakes in %s, %v", name, len(list.Items), out.Created, out.Wake, err)
		}
		for _, s := range list.Items {
			if s.Name != out.Created[0] || !strings.HasPrefix(s.Name, "p-blue-") || s.Spec.SourceRef != (v1alpha1.SnapshotSource{Kind: v1alpha1.ModProxyKind, Name: "p", Instance: "blue"}) || s.Labels[v1alpha1.InstanceLabel] != "blue" {
				t.Errorf("%s: created %+v", name, s)
			}
			if last := p.Status.Instances[0].LastScheduledSnapshot; name == "by schedule" && (last == nil || !last.Time.Equal(noon)) {
				t.Errorf("%s: %v is recorded", name, last)
			}
		}
	}
}

// TestKeepSnapshotsFails holds that an invalid schedule and what cannot be read or written
// are errors.
func TestKeepSnapshotsFails(t *testing.T) {
	p := serving()
	p.Spec.Snapshots.Schedule.Schedule = "nonsense"
	c := clientOf(t, storePVC(corev1.ClaimBound))
	if err := (Reconciler{Client: c, Live: c}).keepSnapshots(t.Context(), p, pass.Observed{Now: noon}, &Result{}); conditions.Stalled(err) == nil || !strings.Contains(err.Error(), "spec.snapshots.") {
		t.Errorf("an invalid schedule: %v", err)
	}
	for name, funcs := range map[string]interceptor.Funcs{
		"the PVC": {Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errBroken
		}},
		"the snapshot": {Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			return errBroken
		}},
	} {
		c := interceptor.NewClient(clientOf(t, storePVC(corev1.ClaimBound)), funcs)
		p, out := serving(), Result{}
		if err := (Reconciler{Client: c, Live: c}).keepSnapshots(t.Context(), p, pass.Observed{Now: noon}, &out); !errors.Is(err, errBroken) || len(out.Created) > 0 || p.Status.Instances[0].LastScheduledSnapshot != nil {
			t.Errorf("%s: %v, %+v", name, err, out)
		}
	}
}

// TestDropSnapshots holds which snapshots of stores are deleted: each store keeps its own
// newest, and what is used or pinned stays.
func TestDropSnapshots(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(p *v1alpha1.ModProxy, live []v1alpha1.CacheSnapshot)
		left   []string
	}{
		"all but the newest": {func(*v1alpha1.ModProxy, []v1alpha1.CacheSnapshot) {}, []string{"blue-1", "green-1"}},
		"no policy":          {func(p *v1alpha1.ModProxy, _ []v1alpha1.CacheSnapshot) { p.Spec.Snapshots = nil }, []string{"blue-1", "blue-2", "blue-3", "green-1", "green-2"}},
		"pinned meanwhile":   {func(_ *v1alpha1.ModProxy, live []v1alpha1.CacheSnapshot) { live[2].Spec.Pinned = true }, []string{"blue-1", "blue-3", "green-1"}},
		"a store is made from it": {func(p *v1alpha1.ModProxy, _ []v1alpha1.CacheSnapshot) {
			p.Status.Instances[0].VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Snapshot: "blue-2"}
		}, []string{"blue-1", "blue-2", "green-1"}},
		"cloned lately": {func(_ *v1alpha1.ModProxy, live []v1alpha1.CacheSnapshot) {
			live[1].Annotations = map[string]string{v1alpha1.ClonedAtAnnotation: noon.Format(time.RFC3339)}
		}, []string{"blue-1", "blue-2", "green-1"}},
	} {
		p := serving()
		p.Spec.Instances = append(p.Spec.Instances, v1alpha1.ProxyInstance{Name: "green", Storage: &v1alpha1.InstanceStorage{}})
		cached := append(snapshotsOf("blue", 1, 2, 3), snapshotsOf("green", 1, 2)...)
		live := append(snapshotsOf("blue", 1, 2, 3), snapshotsOf("green", 1, 2)...)
		tt.change(p, live)
		var objects []client.Object
		for i := range live {
			objects = append(objects, &live[i])
		}
		c := clientOf(t, objects...)
		if err := (Reconciler{Client: c, Live: c}).dropSnapshots(t.Context(), p, pass.Observed{Now: noon, Snapshots: cached}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var list v1alpha1.CacheSnapshotList
		if err := c.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, s := range list.Items {
			left = append(left, s.Name)
		}
		if slices.Sort(left); !slices.Equal(left, tt.left) {
			t.Errorf("%s: left %q, want %q", name, left, tt.left)
		}
	}
	fails := interceptor.NewClient(clientOf(t), interceptor.Funcs{List: func(_ context.Context, _ client.WithWatch, _ client.ObjectList, _ ...client.ListOption) error {
		return errBroken
	}})
	if err := (Reconciler{Client: fails, Live: fails}).dropSnapshots(t.Context(), serving(), pass.Observed{Now: noon, Snapshots: snapshotsOf("blue", 1, 2)}); !errors.Is(err, errBroken) {
		t.Errorf("snapshots that cannot be read: %v", err)
	}
	pvcsFail := interceptor.NewClient(clientOf(t), interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
		if _, is := list.(*corev1.PersistentVolumeClaimList); is {
			return errBroken
		}
		return c.List(ctx, list, options...)
	}})
	if err := (Reconciler{Client: pvcsFail, Live: pvcsFail}).dropSnapshots(t.Context(), serving(), pass.Observed{Now: noon, Snapshots: snapshotsOf("blue", 1, 2)}); !errors.Is(err, errBroken) {
		t.Errorf("PVCs that cannot be read: %v", err)
	}
}

// TestKeptTrust holds that the first snapshot stays with which later ones are compared.
func TestKeptTrust(t *testing.T) {
	p := serving()
	p.Spec.Snapshots.Verification.Trust = &v1alpha1.Trust{FirstSeen: true}
	if got := superfluous(p, snapshotsOf("blue", 1, 2, 3), nil, noon); !slices.Equal(got, []string{"blue-2"}) {
		t.Errorf("superfluous: %q", got)
	}
}

// TestRecordSnapshots holds that each store has the newest verified snapshot of its own.
func TestRecordSnapshots(t *testing.T) {
	p := serving()
	p.Status.Instances = append(p.Status.Instances, v1alpha1.InstanceStatus{Name: "green"}, v1alpha1.InstanceStatus{Name: "red", LatestVerifiedSnapshot: "gone"})
	all := append(snapshotsOf("green", 0, 4), snapshotsOf("blue", 1, 2)...)
	all[0].Status.Verification.Verdict = v1alpha1.VerdictCorrupt
	recordSnapshots(p, pass.Observed{Snapshots: all})
	for i, want := range []string{"blue-1", "green-4", ""} {
		if got := p.Status.Instances[i].LatestVerifiedSnapshot; got != want {
			t.Errorf("%s: %q, want %q", p.Status.Instances[i].Name, got, want)
		}
	}
}

// quarantined is a proxy whose store of blue is to be rolled back.
func quarantined() *v1alpha1.ModProxy {
	p := serving()
	p.Spec.Snapshots = nil
	p.Spec.Integrity.OnCorrupt = v1alpha1.StoreRollback
	p.Status.Instances[0].Quarantined = &v1alpha1.Quarantine{Time: metav1.NewTime(noon.Add(-time.Minute))}
	return p
}

// TestBeginRollback holds that a rollback is begun of a quarantined instance, with its
// volume in one write of the status, and is not acted on before that.
func TestBeginRollback(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.ModProxy)
		want   string // the snapshot; "-": none is begun
	}{
		"to the newest":         {func(*v1alpha1.ModProxy) {}, "blue-1"},
		"only reported":         {func(p *v1alpha1.ModProxy) { p.Spec.Integrity.OnCorrupt = v1alpha1.StoreReport }, "-"},
		"not quarantined":       {func(p *v1alpha1.ModProxy) { p.Status.Instances[0].Quarantined = nil }, "-"},
		"without a store":       {func(p *v1alpha1.ModProxy) { p.Spec.Instances[0].Storage = nil }, "-"},
		"removed from the spec": {func(p *v1alpha1.ModProxy) { p.Spec.Instances = p.Spec.Instances[1:] }, "-"},
	} {
		p := quarantined()
		tt.change(p)
		c := clientOf(t)
		o := pass.Observed{Now: noon, Stored: p.DeepCopy(), Snapshots: snapshotsOf("blue", 1, 2)}
		if _, err := (Reconciler{Client: c, Live: c}).Reconcile(t.Context(), p, o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		status := p.Status.Instances[0]
		got := "-"
		if status.VolumeReplacement != nil {
			got = status.VolumeReplacement.Snapshot
			if status.Rollback == nil || status.Rollback.Attempt != 1 || status.Rollback.Snapshot != got || status.VolumeReplacement.Step != "" {
				t.Errorf("%s: %+v, %+v", name, status.Rollback, status.VolumeReplacement)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	p := quarantined()
	fails := interceptor.NewClient(clientOf(t), interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errBroken
	}})
	if err := (Reconciler{Client: fails, Live: fails}).decide(t.Context(), p, pass.Observed{Now: noon, Stored: p}, &p.Status.Instances[0]); !errors.Is(err, errBroken) || p.Status.Instances[0].VolumeReplacement != nil || p.Status.Instances[0].Rollback != nil {
		t.Errorf("a PVC that cannot be read: %v, %+v", err, p.Status.Instances[0])
	}
}

// TestObservation holds what a rollback is decided on.
func TestObservation(t *testing.T) {
	p := quarantined()
	status := &p.Status.Instances[0]
	status.LatestVerifiedSnapshot = "s"
	f := observation(p, pass.Observed{}, status)
	if !f.Requested || f.Status != nil || f.Quarantined == nil || f.Snapshot != "s" || !f.MayBeEmpty || f.ReplacementFailure != "" || f.Intact || f.Wrong+f.Waits != "" || f.FullyServing {
		t.Errorf("%+v", f)
	}
	p.Spec.Upstream = &v1alpha1.ProxyUpstream{Proxy: "off"}
	status.LastVolumeReplacement = &v1alpha1.VolumeReplacementResult{Failure: "no"}
	status.Rollback = &v1alpha1.StoreRollbackStatus{}
	if f := observation(p, pass.Observed{}, status); f.MayBeEmpty || f.ReplacementFailure != "no" || f.Status == nil || f.Status == status.Rollback || f.Waits != "" {
		t.Errorf("%+v", f)
	}
	status.Rollback.ReplacedTime = ptr.To(metav1.NewTime(noon))
	for name, tt := range map[string]struct {
		began time.Duration
		want  bool
	}{"a check since": {2 * time.Second, true}, "a check of the same second": {time.Second, false}} {
		found := map[string]prober.Observation{"blue": {Store: &prober.StoreReport{Began: noon.Add(tt.began), Verdict: &integrity.Verdict{Verdict: integrity.Intact}}}}
		if f := observation(p, pass.Observed{Found: found}, status); f.Intact != tt.want || (f.Waits == "") != tt.want {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestRelease holds that a proxy is released when no store is being replaced any more, and
// not before.
func TestRelease(t *testing.T) {
	for name, tt := range map[string]struct{ replacing, released bool }{"no store is replaced": {false, true}, "one is": {true, false}} {
		p := serving()
		p.Finalizers = []string{v1alpha1.VolumeReplacementFinalizer}
		if tt.replacing {
			p.Status.Instances[0].VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Snapshot: "s"}
		}
		c := clientOf(t, p)
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			t.Fatal(err)
		}
		p.Status.Instances[0].VolumeReplacement = nil // as this pass would write it
		stored := serving()
		if tt.replacing {
			stored.Status.Instances[0].VolumeReplacement = &v1alpha1.VolumeReplacementStatus{}
		}
		if _, err := (Reconciler{Client: c, Live: c}).ReconcileDelete(t.Context(), p, pass.Observed{Now: noon, Stored: stored}); err != nil {
			t.Fatal(err)
		}
		if Held(p) == tt.released {
			t.Errorf("%s: released %t", name, !Held(p))
		}
	}
}

// TestAdvance holds that a replacement is carried on once it is stored, also of a proxy
// that is being deleted, and when the next pass looks again.
func TestAdvance(t *testing.T) {
	for name, tt := range map[string]struct {
		stored   bool
		deleting bool
		step     replacement.Step
	}{"it is not stored": {false, false, ""}, "it waits for its snapshot": {true, false, replacement.WaitForSource}, "the proxy is deleted": {true, true, ""}} {
		p := replacing()
		p.Status.Instances[0].VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Snapshot: "blue-1", Size: ptr.To(resource.MustParse("1Gi")), PreviousVolume: "v1"}
		s := snapshotsOf("blue", 1)[0]
		s.Status.Verification.Verdict, s.Status.VolumeSnapshotName = "", ""
		live := storePVC(corev1.ClaimBound)
		live.OwnerReferences = ownedByProxy()
		c := clientOf(t, &s, live, stopped())
		o := pass.Observed{Now: noon, Stored: serving()}
		if tt.stored {
			o.Stored = p.DeepCopy()
		}
		r := Reconciler{Client: c, Live: c, Images: images.Images{Operator: "operator:1"}}
		var out Result
		var err error
		if tt.deleting {
			p.DeletionTimestamp = &metav1.Time{Time: noon}
			out, err = r.ReconcileDelete(t.Context(), p, o)
		} else {
			err = r.rollBack(t.Context(), p, o, &out)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		intent := p.Status.Instances[0].VolumeReplacement
		switch {
		case tt.deleting:
			if last := p.Status.Instances[0].LastVolumeReplacement; intent != nil || last == nil || last.Failure != "the instance was removed" {
				t.Errorf("%s: %+v, %+v", name, intent, last)
			}
		case intent == nil || intent.Step != string(tt.step) || (out.Wake > 0) != tt.stored:
			t.Errorf("%s: %+v, wakes in %s", name, intent, out.Wake)
		}
	}
}

// TestAdvanceFails holds that a replacement does not go on with what cannot be read.
func TestAdvanceFails(t *testing.T) {
	for name, fails := range map[string]func(client.Object) bool{
		"the snapshot": func(o client.Object) bool { _, is := o.(*v1alpha1.CacheSnapshot); return is },
		"the PVC":      func(o client.Object) bool { _, is := o.(*corev1.PersistentVolumeClaim); return is },
		"the trust":    func(o client.Object) bool { _, is := o.(*corev1.ConfigMap); return is },
		"the instance": func(o client.Object) bool { _, is := o.(*appsv1.StatefulSet); return is },
	} {
		p := replacing()
		p.Spec.Integrity.Trust = &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}}
		p.Status.Instances[0].VolumeReplacement.Size = ptr.To(resource.MustParse("1Gi"))
		sums := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "sums"}, Data: map[string]string{"go.sum": "a"}}
		c := interceptor.NewClient(clientOf(t, sums), interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			if fails(o) {
				return errBroken
			}
			return c.Get(ctx, key, o, options...)
		}})
		before := *p.Status.Instances[0].VolumeReplacement
		if err := (Reconciler{Client: c, Live: c}).rollBack(t.Context(), p, pass.Observed{Now: noon, Stored: p.DeepCopy()}, &Result{}); !errors.Is(err, errBroken) || p.Status.Instances[0].VolumeReplacement.Step != before.Step {
			t.Errorf("%s: %v, %+v", name, err, p.Status.Instances[0].VolumeReplacement)
		}
	}
}

// TestRun holds what a store is replaced with, and which pods are its instance's own.
func TestRun(t *testing.T) {
	p := replacing()
	p.Spec.PodTemplate = &v1alpha1.PodTemplate{}
	p.Spec.Instances[0].Storage.Ownership = &v1alpha1.Ownership{}
	s := snapshotsOf("blue", 1)[0]
	r := Reconciler{Live: clientOf(t), FieldOwner: "test", Images: images.Images{Operator: "operator:1"}}
	run, err := r.run(t.Context(), p, &p.Status.Instances[0], &s)
	if err != nil || !run.Detached || run.Claim != "p-blue" || run.Labels[v1alpha1.InstanceLabel] != "blue" || run.Content.Snapshot != &s || run.Content.Image != "operator:1" ||
		run.Content.Template == nil || run.Content.Empty.Layout != "goproxy" || run.Content.Empty.Ownership == nil || run.Intent.Snapshot != "s" || run.FieldOwner != "test" {
		t.Errorf("%+v, %v", run, err)
	}
	p.Spec.Instances[0].Storage.DeletionPolicy = v1alpha1.DeletionDelete
	if run, err := r.run(t.Context(), p, &p.Status.Instances[0], &s); err != nil || run.Detached {
		t.Errorf("%+v, %v", run, err)
	}
	for _, tt := range []struct {
		kind, name string
		own        bool
	}{{"StatefulSet", "p-blue", true}, {"StatefulSet", "p-green", false}, {"Job", "p-blue", false}, {"", "", false}} {
		pod := &corev1.Pod{}
		if tt.kind != "" {
			pod.OwnerReferences = []metav1.OwnerReference{{Kind: tt.kind, Name: tt.name, Controller: ptr.To(true)}}
		}
		if got := run.OwnPod(pod); got != tt.own {
			t.Errorf("a pod of %s %s: its own %t", tt.kind, tt.name, got)
		}
	}
}

// TestCompleteFacts holds when the content of a store is given up, and that a snapshot is
// judged only before a volume was made from it.
func TestCompleteFacts(t *testing.T) {
	owned := storePVC(corev1.ClaimBound)
	owned.OwnerReferences = ownedByProxy()
	for name, tt := range map[string]struct {
		change   func(*v1alpha1.ModProxy)
		live     *corev1.PersistentVolumeClaim
		made     string
		deleting bool
		discard  bool
		judged   bool
	}{
		"it goes on":                       {func(*v1alpha1.ModProxy) {}, owned, "", false, false, true},
		"a volume was made":                {func(*v1alpha1.ModProxy) {}, owned, "v2", false, false, false},
		"by an empty store":                {func(p *v1alpha1.ModProxy) { p.Status.Instances[0].VolumeReplacement.Snapshot = "" }, owned, "", false, false, false},
		"the proxy is deleted":             {func(p *v1alpha1.ModProxy) { p.DeletionTimestamp = &metav1.Time{Time: noon} }, owned, "", true, true, true},
		"the proxy is deleted, not stores": {func(p *v1alpha1.ModProxy) { p.DeletionTimestamp = &metav1.Time{Time: noon} }, storePVC(corev1.ClaimBound), "", true, false, true},
		"the proxy is deleted, no PVC":     {func(p *v1alpha1.ModProxy) { p.DeletionTimestamp = &metav1.Time{Time: noon} }, nil, "", true, false, true},
		"the instance is removed":          {func(p *v1alpha1.ModProxy) { p.Spec.Instances = nil }, owned, "", true, true, true},
	} {
		p := replacing()
		tt.change(p)
		var f replacement.Observation
		f.Intent.New = tt.made
		r := Reconciler{Live: clientOf(t, stopped())}
		if err := r.completeFacts(t.Context(), p, pass.Observed{Now: noon}, &p.Status.Instances[0], nil, replacementrun.Observed{Live: tt.live}, &f); err != nil {
			t.Fatal(err)
		}
		if !f.Now.Equal(noon) || f.Deleting != tt.deleting || f.Discard != tt.discard || (f.Source.Refused == "CacheSnapshot s does not exist") != tt.judged || f.Busy != "" {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestJudge holds that a store is made only from a verified snapshot of its own.
func TestJudge(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.CacheSnapshot)
		want   replacement.Source
	}{
		"its own":             {func(*v1alpha1.CacheSnapshot) {}, replacement.Source{}},
		"of another instance": {func(s *v1alpha1.CacheSnapshot) { s.Spec.SourceRef.Instance = "green" }, replacement.Source{Refused: "CacheSnapshot s was taken of something else"}},
		"verified less strictly": {func(s *v1alpha1.CacheSnapshot) { s.Status.WeakerThanPolicy = "no trust" },
			replacement.Source{Refused: "CacheSnapshot s is verified less strictly than the snapshot policy asks (status.weakerThanPolicy)"}},
		"its CSI snapshot is gone": {func(s *v1alpha1.CacheSnapshot) { s.Status.VolumeSnapshotName = "gone" }, replacement.Source{Refused: "the CSI snapshot of CacheSnapshot s was deleted: nothing can be made from it"}},
	} {
		p := replacing()
		s := snapshotsOf("blue", 1)[0]
		tt.change(&s)
		csi := &snapshotv1.VolumeSnapshot{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "blue-1"},
			Status:     &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To("blue-1")},
		}
		got, err := Reconciler{Live: clientOf(t, csi)}.judge(t.Context(), p, &p.Status.Instances[0], &s)
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	fails := interceptor.NewClient(clientOf(t), interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
		return errBroken
	}})
	p, s := replacing(), snapshotsOf("blue", 1)[0]
	s.Status.VolumeSnapshotName = "vs"
	if _, err := (Reconciler{Live: fails}).judge(t.Context(), p, &p.Status.Instances[0], &s); !errors.Is(err, errBroken) {
		t.Errorf("a CSI snapshot that cannot be read: %v", err)
	}
}

// TestRecordWaits holds what is recorded of what a replacement waits for, and of the check
// of the new volume.
func TestRecordWaits(t *testing.T) {
	p := replacing()
	status := &p.Status.Instances[0]
	out := replacementrun.Outcome{Observed: replacementrun.Observed{Consumers: make([]corev1.Pod, 2)}, Decision: replacement.Decision{Step: replacement.WaitForConsumers}}
	out.Consumers[0].Name, out.Consumers[1].Name = "a", "b"
	record(status, out, nil, noon)
	if in := status.VolumeReplacement; in.Message != "waits for 2 pods that use the store to be gone" || !slices.Equal(in.Consumers, []string{"a", "b"}) {
		t.Errorf("%+v", in)
	}
	record(status, replacementrun.Outcome{Decision: replacement.Decision{Step: replacement.WaitForIdle, Detail: "it"}}, nil, noon)
	if in := status.VolumeReplacement; in.Message != "waits for it" {
		t.Errorf("%+v", in)
	}
	record(status, replacementrun.Outcome{Decision: replacement.Decision{Step: replacement.WaitForCheck}}, nil, noon)
	if in := status.VolumeReplacement; in.Message != "" {
		t.Errorf("%+v", in)
	}
	code, verdict := int32(exitcode.OK), integrity.Verdict{Verdict: integrity.Intact, Digest: "sha256:1"}
	for digest, next := range map[string]string{"": "v1", "sha256:1": "v1", "sha256:2": ""} {
		status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Snapshot: "s"}
		s := snapshotsOf("blue", 1)[0]
		s.Status.Verification.Digest = digest
		out := replacementrun.Outcome{Observed: replacementrun.Observed{Next: storePVC(corev1.ClaimBound)}, Decision: replacement.Decision{Step: replacement.RecordCheck}}
		out.Check = jobrun.Outcome{Phase: jobrun.Ended, Run: "j1", ExitCode: &code, Message: string(verdict.Fit(4096))}
		if record(status, out, &s, noon); status.VolumeReplacement.NextVolume != next || status.VolumeReplacement.Check.Run != "j1" || (status.VolumeReplacement.Failure == "") != (next != "") {
			t.Errorf("digest %q: %+v", digest, status.VolumeReplacement)
		}
	}
	status.VolumeReplacement = &v1alpha1.VolumeReplacementStatus{Snapshot: "s"}
	out = replacementrun.Outcome{Observed: replacementrun.Observed{Next: storePVC(corev1.ClaimBound)}, Decision: replacement.Decision{Step: replacement.RecordCheck}}
	out.Check = jobrun.Outcome{Phase: jobrun.Ended, Run: "j1", ExitCode: &code, Message: string(verdict.Fit(4096))}
	if record(status, out, nil, noon); status.VolumeReplacement.NextVolume != "v1" {
		t.Errorf("the snapshot is gone: %+v", status.VolumeReplacement)
	}
	status.VolumeReplacement, status.Rollback = &v1alpha1.VolumeReplacementStatus{Reason: v1alpha1.ReplacementRollback, Snapshot: "s"}, nil
	if finish(status, noon); status.Content == nil || status.Content.Snapshot != "s" || status.Content.Reason != v1alpha1.ReplacementRollback || !status.LastVolumeReplacement.CompletionTime.Time.Equal(noon) {
		t.Errorf("%+v", status)
	}
}

// TestPendingSnapshotOfStore holds that a volume is not replaced while it cannot be known
// whether a snapshot of it is created.
func TestPendingSnapshotOfStore(t *testing.T) {
	fails := interceptor.NewClient(clientOf(t, stopped()), interceptor.Funcs{List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, _ ...client.ListOption) error {
		if _, is := list.(*snapshotv1.VolumeSnapshotList); is {
			return errBroken
		}
		return nil
	}})
	p := replacing()
	if _, err := (Reconciler{Live: fails}).busy(t.Context(), p, &p.Status.Instances[0], replacementrun.Observed{}); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
}

// TestEachFailure holds that no call that fails is taken for one that succeeded: no
// snapshot counts as created, and no step of a rollback as taken.
func TestEachFailure(t *testing.T) {
	sums := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "sums"}, Data: map[string]string{"go.sum": "a"}}
	for name, tt := range map[string]struct {
		objects []client.Object
		proxy   func() *v1alpha1.ModProxy
		calls   []string // some of them
	}{
		"a snapshot is due, and one is superfluous": {[]client.Object{storePVC(corev1.ClaimBound), &snapshotsOf("blue", 1)[0], &snapshotsOf("blue", 2)[0]}, serving,
			[]string{"get *v1.PersistentVolumeClaim", "list *v1alpha1.CacheSnapshotList", "list *v1.PersistentVolumeClaimList", "delete *v1alpha1.CacheSnapshot"}},
		"a store is replaced": {[]client.Object{sums, stopped()}, func() *v1alpha1.ModProxy {
			p := replacing()
			p.Spec.Integrity.Trust = &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}}
			p.Status.Instances[0].VolumeReplacement.Size = ptr.To(resource.MustParse("1Gi"))
			return p
		}, []string{"get *v1.ConfigMap", "get *v1alpha1.CacheSnapshot", "get *v1.StatefulSet"}},
		"none is replaced any more": {nil, func() *v1alpha1.ModProxy {
			p := serving()
			p.Finalizers, p.Spec.Snapshots = []string{v1alpha1.VolumeReplacementFinalizer}, nil
			return p
		}, []string{"patch *v1alpha1.ModProxy"}},
	} {
		calls := failing.Each(t, func() client.WithWatch {
			objects := []client.Object{tt.proxy()}
			for _, o := range tt.objects {
				objects = append(objects, o.DeepCopyObject().(client.Object))
			}
			return clientOf(t, objects...)
		}, func(c client.Client) error {
			p := tt.proxy()
			p.ResourceVersion = "999" // as the client has it
			o := pass.Observed{Now: noon, Stored: p.DeepCopy(), Snapshots: snapshotsOf("blue", 1, 2)}
			out, err := (Reconciler{Client: c, Live: c, FieldOwner: "test", Images: images.Images{Operator: "operator:1"}}).Reconcile(t.Context(), p, o)
			if recorded := p.Status.Instances[0].LastScheduledSnapshot != nil; recorded != (len(out.Created) > 0) {
				t.Errorf("%s: created %v, and recorded %t", name, out.Created, recorded)
			}
			return err
		})
		for _, want := range tt.calls {
			if !slices.Contains(calls, want) {
				t.Errorf("%s: no call %q in %v", name, want, calls)
			}
		}
	}
}
