package gocache

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/controllers/gocache/pool"
	"gocache.dev/operator/controllers/gocache/provision"
	"gocache.dev/operator/controllers/gocache/replacement"
	"gocache.dev/operator/controllers/gocache/snapshots"
	"gocache.dev/operator/controllers/gocache/writer"
	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/patch"
	"gocache.dev/operator/internal/kube/pushes"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/requests"
	"gocache.dev/operator/internal/kube/retry"
)

const (
	fieldOwner = "gocache-gocache"
	// proxyIndex finds the caches that use a ModProxy.
	proxyIndex = "spec.environment.proxyRef"
)

// Reconciler keeps GoCaches warm and creates snapshots of them.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// Indexed: Client has csisnapshot.Index.
	Indexed bool
	// Events are recorded on the GoCache.
	Events events.EventRecorder
	// Clock is the time of a pass.
	Clock func() time.Time
	// Images of the pods.
	Images images.Images
	// Filter of the addresses of git servers and webhooks.
	Filter *untrusted.Filter
	// Proxies that this process and the Jobs reach git servers and the sources of
	// modules through.
	Proxies egress.Proxies
	// Webhooks are notified of plans that wait; nil: SetupWithManager makes a caller.
	Webhooks writer.Notifier
	// Refs looks up git refs; SetupWithManager makes a poller.
	Refs refs
	// Pushes receives push webhooks; nil: none are received.
	Pushes receiver

	pacer retry.Pacer
}

// progress is one pass: what was observed, as the parts hand it on, and what
// they returned. The parts do not see it.
type progress struct {
	pass.Observed
	cache       *v1alpha1.GoCache // the object, with the status that is reported
	result      pass.Result       // of all parts
	replacement replacement.Result
	provision   provision.Result
	writer      writer.Result
	snapshots   snapshots.Result
	pool        pool.Result
	// observed: all reads of the pass have succeeded, so that the status is about what
	// there is, whatever the parts returned.
	observed bool
	// shared is set in place of them for a GoCache with spec.source.
	shared *shared
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.GoCache{}, proxyIndex, indexProxy); err != nil {
		return fmt.Errorf("index GoCaches by proxy: %w", err)
	}
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.GoCache{}, sourceIndex, indexSource); err != nil {
		return fmt.Errorf("index GoCaches by source: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("gocache").
		For(&v1alpha1.GoCache{}).
		Owns(&batchv1.Job{}).
		Owns(&corev1.ConfigMap{}, builder.OnlyMetadata).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(byClaim)).
		Watches(&v1alpha1.CacheSnapshot{}, handler.EnqueueRequestsFromMapFunc(bySnapshot)).
		Watches(&v1alpha1.CacheRequest{}, handler.EnqueueRequestsFromMapFunc(requests.ByRequest(v1alpha1.GoCacheKind))).
		Watches(&v1alpha1.GoCache{}, handler.EnqueueRequestsFromMapFunc(r.bySource)).
		Watches(&v1alpha1.ModProxy{}, handler.EnqueueRequestsFromMapFunc(r.byProxy)).
		WatchesRawSource(r.webhookCalls()).
		WatchesRawSource(r.changedRefs()).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: &r.pacer}).
		Complete(r)
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=gocaches,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=gocaches/status,verbs=patch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=gocaches/finalizers,verbs=update
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile makes one pass: load, observe, act, report.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	p, err := r.load(ctx, req)
	if err != nil || p == nil {
		if err == nil {
			r.receive(req.NamespacedName, nil)
		}
		return ctrl.Result{}, err
	}
	if !p.cache.DeletionTimestamp.IsZero() {
		r.receive(req.NamespacedName, nil)
		return r.reconcileDelete(ctx, req, p)
	}
	if p.cache.Spec.Source != nil {
		r.receive(req.NamespacedName, nil)
		err = r.reconcileShared(ctx, p)
	} else {
		err = r.reconcileParts(ctx, p)
	}
	if reportErr := r.report(ctx, p, err); reportErr != nil {
		return ctrl.Result{}, errors.Join(err, reportErr)
	}
	return r.pacer.Result(req, err, p.result.Wake)
}

