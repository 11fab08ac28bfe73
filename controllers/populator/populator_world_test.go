package populator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
)

const driver = "test.csi.gocache.dev"

// world is one namespace with a reconciler, and with the test in the part of
// the scheduler, the provisioner, the volume controller and garbage collection.
type world struct {
	t         *testing.T
	namespace string
	// class waits for a node, immediate does not.
	class, immediate string
	reconciler       *Reconciler
	events           *recorder

	// rejectNode makes the provisioner give this node back.
	rejectNode string
	// stuck makes the provisioner do nothing.
	stuck bool
	// stuckSnapshots makes the snapshot controller do nothing.
	stuckSnapshots bool
	now            time.Time
	// affinity of the volumes that are provisioned; nil: they are everywhere.
	affinity *corev1.VolumeNodeAffinity

	// seen is what the last round of the cluster found.
	seen string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, namespace: server.Namespace(t), events: &recorder{}, now: time.Now()}
	w.class, w.immediate = w.namespace+"-wait", w.namespace+"-now"
	for name, mode := range map[string]storagev1.VolumeBindingMode{
		w.class: storagev1.VolumeBindingWaitForFirstConsumer, w.immediate: storagev1.VolumeBindingImmediate,
	} {
		w.create(&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: driver, VolumeBindingMode: &mode})
	}
	w.reconciler = w.fresh(server.Client)
	return w
}

// fresh is a reconciler as after a restart: it remembers nothing.
func (w *world) fresh(c client.Client) *Reconciler {
	return &Reconciler{Client: c, Live: server.Client, Events: w.events, Clock: func() time.Time { return w.now }}
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := server.Client.Create(w.t.Context(), o); err != nil {
		w.t.Fatalf("create %T %s: %v", o, o.GetName(), err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// cache makes a GoCache that offers a snapshot; none if empty.
func (w *world) cache(name, offers string) {
	w.t.Helper()
	cache := &v1alpha1.GoCache{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.GoCacheSpec{Toolchain: v1alpha1.Toolchain{Version: "1.26.8"}},
	}
	cache.Spec.Storage.Size = resource.MustParse("1Gi")
	w.create(cache)
	w.offer(name, offers)
}

// offer has a GoCache offer another snapshot.
func (w *world) offer(name, snapshot string) {
	w.t.Helper()
	cache := &v1alpha1.GoCache{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, cache))
	cache.Status.LatestVerifiedSnapshot = snapshot
	w.must(server.Client.Status().Update(w.t.Context(), cache))
}

// snapshot makes a CacheSnapshot of a GoCache with its CSI snapshot, and with
// a verdict; none if empty.
func (w *world) snapshot(name, of string, verified metav1.ConditionStatus) {
	w.t.Helper()
	w.create(&v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: of}},
	})
	w.snapshotted(name)
	if verified != "" {
		w.verdict(name, verified)
	}
}

// snapshotted gives a CacheSnapshot its CSI snapshot.
func (w *world) snapshotted(name string) {
	w.t.Helper()
	ctx := w.t.Context()
	content := w.namespace + "-" + name
	snapshot := &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name + "-csi"},
		Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: ptr.To("live")}},
	}
	w.create(snapshot)
	made := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: content},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			Driver: driver, DeletionPolicy: snapshotv1.VolumeSnapshotContentDelete,
			Source:            snapshotv1.VolumeSnapshotContentSource{VolumeHandle: ptr.To("handle")},
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: w.namespace, Name: snapshot.Name, UID: snapshot.UID},
		},
	}
	w.create(made)
	made.Status = &snapshotv1.VolumeSnapshotContentStatus{SnapshotHandle: ptr.To("snap-of-" + name)}
	w.must(server.Client.Status().Update(ctx, made))
	snapshot.Status = &snapshotv1.VolumeSnapshotStatus{
		BoundVolumeSnapshotContentName: &content, ReadyToUse: ptr.To(true), RestoreSize: ptr.To(resource.MustParse("1Gi")),
	}
	w.must(server.Client.Status().Update(ctx, snapshot))
	w.changeSnapshot(name, func(s *v1alpha1.CacheSnapshot) {
		volume.Pin(&s.Status, snapshot, made)
		s.Status.Source = &v1alpha1.SourceRecord{PersistentVolumeClaimName: "live"}
	})
}

// restoreSize has the driver report another size of a CSI snapshot.
func (w *world) restoreSize(name, size string) {
	w.t.Helper()
	s := &snapshotv1.VolumeSnapshot{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name + "-csi"}, s))
	s.Status.RestoreSize = ptr.To(resource.MustParse(size))
	w.must(server.Client.Status().Update(w.t.Context(), s))
}

