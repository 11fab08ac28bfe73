package podspec_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/internal/kube/podspec"
)

// TestBound holds that nothing in a pod is left without a limit of disk space,
// and that what a user has set stays.
func TestBound(t *testing.T) {
	small := resource.MustParse("8Mi")
	users := corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourceEphemeralStorage: small}}
	pod := corev1.PodSpec{
		Volumes: []corev1.Volume{
			podspec.EmptyDir("tmp"), {Name: "run", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
			podspec.Claim("cache", "ci"), {Name: "sized", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("2Gi"))}}},
		},
		InitContainers: []corev1.Container{{Name: "install", VolumeMounts: []corev1.VolumeMount{{Name: "tmp"}, {Name: "run"}, {Name: "sized"}, {Name: "cache"}}}},
		Containers:     []corev1.Container{{Name: "user", Resources: users, VolumeMounts: []corev1.VolumeMount{{Name: "tmp"}}}},
	}
	before := users.DeepCopy()
	podspec.Bound(&pod, nil)
	podspec.Bound(&pod, nil) // a second time changes nothing
	for _, v := range pod.Volumes {
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit == nil {
			t.Errorf("volume %s has no sizeLimit", v.Name)
		}
	}
	if claim := pod.Volumes[2].PersistentVolumeClaim; claim == nil || claim.ClaimName != "ci" || pod.Volumes[2].Name != "cache" {
		t.Errorf("the PVC is %+v", pod.Volumes[2])
	}
	install := podspec.Helper(nil, "1", "256Mi")
	install.Limits[corev1.ResourceEphemeralStorage] = resource.MustParse("13Gi")
	install.Requests[corev1.ResourceEphemeralStorage] = resource.MustParse("16Mi")
	if diff := cmp.Diff(install, pod.InitContainers[0].Resources); diff != "" {
		t.Errorf("the helper (-want +got):\n%s", diff)
	}
	want := *before.DeepCopy()
	want.Requests = corev1.ResourceList{corev1.ResourceEphemeralStorage: small}
	if diff := cmp.Diff(want, pod.Containers[0].Resources); diff != "" {
		t.Errorf("the user's (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(*before, users); diff != "" {
		t.Errorf("the user's resources were changed in place:\n%s", diff)
	}
}