// reconcileParts records what was observed in the status, then lets each part
// have its turn. A part that fails does not keep the others from theirs.
func (r *Reconciler) reconcileParts(ctx context.Context, p *progress) (err error) {
	if p.Observed, err = r.observe(ctx, p.Observed); err != nil {
		return err
	}
	r.receive(client.ObjectKeyFromObject(p.cache), p.Hooks)
	p.observed = true
	p.Schedules = pass.ParseSchedules(p.cache)
	p.cache.Status.Platform = pass.Platform(p.cache)
	provision.Record(p.cache, p.Observed)
	snapshots.Record(p.cache, p.Observed)
	p.cache.Status.WarmUp.Revisions = p.Revisions
	// After the PVC: what a run measured is recorded against its capacity. After
	// the revisions: those that a warm-up built are marked in them.
	if err := r.authenticate(ctx, p); err != nil {
		return err
	}
	r.writer().Record(p.cache, p.Observed)
	if p.cache.Spec.Suspend {
		// The pool starts nothing either, but PVCs go on taking its volumes.
		return errors.Join(r.own(ctx, p), r.resumeReplacement(ctx, p), r.fillPool(ctx, p))
	}
	var errs []error
	for _, part := range []func(context.Context, *progress) error{
		// First: the other parts do what is requested, and answer it.
		r.takeRequest,
		// Whatever else waits or fails: what is retained must outlive the cache.
		r.own,
		// Before all that uses the PVC: its intent keeps them from a volume that is
		// about to be replaced, and it may hand on another PVC.
		r.replace,
		// After the replacement, which creates the PVC itself if it restores.
		r.provide,
		// After the PVC is applied, and before the snapshots: before it starts a run
		// it reads them past the client's cache, and hands them on.
		r.write,
		r.createSnapshots,
		// After the snapshots: volumes are made of the one that is offered.
		r.fillPool,
		// Last: only now it is certain that no part began what was requested.
		r.answerOverdue,
	} {
		errs = append(errs, part(ctx, p))
	}
	return errors.Join(errs...)
}

// own applies the deletion policies to what exists. It is done in each pass: a user
// relies on a policy as soon as the status has its generation.
func (r *Reconciler) own(ctx context.Context, p *progress) error {
	return errors.Join(r.provision().Own(ctx, p.cache, p.Observed), r.snapshots().Own(ctx, p.cache, p.Observed))
}

// receive has the pushes of the repositories of an object accepted by these
// hooks, and by no others.
func (r *Reconciler) receive(object types.NamespacedName, hooks []pushes.Hook) {
	if r.Pushes != nil {
		r.Pushes.Set(object, hooks)
	}
}

// replace lets the part replacement have its turn.
func (r *Reconciler) replace(ctx context.Context, p *progress) error {
	out, err := r.replacement().Reconcile(ctx, p.cache, p.Observed)
	p.replaced(out)
	return err
}

// resumeReplacement continues a replacement that has touched the cache PVC.
func (r *Reconciler) resumeReplacement(ctx context.Context, p *progress) error {
	out, err := r.replacement().Resume(ctx, p.cache, p.Observed)
	p.replaced(out)
	return err
}

// replaced hands on what became of the volume: from here on, all parts see the
// PVC that took the place of the one that was observed.
func (p *progress) replaced(out replacement.Result) {
	p.replacement = out
	p.result.Add(out.Result)
	if out.Replaced {
		p.PVC = out.PVC
		provision.Record(p.cache, p.Observed)
	}
}

// provide lets the part provision have its turn.
func (r *Reconciler) provide(ctx context.Context, p *progress) error {
	out, err := r.provision().Reconcile(ctx, p.cache, p.Observed)
	p.provision = out
	p.result.Add(out.Result)
	return err
}

