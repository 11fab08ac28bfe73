package populator

import (
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
)

// replace deletes the CSI snapshot of a CacheSnapshot and makes another one of
// its name, ready to use: as a user with access to VolumeSnapshots can do.
func (w *world) replace(of string) {
	w.t.Helper()
	w.deleteCSISnapshot(of)
	other := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: of + "-csi"},
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: ptr.To("forged")}},
	}
	w.create(other)
	other.Status = &snapshotv1.VolumeSnapshotStatus{BoundVolumeSnapshotContentName: ptr.To("forged-content"), ReadyToUse: ptr.To(true)}
	w.must(server.Client.Status().Update(w.t.Context(), other))
}

// TestReplacedSnapshotIsNotCloned holds that a verdict is about one
// VolumeSnapshot, and not about whatever bears its name.
func TestReplacedSnapshotIsNotCloned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.replace("ci-1")
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	w.settle("data")
	if w.intermediateOf(claim) != nil {
		t.Error("the other snapshot is being cloned")
	}
	w.once("Warning SnapshotReplaced", "ci-1")
}

// TestReplacedWhileCloningIsNotHandedOver replaces the snapshot under the
// provisioner's hands, and lets it finish.
func TestReplacedWhileCloningIsNotHandedOver(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(w *world){
		"replaced":                          func(w *world) { w.replace("ci-1") },
		"gone":                              func(w *world) { w.deleteCSISnapshot("ci-1") },
		"gone, and its CacheSnapshot too":   func(w *world) { w.deleteCSISnapshot("ci-1"); w.deleteSnapshot("ci-1") },
		"of another content by its handle":  func(w *world) { w.rehandle("ci-1") },
		"its CacheSnapshot is gone, forged": func(w *world) { w.deleteSnapshot("ci-1") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.stuck = true
			w.snapshot("ci-1", "ci", metav1.ConditionTrue)
			claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
			w.schedule("data", "n1")
			w.settle("data")
			if w.intermediateOf(claim) == nil {
				t.Fatal("nothing is being cloned")
			}
			change(w)
			w.stuck = false
			w.must(w.cluster(t.Context())) // the provisioner finishes before the next pass
			w.settle("data")
			w.neverHandedOver(claim)
		})
	}
}

// TestForgedIntermediateIsNotHandedOver plays a user who makes the intermediate
// PersistentVolumeClaim before the operator does, from a snapshot of their own,
// with all labels, annotations and references that the operator's bears.
func TestForgedIntermediateIsNotHandedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	forged := volume.IntermediatePVC{For: w.get("data"), From: "ci-1", Snapshot: "of-my-own", Node: "n1"}
	w.must(forged.Create(t.Context(), server.Client, "mallory"))
	w.must(w.cluster(t.Context()))
	clone := w.intermediateOf(claim).Spec.VolumeName
	if clone == "" {
		t.Fatal("the forged one has no volume")
	}
	w.settle("data")
	if w.get("data").Spec.VolumeName == clone {
		t.Error("the volume of the forged one was handed over")
	}
}

// TestOlderIntermediateIsNotHandedOver plays a user who makes the intermediate
// PersistentVolumeClaim from a VolumeSnapshot that had the name before the
// operator's own has it: its volume is a clone of other content.
func TestOlderIntermediateIsNotHandedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	forged := volume.IntermediatePVC{For: w.get("data"), From: "ci-1", Snapshot: "ci-1-csi", Node: "n1"}
	w.must(forged.Create(t.Context(), server.Client, "mallory"))
	w.must(w.cluster(t.Context()))
	made := w.intermediateOf(claim)
	if made.Spec.VolumeName == "" {
		t.Fatal("the forged one has no volume")
	}
	time.Sleep(time.Until(made.CreationTimestamp.Add(1100 * time.Millisecond))) // timestamps have whole seconds
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.settle("data")
	if w.get("data").Spec.VolumeName == made.Spec.VolumeName {
		t.Error("the volume of the forged one was handed over")
	}
	w.populated("data", "ci-1")
}

// TestBorrowedContent plays a user who may write the status of VolumeSnapshots, and names
// the content of another tenant there: it is neither cloned nor shared.
func TestBorrowedContent(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{v1alpha1.CacheSnapshotKind, v1alpha1.GoCacheKind} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			victim, w := newWorld(t), newWorld(t)
			victim.snapshot("theirs", "ci", metav1.ConditionTrue)
			source, from := w, "ci-1"
			if kind == v1alpha1.GoCacheKind {
				source, from = w.sharedFrom(newWorld(t)), "ci"
			} else {
				w.snapshot("ci-1", "ci", metav1.ConditionTrue)
			}
			source.borrow("ci-1", victim.namespace+"-theirs")
			claim := w.claim("data", kind, from)
			w.schedule("data", "n1")
			w.stuck = true
			w.settle("data")
			if n := len(w.contents()); n > 0 || w.intermediateOf(claim) != nil {
				t.Errorf("%d contents carry the content of another tenant, and the intermediate PVC is %v", n, w.intermediateOf(claim))
			}
		})
	}
}

// borrow binds the VolumeSnapshot of a CacheSnapshot to a content of others, and pins it.
func (w *world) borrow(of, name string) {
	w.t.Helper()
	csi, content := &snapshotv1.VolumeSnapshot{}, &snapshotv1.VolumeSnapshotContent{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: of + "-csi"}, csi))
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Name: name}, content))
	csi.Status.BoundVolumeSnapshotContentName = &name
	w.must(server.Client.Status().Update(w.t.Context(), csi))
	w.changeSnapshot(of, func(s *v1alpha1.CacheSnapshot) { volume.Pin(&s.Status, csi, content) })
}

// neverHandedOver holds that a PVC got no volume.
func (w *world) neverHandedOver(claim *corev1.PersistentVolumeClaim) {
	w.t.Helper()
	var pvs corev1.PersistentVolumeList
	w.must(server.Client.List(w.t.Context(), &pvs))
	for i := range pvs.Items {
		if pv := &pvs.Items[i]; volume.HeldBy(pv, claim) {
			w.t.Errorf("volume %s was handed over as CacheSnapshot %s", pv.Name, pv.Annotations[v1alpha1.PopulatedFromAnnotation])
		}
	}
}

func (w *world) deleteSnapshot(name string) {
	w.t.Helper()
	w.must(server.Client.Delete(w.t.Context(), &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}))
}

// rehandle gives the content of a CSI snapshot another handle.
func (w *world) rehandle(of string) {
	w.t.Helper()
	content := &snapshotv1.VolumeSnapshotContent{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Name: w.namespace + "-" + of}, content))
	content.Status.SnapshotHandle = ptr.To("another")
	w.must(server.Client.Status().Update(w.t.Context(), content))
}
