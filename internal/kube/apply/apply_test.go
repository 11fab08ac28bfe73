package apply_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/cached"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/faults"
)

var server *env.Env

func TestMain(m *testing.M) {
	os.Exit(env.Main(m, func(e *env.Env) { server = e }))
}

// world is an owner, and an applier whose writes are counted.
type world struct {
	t       *testing.T
	owner   *v1alpha1.GoCache
	applier apply.Applier
	count   *faults.Mortal
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, count: &faults.Mortal{}}
	w.owner = w.cache(server.Namespace(t), "ci")
	w.applier = apply.Applier{Client: w.count.Client(server.Client), Live: server.Client, FieldOwner: "test"}
	return w
}

func (w *world) cache(namespace, name string) *v1alpha1.GoCache {
	w.t.Helper()
	c := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.GoCacheSpec{Toolchain: v1alpha1.Toolchain{Version: "1.26.8"}}}
	c.Spec.Storage.Size = resource.MustParse("1Gi")
	w.must(server.Client.Create(w.t.Context(), c))
	return c
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// config is a desired ConfigMap.
func (w *world) config(data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.owner.Namespace, Name: "c", Labels: map[string]string{v1alpha1.CacheLabel: "ci"}},
		Data:       data,
	}
}

// apply applies and reports whether that took a write.
func (w *world) apply(owner apply.Owner, o client.Object) bool {
	w.t.Helper()
	before := len(w.count.Writes)
	wrote, err := w.applier.Apply(w.t.Context(), owner, o)
	w.must(err)
	if did := len(w.count.Writes) > before; did != wrote {
		w.t.Errorf("it says it wrote: %v, it wrote: %v", wrote, did)
	}
	return wrote
}

func (w *world) live() *corev1.ConfigMap {
	w.t.Helper()
	var cm corev1.ConfigMap
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.owner.Namespace, Name: "c"}, &cm))
	return &cm
}

func TestApply(t *testing.T) {
	w := newWorld(t)
	owner := apply.ControlledBy(w.owner)
	if !w.apply(owner, w.config(map[string]string{"a": "1", "b": "2"})) {
		t.Error("a new object took no write")
	}
	cm := w.live()
	if cm.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue || !metav1.IsControlledBy(cm, w.owner) {
		t.Errorf("not marked as ours: %+v", cm.ObjectMeta)
	}
	if w.apply(owner, w.config(map[string]string{"a": "1", "b": "2"})) {
		t.Error("nothing changed, and it wrote")
	}

	cm.Data["a"], cm.Data["theirs"] = "changed", "stays"
	w.must(server.Client.Update(t.Context(), cm))
	if !w.apply(owner, w.config(map[string]string{"a": "1", "b": "2"})) {
		t.Error("drift was left")
	}
	if got := w.live().Data; got["a"] != "1" || got["theirs"] != "stays" {
		t.Errorf("after drift: %v", got)
	}
	if w.apply(owner, w.config(map[string]string{"a": "1", "b": "2"})) {
		t.Error("somebody else's field makes it write")
	}

	if !w.apply(owner, w.config(map[string]string{"a": "1"})) {
		t.Error("a field that is no longer wanted took no write")
	}
	if got := w.live().Data; got["b"] != "" {
		t.Errorf("a field that is no longer wanted stays: %v", got)
	}
}

// TestDefaultsAreNoDrift applies objects that the API server completes, each
// twice.
func TestDefaultsAreNoDrift(t *testing.T) {
	w := newWorld(t)
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: w.owner.Namespace, Name: name}
	}
	pod := corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: ptr.To(false),
		Containers: []corev1.Container{{
			Name: "c", Image: "i", Env: []corev1.EnvVar{{Name: "EMPTY"}, {Name: "A", Value: "1"}},
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000m")}},
		}},
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}
	for _, o := range []client.Object{
		&corev1.Pod{ObjectMeta: meta("p"), Spec: pod},
		&corev1.Service{ObjectMeta: meta("s"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}, Selector: map[string]string{"a": "b"}}},
		&corev1.PersistentVolumeClaim{ObjectMeta: meta("v"), Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1024Mi")}},
		}},
	} {
		if !w.apply(apply.ControlledBy(w.owner), o) {
			t.Errorf("%T took no write", o)
		}
		if w.apply(apply.ControlledBy(w.owner), o) {
			t.Errorf("%T is written again though nothing changed", o)
		}
	}
}

// TestOwnership holds that an object goes over from one kind of ownership to
// the other, both ways.
func TestOwnership(t *testing.T) {
	w := newWorld(t)
	data := map[string]string{"a": "1"}
	for i, tt := range []struct {
		owner      apply.Owner
		controlled bool
	}{
		{apply.DetachedFrom(w.owner), false},
		{apply.ControlledBy(w.owner), true},
		{apply.DetachedFrom(w.owner), false},
	} {
		if !w.apply(tt.owner, w.config(data)) {
			t.Errorf("step %d took no write", i)
		}
		if got := metav1.IsControlledBy(w.live(), w.owner); got != tt.controlled {
			t.Errorf("step %d: controlled %v, want %v", i, got, tt.controlled)
		}
		if w.apply(tt.owner, w.config(data)) {
			t.Errorf("step %d is repeated", i)
		}
	}
}

