package jobrun

import (
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
)

// evidence is the pod whose report counts for a Job. Any client that may create
// pods can create one with the Job's labels and owner reference, so a pod is
// trusted only if it is the only one that the Job controls, and runs, and has run
// from the start, what the Job's template describes. Otherwise doubt is why none is trusted; no pod and
// no doubt: there is none any more.
func evidence(job *batchv1.Job, pods []corev1.Pod) (pod *corev1.Pod, doubt string) {
	var controlled []*corev1.Pod
	for i := range pods {
		if controls(job, &pods[i]) {
			controlled = append(controlled, &pods[i])
		}
	}
	switch {
	case len(controlled) == 0:
		return nil, ""
	case len(controlled) > 1:
		return nil, fmt.Sprintf("several pods name Job %s as their controller, such as %s and %s, and the operator starts one: no report is trusted",
			job.Name, controlled[0].Name, controlled[1].Name)
	}
	why := differs(&job.Spec.Template, controlled[0].Annotations, controlled[0].Spec)
	if why == "" {
		why = changed(&job.Spec.Template, controlled[0])
	}
	if why != "" {
		return nil, fmt.Sprintf("pod %s is not what Job %s describes (%s): its report is not trusted", controlled[0].Name, job.Name, why)
	}
	return controlled[0], ""
}

// changed returns a sign that a pod ran something else before than it shows now: the
// image of a container can be changed, and changed back. The admission policy
// images-of-jobs refuses that for pods with labels that no pod gets later.
func changed(of *corev1.PodTemplateSpec, pod *corev1.Pod) string {
	for _, key := range []string{v1alpha1.ManagedByLabel, v1alpha1.ActionLabel} {
		if pod.Labels[key] != of.Labels[key] {
			return "label " + key
		}
	}
	// A container that ran is started again if its image changes, and else never.
	for _, part := range []struct {
		containers []corev1.Container
		statuses   []corev1.ContainerStatus
	}{{of.Spec.InitContainers, pod.Status.InitContainerStatuses}, {of.Spec.Containers, pod.Status.ContainerStatuses}} {
		for i := range part.statuses {
			s := &part.statuses[i]
			if s.RestartCount > 0 && slices.ContainsFunc(part.containers, func(c corev1.Container) bool { return c.Name == s.Name }) {
				return "container " + s.Name + " was restarted"
			}
		}
	}
	// From Kubernetes 1.34 the API server counts the changes of a pod's spec. Its
	// deletion counts, its binding to a node does not.
	generation := int64(1)
	if pod.DeletionTimestamp != nil {
		generation++
	}
	if pod.Generation > generation {
		return "its spec was changed after it was created"
	}
	return ""
}

// controls reports whether a pod has the marks of one that a Job has created.
func controls(job *batchv1.Job, pod *corev1.Pod) bool { return IsPodOf(pod, job.UID) }

// IsPodOf reports whether a pod has the marks of one that the Job with this uid has
// created. Any client that may create pods can set them.
func IsPodOf(pod *corev1.Pod, job types.UID) bool {
	controller := metav1.GetControllerOf(pod)
	return controller != nil && controller.UID == job && pod.Labels[batchv1.ControllerUidLabel] == string(job)
}

// differs returns in which respect a pod runs something else than a template
// asks for. What admission adds is allowed, such as containers, tolerations or
// volumes, as long as it does not reach the volumes of the template.
func differs(of *corev1.PodTemplateSpec, annotations map[string]string, pod corev1.PodSpec) string {
	template := of.Spec
	if why := annotationDiffers(of.Annotations, annotations); why != "" {
		return why
	}
	if len(pod.EphemeralContainers) > 0 {
		return "container " + pod.EphemeralContainers[0].Name + " was added to it while it ran"
	}
	if pod.HostPID != template.HostPID || ptr.Deref(pod.ShareProcessNamespace, false) != ptr.Deref(template.ShareProcessNamespace, false) {
		return "it shares its processes"
	}
	for _, part := range []struct{ want, have []corev1.Container }{
		{template.InitContainers, pod.InitContainers}, {template.Containers, pod.Containers},
	} {
		for i := range part.want {
			at := slices.IndexFunc(part.have, func(c corev1.Container) bool { return c.Name == part.want[i].Name })
			if at < 0 {
				return "it has no container " + part.want[i].Name
			}
			if what := containerDiffers(&part.want[i], &part.have[at]); what != "" {
				return what + " of container " + part.want[i].Name
			}
		}
	}
	for i := range template.Volumes {
		want := &template.Volumes[i]
		at := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == want.Name })
		if at < 0 || !equality.Semantic.DeepDerivative(want.VolumeSource, pod.Volumes[at].VolumeSource) {
			return "volume " + want.Name
		}
	}
	for i := range pod.Volumes { // no second way to a PVC of the template
		have := &pod.Volumes[i]
		same := func(v corev1.Volume) bool {
			return v.Name != have.Name && claimOf(&v) != "" && claimOf(&v) == claimOf(have)
		}
		if !slices.ContainsFunc(template.Volumes, func(v corev1.Volume) bool { return v.Name == have.Name }) && slices.ContainsFunc(template.Volumes, same) {
			return "volume " + have.Name + ", which was added to it"
		}
	}
	return trespasser(template, pod)
}

