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
	"gocache.dev/operator/internal/kube/sharing"
	"gocache.dev/operator/internal/kube/volume"
)

// sharedFrom makes a GoCache ci that is shared from one in the namespace of another
// world, which offers the verified snapshot ci-1 to this namespace.
func (w *world) sharedFrom(source *world) *world {
	w.t.Helper()
	source.snapshot("ci-1", "ci", metav1.ConditionTrue)
	source.cache("ci", "ci-1")
	source.consent(w.namespace)
	w.create(&v1alpha1.GoCache{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci"},
		Spec:       v1alpha1.GoCacheSpec{Source: &v1alpha1.CacheSource{Namespace: source.namespace, Name: "ci"}},
	})
	return source
}

// consent has the GoCache ci select a namespace by its name; none if empty.
func (w *world) consent(namespace string) {
	w.t.Helper()
	cache := &v1alpha1.GoCache{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, cache))
	cache.Spec.Consumers = nil
	if namespace != "" {
		cache.Spec.Consumers = &v1alpha1.CacheConsumers{NamespaceSelector: v1alpha1.LabelSelector{
			MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}}}
	}
	w.must(server.Client.Update(w.t.Context(), cache))
}

// pairs counts the objects that carry snapshots into this namespace.
func (w *world) pairs() int {
	w.t.Helper()
	var snapshots snapshotv1.VolumeSnapshotList
	w.must(server.Client.List(w.t.Context(), &snapshots, client.InNamespace(w.namespace), client.HasLabels{volume.IntermediateLabel}))
	return len(snapshots.Items) + len(w.contents())
}

// contents are the contents that carry snapshots into this namespace.
func (w *world) contents() []snapshotv1.VolumeSnapshotContent {
	w.t.Helper()
	all, err := sharing.Contents(w.t.Context(), server.Client)
	w.must(err)
	var own []snapshotv1.VolumeSnapshotContent
	for i := range all {
		if all[i].Spec.VolumeSnapshotRef.Namespace == w.namespace {
			own = append(own, all[i])
		}
	}
	return own
}

// pair reads the VolumeSnapshot and the content that were made for a PVC.
func (w *world) pair(claim *corev1.PersistentVolumeClaim) (*snapshotv1.VolumeSnapshot, *snapshotv1.VolumeSnapshotContent) {
	w.t.Helper()
	p, err := sharing.Read(w.t.Context(), server.Client, claim)
	w.must(err)
	if p.Snapshot == nil || p.Content == nil {
		w.t.Fatalf("there is no pair for PVC %s; events: %q", claim.Name, w.events.all())
	}
	return p.Snapshot, p.Content
}

// TestShared asserts that a PVC is populated from a GoCache of another namespace
// that allows it, through a content that nothing else can use and whose deletion
// leaves the CSI snapshot, and that nothing of it stays.
func TestShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source := w.sharedFrom(newWorld(t))
	claim := w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	w.stuck = true
	w.settle("data")
	snapshot, content := w.pair(claim)
	if ref := content.Spec.VolumeSnapshotRef; ref.UID != snapshot.UID || ref.Namespace != w.namespace || ref.Name != snapshot.Name {
		t.Errorf("the content is for VolumeSnapshot %+v, want that of uid %s", ref, snapshot.UID)
	}
	if got := ptr.Deref(content.Spec.Source.SnapshotHandle, ""); got != "snap-of-ci-1" || content.Spec.Driver != driver || content.Spec.DeletionPolicy != snapshotv1.VolumeSnapshotContentRetain {
		t.Errorf("the content has handle %q, driver %q, deletion policy %s", got, content.Spec.Driver, content.Spec.DeletionPolicy)
	}
	if !metav1.IsControlledBy(snapshot, claim) {
		t.Errorf("the VolumeSnapshot is not controlled by the PVC: %+v", snapshot.OwnerReferences)
	}
	if from := w.intermediateOf(claim).Spec.DataSource; from.Name != snapshot.Name {
		t.Errorf("the intermediate PVC is cloned from %s", from.Name)
	}
	if cloned, err := sharing.BeingCloned(t.Context(), server.Client, source.namespace, time.Now()); err != nil || len(cloned) != 1 || cloned[0] != "ci-1" {
		t.Errorf("retention of the source sees %q in use (%v), want ci-1", cloned, err)
	}
	w.stuck = false
	w.settle("data")
	w.populated("data", source.namespace+"/ci-1")
	if n := w.pairs(); n > 0 {
		t.Errorf("%d objects are left that carried the snapshot", n)
	}
	if n := source.pairs(); n > 0 {
		t.Errorf("%d objects were made in the namespace of the source", n)
	}
	w.once("data: Normal Sharing", "CacheSnapshot "+source.namespace+"/ci-1")
	w.once("data: Normal Populated", source.namespace+"/ci-1")
}

