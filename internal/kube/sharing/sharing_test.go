package sharing_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/sharing"
	"gocache.dev/operator/internal/kube/volume"
	plan "gocache.dev/operator/internal/plan/sharing"
	failingcalls "gocache.dev/operator/internal/testing/failing"
)

var (
	errBroken = errors.New("the server is down")
	forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "x", errors.New("no rule"))
)

func builder(t *testing.T, objects ...client.Object) *fake.ClientBuilder {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), snapshotv1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...)
}

// failing is a client whose reads of one kind, and whose lists, fail.
func failing(t *testing.T, kind client.Object, err error, objects ...client.Object) client.Client {
	t.Helper()
	return builder(t, objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if kind == nil || schemeName(o) == schemeName(kind) {
				return err
			}
			return c.Get(ctx, key, o, opts...)
		},
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return err },
	}).Build()
}

func schemeName(o client.Object) string {
	switch o.(type) {
	case *corev1.Namespace:
		return "Namespace"
	case *v1alpha1.GoCache:
		return "GoCache"
	}
	return ""
}

func namespace(labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team", Labels: labels}}
}

// source consents to namespaces with the label cache=shared.
func source() *v1alpha1.GoCache {
	return &v1alpha1.GoCache{
		ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: "ci"},
		Spec:       v1alpha1.GoCacheSpec{Consumers: &v1alpha1.CacheConsumers{NamespaceSelector: v1alpha1.LabelSelector{MatchLabels: map[string]string{"cache": "shared"}}}},
	}
}

// TestConsent holds that a source is given only with its consent, by the labels that
// the namespace has now, and that what may not be read is not consent.
func TestConsent(t *testing.T) {
	t.Parallel()
	cache := &v1alpha1.GoCache{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "mine"},
		Spec:       v1alpha1.GoCacheSpec{Source: &v1alpha1.CacheSource{Namespace: "platform", Name: "ci"}},
	}
	selected := map[string]string{"cache": "shared"}
	deleting := namespace(selected)
	deleting.Finalizers, deleting.DeletionTimestamp = []string{"x"}, ptr.To(metav1.Now())
	for name, tt := range map[string]struct {
		live  client.Reader
		want  plan.Standing
		fails error
	}{
		"consents":                         {live: builder(t, namespace(selected), source()).Build(), want: plan.Granted},
		"other labels":                     {live: builder(t, namespace(map[string]string{"cache": "own"}), source()).Build()},
		"no labels":                        {live: builder(t, namespace(nil), source()).Build()},
		"no such source":                   {live: builder(t, namespace(selected)).Build()},
		"no such namespace":                {live: builder(t, source()).Build()},
		"the namespace is being deleted":   {live: builder(t, deleting, source()).Build()},
		"the source may not be read":       {live: failing(t, &v1alpha1.GoCache{}, forbidden, namespace(selected), source()), want: plan.Unavailable},
		"the namespace may not be read":    {live: failing(t, &corev1.Namespace{}, forbidden, namespace(selected), source()), want: plan.Unavailable},
		"the source cannot be read now":    {live: failing(t, &v1alpha1.GoCache{}, errBroken, namespace(selected), source()), fails: errBroken},
		"the namespace cannot be read now": {live: failing(t, &corev1.Namespace{}, errBroken, namespace(selected), source()), fails: errBroken},
	} {
		d, from, err := sharing.Consent(t.Context(), tt.live, cache)
		if !errors.Is(err, tt.fails) || d.Standing != tt.want || (from != nil) != (tt.want == plan.Granted) {
			t.Errorf("%s: %+v, source %v, %v; want %q, %v", name, d, from, err, tt.want, tt.fails)
		}
		if from != nil && from.Name != "ci" {
			t.Errorf("%s: the source is %s", name, from.Name)
		}
	}
}

func claim() *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "build", UID: "claim-uid"}}
}

