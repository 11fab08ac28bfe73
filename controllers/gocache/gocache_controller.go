package gocache

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/controllers/gocache/provision"
	"gocache.dev/operator/controllers/gocache/replacement"
	"gocache.dev/operator/controllers/gocache/snapshots"
	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/patch"
	"gocache.dev/operator/internal/kube/read"
)

const (
	fieldOwner = "gocache-gocache"
	// proxyIndex finds the caches that use a ModProxy.
	proxyIndex = "spec.environment.proxyRef"
)

// Reconciler keeps GoCaches warm and captured.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// Indexed says that Client has capture.Index.
	Indexed bool
	// Events are recorded on the GoCache.
	Events events.EventRecorder
	// Clock is the time of a pass.
	Clock func() time.Time
	// Images of the pods.
	Images images.Images
	// Webhooks are told of plans that wait; nil: a caller of its own.
	Webhooks notifier
	// Refs looks up git refs; SetupWithManager makes a poller.
	Refs refs
}

// scope is one pass over one object.
type scope struct {
	pass.Observed
	cache  *v1alpha1.GoCache // what is reported into
	done   progress          // what this pass did
	result pass.Result       // of all parts
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.GoCache{}, proxyIndex, indexProxy); err != nil {
		return fmt.Errorf("index GoCaches by proxy: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("gocache").
		For(&v1alpha1.GoCache{}).
		Owns(&batchv1.Job{}).
		Owns(&corev1.ConfigMap{}, builder.OnlyMetadata).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(byClaim)).
		Watches(&v1alpha1.CacheSnapshot{}, handler.EnqueueRequestsFromMapFunc(bySnapshot)).
		Watches(&v1alpha1.ModProxy{}, handler.EnqueueRequestsFromMapFunc(r.byProxy)).
		WatchesRawSource(r.told()).
		WatchesRawSource(r.changedRefs()).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4}).
		Complete(r)
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=gocaches,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=gocaches/status,verbs=get;patch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=gocaches/finalizers,verbs=update
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile makes one pass: load, observe, act, report.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s, err := r.load(ctx, req)
	if err != nil || s == nil {
		return ctrl.Result{}, err
	}
	if !s.cache.DeletionTimestamp.IsZero() {
		return r.reconcileDelete(ctx, s)
	}
	err = r.pass(ctx, s)
	if reportErr := r.report(ctx, s, err); reportErr != nil {
		return ctrl.Result{}, errors.Join(err, reportErr)
	}
	return conditions.Result(err, s.result.Wake)
}

// pass runs all steps. A step that fails does not keep the others from theirs.
func (r *Reconciler) pass(ctx context.Context, s *scope) (err error) {
	if s.Observed, err = r.observe(ctx, s.Observed); err != nil {
		return err
	}
	s.Schedules = pass.ParseSchedules(s.cache)
	provision.Record(s.cache, s.Observed)
	snapshots.Record(s.cache, s.Observed)
	s.cache.Status.WarmUp.Revisions = s.Revisions
	s.book()
	if s.cache.Spec.Suspend {
		return r.resumeReplacement(ctx, s)
	}
	var errs []error
	for _, step := range []func(context.Context, *scope) error{
		r.handleRequest,
		r.replace,
		r.provide,
		r.approve,
		r.write,
		r.tellPlan,
		r.snapshot,
		r.answerConvicted,
		r.boundRequest,
	} {
		errs = append(errs, step(ctx, s))
	}
	return errors.Join(errs...)
}

// reconcileDelete releases an object that is being deleted. What goes with it is
// owned by it; only a replacement in progress is brought to an end first.
func (r *Reconciler) reconcileDelete(ctx context.Context, s *scope) (ctrl.Result, error) {
	if !replacement.Held(s.cache) {
		return ctrl.Result{}, nil
	}
	if s.Stored.Status.VolumeReplacement == nil {
		return ctrl.Result{}, r.replacement().Release(ctx, s.cache)
	}
	var err error
	if s.Observed, err = r.observe(ctx, s.Observed); err == nil {
		err = r.resumeReplacement(ctx, s)
	}
	if reportErr := r.report(ctx, s, err); reportErr != nil {
		return ctrl.Result{}, reportErr
	}
	return conditions.Result(err, s.result.Wake)
}

// load reads the object past the cache: a decision is never made on a status
// that this controller has since replaced.
func (r *Reconciler) load(ctx context.Context, req ctrl.Request) (*scope, error) {
	o, err := read.Object[v1alpha1.GoCache](ctx, r.Live, req.Namespace, req.Name)
	if err != nil || o == nil {
		return nil, err
	}
	return &scope{cache: o, Observed: pass.Observed{Now: r.Clock(), Stored: o.DeepCopy()}}, nil
}

// report writes conditions and status, and then events: they tell only what
// stands in the status. What was done and changes nothing there is told too.
func (r *Reconciler) report(ctx context.Context, s *scope, failed error) error {
	s.setConditions(failed)
	stored := s.Stored.DeepCopy() // a replacement writes the finalizers on its own
	stored.SetFinalizers(s.cache.GetFinalizers())
	stored.SetResourceVersion(s.cache.GetResourceVersion())
	if _, err := patch.Status(ctx, r.Client, stored, s.cache); err != nil {
		return err
	}
	s.logDecision(ctx)
	r.emit(s)
	return nil
}

func (r *Reconciler) applier() apply.Applier {
	return apply.Applier{Client: r.Client, Live: r.Live, FieldOwner: fieldOwner}
}

// wakeAt asks to be woken at a time, unless something is sooner.
func (s *scope) wakeAt(t time.Time) { s.result.WakeAt(s.Now, t) }

// wakeIn asks to be woken after a while, unless something is sooner.
func (s *scope) wakeIn(d time.Duration) { s.result.WakeIn(d) }