// TestNotShared asserts that a PVC gets nothing without the consent of the source, or
// by a chain, and that its event names what is missing.
func TestNotShared(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w, source *world)
		want   string
	}{
		"not selected": {func(_, source *world) { source.consent("") }, "its spec.consumers.namespaceSelector must match the labels of this namespace"},
		"another is":   {func(_, source *world) { source.consent("elsewhere") }, "is not shared with namespace"},
		"no such source": {func(_, source *world) {
			source.must(server.Client.Delete(source.t.Context(), &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: source.namespace, Name: "ci"}}))
		}, "does not exist or is not shared"},
		"a chain": {func(w, source *world) {
			cache := &v1alpha1.GoCache{}
			w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, cache))
			cache.Spec.Source.Name = "middle"
			w.must(server.Client.Update(w.t.Context(), cache))
			// It cannot consent either: the schema refuses consumers beside source.
			w.create(&v1alpha1.GoCache{
				ObjectMeta: metav1.ObjectMeta{Namespace: source.namespace, Name: "middle"},
				Spec:       v1alpha1.GoCacheSpec{Source: &v1alpha1.CacheSource{Namespace: source.namespace, Name: "ci"}},
			})
		}, "/middle does not exist or is not shared"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			source := w.sharedFrom(newWorld(t))
			tt.change(w, source)
			claim := w.claim("data", v1alpha1.GoCacheKind, "ci")
			w.schedule("data", "n1")
			w.settle("data")
			w.once("data: Warning NotShared", tt.want)
			w.neverHandedOver(claim)
			if w.pairs() > 0 || w.intermediateOf(claim) != nil {
				t.Error("something was made for it")
			}
		})
	}
}

// TestConsentIsWithdrawn asserts that a namespace which is not selected any more gets
// nothing from then on, not even a clone that is on its way, and keeps what it has.
func TestConsentIsWithdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source := w.sharedFrom(newWorld(t))
	w.claim("before", v1alpha1.GoCacheKind, "ci")
	w.schedule("before", "n1")
	w.settle("before")
	claim := w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	w.stuck = true
	w.settle("data")
	if w.intermediateOf(claim) == nil {
		t.Fatal("nothing is being cloned")
	}
	source.consent("")
	w.stuck = false
	w.must(w.cluster(t.Context())) // the provisioner finishes before the next pass
	w.settle("data")
	w.neverHandedOver(claim)
	w.once("data: Warning NotShared")
	w.populated("before", source.namespace+"/ci-1")
	if n := w.pairs(); n > 0 {
		t.Errorf("%d objects are left that carried the snapshot", n)
	}
	source.consent(w.namespace) // and it is granted again
	w.settle("data")
	w.populated("data", source.namespace+"/ci-1")
}