// crossing is a PVC that gets what platform/ci-1 holds.
func crossing() sharing.Crossing {
	return sharing.Crossing{For: claim(), From: "platform/ci-1", Verified: &snapshotv1.VolumeSnapshotContent{
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			Driver: "csi.example.com", VolumeSnapshotClassName: ptr.To("fast"), SourceVolumeMode: ptr.To(corev1.PersistentVolumeFilesystem),
			DeletionPolicy: snapshotv1.VolumeSnapshotContentDelete,
		},
		Status: &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: ptr.To("handle-1")},
	}}
}

func read(t *testing.T, c client.Reader) sharing.Pair {
	t.Helper()
	p, err := sharing.Read(t.Context(), c, claim())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// created is a complete pair, in the cluster c.
func created(t *testing.T, objects ...client.Object) (client.Client, sharing.Pair) {
	t.Helper()
	c := builder(t, objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if _, is := o.(*snapshotv1.VolumeSnapshot); is {
				o.SetUID("snapshot-uid")
			}
			return c.Create(ctx, o, opts...)
		},
	}).Build()
	if err := crossing().Create(t.Context(), c, sharing.Pair{}, "test"); err != nil {
		t.Fatal(err)
	}
	return c, read(t, c)
}

// TestCreate holds what the pair names: nothing but the handle of the content that
// was verified, for this PVC, and that the CSI snapshot outlives it.
func TestCreate(t *testing.T) {
	t.Parallel()
	c, p := created(t)
	if p.Snapshot == nil || p.Content == nil {
		t.Fatalf("%+v", p)
	}
	if owner := metav1.GetControllerOf(p.Snapshot); owner == nil || owner.UID != "claim-uid" || p.Foreign(claim()) {
		t.Errorf("the VolumeSnapshot is not the PVC's: %+v", p.Snapshot.ObjectMeta)
	}
	want := snapshotv1.VolumeSnapshotContentSpec{
		VolumeSnapshotRef: corev1.ObjectReference{
			APIVersion: "snapshot.storage.k8s.io/v1", Kind: "VolumeSnapshot", Namespace: "team", Name: sharing.SnapshotName("claim-uid"), UID: "snapshot-uid",
		},
		DeletionPolicy: snapshotv1.VolumeSnapshotContentRetain, Driver: "csi.example.com", VolumeSnapshotClassName: ptr.To("fast"),
		Source: snapshotv1.VolumeSnapshotContentSource{SnapshotHandle: ptr.To("handle-1")}, SourceVolumeMode: ptr.To(corev1.PersistentVolumeFilesystem),
	}
	if diff := cmp.Diff(want, p.Content.Spec); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := p.Snapshot.Spec.Source; ptr.Deref(got.VolumeSnapshotContentName, "") != p.Content.Name || got.PersistentVolumeClaimName != nil {
		t.Errorf("the VolumeSnapshot is of %+v", got)
	}
	for _, o := range []client.Object{p.Snapshot, p.Content} {
		if o.GetLabels()[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue || o.GetLabels()[volume.IntermediateLabel] != "claim-uid" ||
			o.GetAnnotations()[v1alpha1.PopulatedFromAnnotation] != "platform/ci-1" {
			t.Errorf("%s: labels %v, annotations %v", o.GetName(), o.GetLabels(), o.GetAnnotations())
		}
	}
	if !p.Complete(crossing()) || p.Stale(crossing()) || !p.Exists() {
		t.Errorf("complete: %v, stale: %v, exists: %v", p.Complete(crossing()), p.Stale(crossing()), p.Exists())
	}
	// Repeating it, with an old view, changes nothing.
	if err := crossing().Create(t.Context(), c, sharing.Pair{}, "test"); err != nil {
		t.Error(err)
	}
	if err := crossing().Create(t.Context(), c, sharing.Pair{Snapshot: p.Snapshot}, "test"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(p, read(t, c)); diff != "" {
		t.Errorf("repeated:\n%s", diff)
	}
	// The process died between the two.
	if err := c.Delete(t.Context(), p.Content); err != nil {
		t.Fatal(err)
	}
	half := read(t, c)
	if half.Content != nil || half.Stale(crossing()) || half.Complete(crossing()) {
		t.Errorf("half a pair: %+v", half)
	}
	if err := crossing().Create(t.Context(), c, half, "test"); err != nil || !read(t, c).Complete(crossing()) {
		t.Errorf("half a pair is not completed: %v", err)
	}
}

func TestCreateFails(t *testing.T) {
	t.Parallel()
	x := crossing()
	x.Verified.Status = nil
	c := builder(t).Build()
	if err := x.Create(t.Context(), c, sharing.Pair{}, "test"); err == nil || !strings.Contains(err.Error(), "platform/ci-1") || read(t, c).Exists() {
		t.Errorf("without a handle: %v", err)
	}
	for _, kind := range []string{"VolumeSnapshot", "VolumeSnapshotContent"} {
		c := builder(t).WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				if _, content := o.(*snapshotv1.VolumeSnapshotContent); content == (kind == "VolumeSnapshotContent") {
					return errBroken
				}
				return c.Create(ctx, o, opts...)
			},
		}).Build()
		if err := crossing().Create(t.Context(), c, sharing.Pair{}, "test"); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "create "+kind+" ") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestChangedPair holds that a pair which differs from the desired one in anything is
