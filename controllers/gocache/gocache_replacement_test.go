package gocache

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/testing/cluster"
)

// contentDigest is the digest of what every snapshot holds.
const contentDigest = "sha256:aa"

// intactWith is the ending of a check that finds nothing wrong.
func intactWith(digest string) *cluster.Ending {
	return &cluster.Ending{Message: fmt.Sprintf(`{"verdict":"Intact","digest":%q,"counts":{"modules":3,"zips":3,"dirs":3,"buildEntries":7},"findings":{}}`, digest)}
}

// corruptEnding is the ending of a check that finds corrupt content.
func corruptEnding() *cluster.Ending {
	return &cluster.Ending{Exit: 3, Message: `{"verdict":"Corrupt","message":"1 corrupt: Corrupt 1","digest":"sha256:bb","corrupt":1,"findings":{"Corrupt":1}}`}
}

// createCSISnapshot creates the CSI snapshot of a CacheSnapshot and records it, as
// its controller does.
func (w *world) createCSISnapshot(s *v1alpha1.CacheSnapshot) {
	w.t.Helper()
	pvc := get[corev1.PersistentVolumeClaim](w, "ci")
	csi := volume.Snapshot{Namespace: w.namespace, Name: s.Name, Claim: "ci"}.Object()
	csi.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(s, v1alpha1.GroupVersion.WithKind("CacheSnapshot"))}
	if err := server.Client.Create(w.t.Context(), csi); !apierrors.IsAlreadyExists(err) {
		w.must(err)
	}
	csi.Status = &snapshotv1.VolumeSnapshotStatus{
		ReadyToUse: ptr.To(true), CreationTime: ptr.To(metav1.NewTime(w.now)), RestoreSize: ptr.To(resource.MustParse("1Gi")),
		BoundVolumeSnapshotContentName: ptr.To("content-" + s.Name),
	}
	w.must(server.Client.Status().Update(w.t.Context(), csi))
	capacity := pvc.Status.Capacity[corev1.ResourceStorage]
	volume.Pin(&s.Status, csi, nil)
	s.Status.RestoreSize = &capacity
	s.Status.Source = &v1alpha1.SourceRecord{
		PersistentVolumeClaimName: "ci", VolumeName: pvc.Spec.VolumeName, StorageClassName: ptr.Deref(pvc.Spec.StorageClassName, ""), Capacity: &capacity,
		Platform: "linux/amd64", Layers: []v1alpha1.CacheLayer{v1alpha1.LayerModules, v1alpha1.LayerBuild},
		Toolchain: &v1alpha1.ToolchainRecord{Version: "go1.26.8"},
	}
	s.Status.Verification.Digest = contentDigest
}

// volumesAreSafe holds what must hold of volumes at each moment.
func (w *world) volumesAreSafe() {
	w.t.Helper()
	volumes, err := w.cluster.Volumes(w.t.Context())
	w.must(err)
	for name, pv := range volumes {
		if pv.Spec.ClaimRef == nil {
			w.t.Fatalf("volume %s is anybody's", name)
		}
		if w.volumes == nil {
			w.volumes = map[string]string{}
		}
		w.volumes[name] = pv.Annotations[cluster.ContentAnnotation]
	}
	pvc, err := w.cachePVC()
	w.must(err)
	for _, name := range w.cluster.Reclaimed {
		if pvc != nil && pvc.Spec.VolumeName == name && pvc.DeletionTimestamp.IsZero() {
			w.t.Fatalf("the cache PVC's volume %s was deleted", name)
		}
	}
	// The volume that was warmed first goes only after another one, which was
	// verified, took its place.
	active := w.activeReplacement()
	if pvc == nil && active != nil && !w.byHand {
		for _, name := range []string{active.PreviousVolume, active.NextVolume} {
			if name != "" && slices.Contains(w.cluster.Reclaimed, name) {
				w.t.Fatalf("volume %s was deleted while there is no cache PVC", name)
			}
		}
	}
	if active != nil && pvc != nil && pvc.DeletionTimestamp.IsZero() && pvc.Spec.VolumeName == active.NextVolume && active.NextVolume != "" &&
		active.Check.Verdict != v1alpha1.VerdictIntact {
		w.t.Fatalf("the cache PVC has volume %s, which was not verified", active.NextVolume)
	}
}