// verdict records a verdict with its condition, as the snapshot's controller does.
func (w *world) verdict(name string, verified metav1.ConditionStatus) {
	w.t.Helper()
	w.changeSnapshot(name, func(s *v1alpha1.CacheSnapshot) {
		s.Status.Verification.Verdict = map[metav1.ConditionStatus]v1alpha1.Verdict{
			metav1.ConditionTrue: v1alpha1.VerdictIntact, metav1.ConditionFalse: v1alpha1.VerdictCorrupt, metav1.ConditionUnknown: v1alpha1.VerdictInconclusive,
		}[verified]
		meta.SetStatusCondition(&s.Status.Conditions, metav1.Condition{Type: v1alpha1.VerifiedCondition, Status: verified, Reason: "Test"})
	})
}

func (w *world) changeSnapshot(name string, change func(*v1alpha1.CacheSnapshot)) {
	w.t.Helper()
	s := &v1alpha1.CacheSnapshot{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, s))
	change(s)
	w.must(server.Client.Status().Update(w.t.Context(), s))
}

// claim makes a user's PVC of the class that waits for a node.
func (w *world) claim(name, kind, source string, change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	w.t.Helper()
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: &w.class,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			DataSourceRef:    &corev1.TypedObjectReference{APIGroup: ptr.To(v1alpha1.GroupName), Kind: kind, Name: source},
		},
	}
	for _, f := range change {
		f(claim)
	}
	w.create(claim)
	return claim
}

// schedule has the scheduler choose a node for a PVC's pod.
func (w *world) schedule(name, node string) {
	w.t.Helper()
	w.changeClaim(name, func(c *corev1.PersistentVolumeClaim) {
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, volume.SelectedNodeAnnotation, node)
	})
}

func (w *world) changeClaim(name string, change func(*corev1.PersistentVolumeClaim)) {
	w.t.Helper()
	c := w.get(name)
	change(c)
	w.must(server.Client.Update(w.t.Context(), c))
}

// get reads a PVC that has to exist.
func (w *world) get(name string) *corev1.PersistentVolumeClaim {
	w.t.Helper()
	c := &corev1.PersistentVolumeClaim{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, c))
	return c
}

// intermediateOf reads the intermediate PVC of a PVC; nil: there is none.
func (w *world) intermediateOf(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	w.t.Helper()
	c := &corev1.PersistentVolumeClaim{}
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: volume.IntermediateName(claim.UID)}, c)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return c
}

// pass has the reconciler look at a PVC once.
func (w *world) pass(name string) ctrl.Result {
	w.t.Helper()
	result, err := w.reconciler.Reconcile(w.t.Context(), w.request(name))
	w.must(err)
	return result
}

func (w *world) request(name string) ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: name}}
}

// settle lets the reconciler and the cluster act by turns until neither
// changes anything.
func (w *world) settle(name string) {
	w.t.Helper()
	w.seen = "" // the changes of the scenario may wake the cluster only
	for range 12 {
		before := w.seen
		w.pass(name)
		w.must(w.cluster(w.t.Context()))
		if w.seen == before {
			return
		}
	}
	w.t.Fatalf("PVC %s does not settle; events: %q", name, w.events.all())
}

// cluster does one round of what others do in a real cluster.
func (w *world) cluster(ctx context.Context) error {
	var claims corev1.PersistentVolumeClaimList
	if err := server.Client.List(ctx, &claims, client.InNamespace(w.namespace)); err != nil {
		return err
	}
	var pvs corev1.PersistentVolumeList
	if err := server.Client.List(ctx, &pvs); err != nil {
		return err
	}
	var snapshots snapshotv1.VolumeSnapshotList
	if err := server.Client.List(ctx, &snapshots, client.InNamespace(w.namespace)); err != nil {
		return err
	}
	w.seen = w.versions(claims.Items, pvs.Items, snapshots.Items)
	uids := map[types.UID]bool{}
	for i := range claims.Items {
		uids[claims.Items[i].UID] = true
	}
	for i := range claims.Items {
		c := &claims.Items[i]
		var err error
		if owner := metav1.GetControllerOf(c); owner != nil && owner.Kind == "PersistentVolumeClaim" && !uids[owner.UID] && c.DeletionTimestamp.IsZero() {
			err = server.Client.Delete(ctx, c)
		} else if !c.DeletionTimestamp.IsZero() {
			c.Finalizers = nil
			err = server.Client.Update(ctx, c)
		} else {
			err = w.bind(ctx, c, pvs.Items)
		}
		if err := ignorable(err); err != nil {
			return fmt.Errorf("cluster: PVC %s: %w", c.Name, err)
		}
	}
	for i := range snapshots.Items {
		if err := ignorable(w.bindSnapshot(ctx, &snapshots.Items[i], uids)); err != nil {
			return fmt.Errorf("cluster: VolumeSnapshot %s: %w", snapshots.Items[i].Name, err)
		}
	}
	return w.reclaim(ctx, uids)
}

