package populator

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/sharing"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/populate"
)

// notice is an event for the owner of a PVC.
type notice struct {
	// kind is Normal, or Warning when a user has to act.
	kind string
	// reason is the state, and text what it means and what to do.
	reason, text string
	// once: it is not repeated while it stands.
	once bool
}

func normal(reason populate.State, format string, args ...any) *notice {
	return &notice{kind: corev1.EventTypeNormal, reason: string(reason), text: fmt.Sprintf(format, args...)}
}

func warning(reason populate.State, format string, args ...any) *notice {
	return &notice{kind: corev1.EventTypeWarning, reason: string(reason), text: fmt.Sprintf(format, args...)}
}

// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// report notifies of the decision, unless that was done already, and returns
// when to look again.
func (r *Reconciler) report(s *scope, d populate.Decision) time.Duration {
	n := noticeOf(s, d)
	if n == nil {
		return d.After
	}
	if r.reported.first(s.claim, n, s.now) {
		r.record(s.claim, n)
		if d.State == populate.Unpopulated { // counted when reported, so once for each PVC
			unpopulatedPVCs.WithLabelValues(s.claim.Namespace).Inc()
		}
	}
	if d.After == 0 && d.Action == populate.Wait && d.State != populate.Unpopulated {
		return remindAfter
	}
	return d.After
}

// warnOfCold warns once that a PVC gets a clone that is of little use to its
// consumer. It gets it in any case: modules are of use to all releases.
func (r *Reconciler) warnOfCold(s *scope, f populate.Observation, d populate.Decision) {
	switch d.State { //nolint:exhaustive // in the other states nothing is being given, or it was reported
	case populate.Pooled, populate.Ready, populate.Cloning, populate.Cloned, populate.Binding:
	default:
		return
	}
	why := populate.Cold(f)
	if len(why) == 0 {
		return
	}
	n := warning(coldClone, "the build cache of CacheSnapshot %s is cold for this PVC's consumer: %s; clone a GoCache of that release, platform and spec.environment.mountPath, or correct the PVC's annotations",
		d.Snapshot, strings.Join(why, ", and "))
	n.once = true
	if r.reported.first(s.claim, n, s.now) {
		r.record(s.claim, n)
	}
}

// warnOfDroppedSource warns once that a PVC is not filled although its annotations
// are those of a consumer: nothing else shows it, since it is bound to an empty
// volume at once and its builds succeed.
func (r *Reconciler) warnOfDroppedSource(s *scope) {
	n := warning(populate.Unpopulated, "the PVC has the annotation %s of a consumer of a cache, and no dataSourceRef, so its volume is empty: create it again with a dataSourceRef that names a GoCache of this namespace. "+
		"The API server removes the whole reference if dataSourceRef.namespace is set and the feature CrossNamespaceVolumeDataSource is off", annotationOfConsumer(s.claim))
	n.once = true
	if r.reported.first(s.claim, n, s.now) {
		r.record(s.claim, n)
		unpopulatedPVCs.WithLabelValues(s.claim.Namespace).Inc()
	}
}

func (r *Reconciler) record(claim *corev1.PersistentVolumeClaim, n *notice) {
	r.Events.Eventf(claim, nil, n.kind, n.reason, "Populate", "%s", n.text)
	event.Count(claim, n.kind, n.reason)
}

// coldClone is the reason of a warning that holds up nothing.
const coldClone populate.State = "ColdClone"

// noticeOf words a decision; nil: there is nothing to report.
func noticeOf(s *scope, d populate.Decision) *notice {
	if n := noticeOfSource(s, d); n != nil {
		return n
	}
	if n := noticeOfClaim(s, d); n != nil {
		return n
	}
	return noticeOfIntermediate(s, d)
}

