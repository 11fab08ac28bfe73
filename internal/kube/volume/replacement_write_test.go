package volume

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/plan/replacement"
)

func TestReplacementPVC(t *testing.T) {
	bound := func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName, c.Status.Phase = "v", corev1.ClaimBound }
	asks := func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName, c.Status.Phase = "v", corev1.ClaimPending }
	deleting := func(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = &metav1.Time{Time: now} }
	for name, tt := range map[string]struct {
		pvc  *corev1.PersistentVolumeClaim
		want replacement.Claim
	}{
		"none":                   {nil, replacement.Claim{}},
		"pending":                {pvc("c"), replacement.Claim{Exists: true, Made: now}},
		"it asks for a volume":   {pvc("c", asks), replacement.Claim{Exists: true, Made: now, Volume: "v"}},
		"bound":                  {pvc("c", bound), replacement.Claim{Exists: true, Made: now, Volume: "v", Bound: true}},
		"bound, being deleted":   {pvc("c", bound, deleting), replacement.Claim{Exists: true, Made: now, Volume: "v", Deleting: true}},
		"pending, being deleted": {pvc("c", deleting), replacement.Claim{Exists: true, Made: now, Deleting: true}},
	} {
		if diff := cmp.Diff(tt.want, ReplacementPVC(tt.pvc)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestVolumeWrites holds that each write to a volume is made on top of what was
// read, that a volume that is gone needs none, and that a failure is reported.
func TestVolumeWrites(t *testing.T) {
	claims := ReplacementPVCs{Owner: "owner-uid", Namespace: "n", LiveName: "ci", NextName: "ci-next", PreviousName: "ci-previous", Live: pvc("ci")}
	secured := func(v *corev1.PersistentVolume) {
		v.Annotations = map[string]string{PolicyAnnotation: "Delete", OwnerAnnotation: "owner-uid"}
		v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	}
	ours := pv("v", reserved("n", "ci", "ci-uid"), secured)
	for verb, write := range map[string]func(client.Client, *corev1.PersistentVolume) error{
		"secure": func(c client.Client, v *corev1.PersistentVolume) error {
			return claims.Secure(t.Context(), c, v, "test")
		},
		"reserve": func(c client.Client, v *corev1.PersistentVolume) error {
			return claims.Reserve(t.Context(), c, v, "ci", "test")
		},
		"free": func(c client.Client, v *corev1.PersistentVolume) error { return claims.Free(t.Context(), c, v, "test") },
	} {
		c := builder(t, ours.DeepCopy()).Build()
		read := get[corev1.PersistentVolume](t, c, "", "v")
		changed := read.DeepCopy()
		changed.Labels = map[string]string{"changed": "meanwhile"}
		if err := c.Update(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		if err := write(c, read); !apierrors.IsConflict(err) {
			t.Errorf("%s on what has changed since: %v", verb, err)
		}
		if after := get[corev1.PersistentVolume](t, c, "", "v"); after.ResourceVersion != changed.ResourceVersion {
			t.Errorf("%s changed it: %+v", verb, after)
		}
		if err := write(builder(t).Build(), read); err != nil {
			t.Errorf("%s, it is gone: %v", verb, err)
		}
		if err := write(broken(t, errBroken), read); !errors.Is(err, errBroken) {
			t.Errorf("%s, the write fails: %v", verb, err)
		}
	}
}

// TestReserveAndFree holds that a volume always names a PVC: one that names none
// is taken by any PVC of its class.
func TestReserveAndFree(t *testing.T) {
	claims := ReplacementPVCs{Owner: "owner-uid", Namespace: "n", LiveName: "ci", NextName: "ci-next", PreviousName: "ci-previous", Next: pvc("ci-next")}
	c := builder(t, pv("v", reserved("n", "ci-next", "ci-next-uid"))).Build()
	read := func() *corev1.PersistentVolume { return get[corev1.PersistentVolume](t, c, "", "v") }
	if err := claims.Free(t.Context(), c, read(), "test"); err != nil || read().Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
		t.Fatalf("free of one without a mark: %v, %+v", err, read().Spec)
	}
	if err := claims.Secure(t.Context(), c, read(), "test"); err != nil {
		t.Fatal(err)
	}
	if err := claims.Reserve(t.Context(), c, read(), "ci", "test"); err != nil {
		t.Fatal(err)
	}
	want := &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: "n", Name: "ci"}
	if diff := cmp.Diff(want, read().Spec.ClaimRef); diff != "" {
		t.Errorf("reserved: %s", diff)
	}
	// The PVC was never made: the volume is released, so that its policy decides.
	if err := claims.Free(t.Context(), c, read(), "test"); err != nil {
		t.Fatal(err)
	}
	v := read()
	if v.Spec.ClaimRef == nil || v.Spec.ClaimRef.UID != "v-uid" || v.Spec.ClaimRef.Name != "ci" || v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || len(v.Annotations) > 0 {
		t.Errorf("freed: %+v, %v", v.Spec, v.Annotations)
	}
}

func TestCreateOn(t *testing.T) {
	owner := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "ci", UID: types.UID("owner-uid")}}
	claim := Claim{Namespace: "n", Name: "ci", Class: ptr.To(""), Size: resource.MustParse("1Gi")}
	for name, controller := range map[string]client.Object{"it goes with its owner": owner, "it outlives its owner": nil} {
		c := builder(t).Build()
		if err := CreateOn(t.Context(), c, controller, claim, "v", "test"); err != nil {
			t.Fatal(err)
		}
		got := get[corev1.PersistentVolumeClaim](t, c, "n", "ci")
		if got.Spec.VolumeName != "v" || got.Labels[v1alpha1.ManagedByLabel] != v1alpha1.ManagedByValue || metav1.IsControlledBy(got, owner) != (controller != nil) {
			t.Errorf("%s: %+v", name, got)
		}
		// A class of "" is not the default class: that one would make a new volume.
		if got.Spec.StorageClassName == nil || *got.Spec.StorageClassName != "" {
			t.Errorf("%s: class %v", name, got.Spec.StorageClassName)
		}
		var conflict *apply.ConflictError
		if err := CreateOn(t.Context(), c, controller, claim, "w", "test"); !errors.As(err, &conflict) || conflict.Name != "ci" {
			t.Errorf("%s, and it exists: %v", name, err)
		}
	}
	if err := CreateOn(t.Context(), broken(t, errBroken), nil, claim, "v", "test"); !errors.Is(err, errBroken) {
		t.Errorf("the write fails: %v", err)
	}
	// An owner in another namespace would have the PVC collected at once.
	elsewhere := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: "m", Name: "ci", UID: types.UID("owner-uid")}}
	c := builder(t).Build()
	if err := CreateOn(t.Context(), c, elsewhere, claim, "v", "test"); err == nil || !strings.Contains(err.Error(), "PVC n/ci") {
		t.Errorf("an owner in another namespace: %v", err)
	}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "ci"}, &corev1.PersistentVolumeClaim{}); !apierrors.IsNotFound(err) {
		t.Errorf("it was created for an owner in another namespace: %v", err)
	}
}