// versions identifies a state of this world.
func (w *world) versions(claims []corev1.PersistentVolumeClaim, pvs []corev1.PersistentVolume, snapshots []snapshotv1.VolumeSnapshot) string {
	var b strings.Builder
	for i := range snapshots {
		fmt.Fprintln(&b, snapshots[i].UID, snapshots[i].ResourceVersion)
	}
	for i := range claims {
		fmt.Fprintln(&b, claims[i].UID, claims[i].ResourceVersion)
	}
	for i := range pvs {
		if strings.HasPrefix(pvs[i].Spec.StorageClassName, w.namespace) {
			fmt.Fprintln(&b, pvs[i].UID, pvs[i].ResourceVersion)
		}
	}
	return b.String()
}

// bindSnapshot plays the snapshot controller for a VolumeSnapshot that names its
// content: it is bound if the content names it, by its uid if there is one. What
// belonged to a PVC that is gone is collected.
func (w *world) bindSnapshot(ctx context.Context, s *snapshotv1.VolumeSnapshot, claims map[types.UID]bool) error {
	if owner := metav1.GetControllerOf(s); owner != nil && owner.Kind == "PersistentVolumeClaim" && !claims[owner.UID] {
		return server.Client.Delete(ctx, s)
	}
	if s.Spec.Source.VolumeSnapshotContentName == nil || volume.ReadyToUse(s) || w.stuckSnapshots {
		return nil
	}
	content := &snapshotv1.VolumeSnapshotContent{}
	if err := server.Client.Get(ctx, client.ObjectKey{Name: *s.Spec.Source.VolumeSnapshotContentName}, content); err != nil {
		return err
	}
	ref := content.Spec.VolumeSnapshotRef
	if ref.Namespace != s.Namespace || ref.Name != s.Name || ref.UID != "" && ref.UID != s.UID {
		return nil
	}
	s.Status = &snapshotv1.VolumeSnapshotStatus{
		BoundVolumeSnapshotContentName: &content.Name, ReadyToUse: ptr.To(true), RestoreSize: ptr.To(resource.MustParse("1Gi")),
	}
	return server.Client.Status().Update(ctx, s)
}

// bind plays provisioner and volume controller for one PVC.
func (w *world) bind(ctx context.Context, c *corev1.PersistentVolumeClaim, pvs []corev1.PersistentVolume) error {
	var mine *corev1.PersistentVolume
	for i := range pvs {
		if volume.HeldBy(&pvs[i], c) && (pvs[i].DeletionTimestamp.IsZero() || c.Status.Phase == corev1.ClaimBound) {
			mine = pvs[i].DeepCopy()
		}
	}
	switch {
	case c.Status.Phase == corev1.ClaimBound:
		if mine != nil {
			return nil
		}
		c.Status.Phase = corev1.ClaimLost
		return server.Client.Status().Update(ctx, c)
	case c.Status.Phase == corev1.ClaimLost:
		return nil
	case mine != nil:
		return w.bindTo(ctx, c, mine)
	case c.Spec.DataSource == nil || c.Spec.DataSource.Kind != "VolumeSnapshot" || w.stuck:
		return nil // an external populator is needed
	case *c.Spec.StorageClassName == w.class && c.Annotations[volume.SelectedNodeAnnotation] == "":
		return nil // waits for a node
	case w.rejectNode != "" && c.Annotations[volume.SelectedNodeAnnotation] == w.rejectNode:
		delete(c.Annotations, volume.SelectedNodeAnnotation)
		return server.Client.Update(ctx, c)
	default:
		return w.provision(ctx, c)
	}
}

// provision makes a volume with its PVC already in it, as provisioners do.
func (w *world) provision(ctx context.Context, c *corev1.PersistentVolumeClaim) error {
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-" + string(c.UID), Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": driver}},
		Spec: corev1.PersistentVolumeSpec{
			AccessModes: c.Spec.AccessModes, Capacity: c.Spec.Resources.Requests, StorageClassName: *c.Spec.StorageClassName,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete, NodeAffinity: w.affinity,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: string(c.UID)}},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: c.UID, ResourceVersion: c.ResourceVersion,
			},
		},
	}
	if err := server.Client.Create(ctx, pv); err != nil {
		return err
	}
	return w.bindTo(ctx, c, pv)
}