func (w *world) cachePVC() (*corev1.PersistentVolumeClaim, error) {
	var pvc corev1.PersistentVolumeClaim
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, &pvc)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return &pvc, err
}

func (w *world) activeReplacement() *v1alpha1.VolumeReplacementStatus {
	var c v1alpha1.GoCache
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, &c)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return c.Status.VolumeReplacement
}

// content returns the snapshot that the volume of the cache PVC was made from;
// empty: none.
func (w *world) content() string {
	w.t.Helper()
	pvc := get[corev1.PersistentVolumeClaim](w, "ci")
	if !volume.Bound(pvc) {
		w.t.Fatalf("the cache PVC is %s", pvc.Status.Phase)
	}
	return w.volumes[pvc.Spec.VolumeName]
}

func restoreOf(snapshot, id string) *v1alpha1.Restore {
	return &v1alpha1.Restore{SnapshotRef: v1alpha1.LocalReference{Name: snapshot}, RequestID: id}
}

// cacheWithSnapshot creates a cache, waits until it is warm, and returns the name
// of its verified snapshot.
func (w *world) cacheWithSnapshot(change ...func(*v1alpha1.GoCacheSpec)) string {
	w.t.Helper()
	w.cache(append(change, afterWarmUp)...)
	w.settle()
	names := w.names()
	if len(names) != 1 || w.get().Status.LatestVerifiedSnapshot != names[0] {
		w.t.Fatalf("snapshots %v, verified %q", names, w.get().Status.LatestVerifiedSnapshot)
	}
	w.newEvents()
	return names[0]
}

// noReplacementLeft holds that all temporary objects of a replacement are gone,
// and that every volume has its own reclaim policy.
func (w *world) noReplacementLeft() {
	w.t.Helper()
	if exists[corev1.PersistentVolumeClaim](w, "ci-next") || exists[corev1.PersistentVolumeClaim](w, "ci-next-source") || exists[batchv1.Job](w, "ci-next") {
		w.t.Error("something of the swap is left")
	}
	if c := w.get(); c.Status.VolumeReplacement != nil || len(c.Finalizers) > 0 {
		w.t.Errorf("swap %+v, finalizers %v", c.Status.VolumeReplacement, c.Finalizers)
	}
	volumes, err := w.cluster.Volumes(w.t.Context())
	w.must(err)
	for name, pv := range volumes {
		if pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || pv.Annotations[volume.PolicyAnnotation] != "" {
			w.t.Errorf("volume %s is left with %s, annotations %v", name, pv.Spec.PersistentVolumeReclaimPolicy, pv.Annotations)
		}
	}
}

// snapshotVolume is the volume that a CacheSnapshot was created of.
func (w *world) snapshotVolume(name string) string {
	w.t.Helper()
	return get[v1alpha1.CacheSnapshot](w, name).Status.Source.VolumeName
}

