package modproxy

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
)

const (
	storeMount = "/var/lib/gocache-proxy"
	storeDir   = storeMount + "/" + store.Dir
	// shutdownSeconds bounds the downloads under way when an instance stops:
	// its router has sent the rest elsewhere long before.
	shutdownSeconds = 30
)

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch

// ensureInstances makes of each instance a claim, a Service whose address
// stays, and a StatefulSet of one pod: never two pods on one store.
func (r *Reconciler) ensureInstances(ctx context.Context, s *scope) error {
	trusted, err := pass.Trust(ctx, r.Live, s.proxy)
	if err != nil {
		return err // pods without the trust would be replaced as soon as it is there
	}
	var ours []*v1alpha1.ProxyInstance
	for i := range s.proxy.Spec.Instances {
		if instance := &s.proxy.Spec.Instances[i]; instance.External == nil { // others are not ours to run
			ours = append(ours, instance)
		}
	}
	if len(ours) == 0 {
		return nil
	}
	errs := []error{r.ensureToken(ctx, s)}
	for _, instance := range ours {
		errs = append(errs, r.ensureInstance(ctx, s, instance, trusted))
	}
	return errors.Join(errs...)
}

func (r *Reconciler) ensureInstance(ctx context.Context, s *scope, instance *v1alpha1.ProxyInstance, trusted check.Trusted) error {
	var storeErr error
	if !s.Replacing(s.proxy, instance.Name) { // its claim is in other hands
		storeErr = r.ensureStore(ctx, s, instance)
	}
	p, err := r.program(s, instance)
	if err != nil {
		return errors.Join(storeErr, err)
	}
	service := haproxy.InstanceService(s.proxy.Namespace, s.childName(instance), s.labels(instance), s.labels(instance), pass.InstancePort, p.port)
	service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{
		Name: agentName, Port: pass.AgentPort, TargetPort: intstr.FromInt32(pass.AgentPort), Protocol: corev1.ProtocolTCP,
	})
	_, serviceErr := r.applier().Apply(ctx, apply.ControlledBy(s.proxy), service)
	return errors.Join(storeErr, serviceErr, r.ensureSet(ctx, s, instance, r.statefulSet(s, instance, p, trusted)))
}

func (r *Reconciler) ensureSet(ctx context.Context, s *scope, instance *v1alpha1.ProxyInstance, set *appsv1.StatefulSet) error {
	if waits, err := r.postponed(ctx, s, instance, set); err != nil || waits {
		return err
	}
	_, err := r.applier().Apply(ctx, apply.ControlledBy(s.proxy), set)
	return err
}

func (s *scope) childName(instance *v1alpha1.ProxyInstance) string {
	return naming.Child(s.proxy.Name, instance.Name)
}

func (s *scope) labels(instance *v1alpha1.ProxyInstance) map[string]string {
	return map[string]string{v1alpha1.ProxyLabel: s.proxy.Name, v1alpha1.InstanceLabel: instance.Name}
}

// ensureStore makes the claim of a store. A claim never shrinks.
func (r *Reconciler) ensureStore(ctx context.Context, s *scope, instance *v1alpha1.ProxyInstance) error {
	storage := instance.Storage
	wanted := volume.Claim{
		Namespace: s.proxy.Namespace, Name: s.childName(instance), Labels: s.labels(instance),
		Class: storage.StorageClassName, Size: storage.Size,
	}
	have, err := read.Object[corev1.PersistentVolumeClaim](ctx, r.Client, wanted.Namespace, wanted.Name)
	if err != nil {
		return err
	}
	var cannot error
	if have != nil {
		cannot = storeCannotFollow(instance, have)
		size := have.Spec.Resources.Requests[corev1.ResourceStorage]
		wanted.Size, wanted.Class = volume.Larger(&wanted.Size, &size), have.Spec.StorageClassName
	}
	owner := apply.DetachedFrom(s.proxy)
	if storage.DeletionPolicy == v1alpha1.DeletionDelete {
		owner = apply.ControlledBy(s.proxy)
	}
	_, err = r.applier().Apply(ctx, owner, wanted.Object())
	return errors.Join(cannot, err)
}