// noticeOfSource describes the source of the PVC.
func noticeOfSource(s *scope, d populate.Decision) *notice {
	ref := s.claim.Spec.DataSourceRef
	switch d.State { //nolint:exhaustive // the other states speak of the PVC or of the intermediate PVC
	case populate.SourceElsewhere:
		return warning(d.State, "dataSourceRef names %s %s in namespace %s: a PVC is filled only from its own namespace; create the PVC there, or here a GoCache with spec.source, and name that",
			ref.Kind, ref.Name, ptr.Deref(ref.Namespace, ""))
	case populate.NotShared:
		return warning(d.State, "%s", d.Detail)
	case populate.SourceNotFound:
		return warning(d.State, "%s %s does not exist in this namespace: create it, or correct dataSourceRef; the PVC is filled once it exists", ref.Kind, ref.Name)
	case populate.NothingVerified:
		return noticeOfNothing(s)
	case populate.Unverified:
		return normal(d.State, "CacheSnapshot %s is not verified yet; the PVC is filled if it proves intact", d.Snapshot)
	case populate.NotProven:
		return warning(d.State, "CacheSnapshot %s could not be verified and is never offered: name another snapshot or the GoCache; 'kubectl describe csnap %s' shows why", d.Snapshot, d.Snapshot)
	case populate.SnapshotCorrupt:
		return warning(d.State, "CacheSnapshot %s is Corrupt and is never offered: name another snapshot or the GoCache; 'kubectl describe csnap %s' shows what was found", d.Snapshot, d.Snapshot)
	case populate.Skipped:
		return warning(d.State, "CacheSnapshot %s has verification mode Skip and is never offered: name a snapshot that is verified, or the GoCache", d.Snapshot)
	case populate.SnapshotReplaced:
		return warning(d.State, "the VolumeSnapshot of CacheSnapshot %s is not the one that was verified: it was deleted and created again, and is never restored; name another snapshot in a new PVC, or wait for the GoCache to offer one", d.Snapshot)
	case populate.SnapshotDeleting:
		return warning(d.State, "CacheSnapshot %s, or its CSI snapshot, is being deleted or is gone: the PVC waits for another one, or name another in a new PVC", d.Snapshot)
	case populate.SnapshotNotReady:
		return warning(d.State, "the CSI snapshot of CacheSnapshot %s cannot be restored at the moment; it is looked at again until it can", d.Snapshot)
	case populate.SnapshotWithdrawn:
		return warning(d.State, "CacheSnapshot %s or its VolumeSnapshot was deleted, replaced or lost its verdict before the clone was handed over; the clone was deleted, and the next one is made from the snapshot that is offered then", d.Snapshot)
	default:
		return nil
	}
}

// noticeOfNothing reports that a cache has no verified snapshot, and why: a person
// has to act if none will come by itself.
func noticeOfNothing(s *scope) *notice {
	cache, available := s.claim.Spec.DataSourceRef.Name, s.available
	switch {
	case available != nil && available.Reason == v1alpha1.ReasonSnapshotsDisabled:
		return warning(populate.NothingVerified, "GoCache %s has no verified snapshot, and creates none: set its spec.snapshots.afterWarmUp or a schedule, or request a snapshot", cache)
	case available != nil && available.Reason == v1alpha1.ReasonNoVerifiedSnapshot:
		return warning(populate.NothingVerified, "GoCache %s has no verified snapshot to offer: %s", cache, bounded.Text(available.Message, 512))
	default:
		return normal(populate.NothingVerified, "GoCache %s has no verified snapshot to offer yet; the PVC is filled as soon as it has one", cache)
	}
}

// noticeOfClaim describes the request of the PVC, and the result.
func noticeOfClaim(s *scope, d populate.Decision) *notice {
	class := ptr.Deref(s.claim.Spec.StorageClassName, "")
	switch d.State { //nolint:exhaustive // the other states speak of the source or of the intermediate PVC
	case populate.TooSmall:
		return warning(d.State, "the PVC requests %s, and CacheSnapshot %s needs at least %s: create the PVC again with resources.requests.storage: %s",
			s.claim.Spec.Resources.Requests.Storage(), d.Snapshot, quantity(d.Bytes), quantity(d.Bytes))
	case populate.NoClass:
		return warning(d.State, "the PVC has no storageClassName and so nothing makes a volume for it: set the class of the cache PVC")
	case populate.ClassNotFound:
		return warning(d.State, "StorageClass %s does not exist: create it, or create the PVC again with the class of the cache PVC", class)
	case populate.ClassCannotClone:
		return warning(d.State, "StorageClass %s cannot clone CacheSnapshot %s, which driver %s created: create the PVC again with a class of that driver", class, d.Snapshot, d.Detail)
	case populate.Populated:
		if d.Action != populate.DeleteIntermediate {
			return nil // reported when it happened
		}
		return normal(d.State, "filled with a clone of CacheSnapshot %s", d.Snapshot)
	case populate.Unpopulated:
		n := warning(d.State, "bound to volume %s, which was not cloned from %s %s: the PVC does not hold the cache; delete it and the volume, and keep no available volume of class %q that would match",
			s.claim.Spec.VolumeName, s.claim.Spec.DataSourceRef.Kind, s.claim.Spec.DataSourceRef.Name, class)
		n.once = true
		return n
	default:
		return nil
	}
}