// authenticate keeps the report of a Job that another client created from all
// parts.
func (r *Reconciler) authenticate(ctx context.Context, p *progress) (err error) {
	var out pass.Result
	p.Observed, out, err = r.writer().Authenticate(ctx, p.cache, p.Observed)
	p.result.Add(out)
	return err
}

// write lets the part writer have its turn, and hands on the snapshots that it
// has read again.
func (r *Reconciler) write(ctx context.Context, p *progress) error {
	out, err := r.writer().Reconcile(ctx, p.cache, p.Observed)
	p.writer, p.Snapshots = out, out.Snapshots
	p.result.Add(out.Result)
	return err
}

// createSnapshots lets the part snapshots have its turn.
func (r *Reconciler) createSnapshots(ctx context.Context, p *progress) error {
	out, err := r.snapshots().Reconcile(ctx, p.cache, p.Observed)
	p.snapshots = out
	p.result.Add(out.Result)
	return err
}

// fillPool lets the part pool have its turn.
func (r *Reconciler) fillPool(ctx context.Context, p *progress) error {
	out, err := pool.Reconciler{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner, Image: r.Images.Operator}.Reconcile(ctx, p.cache, p.Observed)
	p.pool = out
	p.result.Add(out.Result)
	return err
}

func (r *Reconciler) provision() provision.Reconciler {
	return provision.Reconciler{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner}
}

func (r *Reconciler) snapshots() snapshots.Reconciler {
	return snapshots.Reconciler{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner}
}

func (r *Reconciler) replacement() replacement.Reconciler {
	return replacement.Reconciler{
		Client: r.Client, Live: r.Live, FieldOwner: fieldOwner, Image: r.Images.Operator, CreateSnapshot: r.snapshots().Create,
	}
}

func (r *Reconciler) writer() writer.Reconciler {
	return writer.Reconciler{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner, Images: r.Images, Webhooks: r.Webhooks, Proxies: r.Proxies}
}

// reconcileDelete releases an object that is being deleted. What goes with it is
// owned by it; only a replacement in progress is brought to an end first.
func (r *Reconciler) reconcileDelete(ctx context.Context, req ctrl.Request, p *progress) (ctrl.Result, error) {
	if !replacement.Held(p.cache) {
		return ctrl.Result{}, nil
	}
	if p.Stored.Status.VolumeReplacement == nil {
		return ctrl.Result{}, r.replacement().Release(ctx, p.cache)
	}
	var err error
	if p.Observed, err = r.observe(ctx, p.Observed); err == nil {
		p.observed = true
		err = r.resumeReplacement(ctx, p)
	}
	if reportErr := r.report(ctx, p, err); reportErr != nil {
		return ctrl.Result{}, reportErr
	}
	return r.pacer.Result(req, err, p.result.Wake)
}

// load reads the object past the client's cache: a decision is never made on a
// status that this controller has since replaced.
func (r *Reconciler) load(ctx context.Context, req ctrl.Request) (*progress, error) {
	o, err := read.Object[v1alpha1.GoCache](ctx, r.Live, req.Namespace, req.Name)
	if err != nil || o == nil {
		return nil, err
	}
	return &progress{cache: o, Observed: pass.Observed{Now: r.Clock(), Stored: o.DeepCopy()}}, nil
}

// report writes conditions and status, then logs and records events: they report
// only what is stored, and what was done even if it changes nothing there.
func (r *Reconciler) report(ctx context.Context, p *progress, failed error) error {
	p.setConditions(failed)
	stored := p.Stored.DeepCopy() // a replacement writes the finalizers on its own
	stored.SetFinalizers(p.cache.GetFinalizers())
	stored.SetResourceVersion(p.cache.GetResourceVersion())
	if _, err := patch.Status(ctx, r.Client, stored, p.cache); err != nil {
		event.Record(r.Events, p.cache, p.result.Events) // what was done is not done once more
		return err
	}
	p.logDecision(ctx)
	count(p.Stored, p.cache)
	event.Record(r.Events, p.cache, p.events())
	return nil
}