// TestSharedEvidence asserts that a clone is handed over only if it was made from
// the content that was verified: what a user of the consumer's namespace, or of the
// source's, can put in its place does not count.
func TestSharedEvidence(t *testing.T) {
	for name, change := range map[string]func(w, source *world, claim *corev1.PersistentVolumeClaim){
		"the snapshot of the source gets another handle": func(_, source *world, _ *corev1.PersistentVolumeClaim) { source.rehandle("ci-1") },
		"the verdict is withdrawn":                       func(_, source *world, _ *corev1.PersistentVolumeClaim) { source.verdict("ci-1", metav1.ConditionFalse) },
		"the snapshot of the source is deleted":          func(_, source *world, _ *corev1.PersistentVolumeClaim) { source.deleteSnapshot("ci-1") },
		"the VolumeSnapshot is created again": func(w, _ *world, claim *corev1.PersistentVolumeClaim) {
			s, _ := w.pair(claim)
			w.must(server.Client.Delete(w.t.Context(), s))
			again := &snapshotv1.VolumeSnapshot{
				ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, Labels: s.Labels, Annotations: s.Annotations, OwnerReferences: s.OwnerReferences},
				Spec:       s.Spec,
			}
			w.create(again)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			source := w.sharedFrom(newWorld(t))
			claim := w.claim("data", v1alpha1.GoCacheKind, "ci")
			w.schedule("data", "n1")
			w.stuck = true
			w.settle("data")
			clone := w.intermediateOf(claim)
			if clone == nil {
				t.Fatalf("nothing is being cloned; events: %q", w.events.all())
			}
			change(w, source, claim)
			w.stuck = false
			w.must(w.cluster(t.Context())) // the provisioner finishes before the next pass
			w.pass("data")
			w.neverHandedOver(claim)
			if now := w.intermediateOf(claim); now != nil && now.UID == clone.UID && now.DeletionTimestamp.IsZero() {
				t.Error("the clone is kept")
			}
		})
	}
}

// TestForgedPair plays a user who makes the VolumeSnapshot of a PVC before the
// operator does, in order to get the content bound to it.
func TestForgedPair(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sharedFrom(newWorld(t))
	claim := w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	forged := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: sharing.SnapshotName(claim.UID)},
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{VolumeSnapshotContentName: ptr.To(sharing.ContentName(claim.UID))}},
	}
	w.create(forged)
	w.settle("data")
	w.once("data: Warning SharingObstructed", forged.Name, "delete it")
	if n := len(w.contents()); n > 0 {
		t.Errorf("%d contents were made for it", n)
	}
	w.must(server.Client.Delete(t.Context(), forged))
	w.settle("data")
	if w.get("data").Status.Phase != corev1.ClaimBound {
		t.Error("the PVC is not populated once the obstacle is gone")
	}
}

// TestSweep asserts that a content is deleted whose PVC was deleted while it was
// being populated, and none that is still needed. A sweep covers all namespaces, and
// so those of other tests: it does not run beside them.
func TestSweep(t *testing.T) {
	w := newWorld(t)
	w.sharedFrom(newWorld(t))
	w.stuck = true
	for _, name := range []string{"data", "other"} {
		w.claim(name, v1alpha1.GoCacheKind, "ci")
		w.schedule(name, "n1")
		w.settle(name)
	}
	w.must(server.Client.Delete(t.Context(), w.get("data")))
	for range 3 { // the PVC and what it controls go
		w.must(w.cluster(t.Context()))
	}
	if n := len(w.contents()); n != 2 {
		t.Fatalf("%d contents, want that of the PVC that is gone and that of the other", n)
	}
	w.must(sharing.Sweep(t.Context(), server.Client, server.Client))
	left := w.contents()
	if len(left) != 1 || left[0].Name != sharing.ContentName(w.get("other").UID) {
		t.Errorf("%d contents are left, want that of the other PVC", len(left))
	}
}

