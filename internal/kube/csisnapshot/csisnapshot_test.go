package csisnapshot_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/csisnapshot"
)

var errBroken = errors.New("the server is down")

func builder(t *testing.T, objects ...client.Object) *fake.ClientBuilder {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...)
}

func cache() *v1alpha1.GoCache {
	return &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci", UID: "ci-uid"}}
}

// snapshot is a CacheSnapshot that the policy of cache "ci" made.
func snapshot(name string, changes ...func(*v1alpha1.CacheSnapshot)) *v1alpha1.CacheSnapshot {
	s := &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: name, UID: types.UID(name + "-uid"),
			Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
		},
		Spec: v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

func of(kind, name string) func(*v1alpha1.CacheSnapshot) {
	return func(s *v1alpha1.CacheSnapshot) { s.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: kind, Name: name} }
}

func failing() interceptor.Funcs {
	return interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errBroken
		},
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return errBroken
		},
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			return errBroken
		},
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return errBroken
		},
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
			return errBroken
		},
	}
}

func names(all []v1alpha1.CacheSnapshot) []string {
	var names []string
	for i := range all {
		names = append(names, all[i].Name)
	}
	slices.Sort(names)
	return names
}

func TestTake(t *testing.T) {
	template := &v1alpha1.PodTemplate{PriorityClassName: "low"}
	verification := v1alpha1.Verification{Mode: v1alpha1.VerificationRequired, Trust: &v1alpha1.Trust{FirstSeen: true}}
	source := v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}
	for name, tt := range map[string]struct {
		policy *v1alpha1.SnapshotPolicy
		owned  bool
		want   v1alpha1.CacheSnapshotSpec
	}{
		"on request, without a policy": {nil, false, v1alpha1.CacheSnapshotSpec{SourceRef: source, PodTemplate: template}},
		"outlives the object": {
			&v1alpha1.SnapshotPolicy{VolumeSnapshotClassName: ptr.To("csi"), Verification: verification, DeletionPolicy: v1alpha1.DeletionRetain}, false,
			v1alpha1.CacheSnapshotSpec{SourceRef: source, PodTemplate: template, VolumeSnapshotClassName: ptr.To("csi"), Verification: verification},
		},
		"a class of no name, which no snapshot may have": {
			&v1alpha1.SnapshotPolicy{VolumeSnapshotClassName: ptr.To("")}, false,
			v1alpha1.CacheSnapshotSpec{SourceRef: source, PodTemplate: template},
		},
		"goes with the object": {
			&v1alpha1.SnapshotPolicy{DeletionPolicy: v1alpha1.DeletionDelete}, true,
			v1alpha1.CacheSnapshotSpec{SourceRef: source, PodTemplate: template},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := builder(t).Build()
			policy := csisnapshot.Policy{Of: cache(), Spec: tt.policy, PodTemplate: template}
			a := apply.Applier{Client: c, Live: c, FieldOwner: "test"}
			labels := map[string]string{v1alpha1.CacheLabel: "ci"}
			if err := policy.Take(t.Context(), a, "ci-1", source, labels); err != nil {
				t.Fatal(err)
			}
			var got v1alpha1.CacheSnapshot
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "ci-1"}, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.Spec); diff != "" {
				t.Error(diff)
			}
			if metav1.IsControlledBy(&got, cache()) != tt.owned {
				t.Errorf("owned by %+v", got.OwnerReferences)
			}
			if got.Labels[v1alpha1.CacheLabel] != "ci" || got.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue {
				t.Errorf("labels %v", got.Labels)
			}
		})
	}
}

// TestTakeRefusesAnotherOwnersName holds that a snapshot that a user made under
// the same name is reported and left as it is.
func TestTakeRefusesAnotherOwnersName(t *testing.T) {
	c := builder(t, snapshot("ci-1", func(s *v1alpha1.CacheSnapshot) { s.Labels = nil; s.Spec.Pinned = true })).Build()
	err := csisnapshot.Policy{Of: cache()}.Take(t.Context(), apply.Applier{Client: c, Live: c, FieldOwner: "test"}, "ci-1", v1alpha1.SnapshotSource{}, nil)
	var conflict *apply.ConflictError
	if !errors.As(err, &conflict) || conflict.Name != "ci-1" || conflict.Kind != "CacheSnapshot" {
		t.Errorf("error %v", err)
	}
	var got v1alpha1.CacheSnapshot
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "ci-1"}, &got); err != nil || !got.Spec.Pinned {
		t.Errorf("it was changed: %+v, %v", got.Spec, err)
	}
}

