package replacement

import (
	"context"
	"path"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/volume"
)

const (
	// contentDir is where the Job mounts the next PVC, and sourceDir what it is
	// copied from.
	contentDir = "/cache"
	sourceDir  = "/source"
	// defaultDeadline of the Job, and of a new volume that the cluster refuses.
	defaultDeadline = time.Hour
)

// Content is what the next PVC is made from, and how it is checked.
type Content struct {
	// Snapshot whose content is restored. If the intent names none, the volume
	// begins empty.
	Snapshot *v1alpha1.CacheSnapshot
	// Empty is what an empty volume is for.
	Empty *v1alpha1.SourceRecord
	// Trusted is what the check compares with, in addition to the hashes on the
	// volume.
	Trusted check.Trusted
	// Image of the agent.
	Image string
	// Template and Resources of the Job's pod; may be nil.
	Template  *v1alpha1.PodTemplate
	Resources *v1alpha1.Resources
	// Deadline of the Job, and how long a replacement may be refused by the cluster; nil:
	// one hour.
	Deadline *time.Duration
}

// deadline of the Job.
func (c Content) deadline() time.Duration { return ptr.Deref(c.Deadline, defaultDeadline) }

// MakeNext makes the next PVC, and the Job that checks it. The Job is the PVC's
// first consumer: nothing is waited for in between. Content that a driver
// cannot restore into the desired class or size is copied by the same Job, from
// a clone, before it is checked.
func (r Run) MakeNext(ctx context.Context, c Content) error {
	a := apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: r.FieldOwner}
	owner := apply.ControlledBy(r.Owner)
	next := volume.Claim{
		Namespace: r.Owner.GetNamespace(), Name: r.NextName(), Labels: r.Labels,
		AccessModes: r.AccessModes, Size: *r.Intent.Size,
	}
	if r.Intent.StorageClassName != "" {
		next.Class = &r.Intent.StorageClassName
	}
	if r.Intent.Snapshot != "" && !r.Intent.Copied {
		next.Snapshot = c.Snapshot.Status.VolumeSnapshotName
	}
	if _, err := a.Apply(ctx, owner, next.Object()); err != nil {
		return err
	}
	if r.Intent.Copied {
		if _, err := a.Apply(ctx, owner, r.source(c).Object()); err != nil {
			return err
		}
	}
	job, err := r.job(ctx, c)
	if err != nil {
		return err
	}
	made, err := jobrun.Start(ctx, a, r.Owner, job.Object())
	if made.UID != "" {
		r.Intent.JobUID = made.UID
	}
	return err
}

// source is a clone as the driver makes it, to be copied from.
func (r Run) source(c Content) volume.Claim {
	created := c.Snapshot.Status.Source
	claim := volume.Claim{
		Namespace: r.Owner.GetNamespace(), Name: r.SourceName(), Labels: r.Labels,
		Size: volume.Larger(c.Snapshot.Status.RestoreSize, created.Capacity), Snapshot: c.Snapshot.Status.VolumeSnapshotName,
	}
	if created.StorageClassName != "" {
		claim.Class = &created.StorageClassName
	}
	return claim
}

// job checks the next PVC, which it mounts read-only for that.
func (r Run) job(ctx context.Context, c Content) (jobrun.Spec, error) {
	created := c.Empty
	if r.Intent.Snapshot != "" {
		created = c.Snapshot.Status.Source
	}
	labels := map[string]string{v1alpha1.ActionLabel: "replacement"}
	for k, v := range r.Labels {
		labels[k] = v
	}
	spec := jobrun.Spec{
		Namespace: r.Owner.GetNamespace(), Name: r.NextName(), Labels: labels,
		Image: c.Image, Command: agentcommand.InImage(agentcommand.Verify{Content: check.Content(created, contentDir), Trust: c.Trusted.Trust}),
		Volumes:  append([]corev1.Volume{podspec.Claim("next", r.NextName())}, c.Trusted.Volumes...),
		Mounts:   append([]corev1.VolumeMount{{Name: "next", MountPath: contentDir, ReadOnly: true}}, c.Trusted.Mounts...),
		Template: c.Template, Resources: c.Resources,
		Ownership: created.Ownership, Platform: created.Platform, Deadline: c.deadline(),
	}
	if r.Intent.Snapshot == "" {
		spec.Init = []corev1.Container{{
			Name: "prepare", Image: c.Image, Resources: podspec.Resources(podspec.Checking, c.Resources, c.Template),
			Command:      agentcommand.InImage(agentcommand.Store{Store: path.Join(contentDir, store.Dir), Prepare: true, Once: true}),
			VolumeMounts: []corev1.VolumeMount{{Name: "next", MountPath: contentDir}},
		}}
		return spec, nil
	}
	if r.Intent.Copied {
		spec.Volumes = append(spec.Volumes, podspec.Claim("source", r.SourceName()))
		spec.Init = []corev1.Container{{
			Name: "copy", Image: c.Image, Resources: podspec.Resources(podspec.Checking, c.Resources, c.Template),
			Command: agentcommand.InImage(agentcommand.Restore{
				From: sourceDir, To: contentDir, NoVerify: true, ModDir: goenv.ModulesDir, BuildDir: goenv.BuildDir,
			}),
			VolumeMounts: []corev1.VolumeMount{{Name: "source", MountPath: sourceDir, ReadOnly: true}, {Name: "next", MountPath: contentDir}},
		}}
	}
	pv, err := read.Object[corev1.PersistentVolume](ctx, r.Live, "", created.VolumeName)
	if err == nil && pv != nil && pv.Spec.NodeAffinity != nil {
		spec.Near = pv.Spec.NodeAffinity.Required // a clone can be reached where its source can
	}
	return spec, err
}