// TestOwn holds the same for an object whose desired state is not known, and
// that nothing else of it changes.
func TestOwn(t *testing.T) {
	w := newWorld(t)
	w.must(server.Client.Create(t.Context(), w.config(map[string]string{"a": "1"})))
	for i, tt := range []struct {
		owner             apply.Owner
		wrote, controlled bool
	}{
		{apply.DetachedFrom(w.owner), false, false},
		{apply.ControlledBy(w.owner), true, true},
		{apply.ControlledBy(w.owner), false, true},
		{apply.DetachedFrom(w.owner), true, false},
	} {
		wrote, err := apply.Own(t.Context(), server.Client, tt.owner, w.live())
		w.must(err)
		if live := w.live(); wrote != tt.wrote || metav1.IsControlledBy(live, w.owner) != tt.controlled || live.Data["a"] != "1" {
			t.Errorf("step %d: wrote %v, now %+v", i, wrote, live)
		}
	}
	// Of a large object the cache holds the controller alone.
	other := w.live()
	other.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Secret", Name: "other", UID: "1"}}
	other.Data["large"] = strings.Repeat("x", cached.MaxBytes)
	w.must(server.Client.Update(t.Context(), other))
	reduced := cached.Trimmed(w.live())
	if !cached.Reduced(reduced) {
		t.Fatal("it is not large enough")
	}
	wrote, err := apply.Own(t.Context(), server.Client, apply.ControlledBy(w.owner), reduced)
	w.must(err)
	if live := w.live(); !wrote || len(live.OwnerReferences) != 2 || !metav1.IsControlledBy(live, w.owner) {
		t.Errorf("a large object with another owner: wrote %v, now %+v", wrote, live.OwnerReferences)
	}
	gone := cached.Trimmed(w.live())
	w.must(server.Client.Delete(t.Context(), w.live()))
	if wrote, err := apply.Own(t.Context(), server.Client, apply.DetachedFrom(w.owner), gone); wrote || err != nil {
		t.Errorf("a large object that is gone: %v, %v", wrote, err)
	}
	if wrote, err := apply.Own(t.Context(), server.Client, apply.ControlledBy(w.owner), gone); wrote || err != nil {
		t.Errorf("an object that is gone: %v, %v", wrote, err)
	}
}

// TestConflict holds that no object of another owner is taken over, also when
// the cache does not hold it.
func TestConflict(t *testing.T) {
	ours := map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
	tests := []struct {
		name    string
		make    func(w *world, cm *corev1.ConfigMap)
		refused string
	}{
		{"somebody else's", func(*world, *corev1.ConfigMap) {}, "without label app.kubernetes.io/managed-by=gocache-operator"},
		{"controlled by another object", func(w *world, cm *corev1.ConfigMap) {
			cm.Labels = ours
			cm.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(w.cache(cm.Namespace, "other"), v1alpha1.GroupVersion.WithKind("GoCache"))}
		}, "controlled by GoCache other"},
		{"outlived another object", func(_ *world, cm *corev1.ConfigMap) {
			cm.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.ProxyLabel: "p"}
		}, "with label cache.gocache.dev/proxy=p"},
		{"outlived one of the same name", func(_ *world, cm *corev1.ConfigMap) {
			cm.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.CacheLabel: "ci"}
		}, ""},
	}
	for _, tt := range tests {
		for name, cached := range map[string]bool{"cached": true, "past the cache": false} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				w := newWorld(t)
				cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.owner.Namespace, Name: "c"}, Data: map[string]string{"a": "theirs"}}
				tt.make(w, cm)
				w.must(server.Client.Create(t.Context(), cm))
				if !cached {
					w.applier.Client = blind(w.applier.Client)
				}
				_, err := w.applier.Apply(t.Context(), apply.ControlledBy(w.owner), w.config(map[string]string{"a": "ours"}))
				var conflict *apply.ConflictError
				switch {
				case tt.refused == "" && err != nil:
					t.Errorf("refused: %v", err)
				case tt.refused != "" && !errors.As(err, &conflict):
					t.Errorf("error %v, want a conflict", err)
				case tt.refused != "" && !strings.Contains(err.Error(), tt.refused):
					t.Errorf("conflict %q, want %q", err, tt.refused)
				}
				if got := w.live().Data["a"]; (got == "theirs") != (tt.refused != "") {
					t.Errorf("the object holds %q", got)
				}
			})
		}
	}
}

// blind is a client whose cache holds nothing.
func blind(c client.Client) client.Client {
	return interceptor.NewClient(server.Client, interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
		},
		Patch: func(ctx context.Context, _ client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return c.Patch(ctx, o, p, opts...)
		},
	})
}

// TestOurs holds which objects that were read are taken for facts.
func TestOurs(t *testing.T) {
	w := newWorld(t)
	labels := map[string]string{v1alpha1.CacheLabel: "ci"}
	if apply.Ours[corev1.ConfigMap](w.owner, labels, nil) != nil {
		t.Error("nothing became something")
	}
	w.apply(apply.DetachedFrom(w.owner), w.config(nil))
	if apply.Ours(w.owner, labels, w.live()) == nil {
		t.Error("what was made for the owner is not known again")
	}
	if apply.Ours(w.owner, map[string]string{v1alpha1.CacheLabel: "other"}, w.live()) != nil {
		t.Error("what was made for another is taken")
	}
	if apply.Ours(w.owner, labels, &corev1.ConfigMap{}) != nil {
		t.Error("a stranger's is taken")
	}
}

// TestDelete holds that only what was observed is deleted.
func TestDelete(t *testing.T) {
	w := newWorld(t)
	w.apply(apply.ControlledBy(w.owner), w.config(nil))
	old := w.live()
	w.must(apply.Delete(t.Context(), server.Client, old))
	w.must(apply.Delete(t.Context(), server.Client, old))
	w.apply(apply.ControlledBy(w.owner), w.config(nil))
	w.must(apply.Delete(t.Context(), server.Client, old))
	if w.live().UID == old.UID {
		t.Error("the first one is back")
	}
}
