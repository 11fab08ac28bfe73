package volume

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestSnapshotObject(t *testing.T) {
	want := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s", Labels: map[string]string{"a": "b"}},
		Spec: snapshotv1.VolumeSnapshotSpec{
			VolumeSnapshotClassName: ptr.To("csi"),
			Source:                  snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: ptr.To("c")},
		},
	}
	got := Snapshot{Namespace: "n", Name: "s", Labels: map[string]string{"a": "b"}, Class: ptr.To("csi"), Claim: "c"}.Object()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSnapshotError(t *testing.T) {
	status := func(s *snapshotv1.VolumeSnapshotStatus) *snapshotv1.VolumeSnapshot {
		return &snapshotv1.VolumeSnapshot{Status: s}
	}
	for name, tt := range map[string]struct {
		snapshot *snapshotv1.VolumeSnapshot
		want     string
	}{
		"no snapshot": {nil, ""},
		"no status":   {status(nil), ""},
		"no error":    {status(&snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true)}), ""},
		"no message":  {status(&snapshotv1.VolumeSnapshotStatus{Error: &snapshotv1.VolumeSnapshotError{}}), ""},
		"an error":    {status(&snapshotv1.VolumeSnapshotStatus{Error: &snapshotv1.VolumeSnapshotError{Message: ptr.To("no space")}}), "no space"},
	} {
		if got := SnapshotError(tt.snapshot); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestSnapshotThatIsBeingDeletedIsNotReady(t *testing.T) {
	s := &snapshotv1.VolumeSnapshot{Status: &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To("c")}}
	if !ReadyToUse(s) {
		t.Fatal("it is not ready")
	}
	s.DeletionTimestamp = &metav1.Time{Time: now}
	if ReadyToUse(s) {
		t.Error("one that is being deleted can be restored")
	}
}
