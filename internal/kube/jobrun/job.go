package jobrun

import (
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
)

// Container is the name of the main container of every Job.
const Container = "agent"

// Spec is what is wanted of a Job.
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
	// Template is what the user wants of all pods of the object; may be nil.
	Template *v1alpha1.PodTemplate
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
	labels := map[string]string{}
	annotations := map[string]string{}
	if s.Template != nil {
		for k, v := range s.Template.Labels {
			labels[k] = v
		}
		for k, v := range s.Template.Annotations {
			annotations[k] = v
		}
	}
	for k, v := range s.Labels { // ours win: selectors rely on them
		labels[k] = v
	}
	labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, Labels: s.Labels, Annotations: s.Annotations},
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
}

func (s Spec) pod() corev1.PodSpec {
	restricted := &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		ReadOnlyRootFilesystem:   ptr.To(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	init := slices.Clone(s.Init)
	for i := range init {
		init[i].SecurityContext = restricted
	}
	pod := corev1.PodSpec{
		RestartPolicy:                corev1.RestartPolicyNever,
		AutomountServiceAccountToken: ptr.To(false),
		EnableServiceLinks:           ptr.To(false),
		SecurityContext:              podSecurity(s.Ownership),
		InitContainers:               init,
		Containers: []corev1.Container{{
			Name: Container, Image: s.Image, Command: s.Command, Env: envVars(s.Env),
			VolumeMounts:    s.Mounts,
			Resources:       resources(s.Resources, s.Template),
			SecurityContext: restricted,
			// A crash of the agent leaves no report: the end of its log is
			// then the best that a person can be told.
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		}},
		Volumes: s.Volumes,
	}
	schedule(&pod, s)
	return pod
}

// podSecurity is Pod Security "restricted" under the cache's ownership.
func podSecurity(o *v1alpha1.Ownership) *corev1.PodSecurityContext {
	sc := &corev1.PodSecurityContext{
		RunAsNonRoot:   ptr.To(true),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if o == nil {
		return sc
	}
	sc.RunAsUser, sc.RunAsGroup, sc.FSGroup = o.RunAsUser, o.RunAsGroup, o.FSGroup
	if o.FSGroup != nil {
		// Always would rewrite the mode of every file at each mount.
		sc.FSGroupChangePolicy = ptr.To(corev1.FSGroupChangeOnRootMismatch)
	}
	return sc
}

func envVars(env map[string]string) []corev1.EnvVar {
	vars := make([]corev1.EnvVar, 0, len(env))
	for k, v := range env {
		vars = append(vars, corev1.EnvVar{Name: k, Value: v})
	}
	slices.SortFunc(vars, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
	return vars
}

// resources are the action's, or the template's, or a small request.
func resources(action *v1alpha1.Resources, template *v1alpha1.PodTemplate) corev1.ResourceRequirements {
	r := action
	if r == nil && template != nil {
		r = template.Resources
	}
	if r == nil {
		return corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
		}}
	}
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
