package instances

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/plan/naming"
)

// Reconciler runs the instances of a ModProxy.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// FieldOwner of what is applied.
	FieldOwner string
	// Images of the pods.
	Images images.Images
	// ManagerNamespace is where the manager runs; empty: outside of the cluster.
	ManagerNamespace string
	// Advisories of policies, which are remembered from one pass to the next.
	Advisories *Advisories
}

// Result is what a pass did about the instances.
type Result struct {
	pass.Result
	// Waits are the instances whose pods are replaced later: each waits until
	// another instance serves.
	Waits []string
	// began: the pod of an instance was replaced in this pass.
	began bool
}

// +kubebuilder:rbac:groups="",resources=services;configmaps,verbs=get;list;watch;create;patch

// Reconcile brings each instance that the operator runs to the state of the spec.
// An instance that fails does not keep the others from theirs.
func (r Reconciler) Reconcile(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed) (Result, error) {
	var out Result
	var own []*v1alpha1.ProxyInstance
	for i := range p.Spec.Instances {
		if instance := &p.Spec.Instances[i]; instance.External == nil {
			own = append(own, instance)
		}
	}
	trusted, err := pass.Trust(ctx, r.Live, p)
	if err != nil {
		return out, err // pods without the trust would be replaced as soon as it exists
	}
	if len(own) == 0 {
		return out, nil
	}
	if err := r.ensurePolicy(ctx, p, own); err != nil {
		return out, err // pods that accept every client would serve without the router's checks
	}
	if err := r.ensureRules(ctx, p); err != nil {
		return out, err // new pods would serve what the policy refuses
	}
	secret, err := r.privateSecret(ctx, p)
	if err != nil && conditions.Stalled(err) == nil {
		return out, err // pods would be replaced by such without the Secret
	}
	versionControl, missing, vcsErr := r.fetching(ctx, p)
	if vcsErr != nil {
		return out, vcsErr // pods would be replaced by such without it
	}
	errs := append([]error{err, r.ensureToken(ctx, p, o, &out)}, missing...)
	for _, instance := range own {
		server, refused, err := r.permitted(ctx, p, instance)
		if err != nil { // its pod would be replaced by one without the variable
			errs = append(errs, err)
			continue
		}
		private, err := r.credentials(p, instance, secret)
		errs = append(append(errs, refused...), err, r.ensure(ctx, p, o, instance, given{trusted, private, server, versionControl}, &out))
	}
	return out, errors.Join(errs...)
}

// given is what the pods of an instance are given of objects of the user.
type given struct {
	trusted check.Trusted
	private credentials
	// server with the variables that it may have.
	server         v1alpha1.ProxyServer
	versionControl fetching
}

// ensure creates the objects of one instance, or brings them up to date.
func (r Reconciler) ensure(ctx context.Context, p *v1alpha1.ModProxy, o pass.Observed, instance *v1alpha1.ProxyInstance, given given, out *Result) error {
	var storeErr error
	if !o.Replacing(p, instance.Name) { // then the replacement owns the PVC
		storeErr = r.ensureStore(ctx, p, instance)
	}
	run, err := r.program(p, instance, given)
	if err != nil {
		return errors.Join(storeErr, err)
	}
	labels := pass.Labels(p, instance.Name)
	service := haproxy.InstanceService(p.Namespace, childName(p, instance), labels, labels, pass.InstancePort, run.port)
	service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{
		Name: agentName, Port: pass.AgentPort, TargetPort: intstr.FromInt32(pass.AgentPort), Protocol: corev1.ProtocolTCP,
	})
	if run.pages != 0 {
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{
			Name: metricsName, Port: pass.MetricsPort, TargetPort: intstr.FromInt32(run.pages), Protocol: corev1.ProtocolTCP,
		})
	}
	_, serviceErr := r.applier().Apply(ctx, apply.ControlledBy(p), service)
	return errors.Join(storeErr, serviceErr, r.ensureSet(ctx, p, o, instance, r.statefulSet(p, o, instance, run, given), out))
}

func (r Reconciler) applier() apply.Applier {
	return apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: r.FieldOwner}
}

// childName is the name of all objects of an instance.
func childName(p *v1alpha1.ModProxy, instance *v1alpha1.ProxyInstance) string {
	return naming.Child(p.Name, instance.Name)
}
