package populator

import (
	"context"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/pool"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/sharing"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/populate"
	"gocache.dev/operator/internal/plan/snapshot"
)

// maxAnnotation is the length to which an annotation about the consumer is passed on.
const maxAnnotation = 128

// observe gathers the facts that the decision needs, and no others: a PVC
// that has its volume costs two reads, and two more if its content came from
// another namespace.
func (r *Reconciler) observe(ctx context.Context, s *scope) (populate.Observation, error) {
	f := populate.Observation{Claim: claimFacts(s.claim)}
	f.Claim.Rejections, f.Claim.SinceRejected = volume.Rejections(s.claim, s.now)
	var err error
	if f.Intermediate, err = r.observeIntermediate(ctx, s); err != nil {
		return f, err
	}
	if f.Volume, err = r.observeVolume(ctx, s); err != nil {
		return f, err
	}
	if f.Claim.Bound && f.Volume != nil && sharing.IsQualified(f.Volume.PopulatedFrom) {
		f.Share, err = r.observePair(ctx, s)
		return f, err
	}
	if f.Claim.Bound || f.Claim.Deleting || f.Claim.Lost {
		return f, nil
	}
	if f.Source, err = r.observeSource(ctx, s, &f.Share); err != nil {
		return f, err
	}
	if f.Intermediate != nil {
		return f, nil
	}
	if f.Class, err = r.observeClass(ctx, s.claim); err != nil {
		return f, err
	}
	f.Pool, err = r.observePool(ctx, s, f)
	return f, err
}

// +kubebuilder:rbac:groups="",resources=nodes,verbs=get
// +kubebuilder:rbac:groups="",resources=pods,verbs=list

// observePool reads whether the pool of the cache has a volume for the PVC. Before the
// scheduler has chosen a node there is none that is sure to be reachable.
func (r *Reconciler) observePool(ctx context.Context, s *scope, f populate.Observation) (populate.Pool, error) {
	if s.cache == nil || s.cache.Status.Pool == nil || s.claim.Spec.VolumeName != "" || f.Class.WaitsForNode && f.Claim.Node == "" {
		return populate.Pool{}, nil
	}
	offer, err := pool.Find(ctx, r.Live, s.cache, pool.Request{
		Claim: s.claim, Node: f.Claim.Node, Snapshot: f.Source.Snapshot, Now: s.now,
		Cloned: func(member *corev1.PersistentVolumeClaim) bool { return clonedFrom(member, s.snapshot, s.snapshotMade) },
	})
	if err != nil || offer.Member == nil {
		s.unpooled = offer.Why
		return populate.Pool{Given: offer.Given}, err
	}
	s.member, s.volume = offer.Member, offer.Volume
	return populate.Pool{Member: offer.Member.Name}, nil
}

func claimFacts(claim *corev1.PersistentVolumeClaim) populate.Claim {
	return populate.Claim{
		Deleting:   !claim.DeletionTimestamp.IsZero(),
		Bound:      claim.Status.Phase == corev1.ClaimBound,
		Lost:       claim.Status.Phase == corev1.ClaimLost,
		VolumeName: claim.Spec.VolumeName,
		Node:       claim.Annotations[volume.SelectedNodeAnnotation],
		Bytes:      claim.Spec.Resources.Requests.Storage().Value(),
		For: populate.Build{
			Release:   bounded.Text(claim.Annotations[v1alpha1.ToolchainAnnotation], maxAnnotation),
			Platform:  bounded.Text(claim.Annotations[v1alpha1.PlatformAnnotation], maxAnnotation),
			MountPath: bounded.Text(claim.Annotations[v1alpha1.MountPathAnnotation], maxAnnotation),
		},
	}
}

// +kubebuilder:rbac:groups="",resources=events,verbs=list

