package check

import (
	"context"
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/read"
)

const (
	// trustDir is where the agent finds what it compares with.
	trustDir = "/trust"
	goSumKey = "go.sum"
)

// Trusted is what the agent needs to compare checksums with data from outside
// the cache: what its command names, and volumes of its pod.
type Trusted struct {
	agentcommand.Trust
	Volumes []corev1.Volume
	Mounts  []corev1.VolumeMount
}

// Trust turns the trust that is declared at a field of a spec into what a command
// names, and files. The ConfigMaps are read first: a pod that waits for a missing one does
// not report it in its status.
func Trust(ctx context.Context, live client.Reader, namespace, field string, spec *v1alpha1.Trust) (Trusted, error) {
	var t Trusted
	if spec == nil {
		return t, nil
	}
	for i, ref := range spec.GoSumRefs {
		cm, err := read.Object[corev1.ConfigMap](ctx, live, namespace, ref.Name)
		if err != nil {
			return t, err
		}
		if cm == nil || cm.Data[goSumKey] == "" {
			return t, &conditions.StalledError{
				Reason:  v1alpha1.ReasonSourceNotFound,
				Message: fmt.Sprintf("%s.goSumRefs[%d]: ConfigMap %s with key %s does not exist; the check is made when it does", field, i, ref.Name, goSumKey),
			}
		}
		name, dir := fmt.Sprintf("trust-%d", i), path.Join(trustDir, fmt.Sprint(i))
		t.GoSum = append(t.GoSum, path.Join(dir, goSumKey))
		t.Mounts = append(t.Mounts, corev1.VolumeMount{Name: name, MountPath: dir, ReadOnly: true})
		t.Volumes = append(t.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: ref.Name},
			Items:                []corev1.KeyToPath{{Key: goSumKey, Path: goSumKey}},
		}}})
	}
	t.SumDB = spec.ChecksumDatabase
	return t, nil
}

// FullCoverage reports whether the check of a cache is inconclusive if trust that
// is declared does not name what it holds. What was seen first cannot name later
// versions, so it alone asks for nothing.
func FullCoverage(spec *v1alpha1.Trust) bool {
	return spec != nil && (len(spec.GoSumRefs) > 0 || spec.ChecksumDatabase != "") && spec.Coverage != v1alpha1.CoveragePartial
}

// Sources are the ConfigMaps that a cache is warmed with.
func Sources(spec *v1alpha1.WarmUp) []string {
	if spec == nil {
		return nil
	}
	var names []string
	for i := range spec.Sources {
		if ref := spec.Sources[i].ConfigMapRef; ref != nil && !slices.Contains(names, ref.Name) {
			names = append(names, ref.Name)
		}
	}
	return names
}

// TrustSources adds the go.sum files of what a cache is warmed with. They
// may be gone or have other lines when the check runs: what they do not name is
// not held against the cache.
func (t *Trusted) TrustSources(configMaps []string) {
	for i, name := range configMaps {
		volume, dir := fmt.Sprintf("source-%d", i), path.Join(trustDir, "sources", fmt.Sprint(i))
		t.OptionalGoSum = append(t.OptionalGoSum, path.Join(dir, goSumKey))
		t.Mounts = append(t.Mounts, corev1.VolumeMount{Name: volume, MountPath: dir, ReadOnly: true})
		t.Volumes = append(t.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Optional: ptr.To(true),
			Items: []corev1.KeyToPath{{Key: goSumKey, Path: goSumKey}},
		}}})
	}
}