// not cloned from, but replaced.
func TestChangedPair(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*sharing.Pair){
		"another handle":             func(p *sharing.Pair) { p.Content.Spec.Source.SnapshotHandle = ptr.To("handle-2") },
		"no handle":                  func(p *sharing.Pair) { p.Content.Spec.Source.SnapshotHandle = nil },
		"another driver":             func(p *sharing.Pair) { p.Content.Spec.Driver = "other" },
		"deleted with the CSI one":   func(p *sharing.Pair) { p.Content.Spec.DeletionPolicy = snapshotv1.VolumeSnapshotContentDelete },
		"of another VolumeSnapshot":  func(p *sharing.Pair) { p.Content.Spec.VolumeSnapshotRef.UID = "other" },
		"of another namespace":       func(p *sharing.Pair) { p.Content.Spec.VolumeSnapshotRef.Namespace = "other" },
		"of another name":            func(p *sharing.Pair) { p.Content.Spec.VolumeSnapshotRef.Name = "other" },
		"the content is deleted":     func(p *sharing.Pair) { p.Content.DeletionTimestamp = ptr.To(metav1.Now()) },
		"the VolumeSnapshot deleted": func(p *sharing.Pair) { p.Snapshot.DeletionTimestamp = ptr.To(metav1.Now()) },
		"of another CacheSnapshot":   func(p *sharing.Pair) { p.Snapshot.Annotations[v1alpha1.PopulatedFromAnnotation] = "platform/ci-2" },
		"of another content":         func(p *sharing.Pair) { p.Snapshot.Spec.Source.VolumeSnapshotContentName = ptr.To("other") },
		"of a PVC":                   func(p *sharing.Pair) { p.Snapshot.Spec.Source.VolumeSnapshotContentName = nil },
		"no VolumeSnapshot":          func(p *sharing.Pair) { p.Snapshot = nil },
	} {
		_, p := created(t)
		change(&p)
		if p.Complete(crossing()) || p.Ready(crossing()) || !p.Stale(crossing()) {
			t.Errorf("%s: complete: %v, ready: %v, stale: %v", name, p.Complete(crossing()), p.Ready(crossing()), p.Stale(crossing()))
		}
	}
	_, p := created(t)
	p.Content, p.Snapshot.Annotations = nil, nil
	if !p.Stale(crossing()) {
		t.Error("half a pair of something else is completed")
	}
	if (sharing.Pair{}).Stale(crossing()) || (sharing.Pair{}).Exists() {
		t.Error("nothing is in the way")
	}
}

