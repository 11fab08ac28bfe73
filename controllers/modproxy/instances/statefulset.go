package instances

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/podspec"
)

const (
	storeMount = "/var/lib/gocache-proxy"
	storeDir   = storeMount + "/" + store.Dir
	// shutdownSeconds bounds the downloads in progress when an instance stops:
	// its router has sent the rest elsewhere long before.
	shutdownSeconds = 30
)

// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch

func (r Reconciler) ensureSet(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, instance *v1alpha1.ProxyInstance, set *appsv1.StatefulSet, out *Result) error {
	if waits, err := r.postponed(ctx, p, o, instance, set, out); err != nil || waits {
		return err
	}
	_, err := r.applier().Apply(ctx, apply.ControlledBy(p), set)
	return err
}

// statefulSet of an instance. It has one pod: never two on one store.
func (r Reconciler) statefulSet(p *v1alpha1.ModProxy, o pass.Observed, instance *v1alpha1.ProxyInstance, run program, given given) *appsv1.StatefulSet {
	name := childName(p, instance)
	labels, annotations := podspec.Metadata(template(p), pass.Labels(p, instance.Name))
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: name, Labels: pass.Labels(p, instance.Name)},
		Spec: appsv1.StatefulSetSpec{
			Replicas:    ptr.To(replicas(p, o, instance.Name)),
			ServiceName: name,
			// With the default an update waits until the old pod is ready: a
			// template that cannot work would never be replaced by one that can.
			PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector:            &metav1.LabelSelector{MatchLabels: pass.Labels(p, instance.Name)},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
				Spec:       r.instancePod(p, instance, run, given),
			},
		},
	}
}

// replicas of an instance: it is down while its store is being replaced.
func replicas(p *v1alpha1.ModProxy, o pass.Observed, instance string) int32 {
	if o.Replacing(p, instance) {
		return 0
	}
	return 1
}

func (r Reconciler) instancePod(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance, run program, given given) corev1.PodSpec {
	pod := corev1.PodSpec{
		AutomountServiceAccountToken:  ptr.To(false),
		EnableServiceLinks:            ptr.To(false),
		SecurityContext:               podspec.Security(instance.Storage.Ownership),
		TerminationGracePeriodSeconds: ptr.To[int64](shutdownSeconds + 15),
		InitContainers:                []corev1.Container{r.agent(p, instance, run, given.trusted)},
		Containers:                    []corev1.Container{run.container},
		Volumes:                       append([]corev1.Volume{podspec.Claim("store", childName(p, instance)), podspec.EmptyDir("tmp")}, given.trusted.Volumes...),
	}
	if run.layout != "" {
		pod.Volumes = append(pod.Volumes, tokenVolume(p))
	}
	server := &pod.Containers[0]
	server.Resources, server.SecurityContext = podspec.Resources(podspec.Serving, nil, template(p)), podspec.Restricted()
	server.VolumeMounts = []corev1.VolumeMount{{Name: "store", MountPath: storeMount}, {Name: "tmp", MountPath: "/tmp"}}
	if given.private.secret != "" {
		server.VolumeMounts = append(server.VolumeMounts, corev1.VolumeMount{Name: "private", MountPath: privateDir, ReadOnly: true})
		pod.Volumes = append(pod.Volumes, given.private.volume())
	}
	if p.Spec.Policy != nil {
		server.VolumeMounts = append(server.VolumeMounts, corev1.VolumeMount{Name: rulesName, MountPath: rulesDir, ReadOnly: true})
		pod.Volumes = append(pod.Volumes, rulesVolume(p))
	}
	if asks(p, instance) && peers(p, instance) != "" {
		server.VolumeMounts = append(server.VolumeMounts, corev1.VolumeMount{Name: peersName, MountPath: peersDir, ReadOnly: true})
		pod.Volumes = append(pod.Volumes, peersVolume(p))
	}
	given.versionControl.addTo(&pod, r.Images.Operator, p, given.server)
	podspec.Place(&pod, template(p), "", peersOf(p))
	if pod.Affinity == nil {
		// A node that is lost takes one instance with it, and not the proxy.
		pod.Affinity = podspec.Apart(peersOf(p))
	}
	podspec.Bound(&pod, template(p))
	return pod
}

// template of the pods of instances.
func template(p *v1alpha1.ModProxy) *v1alpha1.PodTemplate {
	return podspec.ForRole(p.Spec.PodTemplate, p.Spec.InstanceTemplate)
}

// peersOf selects the pods of all instances of a proxy, and none of its Jobs.
func peersOf(p *v1alpha1.ModProxy) *metav1.LabelSelector {
	return &metav1.LabelSelector{
		MatchLabels: map[string]string{v1alpha1.ProxyLabel: p.Name},
		MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: v1alpha1.InstanceLabel, Operator: metav1.LabelSelectorOpExists},
			{Key: v1alpha1.ActionLabel, Operator: metav1.LabelSelectorOpDoesNotExist},
		},
	}
}
