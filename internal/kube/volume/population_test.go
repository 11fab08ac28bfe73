package volume

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
)

// users is the PVC that a user made.
func users(changes ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	return pvc("build", append([]func(*corev1.PersistentVolumeClaim){func(c *corev1.PersistentVolumeClaim) {
		c.Spec.StorageClassName = ptr.To("fast")
		c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}
		c.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeFilesystem)
		c.Spec.VolumeAttributesClassName = ptr.To("gold")
		c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}
	}}, changes...)...)
}

// TestIntermediateObject holds that an intermediate PVC asks for what the
// user's PVC asks for: the cluster refuses to bind a volume that differs.
func TestIntermediateObject(t *testing.T) {
	want := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "intermediate-build-uid",
			Labels:      map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, IntermediateLabel: "build-uid"},
			Annotations: map[string]string{v1alpha1.PopulatedFromAnnotation: "ci-1"},
		},
		Spec: *users().Spec.DeepCopy(),
	}
	want.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: ptr.To("snapshot.storage.k8s.io"), Kind: "VolumeSnapshot", Name: "csi-1"}
	got := IntermediatePVC{For: users(), From: "ci-1", Snapshot: "csi-1"}.Object()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("on any node: %s", diff)
	}
	want.Annotations[IntermediateNodeAnnotation], want.Annotations[SelectedNodeAnnotation] = "node-a", "node-a"
	if diff := cmp.Diff(want, IntermediatePVC{For: users(), From: "ci-1", Snapshot: "csi-1", Node: "node-a"}.Object()); diff != "" {
		t.Errorf("on a node: %s", diff)
	}
}

func TestIntermediateCreate(t *testing.T) {
	p := IntermediatePVC{For: users(), From: "ci-1", Snapshot: "csi-1", Node: "node-a"}
	c := builder(t).Build()
	if err := p.Create(t.Context(), c, "test"); err != nil {
		t.Fatal(err)
	}
	made := get[corev1.PersistentVolumeClaim](t, c, "n", "intermediate-build-uid")
	if !IsIntermediateOf(made, users()) {
		t.Errorf("it is none: %+v", made)
	}
	// The provisioner gives the node back, and a second pass does not undo that.
	if err := FreeNode(t.Context(), c, made, 1, time.Now(), "test"); err != nil {
		t.Fatal(err)
	}
	if err := p.Create(t.Context(), c, "test"); err != nil {
		t.Fatal(err)
	}
	made = get[corev1.PersistentVolumeClaim](t, c, "n", "intermediate-build-uid")
	if made.Annotations[SelectedNodeAnnotation] != "" || made.Annotations[IntermediateNodeAnnotation] != "node-a" {
		t.Errorf("annotations %v", made.Annotations)
	}
	if err := p.Create(t.Context(), broken(t, errBroken), "test"); !errors.Is(err, errBroken) {
		t.Errorf("the write fails: %v", err)
	}
	if err := p.Create(t.Context(), fake.NewClientBuilder().WithScheme(runtime.NewScheme()).Build(), "test"); err == nil || !strings.HasPrefix(err.Error(), "intermediate PVC of n/build: ") {
		t.Errorf("it cannot have an owner: %v", err)
	}
}

