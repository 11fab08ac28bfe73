package jobrun

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// evidence is the pod whose report counts for a Job. Any client that may create
// pods can create one with the Job's labels and owner reference, so a pod is
// trusted only if it is the only one that the Job controls and runs what the
// Job's template describes. Otherwise doubt is why none is trusted; no pod and
// no doubt: there is none any more.
func evidence(job *batchv1.Job, pods []corev1.Pod) (pod *corev1.Pod, doubt string) {
	var controlled []*corev1.Pod
	for i := range pods {
		if p := &pods[i]; metav1.IsControlledBy(p, job) && p.Labels[batchv1.ControllerUidLabel] == string(job.UID) {
			controlled = append(controlled, p)
		}
	}
	switch {
	case len(controlled) == 0:
		return nil, ""
	case len(controlled) > 1:
		return nil, fmt.Sprintf("%d pods name Job %s as their controller, such as %s and %s, and the operator starts one: no report is trusted",
			len(controlled), job.Name, controlled[0].Name, controlled[1].Name)
	}
	if why := differs(job.Spec.Template.Spec, controlled[0].Spec); why != "" {
		return nil, fmt.Sprintf("pod %s is not what Job %s describes (%s): its report is not trusted", controlled[0].Name, job.Name, why)
	}
	return controlled[0], ""
}

// Differs returns in which respect a Job on the server runs something else than the
// one that the operator creates, in the same terms as for its pod; empty: in none.
func Differs(created, found *batchv1.Job) string {
	template := *created.Spec.Template.Spec.DeepCopy()
	for _, containers := range [][]corev1.Container{template.InitContainers, template.Containers} {
		for i := range containers { // as the server defaults it
			if containers[i].TerminationMessagePath == "" {
				containers[i].TerminationMessagePath = corev1.TerminationMessagePathDefault
			}
		}
	}
	return differs(template, found.Spec.Template.Spec)
}

// differs returns in which respect a pod runs something else than a template
// asks for. What admission adds is allowed, such as containers, tolerations or
// volumes, as long as it does not reach the volumes of the template.
func differs(template, pod corev1.PodSpec) string {
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
	return trespasser(template, pod)
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
	for i := range want.Env {
		if at := slices.IndexFunc(have.Env, func(e corev1.EnvVar) bool { return e.Name == want.Env[i].Name }); at < 0 ||
			!equality.Semantic.DeepEqual(want.Env[i], have.Env[at]) {
			return "variable " + want.Env[i].Name
		}
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
