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
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/controllers/modproxy/storerollback"
	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/patch"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/requests"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/backend"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

const (
	fieldOwner = "gocache-modproxy"
	// patience is how long a router is expected to follow soon.
	patience = 30 * time.Second
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
	// Filter of the addresses of external instances.
	Filter *untrusted.Filter
	// HTTP asks instances and routers; nil is a client with bounded times.
	HTTP *http.Client
	// Router distributes the requests of a proxy; nil: by spec.router.type.
	Router func(*v1alpha1.ModProxy, []route.Instance) *backend.Router

	prober *prober.Prober
}

// scope is one pass over one object.
type scope struct {
	pass.Observed
	proxy    *v1alpha1.ModProxy // what is reported into
	first    *v1alpha1.ModProxy // as it was when the pass began
	router   *backend.Router
	ensured  route.Ensured
	decision failover.Decision
	wanted   []route.Server
	observed route.Observation
	pending  string // why it has not arrived
	rollout  rollout
	// published: the router was told what is wanted.
	published bool
	// taken are the snapshots that were asked for in this pass.
	taken []string
	// result of all parts.
	result pass.Result
}

// SetupWithManager registers the controller and its probers.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.HTTP == nil {
		r.HTTP = prober.NewRestrictedClient(r.Filter)
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
		Watches(&v1alpha1.CacheRequest{}, handler.EnqueueRequestsFromMapFunc(requests.ByRequest(v1alpha1.ModProxyKind))).
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
		return r.reconcileDelete(ctx, s)
	}
	err = r.pass(ctx, s)
	if reportErr := r.report(ctx, s, err); reportErr != nil {
		return ctrl.Result{}, errors.Join(err, reportErr)
	}
	return conditions.Result(err, s.result.Wake)
}

// pass runs all steps: that something cannot be made must not keep a corrupt
// instance serving. Their order matters:
//   - what is acted on is observed first;
//   - instances come before the router, whose configuration names their addresses;
//   - requests are taken up before the decision that carries them out;
//   - what the spec no longer names is removed only after the router was read
//     back: clients may be there until then;
//   - stores are rolled back after the decision, which says who is quarantined;
//   - a request is answered last, when it is known what became of it.
func (r *Reconciler) pass(ctx context.Context, s *scope) error {
	errs := []error{r.observe(ctx, s)}
	shape := !s.proxy.Spec.Suspend
	if shape {
		errs = append(errs, r.ensureInstances(ctx, s), r.ensureRouter(ctx, s))
	}
	key := client.ObjectKeyFromObject(s.proxy)
	r.prober.Set(key, targets(s.proxy, s.Addresses, s.Token))
	errs = append(errs, r.takeRequest(ctx, s))
	observed := r.prober.Observe(key)
	s.Found, s.Database = observed.Instances, observed.Database
	s.noteAgreement(observed.Agreed)
	errs = append(errs, r.wishChecks(s), r.decide(ctx, s))
	if shape {
		errs = append(errs, r.removeFormer(ctx, s), r.rollBack(ctx, s))
	}
	r.prober.CompareBy(key, s.reference())
	s.requestDone()
	s.answerOverdue()
	return errors.Join(errs...)
}

// decide chooses the weights and has them done. What must be remembered of a
// decision stands in the status before the decision is acted on: a manager
// that dies in between must not let a convicted instance back in.
func (r *Reconciler) decide(ctx context.Context, s *scope) error {
	if len(s.Addresses) == 0 {
		return nil // nobody to choose from yet
	}
	s.decision = failover.Decide(s.plan(s.router.Limits()), s.Now)
	s.noteDecision()
	if s.convictionsDiffer() {
		if err := r.writeStatus(ctx, s); err != nil {
			return err
		}
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
	return &scope{
		Observed: pass.Observed{Now: r.Clock(), Stored: o.DeepCopy()}, proxy: o, first: o.DeepCopy(), result: pass.Result{Wake: pass.Interval},
	}, nil
}

// report writes conditions and status, and then events: they tell only what
// stands in the status.
func (r *Reconciler) report(ctx context.Context, s *scope, failed error) error {
	s.noteRouter()
	s.setConditions(failed)
	if err := r.writeStatus(ctx, s); err != nil {
		return err
	}
	s.logDecision(ctx)
	event.Record(r.Events, s.proxy, became(s.first, s.proxy))
	return nil
}

// reconcileDelete releases a proxy that is being deleted. Everything that was
// made for it is owned by it; only stores that are being replaced are brought to
// an end first.
func (r *Reconciler) reconcileDelete(ctx context.Context, s *scope) (ctrl.Result, error) {
	if !storerollback.Held(s.proxy) {
		return ctrl.Result{}, nil
	}
	out, err := r.storeRollback().ReconcileDelete(ctx, s.proxy, s.Observed)
	s.result.Add(out.Result)
	return conditions.Result(errors.Join(err, r.writeStatus(ctx, s)), s.result.Wake)
}

// rollBack takes snapshots of the stores, and rolls back those of quarantined
// instances.
func (r *Reconciler) rollBack(ctx context.Context, s *scope) error {
	out, err := r.storeRollback().Reconcile(ctx, s.proxy, s.Observed)
	s.result.Add(out.Result)
	s.taken = out.Taken
	return err
}

func (r *Reconciler) storeRollback() storerollback.Reconciler {
	return storerollback.Reconciler{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner, Images: r.Images}
}

// writeStatus writes the status as it is now, if it differs from what is stored.
// A part may have written the finalizers on its own.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope) error {
	stored := s.Stored.DeepCopy()
	stored.SetFinalizers(s.proxy.GetFinalizers())
	stored.SetResourceVersion(s.proxy.GetResourceVersion())
	if _, err := patch.Status(ctx, r.Client, stored, s.proxy); err != nil {
		return err
	}
	s.Stored = s.proxy.DeepCopy()
	return nil
}

func (r *Reconciler) applier() apply.Applier {
	return apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner}
}