// noticeOfIntermediate describes the clone on its way.
func noticeOfIntermediate(s *scope, d populate.Decision) *notice {
	intermediate := volume.IntermediateName(s.claim.UID)
	switch d.State { //nolint:exhaustive // the other states speak of the source or of the PVC, or say nothing
	case populate.Forbidden:
		return warning(d.State, "the PVC %s, through which the clone is made, was refused (for a moment the namespace's quota needs room for a second PVC of this size); it is tried again: %s", intermediate, d.Detail)
	case populate.Pooled:
		if d.Action == populate.Wait {
			return nil // another PVC took it
		}
		return normal(d.State, "filled with volume %s from the pool of GoCache %s, a clone of CacheSnapshot %s that was read and checked in advance", s.volume.Name, s.claim.Spec.DataSourceRef.Name, d.Snapshot)
	case populate.Ready:
		if s.unpooled != "" {
			return normal(populate.Cloning, "cloning CacheSnapshot %s through PVC %s: the pool of GoCache %s has no volume for it: %s",
				d.Snapshot, intermediate, s.claim.Spec.DataSourceRef.Name, s.unpooled)
		}
		return normal(populate.Cloning, "cloning CacheSnapshot %s through PVC %s", d.Snapshot, intermediate)
	case populate.Cloning:
		if d.Detail == "" {
			return nil // reported when it began
		}
		return normal(d.State, "CacheSnapshot %s is being cloned, and the driver is still at work; it reports: %s", d.Snapshot, d.Detail)
	case populate.CloneSilent:
		return warning(d.State, "PVC %s waits for its volume and the provisioner has reported nothing: see whether the CSI driver's controller runs", intermediate)
	case populate.CloneFailing:
		return noticeOfFailing(s, d)
	case populate.NodeRejected:
		return noticeOfRejection(s, d)
	case populate.VolumeLost:
		return warning(d.State, "the cloned volume %s was deleted before it was handed over; it is cloned again", s.intermediate.Spec.VolumeName)
	case populate.VolumeInUse:
		return warning(d.State, "the cloned volume %s was given to another PVC; it is cloned again", s.intermediate.Spec.VolumeName)
	case populate.Sharing:
		return normal(d.State, "CacheSnapshot %s is made available in this namespace through VolumeSnapshot %s", d.Snapshot, sharing.SnapshotName(s.claim.UID))
	case populate.SharingFailing:
		return warning(d.State, "VolumeSnapshot %s, through which CacheSnapshot %s is cloned, does not become ready: %s", sharing.SnapshotName(s.claim.UID), d.Snapshot, orSilent(d.Detail))
	case populate.SharingRefused:
		return warning(d.State, "VolumeSnapshot %s and its content, through which CacheSnapshot %s is cloned, were refused; it is tried again: %s", sharing.SnapshotName(s.claim.UID), d.Snapshot, d.Detail)
	case populate.SharingObstructed:
		return warning(d.State, "VolumeSnapshot %s or VolumeSnapshotContent %s exists and is not ours: delete it", sharing.SnapshotName(s.claim.UID), sharing.ContentName(s.claim.UID))
	case populate.NotAClone:
		return warning(d.State, "PVC %s was bound to volume %s, which existed before and is no clone: remove available volumes of class %q that match, then delete PVC %s",
			intermediate, s.intermediate.Spec.VolumeName, ptr.Deref(s.claim.Spec.StorageClassName, ""), intermediate)
	case populate.Obstructed:
		return warning(d.State, "PVC %s exists and is not ours: delete it", intermediate)
	default:
		return nil
	}
}

// noticeOfFailing reports the error of the provisioner, and what to do if the reason is
// that the PVC requests more than the snapshot has.
func noticeOfFailing(s *scope, d populate.Decision) *notice {
	asked := s.claim.Spec.Resources.Requests.Storage()
	if d.Bytes > 0 && asked.Value() > d.Bytes && volume.RefusesSize(d.Detail) {
		return warning(populate.CloneFailing, "cloning CacheSnapshot %s does not succeed, and is tried again: the PVC requests %s, and the driver may make no clone that is larger than the snapshot; create the PVC again with resources.requests.storage: %s. Its error: %s",
			d.Snapshot, asked, quantity(d.Bytes), d.Detail)
	}
	return warning(populate.CloneFailing, "cloning CacheSnapshot %s does not succeed, and is tried again: %s", d.Snapshot, d.Detail)
}

// noticeOfRejection reports that the provisioner gave the node back. Its reason need
// not be the node: drivers report limits of the storage in the same way.
func noticeOfRejection(s *scope, d populate.Decision) *notice {
	if d.Action == populate.Wait {
		return nil // reported when it happened
	}
	node := s.intermediate.Annotations[volume.IntermediateNodeAnnotation]
	if d.After == 0 {
		return warning(populate.NodeRejected, "the provisioner made no clone for node %s, so that the scheduler chooses again: %s", node, orNothing(d.Detail))
	}
	return warning(populate.NodeRejected, "the provisioner made no clone in %d attempts in a row, the last one for node %s; the scheduler chooses again, and the next attempt follows after %s: %s",
		d.Rejections, node, d.After, orNothing(d.Detail))
}

func quantity(bytes int64) string {
	return resource.NewQuantity(bytes, resource.BinarySI).String()
}

func orSilent(complaint string) string {
	if complaint == "" {
		return "the snapshot controller has reported nothing: see whether it and the CSI driver's controller run"
	}
	return complaint
}

func orNothing(complaint string) string {
	if complaint == "" {
		return "the provisioner gave no reason"
	}
	return complaint
}
