package cachesnapshot

import (
	"context"
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/read"
)

const (
	// trustDir is where the integrity Job finds what it compares with.
	trustDir = "/trust"
	goSumKey = "go.sum"
)

// trusted is what an integrity Job needs to compare checksums with data from
// outside the cache.
type trusted struct {
	flags   []string
	volumes []corev1.Volume
	mounts  []corev1.VolumeMount
}

// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get

// trust turns spec.verification.trust into flags and files. The ConfigMaps are
// looked at first: a pod that waits for one that does not exist says so to
// nobody.
func (r *Reconciler) trust(ctx context.Context, s *scope) (trusted, error) {
	var t trusted
	spec := s.snapshot.Spec.Verification.Trust
	if spec == nil {
		return t, nil
	}
	for i, ref := range spec.GoSumRefs {
		cm, err := read.Object[corev1.ConfigMap](ctx, r.Live, s.snapshot.Namespace, ref.Name)
		if err != nil {
			return t, err
		}
		if cm == nil || cm.Data[goSumKey] == "" {
			return t, &conditions.StalledError{
				Reason:  v1alpha1.ReasonSourceNotFound,
				Message: fmt.Sprintf("spec.verification.trust.goSumRefs[%d]: ConfigMap %s with key %s does not exist; the snapshot is verified when it does", i, ref.Name, goSumKey),
			}
		}
		name, dir := fmt.Sprintf("trust-%d", i), path.Join(trustDir, fmt.Sprint(i))
		t.flags = append(t.flags, "--gosum", path.Join(dir, goSumKey))
		t.mounts = append(t.mounts, corev1.VolumeMount{Name: name, MountPath: dir, ReadOnly: true})
		t.volumes = append(t.volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: ref.Name},
			Items:                []corev1.KeyToPath{{Key: goSumKey, Path: goSumKey}},
		}}})
	}
	if spec.ChecksumDatabase != "" {
		t.flags = append(t.flags, "--sumdb", spec.ChecksumDatabase)
	}
	return t, nil
}
