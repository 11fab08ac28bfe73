package mounts_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/internal/testing/mounts"
)

// TestShared holds that only what can be written by one container and is mounted by
// another one is found.
func TestShared(t *testing.T) {
	dir := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	pod := corev1.PodSpec{
		Volumes: []corev1.Volume{
			{Name: "tmp", VolumeSource: dir}, {Name: "own", VolumeSource: dir}, {Name: "read", VolumeSource: dir}, {Name: "handed-on", VolumeSource: dir},
			{Name: "keys", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}},
		},
		InitContainers: []corev1.Container{{Name: "b", VolumeMounts: []corev1.VolumeMount{{Name: "tmp"}, {Name: "handed-on"}, {Name: "read", ReadOnly: true}, {Name: "keys"}}}},
		Containers: []corev1.Container{{Name: "a", VolumeMounts: []corev1.VolumeMount{
			{Name: "tmp"}, {Name: "own", MountPath: "/1"}, {Name: "own", MountPath: "/2"}, {Name: "read", ReadOnly: true}, {Name: "handed-on", ReadOnly: true}, {Name: "keys"},
		}}},
	}
	if got, want := mounts.Shared(pod), []string{"handed-on: a b", "tmp: a b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
