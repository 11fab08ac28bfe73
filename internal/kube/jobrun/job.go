package jobrun

import (
	"maps"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/podspec"
)

// Container is the name of the main container of every Job.
const Container = "agent"

// Spec is the desired state of a Job.
type Spec struct {
	// Namespace, Name, Labels and Annotations of the Job. The labels go to its
	// pod too.
	Namespace, Name     string
	Labels, Annotations map[string]string
	// Image, Command and Env of the main container.
	Image   string
	Command []string
	Env     map[string]string
	// Volumes of the pod and where the main container mounts them.
	Volumes []corev1.Volume
	Mounts  []corev1.VolumeMount
	// Init containers that run before; they get the same security context.
	Init []corev1.Container
	// Template is the user's template for all pods of the object; may be nil.
	Template *v1alpha1.PodTemplate
	// Work of the main container decides its resources where none are set.
	Work podspec.Work
	// Resources in place of the template's; may be nil.
	Resources *v1alpha1.Resources
	// Ownership of the files that the pod touches; nil leaves it to the platform.
	Ownership *v1alpha1.Ownership
	// Platform as GOOS/GOARCH; the pod runs on a node of it.
	Platform string
	// Near restricts the pod to nodes that can reach a volume; may be nil.
	Near *corev1.NodeSelector
	// Deadline after which the pod is ended; at least one second.
	Deadline time.Duration
}

// Object is the Job as an object to apply.
func (s Spec) Object() *batchv1.Job {
	labels, annotations := podspec.Metadata(s.Template, s.Labels)
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, Labels: s.Labels, Annotations: maps.Clone(s.Annotations)},
		Spec: batchv1.JobSpec{
			BackoffLimit:          ptr.To[int32](0),
			ActiveDeadlineSeconds: ptr.To(max(1, int64(s.Deadline/time.Second))),
			// The default starts a second pod while the first still ends: two
			// writers on one volume.
			PodReplacementPolicy: ptr.To(batchv1.Failed),
			PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
				Action:          batchv1.PodFailurePolicyActionFailJob,
				OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
			}}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
				Spec:       s.pod(),
			},
		},
	}
	metav1.SetMetaDataAnnotation(&job.ObjectMeta, TemplateAnnotation, templateDigest(job.Spec.Template))
	return job
}

func (s Spec) pod() corev1.PodSpec {
	init := slices.Clone(s.Init)
	for i := range init {
		init[i].SecurityContext = podspec.Restricted()
	}
	pod := corev1.PodSpec{
		RestartPolicy:                corev1.RestartPolicyNever,
		AutomountServiceAccountToken: ptr.To(false),
		EnableServiceLinks:           ptr.To(false),
		SecurityContext:              podspec.Security(s.Ownership),
		InitContainers:               init,
		Containers: []corev1.Container{{
			Name: Container, Image: s.Image, Command: s.Command, Env: podspec.Env(s.Env),
			VolumeMounts:    s.Mounts,
			Resources:       podspec.Resources(s.Work, s.Resources, s.Template),
			SecurityContext: podspec.Restricted(),
			// A crash of the agent leaves no report: the end of its log is then
			// the best message.
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		}},
		Volumes: s.Volumes,
	}
	podspec.Place(&pod, s.Template, s.Platform, &metav1.LabelSelector{MatchLabels: s.Labels})
	podspec.Near(&pod, s.Near)
	pod.Volumes = unshared(pod.Volumes)
	podspec.Bound(&pod, s.Template)
	return pod
}

// unshared are volumes whose emptyDirs can be changed.
func unshared(volumes []corev1.Volume) []corev1.Volume {
	volumes = slices.Clone(volumes)
	for i := range volumes {
		volumes[i].EmptyDir = volumes[i].EmptyDir.DeepCopy()
	}
	return volumes
}