// observeIntermediate reads the intermediate PVC of the PVC, if there is one.
func (r *Reconciler) observeIntermediate(ctx context.Context, s *scope) (*populate.IntermediatePVC, error) {
	intermediate, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Live, s.claim.Namespace, volume.IntermediateName(s.claim.UID))
	if err != nil || intermediate == nil {
		return nil, err
	}
	s.intermediate = intermediate
	facts := &populate.IntermediatePVC{
		Foreign:     !volume.IsIntermediateOf(intermediate, s.claim),
		Deleting:    !intermediate.DeletionTimestamp.IsZero(),
		Bound:       volume.Bound(intermediate),
		VolumeName:  intermediate.Spec.VolumeName,
		Node:        intermediate.Annotations[volume.SelectedNodeAnnotation],
		MadeForNode: intermediate.Annotations[volume.IntermediateNodeAnnotation],
		Age:         s.now.Sub(intermediate.CreationTimestamp.Time),
	}
	rejected := facts.MadeForNode != "" && facts.Node == ""
	if facts.VolumeName == "" && !facts.Deleting && (rejected || facts.Age >= populate.ComplainAfter) {
		facts.Complaint, err = volume.Complaint(ctx, r.Live, intermediate)
		if volume.InProgress(facts.Complaint) {
			facts.Complaint, facts.Progress = "", facts.Complaint
		}
	}
	return facts, err
}

// +kubebuilder:rbac:groups="",resources=persistentvolumes,verbs=get

// observeVolume reads the volume of the PVC or, while it has none, of its intermediate PVC.
func (r *Reconciler) observeVolume(ctx context.Context, s *scope) (*populate.Volume, error) {
	var name string
	switch {
	case s.claim.Status.Phase == corev1.ClaimBound:
		name = s.claim.Spec.VolumeName
	case s.intermediate != nil:
		name = s.intermediate.Spec.VolumeName
	}
	pv, err := read.Object[corev1.PersistentVolume](ctx, r.Live, "", name)
	if err != nil || pv == nil {
		return nil, err
	}
	if !pv.DeletionTimestamp.IsZero() && s.claim.Status.Phase != corev1.ClaimBound { // the cluster would not bind it
		return nil, nil
	}
	s.volume = pv
	facts := &populate.Volume{PopulatedFrom: pv.Annotations[v1alpha1.PopulatedFromAnnotation]}
	switch {
	case volume.HeldBy(pv, s.claim):
		facts.Holder = populate.HeldByClaim
	case volume.HeldBy(pv, s.intermediate):
		facts.Holder = populate.HeldByIntermediate
		facts.Preexisting = volume.Preexisting(pv, s.intermediate)
	}
	return facts, nil
}

// observeSource reads what the PVC names and the snapshot to clone: the one
// that the intermediate PVC was made from, or else the one that is offered now.
func (r *Reconciler) observeSource(ctx context.Context, s *scope, share *populate.Share) (populate.Source, error) {
	ref := s.claim.Spec.DataSourceRef
	var source populate.Source
	if other := ptr.Deref(ref.Namespace, s.claim.Namespace); other != s.claim.Namespace {
		source.Elsewhere = other
		return source, nil
	}
	var cache *v1alpha1.GoCache
	if ref.Kind == v1alpha1.GoCacheKind {
		var err error
		if cache, err = read.Object[v1alpha1.GoCache](ctx, r.Live, s.claim.Namespace, ref.Name); err != nil {
			return source, err
		}
		if cache == nil || cache.Spec.Source != nil { // there may be a pair, or be one left
			if *share, err = r.observePair(ctx, s); err != nil {
				return source, err
			}
		}
	}
	of := v1alpha1.SnapshotSource{Kind: ref.Kind, Name: ref.Name}
	switch {
	case cache != nil && cache.Spec.Source != nil:
		return r.observeShared(ctx, s, cache, share)
	case s.intermediate != nil:
		source.Found = true
		source.Snapshot = s.intermediate.Annotations[v1alpha1.PopulatedFromAnnotation]
		if sharing.IsQualified(source.Snapshot) {
			return source, nil // of a cache that is shared no more: there is no such snapshot
		}
	case ref.Kind == v1alpha1.GoCacheKind:
		if cache == nil {
			return source, nil
		}
		source.Found = true
		s.cache = cache
		source.Snapshot = cache.Status.LatestVerifiedSnapshot
		s.available = meta.FindStatusCondition(cache.Status.Conditions, v1alpha1.SnapshotAvailableCondition)
	default:
		source.Snapshot = ref.Name
	}
	err := r.observeSnapshot(ctx, s, s.claim.Namespace, source.Snapshot, of, &source)
	source.Same = source.Same && clonedFrom(s.intermediate, s.snapshot, s.snapshotMade)
	return source, err
}

// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get

// observeShared reads whether the source of a shared cache allows it now, and the
// snapshot to clone: the one that the intermediate PVC was made from, if it is of
// that source, or else the one that the source offers now.
func (r *Reconciler) observeShared(ctx context.Context, s *scope, cache *v1alpha1.GoCache, share *populate.Share) (populate.Source, error) {
	source := populate.Source{Found: true}
	share.Needed = true
	consent, from, err := sharing.Consent(ctx, r.Live, cache)
	if err != nil {
		return source, err
	}
	if !consent.Granted() {
		source.Refused = consent.Message
		return source, nil
	}
	s.available = meta.FindStatusCondition(from.Status.Conditions, v1alpha1.SnapshotAvailableCondition)
	name := from.Status.LatestVerifiedSnapshot
	if s.intermediate != nil {
		of, chosen, _ := strings.Cut(s.intermediate.Annotations[v1alpha1.PopulatedFromAnnotation], "/")
		if name = chosen; of != from.Namespace {
			name = "" // another source was named when it was made
		}
	}
	if name == "" {
		return source, nil
	}
	source.Snapshot = sharing.Qualified(from.Namespace, name)
	err = r.observeSnapshot(ctx, s, from.Namespace, name, v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: from.Name}, &source)
	if err != nil {
		return source, err
	}
	x := s.crossing(source.Snapshot)
	known := volume.Handle(s.verified) != "" // what the verdict is about can be named
	share.Stale = known && s.pair.Stale(x)
	share.Complete = known && s.pair.Complete(x)
	share.Ready = known && s.pair.Ready(x)
	s.snapshot = sharing.SnapshotName(s.claim.UID)
	if s.pair.Snapshot != nil {
		s.snapshotMade = s.pair.Snapshot.CreationTimestamp
	}
	source.Same = source.Same && share.Complete && clonedFrom(s.intermediate, s.snapshot, s.snapshotMade)
	return source, nil
}

// crossing is what the pair carries into the namespace of the PVC.
func (s *scope) crossing(from string) sharing.Crossing {
	return sharing.Crossing{For: s.claim, From: from, Verified: s.verified}
}

// observePair reads the pair that carries a snapshot into the namespace of the PVC.
func (r *Reconciler) observePair(ctx context.Context, s *scope) (populate.Share, error) {
	var err error
	if s.pair, err = sharing.Read(ctx, r.Live, s.claim); err != nil {
		return populate.Share{}, err
	}
	share := populate.Share{Exists: s.pair.Own(s.claim).Exists(), Foreign: s.pair.Foreign(s.claim)}
	switch made := s.pair.Snapshot; {
	case made != nil:
		share.Age, share.Complaint = s.now.Sub(made.CreationTimestamp.Time), volume.SnapshotError(made)
	case s.pair.Content != nil:
		share.Age = s.now.Sub(s.pair.Content.CreationTimestamp.Time)
	}
	return share, nil
}