// TestTakeOfWhatExists holds that a snapshot that a pass has created before it could
// record that stays as it is, though the policy was edited: most of a snapshot's spec
// cannot be changed.
func TestTakeOfWhatExists(t *testing.T) {
	before := snapshot("ci-1")
	c := builder(t, before).Build()
	policy := csisnapshot.Policy{Of: cache(), Spec: &v1alpha1.SnapshotPolicy{Verification: v1alpha1.Verification{Trust: &v1alpha1.Trust{FirstSeen: true}}}}
	if err := policy.Take(t.Context(), apply.Applier{Client: c, Live: c, FieldOwner: "test"}, "ci-1", v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}, nil); err != nil {
		t.Fatal(err)
	}
	var got v1alpha1.CacheSnapshot
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "ci-1"}, &got); err != nil || !cmp.Equal(got.Spec, before.Spec) {
		t.Errorf("it was changed: %+v, %v", got.Spec, err)
	}
}

func TestTakeFails(t *testing.T) {
	c := builder(t).WithInterceptorFuncs(failing()).Build()
	err := csisnapshot.Policy{Of: cache()}.Take(t.Context(), apply.Applier{Client: c, Live: c, FieldOwner: "test"}, "ci-1", v1alpha1.SnapshotSource{}, nil)
	if !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}

// TestOwn holds that a change of the policy reaches the snapshots that exist, of
// those that the policy made alone.
func TestOwn(t *testing.T) {
	controlled := func(s *v1alpha1.CacheSnapshot) {
		s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(cache(), v1alpha1.GroupVersion.WithKind(v1alpha1.GoCacheKind))}
	}
	byUser := func(s *v1alpha1.CacheSnapshot) { s.Labels = nil }
	deleting := func(s *v1alpha1.CacheSnapshot) {
		s.DeletionTimestamp, s.Finalizers = &metav1.Time{Time: metav1.Now().Rfc3339Copy().Time}, []string{"test/hold"}
	}
	for _, tt := range []struct {
		name   string
		policy *v1alpha1.SnapshotPolicy
		want   []string // that are controlled by the cache afterwards
	}{
		{"they go with it", &v1alpha1.SnapshotPolicy{DeletionPolicy: v1alpha1.DeletionDelete}, []string{"deleting-controlled", "detached", "owned", "user-controlled"}},
		{"they outlive it", &v1alpha1.SnapshotPolicy{DeletionPolicy: v1alpha1.DeletionRetain}, []string{"deleting-controlled", "user-controlled"}},
		{"no policy any more", nil, []string{"deleting-controlled", "user-controlled"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := builder(t,
				snapshot("owned", controlled), snapshot("detached"), snapshot("user", byUser), snapshot("user-controlled", byUser, controlled),
				snapshot("deleting", deleting), snapshot("deleting-controlled", deleting, controlled),
			).Build()
			all, err := csisnapshot.Of(t.Context(), c, false, "n", v1alpha1.GoCacheKind, "ci")
			if err != nil {
				t.Fatal(err)
			}
			policy := csisnapshot.Policy{Of: cache(), Spec: tt.policy}
			if err := policy.Own(t.Context(), c, all); err != nil {
				t.Fatal(err)
			}
			after, err := csisnapshot.Of(t.Context(), c, false, "n", v1alpha1.GoCacheKind, "ci")
			if err != nil {
				t.Fatal(err)
			}
			after = slices.DeleteFunc(after, func(s v1alpha1.CacheSnapshot) bool { return !metav1.IsControlledBy(&s, cache()) })
			if diff := cmp.Diff(tt.want, names(after)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOwnFails holds that a write that fails is reported, and that the other
// snapshots get theirs all the same.
func TestOwnFails(t *testing.T) {
	var asked []string
	c := builder(t, snapshot("a"), snapshot("b")).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			asked = append(asked, o.GetName())
			if o.GetName() == "a" {
				return errBroken
			}
			return c.Patch(ctx, o, p, options...)
		},
	}).Build()
	all, err := csisnapshot.Of(t.Context(), c, false, "n", v1alpha1.GoCacheKind, "ci")
	if err != nil {
		t.Fatal(err)
	}
	policy := csisnapshot.Policy{Of: cache(), Spec: &v1alpha1.SnapshotPolicy{DeletionPolicy: v1alpha1.DeletionDelete}}
	if err := policy.Own(t.Context(), c, all); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(asked, []string{"a", "b"}) {
		t.Errorf("written were %v", asked)
	}
}

// TestDrop holds that only what is named is deleted, and only as it was read.
func TestDrop(t *testing.T) {
	c := builder(t, snapshot("a"), snapshot("b"), snapshot("c"), snapshot("d"), snapshot("e")).Build()
	all, err := csisnapshot.Of(t.Context(), c, false, "n", v1alpha1.GoCacheKind, "ci")
	if err != nil {
		t.Fatal(err)
	}
	// Since they were read, b was pinned and c deleted.
	b := snapshot("b")
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
		t.Fatal(err)
	}
	b.Spec.Pinned = true
	if err := errors.Join(c.Update(t.Context(), b), c.Delete(t.Context(), snapshot("c"))); err != nil {
		t.Fatal(err)
	}
	dropped, err := csisnapshot.Drop(t.Context(), c, []string{"d", "c", "b", "a", "unknown"}, all)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"d", "a"}, dropped); diff != "" {
		t.Errorf("reported as dropped: %s", diff)
	}
	left, err := csisnapshot.Of(t.Context(), c, false, "n", v1alpha1.GoCacheKind, "ci")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b", "e"}, names(left)); diff != "" {
		t.Errorf("left: %s", diff)
	}
}

