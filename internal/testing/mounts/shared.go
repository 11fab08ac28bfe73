package mounts

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Shared are the volumes of a pod that one container can write to and another one
// mounts, each as NAME: CONTAINER CONTAINER, in the order of their names.
func Shared(pod corev1.PodSpec) []string {
	var shared []string
	for _, v := range pod.Volumes {
		if !writable(v) {
			continue
		}
		var containers []string
		written := false
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			for _, m := range c.VolumeMounts {
				if m.Name == v.Name {
					containers, written = append(containers, c.Name), written || !m.ReadOnly
				}
			}
		}
		slices.Sort(containers)
		if containers = slices.Compact(containers); written && len(containers) > 1 {
			shared = append(shared, v.Name+": "+strings.Join(containers, " "))
		}
	}
	slices.Sort(shared)
	return shared
}

// writable reports whether a container can write to a volume at all: what comes from
// objects of the API is read-only.
func writable(v corev1.Volume) bool {
	return v.ConfigMap == nil && v.Secret == nil && v.Projected == nil && v.DownwardAPI == nil
}
