package modproxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/instances"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/controllers/modproxy/storerollback"
	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/patch"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/requests"
	"gocache.dev/operator/internal/kube/retry"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/backend"
	"gocache.dev/operator/internal/plan/failover"
	"gocache.dev/operator/internal/prober"
)

const fieldOwner = "gocache-modproxy"

// Reconciler keeps ModProxies serving.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// Indexed: Client has csisnapshot.Index.
	Indexed bool
	// Events are recorded on the ModProxy.
	Events events.EventRecorder
	// Clock is the time of a pass.
	Clock func() time.Time
	// Images of the pods.
	Images images.Images
	// ManagerNamespace is where this process runs; empty: outside of the cluster.
	ManagerNamespace string
	// Filter of the addresses of external instances.
	Filter *untrusted.Filter
	// HTTP asks instances and routers; nil is a client with bounded times.
	HTTP *http.Client
	// Router distributes the requests of a proxy; nil: by spec.router.type.
	Router func(p *v1alpha1.ModProxy, instances []route.Instance, withheld bool) *backend.Router

	prober     *prober.Prober
	advisories instances.Advisories
	moved      movedTimes
	pacer      retry.Pacer
	turns      turns
}

// progress is one pass: what was observed, as the parts hand it on, and what
// they returned. The parts in other packages do not see it.
type progress struct {
	pass.Observed
	proxy  *v1alpha1.ModProxy // the object, with the status that is reported
	first  *v1alpha1.ModProxy // as it was when the pass began
	router *backend.Router    // of the proxy; nil: it was not observed
	// clients is what is known of the Secret of router.clientAuth.
	clients clientsSecret
	result  pass.Result // of all parts

	instances instances.Result
	// instancesMade: all that belongs to the instances was created or was there.
	instancesMade bool
	ensured       route.Ensured // what the router's objects wait for
	decision      failover.Decision
	routing       routing
	stores        storerollback.Result
	storesErr     error // of the part that made them
}

// SetupWithManager registers the controller and its prober.
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
		Owns(&networkingv1.NetworkPolicy{}). // nothing else restores one that was deleted
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(byClaim)).
		Watches(&v1alpha1.CacheSnapshot{}, handler.EnqueueRequestsFromMapFunc(bySnapshot)).
		Watches(&v1alpha1.CacheRequest{}, handler.EnqueueRequestsFromMapFunc(requests.ByRequest(v1alpha1.ModProxyKind))).
		WatchesRawSource(r.prober.Source()).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: &r.pacer}).
		Complete(r)
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=modproxies,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=modproxies/status,verbs=patch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=modproxies/finalizers,verbs=update

// Reconcile makes one pass: load, observe, decide, act, report.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if !r.turns.begin(req.Namespace) {
		return r.pacer.Later(req, turnPause), nil
	}
	defer r.turns.end(req.Namespace)
	p, err := r.load(ctx, req)
	if err != nil {
		return ctrl.Result{}, err
	}
	if p == nil || !p.proxy.DeletionTimestamp.IsZero() {
		r.prober.Forget(req.NamespacedName)
		r.moved.forget(req.NamespacedName)
		if p == nil {
			return ctrl.Result{}, nil
		}
		return r.reconcileDelete(ctx, req, p)
	}
	err = r.reconcileParts(ctx, p)
	if reportErr := r.report(ctx, p, err); reportErr != nil {
		return ctrl.Result{}, errors.Join(err, reportErr)
	}
	return r.pacer.Result(req, err, p.result.Wake)
}

// reconcileParts records what was observed in the status, then lets each part
// have its turn. A part that fails does not keep the others from theirs: that
// something cannot be created must not keep a corrupt instance serving.
func (r *Reconciler) reconcileParts(ctx context.Context, p *progress) error {
	if err := r.observe(ctx, p); err != nil {
		return err
	}
	recordConsistency(p.proxy, p.Observed)
	recordDatabase(p.proxy, p.Observed)
	r.recordMoved(p)
	var errs []error
	for _, part := range []struct {
		turn func(context.Context, *progress) error
		// suspended: it has its turn while spec.suspend is set, too.
		suspended bool
	}{
		// First: the other parts do what is requested.
		{r.takeRequest, true},
		{r.runInstances, false},
		// After the instances, whose Services the router refers to.
		{r.ensureRouter, false},
		// After the request, which may be for a check.
		{r.requestChecks, true},
		// After the request, which may be for other weights.
		{r.failOver, true},
		// After the decision, which quarantines instances.
		{r.nameQuarantined, true},
		// After the decision, which records since when an instance is not ready.
		{r.limitEvictions, false},
		// After the router was read back: clients may use what the spec no longer
		// names until then.
		{r.removeFormer, false},
		// After the decision, which quarantines instances and reinstates them.
		{r.keepStores, false},
		// After the decision: a quarantined instance is not compared with.
		{r.compareInstances, true},
		// Last: only now it is certain what became of the request.
		{r.answerRequest, true},
		// After its answer: only what is not answered yet can be overdue.
		{r.answerOverdue, true},
	} {
		if part.suspended || !p.proxy.Spec.Suspend {
			errs = append(errs, part.turn(ctx, p))
		}
	}
	return errors.Join(errs...)
}

