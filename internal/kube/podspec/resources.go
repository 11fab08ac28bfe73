package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"gocache.dev/operator/api/v1alpha1"
)

// Work is what a main container does. It decides the resources that the container
// has unless the user sets some.
type Work int

// The kinds of work.
const (
	// Checking reads, copies or removes files of a volume.
	Checking Work = iota
	// Compiling runs the go command.
	Compiling
	// Serving is the server of a proxy instance.
	Serving
	// Routing is HAProxy.
	Routing
)

// defaults of a main container. Each has limits of CPU and memory, since a namespace
// whose ResourceQuota counts limits refuses pods without. They are not what the
// work is expected to take but well above: a limit of CPU slows a build, and one of
// memory ends it. The go command starts as many compilers as the limit of CPU, so
// that this also bounds the memory that it takes.
func (w Work) defaults() corev1.ResourceRequirements {
	switch w {
	case Compiling:
		return quantities("100m", "128Mi", "8", "8Gi")
	case Serving:
		return quantities("100m", "128Mi", "2", "2Gi")
	case Routing:
		return quantities("100m", "128Mi", "2", "1Gi")
	case Checking:
	}
	// A check decompresses as many files at once as it has CPUs, of up to 500 MiB each.
	return quantities("100m", "128Mi", "4", "4Gi")
}

// Resources of a main container are the first that is set: the action's, the
// template's, or the defaults of the work.
func Resources(w Work, action *v1alpha1.Resources, t *v1alpha1.PodTemplate) corev1.ResourceRequirements {
	switch {
	case action != nil:
		return requirements(action)
	case t != nil && t.Resources != nil:
		return requirements(t.Resources)
	}
	return w.defaults()
}

// requirements are the user's resources in the core type.
func requirements(r *v1alpha1.Resources) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: resourceList(r.Requests), Limits: resourceList(r.Limits)}
}

func resourceList(m map[string]resource.Quantity) corev1.ResourceList {
	if len(m) == 0 {
		return nil
	}
	list := corev1.ResourceList{}
	for k, v := range m {
		list[corev1.ResourceName(k)] = v
	}
	return list
}

func quantities(cpuRequest, memoryRequest, cpuLimit, memoryLimit string) corev1.ResourceRequirements {
	list := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	return corev1.ResourceRequirements{Requests: list(cpuRequest, memoryRequest), Limits: list(cpuLimit, memoryLimit)}
}