// TestReady holds that a pair is cloned from once the snapshot controller has bound
// the two to each other.
func TestReady(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status *snapshotv1.VolumeSnapshotStatus
		want   bool
	}{
		"no status":       {nil, false},
		"not bound":       {&snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true)}, false},
		"not ready":       {&snapshotv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: ptr.To(sharing.ContentName("claim-uid")), ReadyToUse: ptr.To(false)}, false},
		"bound elsewhere": {&snapshotv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: ptr.To("other"), ReadyToUse: ptr.To(true)}, false},
		"ready":           {&snapshotv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: ptr.To(sharing.ContentName("claim-uid")), ReadyToUse: ptr.To(true)}, true},
	} {
		_, p := created(t)
		p.Snapshot.Status = tt.status
		if p.Ready(crossing()) != tt.want {
			t.Errorf("%s: %v", name, !tt.want)
		}
	}
}

// TestForeign holds that objects of the pair's names that a user has created are
// recognised: nothing is cloned from them, and they are not deleted.
func TestForeign(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*sharing.Pair){
		"owned by another":           func(p *sharing.Pair) { p.Snapshot.OwnerReferences[0].UID = "other" },
		"not owned":                  func(p *sharing.Pair) { p.Snapshot.OwnerReferences = nil },
		"without the label":          func(p *sharing.Pair) { delete(p.Snapshot.Labels, v1alpha1.ManagedByLabel) },
		"for another PVC":            func(p *sharing.Pair) { p.Snapshot.Labels[volume.IntermediateLabel] = "other" },
		"content without the label":  func(p *sharing.Pair) { p.Content.Labels = nil },
		"content for another PVC":    func(p *sharing.Pair) { p.Content.Labels[volume.IntermediateLabel] = "other" },
		"content alone, not labeled": func(p *sharing.Pair) { p.Snapshot, p.Content.Labels = nil, nil },
	} {
		_, p := created(t)
		change(&p)
		if !p.Foreign(claim()) {
			t.Errorf("%s: it is taken for the operator's", name)
		}
		// What the operator's content names is deleted with it, and nothing else is.
		own, content := p.Own(claim()), !strings.HasPrefix(name, "content")
		if (own.Content != nil) != content || own.Snapshot != p.Snapshot {
			t.Errorf("%s: the operator's own are %+v", name, own)
		}
	}
	if (sharing.Pair{}).Foreign(claim()) {
		t.Error("nothing is no one's")
	}
	_, p := created(t)
	p.Snapshot.Labels, p.Snapshot.UID = nil, "other"
	if own := p.Own(claim()); own.Snapshot != nil || own.Content == nil {
		t.Errorf("beside a VolumeSnapshot of a user, the operator's own are %+v", own)
	}
}

// TestDelete holds that a pair is deleted as it was observed, and that a content
// with which the CSI snapshot would be deleted stays.
func TestDelete(t *testing.T) {
	t.Parallel()
	c, p := created(t)
	if err := p.Delete(t.Context(), c); err != nil || read(t, c).Exists() {
		t.Errorf("%v, %+v", err, read(t, c))
	}
	if err := p.Delete(t.Context(), c); err != nil {
		t.Errorf("repeated: %v", err)
	}
	if err := (sharing.Pair{}).Delete(t.Context(), c); err != nil {
		t.Errorf("nothing: %v", err)
	}
	c, p = created(t)
	p.Content.Spec.DeletionPolicy = snapshotv1.VolumeSnapshotContentDelete
	if err := p.Delete(t.Context(), c); err == nil || !strings.Contains(err.Error(), "set it to Retain") {
		t.Errorf("with deletion policy Delete: %v", err)
	}
	if left := read(t, c); left.Content == nil || left.Snapshot != nil || !left.Exists() {
		t.Errorf("%+v is left, want the content alone", left)
	}
}