// bindTo writes what the volume controller writes, in its order.
func (w *world) bindTo(ctx context.Context, c *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) error {
	pv.Status.Phase = corev1.VolumeBound
	if err := server.Client.Status().Update(ctx, pv); err != nil {
		return err
	}
	c.Spec.VolumeName = pv.Name
	if err := server.Client.Update(ctx, c); err != nil {
		return err
	}
	c.Status.Phase = corev1.ClaimBound
	c.Status.Capacity = pv.Spec.Capacity
	return server.Client.Status().Update(ctx, c)
}

// reclaim deletes the volumes whose PVC is gone, and fails if one has no owner.
func (w *world) reclaim(ctx context.Context, claims map[types.UID]bool) error {
	var pvs corev1.PersistentVolumeList
	if err := server.Client.List(ctx, &pvs); err != nil {
		return err
	}
	for i := range pvs.Items {
		pv := &pvs.Items[i]
		ref := pv.Spec.ClaimRef
		if !strings.HasPrefix(pv.Spec.StorageClassName, w.namespace) {
			continue // of another test
		}
		if ref == nil || ref.UID == "" {
			return fmt.Errorf("volume %s is reserved for no PVC: any PVC could take it", pv.Name)
		}
		if claims[ref.UID] {
			continue
		}
		pv.Finalizers = nil
		if err := ignorable(server.Client.Update(ctx, pv)); err != nil {
			return err
		}
		if err := ignorable(server.Client.Delete(ctx, pv)); err != nil {
			return err
		}
	}
	return nil
}

// ignorable leaves out what comes of acting on a list that is a moment old.
func ignorable(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// populated fails unless a PVC has a clone of a snapshot, and nothing is
// left of how it was made.
func (w *world) populated(name, from string) {
	w.t.Helper()
	claim := w.get(name)
	if claim.Status.Phase != corev1.ClaimBound {
		w.t.Fatalf("PVC %s is %s, want Bound; events: %v", name, claim.Status.Phase, w.events.all())
	}
	pv := &corev1.PersistentVolume{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Name: claim.Spec.VolumeName}, pv))
	if got := pv.Annotations[v1alpha1.PopulatedFromAnnotation]; got != from {
		w.t.Errorf("PVC %s: volume was populated from %q, want %q", name, got, from)
	}
	if intermediate := w.intermediateOf(claim); intermediate != nil {
		w.t.Errorf("PVC %s: intermediate PVC is left", name)
	}
	if n := w.volumes(); n != w.boundClaims() {
		w.t.Errorf("%d volumes for %d bound PVCs", n, w.boundClaims())
	}
}

// volumes counts the volumes of this world.
func (w *world) volumes() int {
	w.t.Helper()
	var pvs corev1.PersistentVolumeList
	w.must(server.Client.List(w.t.Context(), &pvs))
	n := 0
	for i := range pvs.Items {
		if strings.HasPrefix(pvs.Items[i].Spec.StorageClassName, w.namespace) && pvs.Items[i].DeletionTimestamp.IsZero() {
			n++
		}
	}
	return n
}

func (w *world) boundClaims() int {
	w.t.Helper()
	var claims corev1.PersistentVolumeClaimList
	w.must(server.Client.List(w.t.Context(), &claims, client.InNamespace(w.namespace)))
	n := 0
	for i := range claims.Items {
		if claims.Items[i].Status.Phase == corev1.ClaimBound {
			n++
		}
	}
	return n
}

// recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []string
}

// Eventf keeps an event as "PVC: Type Reason: text".
func (r *recorder) Eventf(regarding, _ runtime.Object, kind, reason, _, note string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := regarding.(client.Object).GetName()
	r.events = append(r.events, fmt.Sprintf("%s: %s %s: %s", name, kind, reason, fmt.Sprintf(note, args...)))
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// count returns how many events hold all of the words.
func (r *recorder) count(words ...string) int {
	n := 0
	for _, e := range r.all() {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(e, word) }) {
			n++
		}
	}
	return n
}

// once fails unless exactly one event holds all of the words.
func (w *world) once(words ...string) {
	w.t.Helper()
	if n := w.events.count(words...); n != 1 {
		w.t.Errorf("%d events hold %q, want 1; all:\n%s", n, words, strings.Join(w.events.all(), "\n"))
	}
}