func TestDropFails(t *testing.T) {
	all := []v1alpha1.CacheSnapshot{*snapshot("a"), *snapshot("b")}
	c := builder(t, snapshot("a"), snapshot("b")).WithInterceptorFuncs(interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, _ ...client.DeleteOption) error {
			if o.GetName() == "a" {
				return errBroken
			}
			return c.Delete(ctx, o)
		},
	}).Build()
	dropped, err := csisnapshot.Drop(t.Context(), c, []string{"a", "b"}, all)
	if !errors.Is(err, errBroken) || !slices.Equal(dropped, []string{"b"}) {
		t.Errorf("dropped %v, %v", dropped, err)
	}
}

// indexer keeps the index that it is given.
type indexer struct {
	field   string
	extract client.IndexerFunc
	err     error
}

func (i *indexer) IndexField(_ context.Context, _ client.Object, field string, extract client.IndexerFunc) error {
	i.field, i.extract = field, extract
	return i.err
}

// TestOf holds that the answer with the index is the one without it.
func TestOf(t *testing.T) {
	var index indexer
	if err := csisnapshot.Index(t.Context(), &index); err != nil {
		t.Fatal(err)
	}
	c := builder(t,
		snapshot("a"), snapshot("b"), snapshot("other-cache", of(v1alpha1.GoCacheKind, "c")), snapshot("a-proxy-of-that-name", of(v1alpha1.ModProxyKind, "ci")),
		snapshot("other-namespace", func(s *v1alpha1.CacheSnapshot) { s.Namespace = "m" }),
	).WithIndex(&v1alpha1.CacheSnapshot{}, index.field, index.extract).Build()
	for _, tt := range []struct {
		namespace, kind, name string
		want                  []string
	}{
		{"n", v1alpha1.GoCacheKind, "ci", []string{"a", "b"}},
		{"n", v1alpha1.ModProxyKind, "ci", []string{"a-proxy-of-that-name"}},
		{"n", v1alpha1.GoCacheKind, "c", []string{"other-cache"}},
		{"m", v1alpha1.GoCacheKind, "ci", []string{"other-namespace"}},
		{"n", v1alpha1.GoCacheKind, "none", nil},
	} {
		for _, indexed := range []bool{true, false} {
			all, err := csisnapshot.Of(t.Context(), c, indexed, tt.namespace, tt.kind, tt.name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, names(all)); diff != "" {
				t.Errorf("%s %s/%s, with the index: %v: %s", tt.kind, tt.namespace, tt.name, indexed, diff)
			}
		}
	}
}

// TestOfAsksTheIndex holds that a pass does not read the snapshots of all others.
func TestOfAsksTheIndex(t *testing.T) {
	for _, indexed := range []bool{true, false} {
		var asked client.ListOptions
		c := builder(t).WithInterceptorFuncs(interceptor.Funcs{
			List: func(_ context.Context, _ client.WithWatch, _ client.ObjectList, options ...client.ListOption) error {
				asked.ApplyOptions(options)
				return nil
			},
		}).Build()
		if _, err := csisnapshot.Of(t.Context(), c, indexed, "n", v1alpha1.GoCacheKind, "ci"); err != nil {
			t.Fatal(err)
		}
		if asked.Namespace != "n" || (asked.FieldSelector != nil) != indexed {
			t.Errorf("indexed %v: asked for %+v", indexed, asked)
		}
	}
}

func TestOfFails(t *testing.T) {
	c := builder(t).WithInterceptorFuncs(failing()).Build()
	for _, indexed := range []bool{false, true} {
		if all, err := csisnapshot.Of(t.Context(), c, indexed, "n", v1alpha1.GoCacheKind, "ci"); !errors.Is(err, errBroken) {
			t.Errorf("indexed %t: %v, %v", indexed, all, err)
		}
	}
	if err := csisnapshot.Index(t.Context(), &indexer{err: errBroken}); !errors.Is(err, errBroken) {
		t.Errorf("Index: %v", err)
	}
}
