package cachesnapshot

import (
	"context"
	"errors"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/firstpass"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/patch"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/retry"
	"gocache.dev/operator/internal/plan/queue"
	"gocache.dev/operator/internal/plan/verification"
)

const fieldOwner = "gocache-cachesnapshot"

// Reconciler creates and verifies the snapshots that CacheSnapshots declare.
type Reconciler struct {
	// Client reads from the manager's cache, and writes.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Events are recorded on the CacheSnapshot.
	Events events.EventRecorder
	// Clock returns the current time. It is called once per pass.
	Clock func() time.Time
	// Images are the images of the Jobs' containers.
	Images images.Images
	// MaxSnapshots and MaxVerifications are how many snapshots may be created,
	// and verified, at the same time in the whole cluster; 0 is no limit.
	MaxSnapshots, MaxVerifications int

	lines lines
	pacer retry.Pacer
	// loaded are those that were loaded from the API server.
	loaded firstpass.Objects
}

// scope is one pass over one object.
type scope struct {
	now      time.Time
	snapshot *v1alpha1.CacheSnapshot // whose status this pass changes
	before   *v1alpha1.CacheSnapshot // as it was read
	facts    facts
	decision verification.Decision
	class    *string // chosen for the CSI snapshot; nil: the default of the driver
	// untrusted is why a Job of another client was deleted, that was there when one
	// was created; empty: none was.
	untrusted string
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.lines = lines{creations: queue.New(r.MaxSnapshots), verifications: queue.New(r.MaxVerifications)}
	c, err := ctrl.NewControllerManagedBy(mgr).
		Named("cachesnapshot").
		For(&v1alpha1.CacheSnapshot{}).
		Owns(&batchv1.Job{}).
		Owns(&corev1.PersistentVolumeClaim{}).
		Watches(&v1alpha1.GoCache{}, handler.EnqueueRequestsFromMapFunc(r.bySource(v1alpha1.GoCacheKind))).
		Watches(&v1alpha1.ModProxy{}, handler.EnqueueRequestsFromMapFunc(r.bySource(v1alpha1.ModProxyKind))).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: &r.pacer}).
		Build(r)
	if err != nil {
		return err
	}
	watch := func() error {
		return errors.Join(
			c.Watch(ctrlsource.Kind[client.Object](mgr.GetCache(), &snapshotv1.VolumeSnapshot{}, handler.EnqueueRequestsFromMapFunc(byLabel))),
			c.Watch(ctrlsource.Kind[client.Object](mgr.GetCache(), &snapshotv1.VolumeSnapshotClass{}, handler.EnqueueRequestsFromMapFunc(r.withoutCSISnapshot))),
		)
	}
	if conditions.Stalled(csisnapshot.Served(mgr.GetRESTMapper())) == nil {
		return watch()
	}
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		return watchOnceServed(ctx, mgr.GetRESTMapper(), watch)
	}))
}

// watchOnceServed begins to watch CSI snapshots when the cluster serves them. A watch
// of a kind that is not served ends the manager after two minutes, with all controllers.
func watchOnceServed(ctx context.Context, mapper meta.RESTMapper, watch func() error) error {
	err := wait.PollUntilContextCancel(ctx, csisnapshot.ServedInterval, true, func(context.Context) (bool, error) {
		return csisnapshot.Served(mapper) == nil, nil
	})
	if err != nil {
		return nil //nolint:nilerr // the manager ends
	}
	return watch()
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots,verbs=get;list;watch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots/status,verbs=patch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cachesnapshots/finalizers,verbs=update

// Reconcile makes one pass: load, observe, decide, act, report.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if !r.loaded.Read(req) {
		if wake, rests := r.atRest(ctx, req); rests {
			return r.pacer.Result(req, nil, wake)
		}
		r.loaded.Add(req)
	}
	s, err := r.load(ctx, r.Live, req)
	if err != nil || s == nil {
		if err == nil {
			r.loaded.Remove(req)
		}
		return ctrl.Result{}, err
	}
	if !s.snapshot.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // garbage collection deletes what it owns
	}
	err = r.pass(ctx, s)
	if reportErr := r.report(ctx, s, err); reportErr != nil {
		return ctrl.Result{}, errors.Join(err, reportErr)
	}
	wake := s.decision.Wake
	if err != nil {
		wake = 0 // the stage is the only one, and has to be tried again
	}
	return r.pacer.Result(req, err, wake)
}

func (r *Reconciler) pass(ctx context.Context, s *scope) (err error) {
	if err := csisnapshot.Served(r.Client.RESTMapper()); err != nil {
		return err
	}
	if s.facts, err = r.observe(ctx, s); err != nil {
		return err
	}
	adopted := r.adopt(ctx, s)
	if err := r.authenticate(ctx, s); err != nil {
		return errors.Join(adopted, err)
	}
	s.decision = verification.Decide(s.facts.plan(s))
	if wake, recheck := s.decision.Wake, s.facts.running().run.Recheck(); recheck > 0 && (wake == 0 || wake > recheck) {
		s.decision.Wake = recheck // Pods are not watched, so the cause is read again
	}
	return errors.Join(adopted, r.act(ctx, s), r.deleteOutdated(ctx, s))
}

// atRest makes a pass on the object in the cache that writes nothing, and reports
// whether there is nothing to do until wake, or until something changes.
func (r *Reconciler) atRest(ctx context.Context, req ctrl.Request) (wake time.Duration, rests bool) {
	c := &firstpass.Client{Client: r.Client}
	// Without the lines: what it may begin takes no place in them.
	reading := &Reconciler{Client: c, Live: r.Live, Clock: r.Clock, Images: r.Images}
	s, err := reading.load(ctx, c, req)
	if err != nil || s == nil || !s.snapshot.DeletionTimestamp.IsZero() {
		return 0, false
	}
	if err := reading.pass(ctx, s); err != nil || c.Refused() {
		return 0, false
	}
	s.setConditions(nil)
	return s.decision.Wake, equality.Semantic.DeepEqual(s.before, s.snapshot)
}

// load reads the object, from the API server if anything is to be done: a decision must
// not be based on a status that this controller has replaced since.
func (r *Reconciler) load(ctx context.Context, from client.Reader, req ctrl.Request) (*scope, error) {
	o, err := read.Object[v1alpha1.CacheSnapshot](ctx, from, req.Namespace, req.Name)
	if err != nil || o == nil {
		return nil, err
	}
	return &scope{now: r.Clock(), snapshot: o, before: o.DeepCopy()}, nil
}

// report writes the conditions and the status, and records events only once the
// status is stored, so that events never run ahead of it.
func (r *Reconciler) report(ctx context.Context, s *scope, failed error) error {
	s.setConditions(failed)
	wrote, err := patch.Status(ctx, r.Client, s.before, s.snapshot)
	if err == nil && wrote {
		r.emit(s)
	}
	if s.untrusted != "" {
		event.Record(r.Events, s.snapshot, []event.Event{event.Warning("UntrustedJob", "Delete", "Deleted %s", s.untrusted)})
	}
	return err
}
