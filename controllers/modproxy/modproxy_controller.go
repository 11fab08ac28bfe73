package modproxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/patch"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/backend"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

const (
	fieldOwner = "gocache-modproxy"
	// confirmInterval is when weights are read back again until they arrived.
	confirmInterval = 500 * time.Millisecond
	// patience is how long that is expected to be soon.
	patience = 30 * time.Second
	// observeInterval is when they are read back without a cause: a router's
	// replica may have been replaced.
	observeInterval = 30 * time.Second
)

// Reconciler keeps ModProxies serving.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// Indexed says that Client has capture.Index.
	Indexed bool
	// Events are recorded on the ModProxy.
	Events events.EventRecorder
	// Clock is the time of a pass.
	Clock func() time.Time
	// Images of the pods.
	Images images.Images
	// HTTP asks instances and routers; nil is a client with bounded times.
	HTTP *http.Client
	// Router distributes the requests of a proxy; nil: by spec.router.type.
	Router func(*v1alpha1.ModProxy, []route.Instance) *backend.Router

	prober *prober.Prober
}

// scope is one pass over one object.
type scope struct {
	now      time.Time
	proxy    *v1alpha1.ModProxy // what is reported into
	before   *v1alpha1.ModProxy // as it stands in the API server
	first    *v1alpha1.ModProxy // as it was when the pass began
	facts    facts
	router   *backend.Router
	ensured  route.Ensured
	decision failover.Decision
	wanted   []route.Server
	observed route.Observation
	arrived  bool   // the observed weights are the wanted ones
	pending  string // why not
	rollout  rollout
	// published: the router was told what is wanted.
	published bool
	// taken are the snapshots that were asked for in this pass.
	taken []string
	wake  time.Duration
}

// SetupWithManager registers the controller and its probers.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.HTTP == nil {
		r.HTTP = prober.NewClient()
	}
	r.prober = prober.New(r.Clock, r.HTTP)
	if err := mgr.Add(r.prober); err != nil {
		return fmt.Errorf("add the prober: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("modproxy").
		For(&v1alpha1.ModProxy{}).
		Owns(&appsv1.StatefulSet{}).
		Owns(&appsv1.Deployment{}).
		Owns(&batchv1.Job{}).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(byClaim)).
		Watches(&v1alpha1.CacheSnapshot{}, handler.EnqueueRequestsFromMapFunc(bySnapshot)).
		WatchesRawSource(r.prober.Source()).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(r)
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=modproxies,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=modproxies/status,verbs=get;patch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=modproxies/finalizers,verbs=update

// Reconcile makes one pass: load, observe, decide, act, report.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s, err := r.load(ctx, req)
	if err != nil {
		return ctrl.Result{}, err
	}
	if s == nil || !s.proxy.DeletionTimestamp.IsZero() {
		r.prober.Forget(req.NamespacedName) // what was made for it goes with it
		if s == nil {
			return ctrl.Result{}, nil
		}
		return conditions.Result(r.leave(ctx, s), s.wake)
	}
	err = r.pass(ctx, s)
	if reportErr := r.report(ctx, s, err); reportErr != nil {
		return ctrl.Result{}, errors.Join(err, reportErr)
	}
	return conditions.Result(err, s.wake)
}

// pass shapes instances and router, and moves weights. That something cannot
// be shaped must not keep a bad instance serving: all steps run.
func (r *Reconciler) pass(ctx context.Context, s *scope) error {
	errs := []error{r.observe(ctx, s)}
	shape := !s.proxy.Spec.Suspend
	if shape {
		errs = append(errs, r.ensureInstances(ctx, s), r.ensureRouter(ctx, s))
	}
	key := client.ObjectKeyFromObject(s.proxy)
	r.prober.Set(key, targets(s.proxy, s.facts.addresses, s.facts.token))
	s.takeRequest()
	observed := r.prober.Observe(key)
	s.facts.found, s.facts.database = observed.Instances, observed.Database
	s.noteAgreement(observed.Agreed)
	errs = append(errs, r.wishChecks(s), r.decide(ctx, s))
	if shape {
		errs = append(errs, r.removeFormer(ctx, s))
		s.noteSnapshots()
		errs = append(errs, r.keepSnapshots(ctx, s), r.release(ctx, s), r.rollBack(ctx, s))
	}
	r.prober.CompareBy(key, s.reference())
	s.requestDone()
	return errors.Join(errs...)
}

// decide chooses the weights and has them done. What must be remembered of a
// decision stands in the status before the decision is acted on: a manager
// that dies in between must not let a convicted instance back in.
func (r *Reconciler) decide(ctx context.Context, s *scope) error {
	if len(s.facts.addresses) == 0 {
		return nil // nobody to choose from yet
	}
	s.decision = failover.Decide(s.plan(s.router.Limits()), s.now)
	s.noteDecision()
	if s.convictionsDiffer() {
		if _, err := patch.Status(ctx, r.Client, s.before, s.proxy); err != nil {
			return err
		}
		s.before = s.proxy.DeepCopy()
	}
	return r.setWeights(ctx, s)
}

// load reads the object past the cache: a decision is never made on a status
// that this controller has since replaced.
func (r *Reconciler) load(ctx context.Context, req ctrl.Request) (*scope, error) {
	o, err := read.Object[v1alpha1.ModProxy](ctx, r.Live, req.Namespace, req.Name)
	if err != nil || o == nil {
		return nil, err
	}
	return &scope{now: r.Clock(), proxy: o, before: o.DeepCopy(), first: o.DeepCopy(), wake: observeInterval}, nil
}

// report writes conditions and status, and then events: they tell only what
// stands in the status.
func (r *Reconciler) report(ctx context.Context, s *scope, failed error) error {
	s.noteRouter()
	s.setConditions(failed)
	if _, err := patch.Status(ctx, r.Client, s.before, s.proxy); err != nil {
		return err
	}
	s.logDecision(ctx)
	event.Record(r.Events, s.proxy, became(s.first, s.proxy))
	return nil
}

func (r *Reconciler) applier() apply.Applier {
	return apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner}
}