// TestSweep holds that contents are deleted when their VolumeSnapshot is gone, or their
// PVC needs them no more, and no others.
func TestSweep(t *testing.T) {
	t.Parallel()
	c, p := created(t, claim())
	sweep := func(c client.Client) {
		t.Helper()
		if err := sharing.Sweep(t.Context(), c, c); err != nil {
			t.Error(err)
		}
	}
	if sweep(c); read(t, c).Content == nil {
		t.Error("the content of a VolumeSnapshot that exists was deleted")
	}
	for _, at := range []string{"platform", "team", ""} {
		names, err := sharing.BeingCloned(t.Context(), c, at, time.Time{})
		if want := at == "platform"; err != nil || slices.Contains(names, "ci-1") != want || len(names) > 0 != want {
			t.Errorf("being cloned in %q: %v, %v", at, names, err)
		}
	}
	others := p.Content.DeepCopy()
	others.Name, others.Labels, others.ResourceVersion = "others", nil, ""
	if err := errors.Join(c.Create(t.Context(), others), c.Delete(t.Context(), p.Snapshot)); err != nil {
		t.Fatal(err)
	}
	if sweep(c); read(t, c).Content != nil {
		t.Error("the content of a VolumeSnapshot that is gone was left")
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(others), &snapshotv1.VolumeSnapshotContent{}); err != nil {
		t.Errorf("a content that is not shared: %v", err)
	}
	for name, pvc := range map[string]func(*corev1.PersistentVolumeClaim){
		"has its volume":     func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimBound },
		"is another one":     func(c *corev1.PersistentVolumeClaim) { c.UID = "another" },
		"is in another team": func(c *corev1.PersistentVolumeClaim) { c.Namespace = "other" },
	} {
		of := claim()
		pvc(of)
		c, _ := created(t, of)
		if sweep(c); read(t, c).Exists() {
			t.Errorf("the PVC %s, and something is left: %+v", name, read(t, c))
		}
	}
	c, p = created(t)
	p.Content.Spec.VolumeSnapshotRef.UID = "earlier"
	if err := c.Update(t.Context(), p.Content); err != nil {
		t.Fatal(err)
	}
	if sweep(c); read(t, c).Content != nil {
		t.Error("the content of an earlier VolumeSnapshot of the name was left")
	}
}

// TestListFails holds that where contents may not be listed there are none, and that
// any other failure is one.
func TestListFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ err, want error }{{forbidden, nil}, {apierrors.NewNotFound(schema.GroupResource{}, ""), nil}, {errBroken, errBroken}, {context.DeadlineExceeded, context.DeadlineExceeded}} {
		c := failing(t, nil, tt.err)
		_, cloned := sharing.BeingCloned(t.Context(), c, "platform", time.Time{})
		if swept := sharing.Sweep(t.Context(), c, c); !errors.Is(swept, tt.want) || !errors.Is(cloned, tt.want) {
			t.Errorf("%v: %v, %v", tt.err, swept, cloned)
		}
	}
	c, _ := created(t)
	if err := sharing.Sweep(t.Context(), c, listOnly{c}); !errors.Is(err, errBroken) || read(t, c).Content == nil {
		t.Errorf("a VolumeSnapshot that cannot be read is taken for gone: %v", err)
	}
	if _, err := sharing.Read(t.Context(), failing(t, nil, errBroken), claim()); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
}

// listOnly reads no single object.
type listOnly struct{ client.Client }

func (listOnly) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errBroken
}

func TestNames(t *testing.T) {
	t.Parallel()
	if q := sharing.Qualified("platform", "ci-1"); q != "platform/ci-1" || !sharing.IsQualified(q) || sharing.IsQualified("ci-1") {
		t.Errorf("%q", q)
	}
	for _, name := range []string{sharing.SnapshotName("u"), sharing.ContentName("u")} {
		if !strings.HasSuffix(name, "-u") {
			t.Errorf("%q", name)
		}
	}
}

