package modproxy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
)

const (
	instancePort = 8080
	storeMount   = "/var/lib/gocache-proxy"
	storeDir     = storeMount + "/" + store.Dir
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
	var errs []error
	for i := range s.proxy.Spec.Instances {
		errs = append(errs, r.ensureInstance(ctx, s, &s.proxy.Spec.Instances[i]))
	}
	return errors.Join(errs...)
}

func (r *Reconciler) ensureInstance(ctx context.Context, s *scope, instance *v1alpha1.ProxyInstance) error {
	service := haproxy.InstanceService(s.proxy.Namespace, s.childName(instance), s.labels(instance), s.labels(instance), instancePort, instancePort)
	_, serviceErr := r.applier().Apply(ctx, apply.ControlledBy(s.proxy), service)
	_, setErr := r.applier().Apply(ctx, apply.ControlledBy(s.proxy), r.statefulSet(s, instance))
	return errors.Join(r.ensureStore(ctx, s, instance), serviceErr, setErr)
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
	if storage.WhenDeleted == v1alpha1.DeletionDelete {
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

func (r *Reconciler) statefulSet(s *scope, instance *v1alpha1.ProxyInstance) *appsv1.StatefulSet {
	name := s.childName(instance)
	labels, annotations := podspec.Metadata(s.proxy.Spec.PodTemplate, s.labels(instance))
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.proxy.Namespace, Name: name, Labels: s.labels(instance)},
		Spec: appsv1.StatefulSetSpec{
			Replicas:    ptr.To[int32](1),
			ServiceName: name,
			// With the default an update waits until the old pod is ready: a
			// template that cannot work would never be replaced by one that can.
			PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector:            &metav1.LabelSelector{MatchLabels: s.labels(instance)},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
				Spec:       r.instancePod(s, instance),
			},
		},
	}
}

func (r *Reconciler) instancePod(s *scope, instance *v1alpha1.ProxyInstance) corev1.PodSpec {
	server := v1alpha1.ProxyServer{}
	if s.proxy.Spec.Server != nil {
		server = *s.proxy.Spec.Server
	}
	if instance.Server != nil {
		server = *instance.Server
	}
	image := r.Images.Operator
	if server.Image != "" {
		image = server.Image
	}
	page := func(path string, period, failures int32) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(instancePort)}},
			PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 5,
		}
	}
	pod := corev1.PodSpec{
		AutomountServiceAccountToken:  ptr.To(false),
		EnableServiceLinks:            ptr.To(false),
		SecurityContext:               podspec.Security(instance.Storage.Ownership),
		TerminationGracePeriodSeconds: ptr.To[int64](shutdownSeconds + 15),
		Containers: []corev1.Container{{
			Name: "proxy", Image: image, Command: append(s.command(instance), server.Args...), Env: s.environment(server),
			Ports:           []corev1.ContainerPort{{Name: "http", ContainerPort: instancePort}},
			ReadinessProbe:  page("/readyz", 2, 2),
			LivenessProbe:   page("/healthz", 10, 6),
			Resources:       podspec.Resources(nil, s.proxy.Spec.PodTemplate),
			SecurityContext: podspec.Restricted(),
			VolumeMounts:    []corev1.VolumeMount{{Name: "store", MountPath: storeMount}, {Name: "tmp", MountPath: "/tmp"}},
		}},
		Volumes: []corev1.Volume{podspec.Claim("store", s.childName(instance)), podspec.EmptyDir("tmp")},
	}
	podspec.Place(&pod, s.proxy.Spec.PodTemplate, "")
	return pod
}

func (s *scope) command(instance *v1alpha1.ProxyInstance) []string {
	command := []string{
		"/gocache-proxy", "--store", storeDir, "--listen", fmt.Sprintf(":%d", instancePort), "--name", instance.Name,
		"--temp-dir", "/tmp", "--shutdown-timeout", fmt.Sprintf("%ds", shutdownSeconds),
	}
	if up := s.proxy.Spec.Upstream; up != nil && up.Proxy != "" {
		command = append(command, "--upstream", up.Proxy)
	}
	return command
}

// environment of an instance. Private modules come from the upstream too, and
// the checksum database knows nothing of them.
func (s *scope) environment(server v1alpha1.ProxyServer) []corev1.EnvVar {
	env := map[string]string{"GONOPROXY": "none"}
	if s.proxy.Spec.ChecksumDatabase != "" {
		env["GOSUMDB"] = s.proxy.Spec.ChecksumDatabase
	}
	if p := s.proxy.Spec.Private; p != nil && len(p.Patterns) > 0 {
		env["GONOSUMDB"] = strings.Join(p.Patterns, ",")
	}
	for _, e := range server.Env {
		env[e.Name] = e.Value
	}
	return podspec.Env(env)
}