// TestIsIntermediateOf holds that a PVC that only resembles an intermediate PVC
// is none: what it holds was not verified.
func TestIsIntermediateOf(t *testing.T) {
	intermediate := func(change func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
		p := IntermediatePVC{For: users(), From: "ci-1", Snapshot: "csi-1"}.Object()
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(users(), corev1.SchemeGroupVersion.WithKind("PersistentVolumeClaim"))}
		change(p)
		return p
	}
	for name, tt := range map[string]struct {
		change func(*corev1.PersistentVolumeClaim)
		want   bool
	}{
		"a prime":                       {func(*corev1.PersistentVolumeClaim) {}, true},
		"no owner":                      {func(p *corev1.PersistentVolumeClaim) { p.OwnerReferences = nil }, false},
		"of an earlier PVC of the name": {func(p *corev1.PersistentVolumeClaim) { p.OwnerReferences[0].UID = "old-uid" }, false},
		"owned and not controlled":      {func(p *corev1.PersistentVolumeClaim) { p.OwnerReferences[0].Controller = nil }, false},
		"no label":                      {func(p *corev1.PersistentVolumeClaim) { delete(p.Labels, IntermediateLabel) }, false},
		"the label of another":          {func(p *corev1.PersistentVolumeClaim) { p.Labels[IntermediateLabel] = "other-uid" }, false},
		"of no CacheSnapshot":           {func(p *corev1.PersistentVolumeClaim) { p.Annotations = nil }, false},
		"empty":                         {func(p *corev1.PersistentVolumeClaim) { p.Spec.DataSource = nil }, false},
		"a clone of another PVC":        {func(p *corev1.PersistentVolumeClaim) { p.Spec.DataSource.Kind = "PersistentVolumeClaim" }, false},
		"of a kind of another group":    {func(p *corev1.PersistentVolumeClaim) { p.Spec.DataSource.APIGroup = ptr.To("example.com") }, false},
		"of a kind of the core group":   {func(p *corev1.PersistentVolumeClaim) { p.Spec.DataSource.APIGroup = nil }, false},
	} {
		if got := IsIntermediateOf(intermediate(tt.change), users()); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestHeldBy(t *testing.T) {
	for name, tt := range map[string]struct {
		pv   *corev1.PersistentVolume
		pvc  *corev1.PersistentVolumeClaim
		want bool
	}{
		"free":                       {pv("v"), pvc("c"), false},
		"no PVC":                     {pv("v", reserved("n", "c", "c-uid")), nil, false},
		"its own":                    {pv("v", reserved("n", "c", "c-uid")), pvc("c"), true},
		"an earlier PVC of the name": {pv("v", reserved("n", "c", "old-uid")), pvc("c"), false},
		"reserved for the name":      {pv("v", reserved("n", "c", "")), pvc("c"), false},
	} {
		if got := HeldBy(tt.pv, tt.pvc); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestPreexisting(t *testing.T) {
	bound := func(v *corev1.PersistentVolume) {
		v.Annotations = map[string]string{boundByControllerAnnotation: "yes"}
	}
	older := func(v *corev1.PersistentVolume) { v.CreationTimestamp = metav1.NewTime(now.Add(-time.Second)) }
	younger := func(v *corev1.PersistentVolume) { v.CreationTimestamp = metav1.NewTime(now.Add(time.Second)) }
	for name, tt := range map[string]struct {
		pv   *corev1.PersistentVolume
		want bool
	}{
		"made for it":                  {pv("v", younger), false},
		"made for it, the same second": {pv("v"), false},
		"older":                        {pv("v", older), true},
		"matched by the cluster":       {pv("v", younger, bound), true},
	} {
		if got := Preexisting(tt.pv, pvc("c")); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// TestHandOverInOneWrite holds that a volume goes from the intermediate PVC to
// the user's PVC in one write, and only as it was read.
func TestHandOverInOneWrite(t *testing.T) {
	intermediate := pvc("intermediate-build-uid")
	of := reserved("n", intermediate.Name, string(intermediate.UID))
	c := builder(t, pv("v", of, func(v *corev1.PersistentVolume) { v.Annotations = map[string]string{"a": "b"} })).Build()
	read := get[corev1.PersistentVolume](t, c, "", "v")
	if err := HandOver(t.Context(), c, read, intermediate, users(), "ci-1", "test"); err != nil {
		t.Fatal(err)
	}
	got := get[corev1.PersistentVolume](t, c, "", "v")
	want := &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "n", Name: "build", UID: "build-uid"}
	if diff := cmp.Diff(want, got.Spec.ClaimRef); diff != "" {
		t.Error(diff)
	}
	if got.Annotations[v1alpha1.PopulatedFromAnnotation] != "ci-1" || got.Annotations["a"] != "b" {
		t.Errorf("annotations %v", got.Annotations)
	}
	// On what was read before that write it is a conflict, and changes nothing.
	if err := HandOver(t.Context(), c, read, intermediate, pvc("other"), "ci-2", "test"); !apierrors.IsConflict(err) {
		t.Errorf("on what has changed since: %v", err)
	}
	if after := get[corev1.PersistentVolume](t, c, "", "v"); after.ResourceVersion != got.ResourceVersion {
		t.Errorf("it was changed: %+v", after.Spec.ClaimRef)
	}
	// A volume that is gone cannot be handed over: the caller must get an error.
	if err := HandOver(t.Context(), c, pv("gone", of), intermediate, users(), "ci-1", "test"); !apierrors.IsNotFound(err) {
		t.Errorf("gone: %v", err)
	}
	if err := HandOver(t.Context(), broken(t, errBroken), read, intermediate, users(), "ci-1", "test"); !errors.Is(err, errBroken) {
		t.Errorf("the write fails: %v", err)
	}
}

func TestFreeNode(t *testing.T) {
	chosen := func(c *corev1.PersistentVolumeClaim) {
		c.Annotations = map[string]string{SelectedNodeAnnotation: "node-a", IntermediateNodeAnnotation: "node-a"}
	}
	c := builder(t, pvc("c", chosen)).Build()
	read := get[corev1.PersistentVolumeClaim](t, c, "n", "c")
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	if err := FreeNode(t.Context(), c, read, 2, at, "test"); err != nil {
		t.Fatal(err)
	}
	got := get[corev1.PersistentVolumeClaim](t, c, "n", "c")
	want := map[string]string{IntermediateNodeAnnotation: "node-a", RejectionsAnnotation: "2", RejectedAtAnnotation: "2026-11-28T12:00:00Z"}
	if diff := cmp.Diff(want, got.Annotations); diff != "" {
		t.Error(diff)
	}
	if n, since := Rejections(got, at.Add(time.Minute)); n != 2 || since != time.Minute {
		t.Errorf("reads %d rejections, the last one %s ago", n, since)
	}
	if read.Annotations[SelectedNodeAnnotation] != "node-a" {
		t.Error("what was read was changed")
	}
	if err := FreeNode(t.Context(), c, got.DeepCopy(), 5000, at, "test"); err != nil {
		t.Fatal(err)
	}
	if many := get[corev1.PersistentVolumeClaim](t, c, "n", "c"); many.Annotations[RejectionsAnnotation] != "1000" {
		t.Errorf("5000 are written as %q", many.Annotations[RejectionsAnnotation])
	}
	if err := FreeNode(t.Context(), c, read, 1, time.Now(), "test"); !apierrors.IsConflict(err) {
		t.Errorf("on what has changed since: %v", err)
	}
	if err := FreeNode(t.Context(), c, pvc("gone", chosen), 1, time.Now(), "test"); err != nil {
		t.Errorf("gone: %v", err)
	}
	if err := FreeNode(t.Context(), broken(t, errBroken), read, 1, time.Now(), "test"); !errors.Is(err, errBroken) {
		t.Errorf("the write fails: %v", err)
	}
}

// TestForgedRejections holds that no text in the annotations of a user's PVC
// delays its clone for longer than rejections do.
func TestForgedRejections(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		count, at string
		want      int
	}{
		"none":          {"", "", 0},
		"no count":      {"many", "2026-11-28T11:59:00Z", 0},
		"negative":      {"-1", "2026-11-28T11:59:00Z", 0},
		"no time":       {"3", "", 0},
		"of the future": {"3", "2999-01-01T00:00:00Z", 0},
		"huge":          {"999999", "2026-11-28T11:59:00Z", 1000},
		"as written":    {"3", "2026-11-28T11:59:00Z", 3},
	} {
		claim := pvc("c", func(c *corev1.PersistentVolumeClaim) {
			c.Annotations = map[string]string{RejectionsAnnotation: tt.count, RejectedAtAnnotation: tt.at}
		})
		if got, since := Rejections(claim, now); got != tt.want || since != 0 && since != time.Minute || (since != 0) != (tt.want > 0) {
			t.Errorf("%s: %d, the last one %s ago, want %d", name, got, since, tt.want)
		}
	}
}
