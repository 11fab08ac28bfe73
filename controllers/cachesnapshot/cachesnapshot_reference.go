package cachesnapshot

import (
	"context"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/snapshot"
)

const (
	// referenceDir is where the clone of the first verified snapshot is mounted.
	referenceDir = "/reference"
	// retryReference is after how long the verdict of an older snapshot is read again.
	retryReference = 10 * time.Second
)

// compare makes a check compare checksums with the first verified snapshot of the
// source, of which it mounts a clone. It returns that clone; nil: there is none to
// compare with. It returns false while it is not decided which snapshot that is.
func (r *Reconciler) compare(ctx context.Context, s *scope, job *jobrun.Spec, verify *agentcommand.Verify) (*volume.Claim, bool, error) {
	if t := s.snapshot.Spec.Verification.Trust; t == nil || !t.FirstSeen {
		return nil, true, nil
	}
	first, waitFor, err := r.firstSeen(ctx, s)
	if err != nil {
		return nil, false, err
	}
	if waitFor != "" {
		s.decision.Wake = retryReference
		s.facts.obstacle = obstacle{v1alpha1.ReasonWaiting, fmt.Sprintf(
			"Verified once CacheSnapshot %s has its verdict, which is older: the first verified one is what others are compared with", waitFor)}
		return nil, false, nil
	}
	if first == nil {
		return nil, true, nil
	}
	pvc := s.clone()
	pvc.Name, pvc.Snapshot = s.referenceName(), first.Status.VolumeSnapshotName
	if own := volume.CloneSize(first); !own.IsZero() { // the source may have grown, and some drivers make no larger clone
		pvc.Size = own
	}
	job.Annotations = map[string]string{v1alpha1.ReferenceAnnotation: first.Name}
	verify.Reference = agentcommand.Reference{Dir: referenceDir, Digest: first.Status.Verification.Digest}
	job.Volumes = append(job.Volumes, podspec.Claim("reference", pvc.Name))
	job.Mounts = append(job.Mounts, corev1.VolumeMount{Name: "reference", MountPath: referenceDir, ReadOnly: true})
	return &pvc, true, nil
}

func (s *scope) referenceName() string { return naming.Clone(string(s.snapshot.UID), naming.Reference) }

// firstSeen returns the snapshot to compare with, or the name of one that may
// become it and whose verdict has to be waited for. With neither, this snapshot is
// the first.
func (r *Reconciler) firstSeen(ctx context.Context, s *scope) (first *v1alpha1.CacheSnapshot, waitFor string, err error) {
	all, err := r.everywhere(ctx, client.InNamespace(s.snapshot.Namespace))
	if err != nil {
		return nil, "", err
	}
	var others []snapshot.Kept
	for i := range all {
		if k, ok := s.comparable(&all[i]); ok {
			others = append(others, k)
		}
	}
	self := snapshot.Kept{Name: s.snapshot.Name, Created: snapshot.Created(s.snapshot)}
	name, waitFor := snapshot.Reference(self, others)
	if name == "" {
		return nil, waitFor, nil
	}
	first, err = read.Object[v1alpha1.CacheSnapshot](ctx, r.Live, s.snapshot.Namespace, name)
	if err != nil {
		return nil, "", err
	}
	if first == nil {
		return nil, name, nil // the cache is behind
	}
	if k, ok := s.comparable(first); !ok || !k.Verified {
		return nil, name, nil // the cache is behind
	}
	csi, err := read.Object[snapshotv1.VolumeSnapshot](ctx, r.Live, first.Namespace, first.Status.VolumeSnapshotName)
	if err != nil {
		return nil, "", err
	}
	if !volume.Pinned(first.Status, csi, nil) {
		return nil, name, nil // about to be reported as lost
	}
	return first, "", nil
}

// comparable returns another snapshot in the form that retention uses, and whether
// it is of the same source and is, or may become, the one to compare with. A
// suspended snapshot without a verdict is not waited for.
func (s *scope) comparable(o *v1alpha1.CacheSnapshot) (snapshot.Kept, bool) {
	if o.Name == s.snapshot.Name || o.Spec.SourceRef != s.snapshot.Spec.SourceRef || o.Status.CreationTime == nil {
		return snapshot.Kept{}, false
	}
	k, ok := snapshot.Of(o, false)
	return k, ok && (k.Verified || k.Pending && !o.Spec.Suspend)
}
