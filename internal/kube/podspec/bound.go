package podspec

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"gocache.dev/operator/api/v1alpha1"
)

const (
	// scratchLimit is how much of a node's disk an emptyDir of its own takes at
	// most: the temporary files of a large build.
	scratchLimit = "10Gi"
	// diskBase is what a container may write beside its volumes: its log.
	diskBase = "1Gi"
	// diskRequest is small: a node is chosen by what a pod usually needs.
	diskRequest = "16Mi"
)

// Helper are the resources of a container beside the main one: the template's, or
// small requests with these limits.
func Helper(t *v1alpha1.PodTemplate, cpuLimit, memoryLimit string) corev1.ResourceRequirements {
	if t != nil && t.HelperResources != nil {
		return requirements(t.HelperResources)
	}
	return quantities("10m", "64Mi", cpuLimit, memoryLimit)
}

// Bound completes a pod so that nothing in it takes a node's disk without a
// limit: every emptyDir has a size, and every container requests and limits
// ephemeral storage. A container that names no resources is a helper. What is set
// already stays, so that a user's resources win.
func Bound(pod *corev1.PodSpec, t *v1alpha1.PodTemplate) {
	sizes := map[string]resource.Quantity{}
	for i := range pod.Volumes {
		dir := pod.Volumes[i].EmptyDir
		if dir == nil {
			continue
		}
		if dir.SizeLimit == nil {
			limit := resource.MustParse(scratchLimit)
			dir.SizeLimit = &limit
		}
		if dir.Medium != corev1.StorageMediumMemory {
			sizes[pod.Volumes[i].Name] = *dir.SizeLimit
		}
	}
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range containers {
			boundContainer(&containers[i], t, sizes)
		}
	}
}

func boundContainer(c *corev1.Container, t *v1alpha1.PodTemplate, sizes map[string]resource.Quantity) {
	r := &c.Resources
	if len(r.Requests) == 0 && len(r.Limits) == 0 {
		*r = Helper(t, "1", "256Mi")
	}
	r.Requests, r.Limits = own(r.Requests), own(r.Limits)
	if _, set := r.Limits[corev1.ResourceEphemeralStorage]; !set {
		limit := resource.MustParse(diskBase)
		for _, m := range c.VolumeMounts {
			limit.Add(sizes[m.Name])
		}
		r.Limits[corev1.ResourceEphemeralStorage] = limit
	}
	if _, set := r.Requests[corev1.ResourceEphemeralStorage]; !set {
		// Unset, it would be the limit.
		request, limit := resource.MustParse(diskRequest), r.Limits[corev1.ResourceEphemeralStorage]
		if limit.Cmp(request) < 0 {
			request = limit
		}
		r.Requests[corev1.ResourceEphemeralStorage] = request
	}
}

// own is a copy that can be written to.
func own(list corev1.ResourceList) corev1.ResourceList {
	if list == nil {
		return corev1.ResourceList{}
	}
	return maps.Clone(list)
}
