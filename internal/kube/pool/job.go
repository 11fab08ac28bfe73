package pool

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
)

const (
	// contentDir is where the Job mounts the volume, and memberVolume its name there.
	contentDir   = "/cache"
	memberVolume = "member"
	// Action is the label of the Jobs.
	Action = "pool"
	// noDeadline is the deadline of a Job whose cache has none: the schema has a default.
	noDeadline = 6 * time.Hour
)

// job reads the volume of a member, which it mounts read-only. It is the first
// consumer of the PVC, which with WaitForFirstConsumer causes the clone.
func (r Run) job(ctx context.Context, name string) (jobrun.Spec, error) {
	source := r.Snapshot.Status.Source
	labels := map[string]string{v1alpha1.ActionLabel: Action}
	maps.Copy(labels, Labels(r.Cache.Name))
	spec := jobrun.Spec{
		Namespace: r.Cache.Namespace, Name: name, Labels: labels,
		Image: r.Image, Command: agentcommand.InImage(agentcommand.Verify{Content: check.Content(source, contentDir)}),
		Volumes:  []corev1.Volume{podspec.Claim(memberVolume, name)},
		Mounts:   []corev1.VolumeMount{{Name: memberVolume, MountPath: contentDir, ReadOnly: true}},
		Template: r.Template, Resources: r.Resources,
		Ownership: source.Ownership, Platform: source.Platform, Deadline: noDeadline,
	}
	if r.Deadline != nil {
		spec.Deadline = *r.Deadline
	}
	pv, err := read.Object[corev1.PersistentVolume](ctx, r.Live, "", source.VolumeName)
	if err == nil && pv != nil && pv.Spec.NodeAffinity != nil {
		spec.Near = pv.Spec.NodeAffinity.Required // a clone can be reached where its source can
	}
	return spec, err
}

// refused is why the report of a Job does not make its member ready; empty: the volume
// holds what the snapshot held when it was verified.
func refused(v integrity.Verdict, of *v1alpha1.CacheSnapshot) string {
	switch {
	case v.Verdict == integrity.Inconclusive:
		return fmt.Sprintf("the check of the volume is %s: %s (it may take spec.snapshots.verification.deadline, from its creation on)", v.Verdict, v.Message)
	case v.Verdict != integrity.Intact:
		return fmt.Sprintf("the check of the volume is %s: %s", v.Verdict, v.Message)
	case of.Status.Verification.Digest == "":
		return fmt.Sprintf("CacheSnapshot %s was verified without a digest: nothing shows that the volume holds the same", of.Name)
	case v.Digest != of.Status.Verification.Digest:
		return fmt.Sprintf("the volume does not hold what CacheSnapshot %s held when it was verified: its digest is %s", of.Name, v.Digest)
	}
	return ""
}
