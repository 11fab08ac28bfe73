package volume_test

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/replacement"
)

func pvc(name string, uid types.UID) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: uid}}
}

// pv is a volume with a claimRef, secured for an owner if one is named.
func pv(ref *corev1.ObjectReference, owner string) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "v", Annotations: map[string]string{}}}
	v.Spec.ClaimRef, v.Spec.PersistentVolumeReclaimPolicy = ref, corev1.PersistentVolumeReclaimRetain
	if owner != "" {
		v.Annotations[volume.OwnerAnnotation], v.Annotations[volume.PolicyAnnotation] = owner, "Delete"
	}
	return v
}

func refTo(namespace, name string, uid types.UID) *corev1.ObjectReference {
	return &corev1.ObjectReference{Namespace: namespace, Name: name, UID: uid}
}

// TestHolder holds whose a volume is taken to be, and that one which is not the
// owner's is refused by every function that writes, whatever a caller decided.
func TestHolder(t *testing.T) {
	t.Parallel()
	claims := volume.ReplacementPVCs{
		Owner: "owner", Namespace: "ns", LiveName: "ci", NextName: "ci-next", PreviousName: "ci-previous",
		Live: pvc("ci", "live"), Next: pvc("ci-next", "next"),
	}
	for name, tt := range map[string]struct {
		pv   *corev1.PersistentVolume
		want replacement.Holder
	}{
		"bound to live":                           {pv(refTo("ns", "ci", "live"), ""), replacement.HeldByLive},
		"bound to next":                           {pv(refTo("ns", "ci-next", "next"), ""), replacement.HeldByNext},
		"reserved for live, by us":                {pv(refTo("ns", "ci", ""), "owner"), replacement.HeldByLive},
		"reserved for previous, by us":            {pv(refTo("ns", "ci-previous", ""), "owner"), replacement.HeldByPrevious},
		"of a live that is gone, secured":         {pv(refTo("ns", "ci", "gone"), "owner"), replacement.HeldByGone},
		"of a next that is gone, secured":         {pv(refTo("ns", "ci-next", "gone"), "owner"), replacement.HeldByGone},
		"reserved for live, by a person":          {pv(refTo("ns", "ci", ""), ""), replacement.Unheld},
		"without a claim":                         {pv(nil, "owner"), replacement.Unheld},
		"of another namespace":                    {pv(refTo("other", "ci", "live"), ""), replacement.HeldByStranger},
		"of another namespace, marked":            {pv(refTo("other", "ci", ""), "owner"), replacement.HeldByStranger},
		"of a claim of the name that is gone":     {pv(refTo("ns", "ci", "gone"), ""), replacement.HeldByStranger},
		"secured for another owner":               {pv(refTo("ns", "ci", "gone"), "other"), replacement.HeldByStranger},
		"of another claim of the namespace":       {pv(refTo("ns", "data", "live"), "owner"), replacement.HeldByStranger},
		"uid of live under the name of previous":  {pv(refTo("ns", "ci-previous", "live"), ""), replacement.HeldByStranger},
		"reserved for next, which nothing awaits": {pv(refTo("ns", "ci-next", ""), "owner"), replacement.HeldByGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := claims.Volume(tt.pv)
			if seen.Holder != tt.want || !seen.Exists {
				t.Fatalf("%+v, want holder %d", seen, tt.want)
			}
			refused := tt.want == replacement.HeldByStranger || tt.want == replacement.Unheld
			if refused && (seen.Secured || seen.Marked) {
				t.Errorf("%+v: a volume that is not ours counts as secured", seen)
			}
			for verb, write := range map[string]func(client.Client, *corev1.PersistentVolume) error{
				"secure": func(c client.Client, v *corev1.PersistentVolume) error {
					return claims.Secure(t.Context(), c, v, "test")
				},
				"reserve": func(c client.Client, v *corev1.PersistentVolume) error {
					return claims.Reserve(t.Context(), c, v, "ci", "test")
				},
				"free": func(c client.Client, v *corev1.PersistentVolume) error { return claims.Free(t.Context(), c, v, "test") },
			} {
				before := tt.pv.DeepCopy()
				if verb == "free" { // which leaves one without the mark alone in any case
					metav1.SetMetaDataAnnotation(&before.ObjectMeta, volume.PolicyAnnotation, "Delete")
				}
				c := fake.NewClientBuilder().WithObjects(before).Build()
				var read, after corev1.PersistentVolume
				must(t, c.Get(t.Context(), client.ObjectKey{Name: "v"}, &read))
				err := write(c, &read)
				must(t, c.Get(t.Context(), client.ObjectKey{Name: "v"}, &after))
				wrote := after.ResourceVersion != read.ResourceVersion
				var foreign *volume.ForeignVolumeError
				if refused != errors.As(err, &foreign) || refused == wrote || !refused && err != nil {
					t.Errorf("%s: %v, wrote %v; want it refused: %v", verb, err, wrote, refused)
				}
			}
		})
	}
}

// TestSecureAndFree holds that a volume gets its policy back, and no mark stays.
func TestSecureAndFree(t *testing.T) {
	t.Parallel()
	claims := volume.ReplacementPVCs{Owner: "owner", Namespace: "ns", LiveName: "ci", Live: pvc("ci", "live")}
	v := pv(refTo("ns", "ci", "live"), "")
	v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimDelete
	c := fake.NewClientBuilder().WithObjects(v).Build()
	read := func() *corev1.PersistentVolume {
		var v corev1.PersistentVolume
		must(t, c.Get(t.Context(), client.ObjectKey{Name: "v"}, &v))
		return &v
	}
	must(t, claims.Secure(t.Context(), c, read(), "test"))
	must(t, claims.Secure(t.Context(), c, read(), "test")) // again: what it was is not forgotten
	if v := read(); v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain || v.Annotations[volume.OwnerAnnotation] != "owner" || !claims.Volume(v).Secured {
		t.Fatalf("secured: %+v", v)
	}
	must(t, claims.Free(t.Context(), c, read(), "test"))
	if v := read(); v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || len(v.Annotations) != 0 {
		t.Errorf("freed: %+v", v)
	}
}

// TestHandOver holds that only the volume of the very intermediate PVC goes to
// a PVC.
func TestHandOver(t *testing.T) {
	t.Parallel()
	claim, intermediate := pvc("data", "user"), pvc("intermediate-user", "prime")
	for name, tt := range map[string]struct {
		ref     *corev1.ObjectReference
		refused bool
	}{
		"of the prime":             {refTo("ns", "intermediate-user", "prime"), false},
		"of another claim":         {refTo("other", "data", "victim"), true},
		"of a prime that was":      {refTo("ns", "intermediate-user", "before"), true},
		"of nobody":                {nil, true},
		"of the uid, not from ns":  {refTo("other", "intermediate-user", "prime"), true},
		"reserved for the prime's": {refTo("ns", "intermediate-user", ""), true},
	} {
		c := fake.NewClientBuilder().WithObjects(pv(tt.ref, "")).Build()
		var read, after corev1.PersistentVolume
		must(t, c.Get(t.Context(), client.ObjectKey{Name: "v"}, &read))
		err := volume.HandOver(t.Context(), c, &read, intermediate, claim, "ci-1", "test")
		must(t, c.Get(t.Context(), client.ObjectKey{Name: "v"}, &after))
		var foreign *volume.ForeignVolumeError
		if errors.As(err, &foreign) != tt.refused || !tt.refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if handed := after.Spec.ClaimRef != nil && after.Spec.ClaimRef.UID == "user"; handed == tt.refused {
			t.Errorf("%s: claimRef %+v", name, after.Spec.ClaimRef)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