// TestRestore holds that spec.restore replaces the volume of the cache PVC by a
// verified clone, that the old volume is kept for the declared time, and that it
// is deleted then.
func TestRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	snapshot := w.cacheWithSnapshot()
	old := get[corev1.PersistentVolumeClaim](w, "ci")
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Restore = restoreOf(snapshot, "") })
	w.settle()

	if got := w.content(); got != snapshot {
		t.Errorf("the PVC holds %q, want %q", got, snapshot)
	}
	c := w.get()
	if c.Status.Content == nil || c.Status.Content.Snapshot != snapshot || c.Status.Content.Reason != v1alpha1.ReplacementRestore {
		t.Errorf("content %+v", c.Status.Content)
	}
	if c.Status.LastHandledRestore == nil || c.Status.LastHandledRestore.SnapshotRef.Name != snapshot {
		t.Errorf("last handled restore %+v", c.Status.LastHandledRestore)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	w.condition(v1alpha1.WarmCondition, metav1.ConditionTrue, v1alpha1.ReasonWarmedUp, "Restored from CacheSnapshot "+snapshot)
	if len(w.warmUps) != 1 || len(w.names()) != 1 {
		t.Errorf("%d warm-ups, snapshots %v: want one of each", len(w.warmUps), w.names())
	}
	previous := get[corev1.PersistentVolumeClaim](w, "ci-previous")
	if previous.Spec.VolumeName != old.Spec.VolumeName || !volume.Bound(previous) {
		t.Errorf("the old volume %s is not kept: %+v", old.Spec.VolumeName, previous)
	}
	w.noReplacementLeft()
	events := w.newEvents()
	for _, want := range []string{"Started to replace the volume of PVC ci (Restore)", "Replaced the volume of PVC ci (Restore)"} {
		if !strings.Contains(events, want) {
			t.Errorf("no event %q in: %s", want, events)
		}
	}
	// Once per value: nothing more happens.
	before := len(w.mortal.Writes)
	w.wait(time.Hour)
	if wrote := w.mortal.Writes[before:]; len(wrote) > 0 {
		t.Errorf("it went on to write %q", wrote)
	}
	// What is offered is of the old volume: another snapshot takes its place first.
	if got := w.snapshotVolume(snapshot); got != old.Spec.VolumeName {
		t.Fatalf("CacheSnapshot %s is of volume %s, want %s", snapshot, got, old.Spec.VolumeName)
	}
	w.wait(168 * time.Hour)
	if latest := w.get().Status.LatestVerifiedSnapshot; latest == snapshot || w.snapshotVolume(latest) != w.get().Status.Storage.VolumeName {
		t.Errorf("CacheSnapshot %s of volume %s is offered, and its volume is deleted", latest, w.snapshotVolume(latest))
	}
	if exists[corev1.PersistentVolumeClaim](w, "ci-previous") || !slices.Contains(w.cluster.Reclaimed, old.Spec.VolumeName) {
		t.Errorf("the old volume is kept for ever; reclaimed: %v", w.cluster.Reclaimed)
	}
	if !meta.IsStatusConditionTrue(w.get().Status.Conditions, v1alpha1.ReadyCondition) {
		t.Errorf("not ready: %+v", w.get().Status.Conditions)
	}
}

// TestRestoreIntoALargerVolume holds that content is copied if the driver makes no
// clone that is larger than its snapshot.
func TestRestoreIntoALargerVolume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	class := w.class()
	snapshot := w.cacheWithSnapshot(func(s *v1alpha1.GoCacheSpec) { s.Storage.StorageClassName = class })
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("2Gi") })
	w.settle()
	w.asksFor("2Gi")
	w.cluster.Unbound = func(c *corev1.PersistentVolumeClaim) bool {
		return c.Spec.DataSource != nil && c.Spec.Resources.Requests.Storage().Cmp(resource.MustParse("1Gi")) > 0
	}
	w.renewed = nil
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Restore = restoreOf(snapshot, "") })
	w.settle()
	next := get[corev1.PersistentVolumeClaim](w, "ci-next")
	if next.Spec.DataSource == nil {
		t.Fatalf("copies before the driver refused a clone: %+v", next.Spec)
	}
	w.must(server.Client.Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, Name: "refused"},
		InvolvedObject: corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: w.namespace, Name: next.Name, UID: next.UID},
		Type:           corev1.EventTypeWarning, Reason: "ProvisioningFailed", LastTimestamp: metav1.Now(),
		Message: "rpc error: code = OutOfRange desc = clone volume size is not matching",
	}))
	w.wait(time.Minute)
	if in := w.get().Status.VolumeReplacement; in == nil || !in.Copied || !strings.Contains(in.Check.Message, "clone volume size is not matching") {
		t.Fatalf("replacement %+v, want a copy, with the error of the driver", in)
	}
	w.renewed = intactWith(contentDigest)
	w.wait(time.Minute)
	c := w.get()
	if last := c.Status.LastVolumeReplacement; last == nil || last.Failure != "" || c.Status.Content == nil || c.Status.Content.Snapshot != snapshot {
		t.Errorf("last replacement %+v, content %+v", last, c.Status.Content)
	}
	w.asksFor("2Gi")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	w.noReplacementLeft()
}