// runInstances lets the part instances have its turn.
func (r *Reconciler) runInstances(ctx context.Context, p *progress) error {
	out, err := r.instancesPart().Reconcile(ctx, p.proxy, p.Observed)
	p.instances, p.instancesMade = out, err == nil
	p.result.Add(out.Result)
	return err
}

// nameQuarantined names to the instances which of them are quarantined.
func (r *Reconciler) nameQuarantined(ctx context.Context, p *progress) error {
	return r.instancesPart().NameQuarantined(ctx, p.proxy)
}

// limitEvictions lets one instance at a time be evicted.
func (r *Reconciler) limitEvictions(ctx context.Context, p *progress) error {
	return r.instancesPart().LimitEvictions(ctx, p.proxy, p.Now)
}

// keepStores lets the part storerollback have its turn.
func (r *Reconciler) keepStores(ctx context.Context, p *progress) error {
	out, err := r.storesPart().Reconcile(ctx, p.proxy, p.Observed)
	p.stores, p.storesErr = out, err
	p.result.Add(out.Result)
	return err
}

func (r *Reconciler) instancesPart() instances.Reconciler {
	return instances.Reconciler{
		Client: r.Client, Live: r.Live, FieldOwner: fieldOwner, Images: r.Images, ManagerNamespace: r.ManagerNamespace,
		Advisories: &r.advisories,
	}
}

func (r *Reconciler) storesPart() storerollback.Reconciler {
	return storerollback.Reconciler{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner, Images: r.Images}
}

// reconcileDelete releases a proxy that is being deleted. All that was created
// for it is owned by it; only replacements of stores are brought to an end first.
func (r *Reconciler) reconcileDelete(ctx context.Context, req ctrl.Request, p *progress) (ctrl.Result, error) {
	if !storerollback.Held(p.proxy) {
		return ctrl.Result{}, nil
	}
	out, err := r.storesPart().ReconcileDelete(ctx, p.proxy, p.Observed)
	p.result.Add(out.Result)
	return r.pacer.Result(req, errors.Join(err, r.writeStatus(ctx, p)), p.result.Wake)
}

// load reads the object past the client's cache: a decision is never made on a
// status that this controller has since replaced.
func (r *Reconciler) load(ctx context.Context, req ctrl.Request) (*progress, error) {
	o, err := read.Object[v1alpha1.ModProxy](ctx, r.Live, req.Namespace, req.Name)
	if err != nil || o == nil {
		return nil, err
	}
	return &progress{
		Observed: pass.Observed{Now: r.Clock(), Stored: o.DeepCopy()}, proxy: o, first: o.DeepCopy(), result: pass.Result{Wake: pass.Interval},
	}, nil
}

// report writes conditions and status, then logs and records events: they report
// only what is stored.
func (r *Reconciler) report(ctx context.Context, p *progress, failed error) error {
	setConditions(p, failed)
	if err := r.writeStatus(ctx, p); err != nil {
		event.Record(r.Events, p.proxy, p.result.Events) // what was done is not done once more
		return err
	}
	logDecision(ctx, p)
	count(p.first, p.proxy)
	event.Record(r.Events, p.proxy, append(changes(p.first, p.proxy), p.result.Events...))
	return nil
}

// writeStatus writes the status as it is now, if it differs from what is stored.
// A part may have written the finalizers on its own.
func (r *Reconciler) writeStatus(ctx context.Context, p *progress) error {
	stored := p.Stored.DeepCopy()
	stored.SetFinalizers(p.proxy.GetFinalizers())
	stored.SetResourceVersion(p.proxy.GetResourceVersion())
	if _, err := patch.Status(ctx, r.Client, stored, p.proxy); err != nil {
		return err
	}
	if !slices.Equal(p.Stored.Status.MovedVersions, p.proxy.Status.MovedVersions) {
		r.moved.written(client.ObjectKeyFromObject(p.proxy), p.Now)
	}
	p.Stored = p.proxy.DeepCopy()
	return nil
}

func (r *Reconciler) applier() apply.Applier {
	return apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner}
}