// observeSnapshot reads the CacheSnapshot that was chosen, and its CSI snapshot. It
// has to be of the cache that the PVC names, if it names one.
func (r *Reconciler) observeSnapshot(ctx context.Context, s *scope, namespace, name string, of v1alpha1.SnapshotSource, source *populate.Source) error {
	c, err := read.Object[v1alpha1.CacheSnapshot](ctx, r.Live, namespace, name)
	if err != nil || c == nil {
		return err
	}
	s.origin = c
	source.Found = true
	source.Written = written(c)
	csi, err := r.observeCSISnapshot(ctx, s, c, source)
	if err != nil {
		return err
	}
	use := snapshot.Use{CSI: csi}
	if of.Kind == v1alpha1.GoCacheKind {
		use.Of, use.BySource = of, true
	}
	source.Candidate = snapshot.Candidate(c, use)
	return nil
}

// written is what a snapshot's content was built with.
func written(snapshot *v1alpha1.CacheSnapshot) populate.Build {
	if snapshot.Status.Source == nil || snapshot.Status.Source.Toolchain == nil {
		return populate.Build{}
	}
	t := snapshot.Status.Source.Toolchain
	return populate.Build{Release: t.Version, Platform: t.Platform, MountPath: t.MountPath}
}

// +kubebuilder:rbac:groups=snapshot.storage.k8s.io,resources=volumesnapshots;volumesnapshotcontents,verbs=get

// observeCSISnapshot reads the VolumeSnapshot of the chosen CacheSnapshot.
func (r *Reconciler) observeCSISnapshot(ctx context.Context, s *scope, c *v1alpha1.CacheSnapshot, source *populate.Source) (snapshot.CSI, error) {
	if s.snapshot = c.Status.VolumeSnapshotName; s.snapshot == "" {
		return snapshot.CSINotRead, nil
	}
	csiSnapshot, err := read.Object[snapshotv1.VolumeSnapshot](ctx, r.Live, c.Namespace, s.snapshot)
	if err != nil {
		return snapshot.CSINotRead, err
	}
	content, err := volume.Content(ctx, r.Live, csiSnapshot)
	if err != nil {
		return snapshot.CSINotRead, err
	}
	csi := volume.State(c, csiSnapshot, content)
	if source.Same = volume.Pinned(c.Status, csiSnapshot, content); source.Same {
		s.verified, s.snapshotMade = content, csiSnapshot.CreationTimestamp
	}
	if csi != snapshot.CSIReady {
		return csi, nil
	}
	size := volume.Larger(csiSnapshot.Status.RestoreSize, c.Status.RestoreSize)
	if size.IsZero() { // the driver does not report it
		size = volume.CloneSize(c)
	}
	source.Bytes = size.Value()
	if content != nil {
		source.Driver = content.Spec.Driver
	}
	return csi, nil
}

// clonedFrom reports whether an intermediate PVC, if there is one, is made from a VolumeSnapshot.
// One of another client may name another one, or be older: then it is a clone of an
// earlier VolumeSnapshot of the name.
func clonedFrom(intermediate *corev1.PersistentVolumeClaim, snapshot string, made metav1.Time) bool {
	return intermediate == nil ||
		volume.MadeFrom(intermediate, snapshot) && !intermediate.CreationTimestamp.Before(&made)
}

// +kubebuilder:rbac:groups=storage.k8s.io,resources=storageclasses,verbs=get

// observeClass reads the storage class of the PVC.
func (r *Reconciler) observeClass(ctx context.Context, claim *corev1.PersistentVolumeClaim) (populate.Class, error) {
	facts := populate.Class{Name: ptr.Deref(claim.Spec.StorageClassName, "")}
	class, err := read.Object[storagev1.StorageClass](ctx, r.Live, "", facts.Name)
	if err != nil || class == nil {
		return facts, err
	}
	facts.Found = true
	facts.WaitsForNode = ptr.Deref(class.VolumeBindingMode, storagev1.VolumeBindingImmediate) == storagev1.VolumeBindingWaitForFirstConsumer
	facts.Provisioner = class.Provisioner
	return facts, nil
}