// TestEachFailure holds that no failure of a call is taken for success.
func TestEachFailure(t *testing.T) {
	t.Parallel()
	complete := func() client.WithWatch {
		c, _ := created(t)
		return c.(client.WithWatch)
	}
	empty := func() client.WithWatch { return builder(t).Build() }
	_, p := created(t)
	for name, tt := range map[string]struct {
		fresh     func() client.WithWatch
		operation func(client.Client) error
		calls     int
	}{
		"read": {complete, func(c client.Client) error { _, err := sharing.Read(t.Context(), c, claim()); return err }, 2},
		"create": {empty, func(c client.Client) error {
			return crossing().Create(t.Context(), c, sharing.Pair{}, "test")
		}, 2},
		"complete": {empty, func(c client.Client) error {
			return crossing().Create(t.Context(), c, sharing.Pair{Snapshot: p.Snapshot}, "test")
		}, 1},
		"delete": {complete, func(c client.Client) error { return p.Delete(t.Context(), c) }, 2},
		"being cloned": {complete, func(c client.Client) error {
			_, err := sharing.BeingCloned(t.Context(), c, "platform", time.Time{})
			return err
		}, 1},
	} {
		if calls := failingcalls.Each(t, tt.fresh, tt.operation); len(calls) != tt.calls {
			t.Errorf("%s: calls %v, want %d", name, calls, tt.calls)
		}
	}
}

// TestSweepGoesOn holds that a content which cannot be examined keeps no other one.
func TestSweepGoesOn(t *testing.T) {
	t.Parallel()
	c, p := created(t)
	other := p.Content.DeepCopy()
	other.Name, other.ResourceVersion, other.Spec.VolumeSnapshotRef.Name = "a-first", "", "unreadable"
	if err := errors.Join(c.Create(t.Context(), other), c.Delete(t.Context(), p.Snapshot)); err != nil {
		t.Fatal(err)
	}
	live := interceptor.NewClient(c.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if key.Name == "unreadable" {
				return errBroken
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	if err := sharing.Sweep(t.Context(), c, live); !errors.Is(err, errBroken) || read(t, c).Content != nil {
		t.Errorf("%v; left: %+v", err, read(t, c).Content)
	}
}

// TestExists holds that what is being deleted needs no second deletion.
func TestExists(t *testing.T) {
	t.Parallel()
	now := ptr.To(metav1.Now())
	for name, tt := range map[string]struct {
		change func(*sharing.Pair)
		want   bool
	}{
		"both":                     {func(*sharing.Pair) {}, true},
		"the VolumeSnapshot":       {func(p *sharing.Pair) { p.Content = nil }, true},
		"the content":              {func(p *sharing.Pair) { p.Snapshot = nil }, true},
		"the content is left":      {func(p *sharing.Pair) { p.Snapshot.DeletionTimestamp = now }, true},
		"the snapshot is left":     {func(p *sharing.Pair) { p.Content.DeletionTimestamp = now }, true},
		"both are being deleted":   {func(p *sharing.Pair) { p.Content.DeletionTimestamp, p.Snapshot.DeletionTimestamp = now, now }, false},
		"one, being deleted":       {func(p *sharing.Pair) { p.Content, p.Snapshot.DeletionTimestamp = nil, now }, false},
		"the other, being deleted": {func(p *sharing.Pair) { p.Snapshot, p.Content.DeletionTimestamp = nil, now }, false},
	} {
		_, p := created(t)
		if tt.change(&p); p.Exists() != tt.want {
			t.Errorf("%s: %v", name, !tt.want)
		}
	}
}

// TestWithoutOwner holds that no VolumeSnapshot is created which would outlive its PVC.
func TestWithoutOwner(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := snapshotv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).Build()
	if err := crossing().Create(t.Context(), c, sharing.Pair{}, "test"); err == nil || !strings.Contains(err.Error(), "VolumeSnapshot for PVC team/build: ") || read(t, c).Exists() {
		t.Errorf("%v", err)
	}
}
