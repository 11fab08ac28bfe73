package volume

import (
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestLarger(t *testing.T) {
	q := func(s string) *resource.Quantity { return ptr.To(resource.MustParse(s)) }
	for _, tt := range []struct {
		a, b *resource.Quantity
		want string
	}{
		{nil, nil, "0"}, {q("1Gi"), nil, "1Gi"}, {nil, q("1Gi"), "1Gi"}, {q("1Gi"), q("2Gi"), "2Gi"}, {q("1Gi"), q("1000Mi"), "1Gi"},
	} {
		got := Larger(tt.a, tt.b)
		if got.Cmp(resource.MustParse(tt.want)) != 0 {
			t.Errorf("the larger of %v and %v is %v, want %s", tt.a, tt.b, got.String(), tt.want)
		}
	}
}

func TestBound(t *testing.T) {
	claim := func(phase corev1.PersistentVolumeClaimPhase, deleting bool) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: phase}}
		if deleting {
			c.DeletionTimestamp = &metav1.Time{}
			*c.DeletionTimestamp = metav1.Unix(1, 0)
		}
		return c
	}
	for name, tt := range map[string]struct {
		claim *corev1.PersistentVolumeClaim
		want  bool
	}{
		"none": {nil, false}, "bound": {claim(corev1.ClaimBound, false), true}, "pending": {claim(corev1.ClaimPending, false), false},
		"lost": {claim(corev1.ClaimLost, false), false}, "leaving": {claim(corev1.ClaimBound, true), false},
	} {
		if got := Bound(tt.claim); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestReadyToUse(t *testing.T) {
	status := func(ready *bool, content *string) *snapshotv1.VolumeSnapshot {
		return &snapshotv1.VolumeSnapshot{Status: &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ready, BoundVolumeSnapshotContentName: content}}
	}
	for name, tt := range map[string]struct {
		snapshot *snapshotv1.VolumeSnapshot
		want     bool
	}{
		"none": {nil, false}, "no status": {&snapshotv1.VolumeSnapshot{}, false}, "not ready": {status(ptr.To(false), ptr.To("c")), false},
		"nobody says": {status(nil, ptr.To("c")), false}, "no content": {status(ptr.To(true), nil), false}, "ready": {status(ptr.To(true), ptr.To("c")), true},
	} {
		if got := ReadyToUse(tt.snapshot); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestClaimFromASnapshot(t *testing.T) {
	c := Claim{Namespace: "n", Name: "c", Size: resource.MustParse("1Gi"), Snapshot: "s"}.Object()
	if d := c.Spec.DataSource; d == nil || d.Kind != "VolumeSnapshot" || *d.APIGroup != "snapshot.storage.k8s.io" || d.Name != "s" {
		t.Errorf("data source %+v", c.Spec.DataSource)
	}
	if len(c.Spec.AccessModes) != 1 || c.Spec.AccessModes[0] != corev1.ReadWriteOnce || c.Spec.StorageClassName != nil {
		t.Errorf("spec %+v", c.Spec)
	}
}

// TestMadeFrom holds that a PVC which is cloned from another PVC, or from an object of another
// group, of the name of a VolumeSnapshot is not a clone of that.
func TestMadeFrom(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*corev1.TypedLocalObjectReference)
		want   bool
	}{
		"a clone":          {func(*corev1.TypedLocalObjectReference) {}, true},
		"of another name":  {func(from *corev1.TypedLocalObjectReference) { from.Name = "other" }, false},
		"of a PVC":         {func(from *corev1.TypedLocalObjectReference) { from.APIGroup, from.Kind = nil, "PersistentVolumeClaim" }, false},
		"of another group": {func(from *corev1.TypedLocalObjectReference) { from.APIGroup = ptr.To("example.com") }, false},
	} {
		pvc := Claim{Snapshot: "s"}.Object()
		tt.change(pvc.Spec.DataSource)
		if got := MadeFrom(pvc, "s"); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if MadeFrom(Claim{}.Object(), "s") {
		t.Error("an empty one counts as a clone")
	}
}