// TestSharedLabelIsRemoved asserts that a user who removes the labels or the owner of a
// VolumeSnapshot keeps neither it nor its content: whose it is is in the content.
func TestSharedLabelIsRemoved(t *testing.T) {
	for name, tt := range map[string]struct{ populated bool }{"while it is cloned": {}, "and the PVC is populated": {true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			source := w.sharedFrom(newWorld(t))
			w.stuck = true
			claim := w.claim("data", v1alpha1.GoCacheKind, "ci")
			w.schedule("data", "n1")
			w.settle("data")
			s, _ := w.pair(claim)
			s.Labels, s.OwnerReferences = nil, nil
			w.must(server.Client.Update(t.Context(), s))
			if tt.populated {
				w.stuck = false
			} else {
				source.consent("")
			}
			w.settle("data")
			if n := len(w.contents()); n > 0 {
				t.Errorf("%d contents are left", n)
			}
			if err := server.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s); err == nil {
				t.Error("the VolumeSnapshot is left")
			}
		})
	}
}

// TestSweepOfBound asserts that a pair is deleted whose PVC needs it no more, though a
// user has removed what shows whose it is. It does not run beside other tests, as
// TestSweep.
func TestSweepOfBound(t *testing.T) {
	w := newWorld(t)
	w.sharedFrom(newWorld(t))
	w.stuck = true
	claim := w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	w.settle("data")
	s, _ := w.pair(claim)
	s.Labels, s.OwnerReferences = nil, nil
	w.must(server.Client.Update(t.Context(), s))
	w.must(sharing.Sweep(t.Context(), server.Client, server.Client))
	if n := len(w.contents()); n != 1 {
		t.Fatalf("%d contents, want that of the PVC that is populated", n)
	}
	w.must(server.Client.Delete(t.Context(), w.get("data")))
	for range 3 {
		w.must(w.cluster(t.Context()))
	}
	w.must(sharing.Sweep(t.Context(), server.Client, server.Client))
	if n := len(w.contents()); n > 0 {
		t.Errorf("%d contents are left", n)
	}
}

// TestUnusedPair asserts that a pair keeps its snapshot from retention for an hour at
// most, and is deleted then if the PVC waits for a node.
func TestUnusedPair(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	source := w.sharedFrom(newWorld(t))
	w.stuckSnapshots = true
	w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	w.settle("data")
	w.changeClaim("data", func(c *corev1.PersistentVolumeClaim) { delete(c.Annotations, volume.SelectedNodeAnnotation) })
	w.settle("data")
	// The clock of the world may be behind that of the API server.
	if again := w.pass("data").RequeueAfter; w.pairs() != 2 || again == 0 || again > time.Hour+time.Minute {
		t.Fatalf("%d objects carry the snapshot, looks again after %s", w.pairs(), again)
	}
	for _, tt := range []struct {
		after time.Duration
		names int
	}{{59 * time.Minute, 1}, {61 * time.Minute, 0}} {
		if names, err := sharing.BeingCloned(t.Context(), server.Client, source.namespace, time.Now().Add(tt.after)); err != nil || len(names) != tt.names {
			t.Errorf("after %s retention of the source sees %q in use (%v), want %d", tt.after, names, err, tt.names)
		}
	}
	w.now = w.now.Add(61 * time.Minute)
	w.settle("data")
	if n := w.pairs(); n > 0 {
		t.Errorf("%d objects are left that nothing is cloned from", n)
	}
	w.stuckSnapshots = false
	w.schedule("data", "n1")
	w.settle("data")
	w.populated("data", source.namespace+"/ci-1")
}

// TestSharingIsReported asserts that a pair which does not become ready is reported.
func TestSharingIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sharedFrom(newWorld(t))
	w.stuckSnapshots = true
	w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	w.settle("data")
	w.now = w.now.Add(time.Hour)
	if again := w.pass("data").RequeueAfter; again == 0 || again > time.Minute {
		t.Errorf("looks again after %s", again)
	}
	w.once("data: Warning SharingFailing", "the snapshot controller has reported nothing")
}