// TestMigrationToASmallerVolume holds that a size which was lowered moves what
// the cache holds now, by copying, and that what was warmed counts on.
func TestMigrationToASmallerVolume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cacheWithSnapshot(func(s *v1alpha1.GoCacheSpec) { s.Storage.Size = resource.MustParse("2Gi") })
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("1Gi") })
	w.settle()
	w.asksFor("1Gi")
	c := w.get()
	if c.Status.Content == nil || c.Status.Content.Reason != v1alpha1.ReplacementMigration || c.Status.LastVolumeReplacement == nil || c.Status.LastVolumeReplacement.Failure != "" {
		t.Errorf("content %+v, last swap %+v", c.Status.Content, c.Status.LastVolumeReplacement)
	}
	if c.Status.Storage.AppliedSize.String() != "1Gi" {
		t.Errorf("applied size %s", c.Status.Storage.AppliedSize)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	w.noReplacementLeft()
	if len(w.warmUps) != 1 {
		t.Errorf("%d warm-ups, want one", len(w.warmUps))
	}
}

// TestMigrationToAnotherClass holds that a class which was changed moves what
// the cache holds now, by a clone where the driver is the same.
func TestMigrationToAnotherClass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.class(), w.namespace+"-b"
	w.must(server.Client.Create(t.Context(), &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: second}, Provisioner: "test.csi.gocache.dev"}))
	w.cacheWithSnapshot(func(s *v1alpha1.GoCacheSpec) { s.Storage.StorageClassName = first })
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.StorageClassName = &second })
	w.settle()
	c := w.get()
	if got := get[corev1.PersistentVolumeClaim](w, "ci"); *got.Spec.StorageClassName != second || c.Status.Storage.AppliedClass != second {
		t.Errorf("class %s, applied %s; want %s", *got.Spec.StorageClassName, c.Status.Storage.AppliedClass, second)
	}
	if got := w.content(); got == "" || got != c.Status.Content.Snapshot {
		t.Errorf("the PVC holds %q, want %q", got, c.Status.Content.Snapshot)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	w.noReplacementLeft()
}

// TestSeed holds that a new cache with spec.restore is created from a snapshot
// before any warm-up, that it is Ready without one, also after a migration, and
// that a pod never sees the PVC empty.
func TestSeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	snapshot := w.cacheWithSnapshot(func(s *v1alpha1.GoCacheSpec) { s.Storage.Size = resource.MustParse("2Gi") })
	w.must(server.Client.Delete(t.Context(), w.get()))
	w.end()
	w.must(server.Client.Delete(t.Context(), get[corev1.PersistentVolumeClaim](w, "ci")))
	w.end()
	w.renewed = nil
	w.cache(fromModules, func(s *v1alpha1.GoCacheSpec) {
		s.Restore = restoreOf(snapshot, "")
		s.Storage.Size = resource.MustParse("2Gi")
	})
	w.settle()
	if exists[corev1.PersistentVolumeClaim](w, "ci") {
		t.Error("the PVC was made before its content was verified")
	}
	w.renewed = intactWith(contentDigest)
	w.settle()
	if got := w.content(); got != snapshot {
		t.Errorf("the PVC holds %q, want %q", got, snapshot)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if len(w.warmUps) != 1 { // that of the first cache: the sources of this one are missing
		t.Errorf("%d warm-ups", len(w.warmUps))
	}
	w.now = w.now.Add(time.Minute)
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("1Gi") })
	w.settle()
	w.asksFor("1Gi")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	w.noReplacementLeft()
}