// claimOf is the PVC of a volume; empty: it has none.
func claimOf(v *corev1.Volume) string {
	return ptr.Deref(v.PersistentVolumeClaim, corev1.PersistentVolumeClaimVolumeSource{}).ClaimName
}

func containerDiffers(want, have *corev1.Container) string {
	switch {
	case want.Image != have.Image:
		return "the image"
	case !slices.Equal(want.Command, have.Command) || !slices.Equal(want.Args, have.Args):
		return "the command"
	case want.TerminationMessagePath != have.TerminationMessagePath:
		return "the termination message"
	case !equality.Semantic.DeepEqual(want.Lifecycle, have.Lifecycle), !equality.Semantic.DeepEqual(want.LivenessProbe, have.LivenessProbe),
		!equality.Semantic.DeepEqual(want.ReadinessProbe, have.ReadinessProbe), !equality.Semantic.DeepEqual(want.StartupProbe, have.StartupProbe):
		return "a hook or probe" // which may run commands
	}
	if name := variableDiffers(want, have); name != "" {
		return "variable " + name
	}
	for i := range want.VolumeMounts {
		if !slices.ContainsFunc(have.VolumeMounts, func(m corev1.VolumeMount) bool { return equality.Semantic.DeepEqual(want.VolumeMounts[i], m) }) {
			return "the mount at " + want.VolumeMounts[i].MountPath
		}
	}
	for i := range have.VolumeMounts { // nothing over or under what the template mounts
		m := &have.VolumeMounts[i]
		if !slices.ContainsFunc(want.VolumeMounts, func(w corev1.VolumeMount) bool { return equality.Semantic.DeepEqual(w, *m) }) &&
			slices.ContainsFunc(want.VolumeMounts, func(w corev1.VolumeMount) bool {
				return within(m.MountPath, w.MountPath) || within(w.MountPath, m.MountPath)
			}) {
			return "the mount at " + m.MountPath
		}
	}
	return ""
}

// variableDiffers returns a variable that a container lacks, has with another
// value, or has in addition though it may change which programs run.
func variableDiffers(want, have *corev1.Container) string {
	for i := range want.Env {
		if !slices.ContainsFunc(have.Env, func(e corev1.EnvVar) bool { return e.Name == want.Env[i].Name }) {
			return want.Env[i].Name
		}
	}
	for i := range have.Env { // each: of two with one name, the last counts
		e := &have.Env[i]
		at := slices.IndexFunc(want.Env, func(w corev1.EnvVar) bool { return w.Name == e.Name })
		if at < 0 && steers(e.Name) || at >= 0 && !equality.Semantic.DeepEqual(want.Env[at], *e) {
			return e.Name
		}
	}
	for i := range have.EnvFrom { // whose names are not known here
		if !slices.ContainsFunc(want.EnvFrom, func(w corev1.EnvFromSource) bool { return equality.Semantic.DeepEqual(w, have.EnvFrom[i]) }) {
			return "source " + fmt.Sprint(i)
		}
	}
	return ""
}

// steers reports whether a variable may change which programs an agent and the
// go command run, or which files they read. Admission may add others, such as
// those of an HTTP proxy.
func steers(name string) bool {
	if name == "GOMAXPROCS" || name == "GOMEMLIMIT" {
		return false
	}
	for _, prefix := range []string{"GO", "CGO_", "LD_", "GIT_", "SSH_", "XDG_", "PKG_CONFIG"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"PATH", "HOME", "TMPDIR", "CC", "CXX", "FC", "AR", "NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR"}, name)
}

// within reports whether one path is another, or below it.
func within(path, of string) bool {
	return path == of || len(path) > len(of) && path[:len(of)] == of && (of == "/" || path[len(of)] == '/')
}

// trespasser names a container that is not the template's and mounts one of its
// volumes.
func trespasser(template, pod corev1.PodSpec) string {
	own := func(name string) bool {
		is := func(c corev1.Container) bool { return c.Name == name }
		return slices.ContainsFunc(template.InitContainers, is) || slices.ContainsFunc(template.Containers, is)
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		if own(c.Name) {
			continue
		}
		for _, m := range c.VolumeMounts {
			if slices.ContainsFunc(template.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
				return fmt.Sprintf("container %s, which was added to it, mounts volume %s", c.Name, m.Name)
			}
		}
	}
	return ""
}
