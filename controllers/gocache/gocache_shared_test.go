package gocache

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
)

// origin is a GoCache of another namespace, and what it offers.
type origin struct {
	w  *world
	ns string
}

// shareFrom makes the GoCache ci of the world one that is shared from the GoCache go
// of another namespace, which mounts its caches at /c, and does not select it yet.
func (w *world) shareFrom() origin {
	w.t.Helper()
	o := origin{w, server.Namespace(w.t)}
	source := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: o.ns, Name: "go"}, Spec: v1alpha1.GoCacheSpec{
		Toolchain: v1alpha1.Toolchain{Version: "1.26.8"}, Environment: v1alpha1.Environment{MountPath: "/c", Proxy: "https://of.the.source"}}}
	source.Spec.Storage.Size = resource.MustParse("1Gi")
	w.must(server.Client.Create(w.t.Context(), source))
	w.must(server.Client.Create(w.t.Context(), &v1alpha1.GoCache{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci"},
		Spec: v1alpha1.GoCacheSpec{
			Source:      &v1alpha1.CacheSource{Namespace: o.ns, Name: "go"},
			Environment: v1alpha1.Environment{Proxy: "https://of.the.consumer"},
		},
	}))
	return o
}

func (o origin) change(change func(*v1alpha1.GoCache)) {
	o.w.t.Helper()
	c := &v1alpha1.GoCache{}
	o.w.must(server.Client.Get(o.w.t.Context(), client.ObjectKey{Namespace: o.ns, Name: "go"}, c))
	status := c.Status.DeepCopy()
	change(c)
	status.LatestVerifiedSnapshot = c.Status.LatestVerifiedSnapshot
	o.w.must(server.Client.Update(o.w.t.Context(), c))
	c.Status = *status
	o.w.must(server.Client.Status().Update(o.w.t.Context(), c))
}

// offers makes a verified snapshot, and has the source offer it.
func (o origin) offers(name string, created time.Time) {
	w := o.w
	w.t.Helper()
	csi := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.ns, Name: name + "-csi"},
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: ptr.To("go")}},
	}
	w.must(server.Client.Create(w.t.Context(), csi))
	csi.Status = &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To("content-" + name)}
	w.must(server.Client.Status().Update(w.t.Context(), csi))
	s := &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.ns, Name: name},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "go"}},
	}
	w.must(server.Client.Create(w.t.Context(), s))
	s.Status.CreationTime = ptr.To(metav1.NewTime(created))
	s.Status.VolumeSnapshotName, s.Status.VolumeSnapshotUID, s.Status.VolumeSnapshotContentName = csi.Name, string(csi.UID), "content-"+name
	s.Status.Source = &v1alpha1.SourceRecord{PersistentVolumeClaimName: "go", Toolchain: &v1alpha1.ToolchainRecord{Version: "go1.26.8", MountPath: "/c"}}
	s.Status.Verification = v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictIntact, Digest: "sha256:" + name, TotalModules: 9, ProvenModules: 8}
	w.must(server.Client.Status().Update(w.t.Context(), s))
	o.change(func(c *v1alpha1.GoCache) { c.Status.LatestVerifiedSnapshot = name })
}

// TestSharedCache follows a GoCache with spec.source: it has no PVC and no Job, is
// Ready while its source shares a verified snapshot with its namespace, and shows
// which.
func TestSharedCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.shareFrom()
	created := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	w.must(w.pass())
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonNotShared, "GoCache "+o.ns+"/go does not exist or is not shared with namespace "+w.namespace)
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonNotShared, "spec.consumers.namespaceSelector must match")
	w.condition(v1alpha1.SnapshotAvailableCondition, metav1.ConditionFalse, v1alpha1.ReasonNotShared, "")
	if exists[corev1.ConfigMap](w, "ci-env") {
		t.Error("an environment is published for a cache that is not shared")
	}
	if w.last.RequeueAfter == 0 {
		t.Error("the labels of the namespace are not read again")
	}

	o.change(func(c *v1alpha1.GoCache) {
		c.Spec.Consumers = &v1alpha1.CacheConsumers{NamespaceSelector: v1alpha1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}}}
	})
	w.must(w.pass())
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSnapshotPending, "has no verified snapshot to offer")

	o.offers("go-1", created)
	w.must(w.pass())
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "CacheSnapshot "+o.ns+"/go-1, which is Intact and was created at 2026-11-28T12:00:00Z")
	w.condition(v1alpha1.StalledCondition, "", "", "")
	if s := w.get().Status.Source; s.Snapshot != "go-1" || s.Verdict != v1alpha1.VerdictIntact || s.Digest != "sha256:go-1" || !s.CreationTime.Time.Equal(created) || s.ProvenModules != 8 || s.Toolchain.Version != "go1.26.8" || !slices.Equal(s.Builds, []string{"default"}) {
		t.Errorf("the status shows %+v", s)
	}
	env := get[corev1.ConfigMap](w, "ci-env").Data
	if env["GOMODCACHE"] != "/c/mod" || env["GOCACHE"] != "/c/build" || env["GOPROXY"] != "https://of.the.consumer" {
		t.Errorf("the environment is %v: paths are those of the source, the proxy is that of the consumer", env)
	}
	var claims corev1.PersistentVolumeClaimList
	w.must(server.Client.List(t.Context(), &claims, inNamespace(w)...))
	if n := len(claims.Items); n > 0 || exists[corev1.ConfigMap](w, "ci-env-offline") == false {
		t.Errorf("%d PVCs were made, or no offline environment", n)
	}

	w.request("warm", v1alpha1.RequestWarmUp)
	w.settle()
	w.answered("warm", v1alpha1.RequestRefused, "request it of its source, GoCache "+o.ns+"/go")
	writes := len(w.mortal.Writes)
	w.must(w.pass())
	if len(w.mortal.Writes) > writes {
		t.Errorf("a pass at rest writes %q", w.mortal.Writes[writes:])
	}

	o.offers("go-2", created.Add(time.Hour))
	w.must(w.pass())
	if s := w.get().Status.Source; s.Snapshot != "go-2" {
		t.Errorf("the status shows %+v, want the newer snapshot", s)
	}

	live := w.reconciler.Live
	w.reconciler.Live = interceptor.NewClient(server.Client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, of client.Object, opts ...client.GetOption) error {
			if _, is := of.(*v1alpha1.CacheSnapshot); is {
				return errors.New("timeout")
			}
			return c.Get(ctx, key, of, opts...)
		},
	})
	if err := w.pass(); err == nil {
		t.Error("a snapshot that cannot be read is no error")
	}
	if s := w.get().Status.Source; s.Snapshot != "go-2" || s.Digest == "" {
		t.Errorf("after a read that failed the status shows %+v, want what it offered before", s)
	}
	w.reconciler.Live = live

	o.change(func(c *v1alpha1.GoCache) { c.Spec.Consumers = nil })
	w.must(w.pass())
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonNotShared, "")
	if s := w.get().Status.Source; s != nil {
		t.Errorf("the status shows %+v of a cache that is not shared any more", s)
	}
	if !exists[corev1.ConfigMap](w, "ci-env") {
		t.Error("the environment of PVCs that were populated is gone")
	}
}