// storeCannotFollow says what of an instance's storage its claim, once made,
// cannot become.
func storeCannotFollow(instance *v1alpha1.ProxyInstance, have *corev1.PersistentVolumeClaim) error {
	size := have.Spec.Resources.Requests[corev1.ResourceStorage]
	class := ptr.Deref(have.Spec.StorageClassName, "")
	var what string
	switch wanted := instance.Storage; {
	case wanted.Size.Cmp(size) < 0:
		what = fmt.Sprintf("size is %s, and claim %s asks for %s: a claim cannot shrink", wanted.Size.String(), have.Name, size.String())
	case wanted.StorageClassName != nil && *wanted.StorageClassName != class:
		what = fmt.Sprintf("storageClassName is %q, and claim %s has %q: a claim cannot move", *wanted.StorageClassName, have.Name, class)
	default:
		return nil
	}
	return &conditions.StalledError{
		Reason:  v1alpha1.ReasonInvalidSpec,
		Message: fmt.Sprintf("spec.instances[%s].storage.%s. Take it back, or add an instance of another name and remove this one", instance.Name, what),
	}
}

func (r *Reconciler) statefulSet(s *scope, instance *v1alpha1.ProxyInstance, p program, trusted check.Trusted) *appsv1.StatefulSet {
	name := s.childName(instance)
	labels, annotations := podspec.Metadata(s.proxy.Spec.PodTemplate, s.labels(instance))
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.proxy.Namespace, Name: name, Labels: s.labels(instance)},
		Spec: appsv1.StatefulSetSpec{
			Replicas:    ptr.To(s.replicas(instance.Name)),
			ServiceName: name,
			// With the default an update waits until the old pod is ready: a
			// template that cannot work would never be replaced by one that can.
			PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector:            &metav1.LabelSelector{MatchLabels: s.labels(instance)},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
				Spec:       r.instancePod(s, instance, p, trusted),
			},
		},
	}
}

// replicas of an instance: it is down while its store is being replaced.
func (s *scope) replicas(instance string) int32 {
	if s.Replacing(s.proxy, instance) {
		return 0
	}
	return 1
}

func (r *Reconciler) instancePod(s *scope, instance *v1alpha1.ProxyInstance, p program, trusted check.Trusted) corev1.PodSpec {
	pod := corev1.PodSpec{
		AutomountServiceAccountToken:  ptr.To(false),
		EnableServiceLinks:            ptr.To(false),
		SecurityContext:               podspec.Security(instance.Storage.Ownership),
		TerminationGracePeriodSeconds: ptr.To[int64](shutdownSeconds + 15),
		InitContainers:                []corev1.Container{r.agent(s, p, trusted)},
		Containers:                    []corev1.Container{p.container},
		Volumes:                       append([]corev1.Volume{podspec.Claim("store", s.childName(instance)), podspec.EmptyDir("tmp")}, trusted.Volumes...),
	}
	if p.layout != "" {
		pod.Volumes = append(pod.Volumes, s.tokenVolume())
	}
	server := &pod.Containers[0]
	server.Resources, server.SecurityContext = podspec.Resources(nil, s.proxy.Spec.PodTemplate), podspec.Restricted()
	server.VolumeMounts = []corev1.VolumeMount{{Name: "store", MountPath: storeMount}, {Name: "tmp", MountPath: "/tmp"}}
	if secret := s.secret(); secret != "" {
		server.VolumeMounts = append(server.VolumeMounts, corev1.VolumeMount{Name: "private", MountPath: privateDir, ReadOnly: true})
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "private", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
			SecretName: secret, DefaultMode: ptr.To[int32](0o440),
		}}})
	}
	podspec.Place(&pod, s.proxy.Spec.PodTemplate, "")
	podspec.Bound(&pod)
	return pod
}
