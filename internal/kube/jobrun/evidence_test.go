package jobrun_test

import (
	"maps"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/jobrun"
)

// verifier is a Job that checks a volume, as the API server returns it.
func verifier() *batchv1.Job {
	j := job(batchv1.JobComplete, "", "")
	j.Spec.Template.Spec = corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "fetch", Image: "operator:1"}},
		Containers: []corev1.Container{{
			Name: jobrun.Container, Image: "operator:1", Command: []string{"/gocache-agent", "verify"},
			Env:          []corev1.EnvVar{{Name: "A", Value: "1"}},
			VolumeMounts: []corev1.VolumeMount{{Name: "clone", MountPath: "/cache", ReadOnly: true}},
		}},
		Volumes: []corev1.Volume{{Name: "clone", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "j"},
		}}},
	}
	j.Spec.Template.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.ActionLabel: "verification"}
	return j
}

// reporting is the pod of that Job, which reports that all is intact.
func reporting(change func(*corev1.Pod)) *corev1.Pod {
	p := agent(0, "", "intact")
	p.Spec = *verifier().Spec.Template.Spec.DeepCopy()
	maps.Copy(p.Labels, verifier().Spec.Template.Labels)
	p.Generation = 1
	change(p)
	return p
}

// TestEvidence simulates an attacker with the right to create pods in the namespace
// of a Job: only the one pod that the Job controls, and that runs the Job's
// template, is evidence. In all other cases the outcome is inconclusive, with a cause.
func TestEvidence(t *testing.T) {
	t.Parallel()
	mainOf := func(p *corev1.Pod) *corev1.Container { return &p.Spec.Containers[0] }
	for name, tt := range map[string]struct {
		change func(*corev1.Pod)
		second bool   // another pod that is the same but for its name
		cause  string // empty: it is trusted
	}{
		"the pod of the Job": {change: func(*corev1.Pod) {}},
		"a sidecar that is injected": {change: func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "mesh", Image: "mesh"})
		}},
		"a second volume of the same PVC": {change: func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "x", VolumeSource: *p.Spec.Volumes[0].VolumeSource.DeepCopy()})
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: "x", Image: "evil", VolumeMounts: []corev1.VolumeMount{{Name: "x", MountPath: "/x"}}})
		}, cause: "volume x"},
		"a volume that is injected": {change: func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "token"})
			mainOf(p).VolumeMounts = append(mainOf(p).VolumeMounts, corev1.VolumeMount{Name: "token", MountPath: "/var/run/token"})
		}},
		"a variable that is injected": {change: func(p *corev1.Pod) {
			mainOf(p).Env = append(mainOf(p).Env, corev1.EnvVar{Name: "HTTP_PROXY", Value: "x"})
		}},

		"a variable of the go command": {change: func(p *corev1.Pod) {
			mainOf(p).Env = append(mainOf(p).Env, corev1.EnvVar{Name: "GOFLAGS", Value: "-toolexec=/cache/x"})
		}, cause: "variable GOFLAGS"},
		"a variable twice": {change: func(p *corev1.Pod) {
			mainOf(p).Env = append(mainOf(p).Env, corev1.EnvVar{Name: "A", Value: "2"})
		}, cause: "variable A"},
		"no variable": {change: func(p *corev1.Pod) { mainOf(p).Env = nil }, cause: "variable A"},
		"variables of a ConfigMap": {change: func(p *corev1.Pod) {
			mainOf(p).EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{}}}
		}, cause: "variable source 0"},
		"the CPUs and the memory of the node": {change: func(p *corev1.Pod) {
			mainOf(p).Env = append(mainOf(p).Env, corev1.EnvVar{Name: "GOMAXPROCS", Value: "2"}, corev1.EnvVar{Name: "GOMEMLIMIT", Value: "1"})
		}},
		"the path of programs": {change: func(p *corev1.Pod) {
			mainOf(p).Env = append(mainOf(p).Env, corev1.EnvVar{Name: "PATH", Value: "/cache"})
		}, cause: "variable PATH"},
		"a library of the linker": {change: func(p *corev1.Pod) {
			mainOf(p).Env = append(mainOf(p).Env, corev1.EnvVar{Name: "LD_PRELOAD", Value: "/cache/x"})
		}, cause: "variable LD_PRELOAD"},
		"its image was changed and back, while it ran": {change: func(p *corev1.Pod) { p.Status.ContainerStatuses[1].RestartCount = 1 }, cause: "container agent was restarted"},
		"the image of an init container was changed and back": {change: func(p *corev1.Pod) {
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "fetch", RestartCount: 1}}
		}, cause: "container fetch was restarted"},
		"a container that was added to it is restarted": {change: func(p *corev1.Pod) {
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "mesh", RestartCount: 1}}
		}},
		"its image was changed and back, before it ran":        {change: func(p *corev1.Pod) { p.Generation = 3 }, cause: "its spec was changed"},
		"a server that counts no changes":                      {change: func(p *corev1.Pod) { p.Generation = 0 }},
		"without a label that admission goes by":               {change: func(p *corev1.Pod) { delete(p.Labels, v1alpha1.ActionLabel) }, cause: "label cache.gocache.dev/action"},
		"with another value of a label that admission goes by": {change: func(p *corev1.Pod) { p.Labels[v1alpha1.ManagedByLabel] = "me" }, cause: "label app.kubernetes.io/managed-by"},
		"the processes of the node":                            {change: func(p *corev1.Pod) { p.Spec.HostPID = true }, cause: "shares its processes"},
		"a container that was added while it ran": {change: func(p *corev1.Pod) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
		}, cause: "container debug was added to it"},
		"two of them":           {change: func(*corev1.Pod) {}, second: true, cause: "several pods name Job j as their controller"},
		"an owner, not its Job": {change: func(p *corev1.Pod) { p.OwnerReferences[0].Controller = ptr.To(false) }, cause: "the pod is gone"},
		"without the Job's uid": {change: func(p *corev1.Pod) { delete(p.Labels, batchv1.ControllerUidLabel) }, cause: "the pod is gone"},
		"of another Job's uid":  {change: func(p *corev1.Pod) { p.Labels[batchv1.ControllerUidLabel] = "2" }, cause: "the pod is gone"},
		"another image":         {change: func(p *corev1.Pod) { mainOf(p).Image = "mallory" }, cause: "the image of container agent"},
		"another command":       {change: func(p *corev1.Pod) { mainOf(p).Command = []string{"sh", "-c", "echo intact"} }, cause: "the command of container agent"},
		"arguments":             {change: func(p *corev1.Pod) { mainOf(p).Args = []string{"--help"} }, cause: "the command of container agent"},
		"another variable":      {change: func(p *corev1.Pod) { mainOf(p).Env[0].Value = "2" }, cause: "variable A"},
		"another volume":        {change: func(p *corev1.Pod) { p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName = "clean" }, cause: "volume clone"},
		"no volume":             {change: func(p *corev1.Pod) { p.Spec.Volumes = nil }, cause: "volume clone"},
		"another mount":         {change: func(p *corev1.Pod) { mainOf(p).VolumeMounts[0].SubPath = "clean" }, cause: "the mount at /cache"},
		"a mount in between": {change: func(p *corev1.Pod) {
			mainOf(p).VolumeMounts = append(mainOf(p).VolumeMounts, corev1.VolumeMount{Name: "other", MountPath: "/cache/mod"})
		}, cause: "the mount at /cache/mod"},
		"a mount over it": {change: func(p *corev1.Pod) {
			mainOf(p).VolumeMounts = append(mainOf(p).VolumeMounts, corev1.VolumeMount{Name: "other", MountPath: "/"})
		}, cause: "the mount at /"},
		"a mount beside it": {change: func(p *corev1.Pod) {
			mainOf(p).VolumeMounts = append(mainOf(p).VolumeMounts, corev1.VolumeMount{Name: "other", MountPath: "/cache2"})
		}},
		"its mount twice": {change: func(p *corev1.Pod) {
			mainOf(p).VolumeMounts = append(mainOf(p).VolumeMounts, corev1.VolumeMount{Name: "other", MountPath: "/cache"})
		}, cause: "the mount at /cache"},
		"no mount": {change: func(p *corev1.Pod) { mainOf(p).VolumeMounts = nil }, cause: "the mount at /cache"},
		"a sidecar at another volume": {change: func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "mesh", VolumeMounts: []corev1.VolumeMount{{Name: "certificates", MountPath: "/x"}}})
		}},
		"a sidecar at the volume": {change: func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: "fix", VolumeMounts: []corev1.VolumeMount{{Name: "clone", MountPath: "/x"}}})
		}, cause: "container fix, which was added to it, mounts volume clone"},
		"another message file": {change: func(p *corev1.Pod) { mainOf(p).TerminationMessagePath = "/cache/message" }, cause: "the termination message"},
		"a readiness probe":    {change: func(p *corev1.Pod) { mainOf(p).ReadinessProbe = &corev1.Probe{} }, cause: "a hook or probe"},
		"a startup probe":      {change: func(p *corev1.Pod) { mainOf(p).StartupProbe = &corev1.Probe{} }, cause: "a hook or probe"},
		"a liveness probe":     {change: func(p *corev1.Pod) { mainOf(p).LivenessProbe = &corev1.Probe{} }, cause: "a hook or probe"},
		"a hook":               {change: func(p *corev1.Pod) { mainOf(p).Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{}} }, cause: "a hook or probe"},
		"shared processes":     {change: func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = ptr.To(true) }, cause: "shares its processes"},
		"no container":         {change: func(p *corev1.Pod) { mainOf(p).Name = "other" }, cause: "no container agent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pods := fake.NewClientBuilder().WithObjects(reporting(tt.change))
			if tt.second {
				pods = pods.WithObjects(reporting(func(p *corev1.Pod) { tt.change(p); p.Name = "j-2" }))
			}
			o, err := jobrun.Observe(t.Context(), pods.Build(), verifier())
			if err != nil {
				t.Fatal(err)
			}
			if trusted := o.Conclusive() && o.Message == "intact"; trusted != (tt.cause == "") || !strings.Contains(o.Cause, tt.cause) {
				t.Errorf("believed %v, cause %q; want %q", trusted, o.Cause, tt.cause)
			}
		})
	}
}
