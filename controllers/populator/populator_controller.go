package populator

import (
	"context"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/retry"
	"gocache.dev/operator/internal/kube/sharing"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/populate"
)

const (
	// fieldOwner of all that this controller writes.
	fieldOwner = "gocache-populator"
	// waitingIndex finds the PVCs that still wait for a source.
	waitingIndex = "gocache.populator.waiting-for"
	// workers that fill PVCs side by side.
	workers = 8
)

// Reconciler fills PVCs from verified snapshots.
type Reconciler struct {
	// Client writes, and finds waiting PVCs in its cache.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Events notifies users.
	Events events.EventRecorder
	// Clock returns the current time.
	Clock func() time.Time

	reported reports
	waits    waits
}

// scope is one pass over one PVC.
type scope struct {
	now          time.Time
	claim        *corev1.PersistentVolumeClaim
	intermediate *corev1.PersistentVolumeClaim
	volume       *corev1.PersistentVolume
	// origin is the CacheSnapshot that was chosen.
	origin *v1alpha1.CacheSnapshot
	// snapshot is the VolumeSnapshot of the CacheSnapshot that was chosen, and
	// snapshotMade when it was created.
	snapshot     string
	snapshotMade metav1.Time
	// verified is the content of that VolumeSnapshot, and pair what carries it into the
	// namespace of the PVC, if that is another one.
	verified *snapshotv1.VolumeSnapshotContent
	pair     sharing.Pair
	// cache that the PVC names; nil: it names none, or one of another namespace.
	cache *v1alpha1.GoCache
	// member is the PVC of the operator that holds the volume of the pool to hand over;
	// nil: there is none, and unpooled is why, if the cache has a pool.
	member   *corev1.PersistentVolumeClaim
	unpooled string
	// available is the condition SnapshotAvailable of the GoCache that the PVC names.
	available *metav1.Condition
}

// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch

// Reconcile takes one PVC a step further.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &scope{now: r.Clock(), claim: &corev1.PersistentVolumeClaim{}}
	err := r.Live.Get(ctx, req.NamespacedName, s.claim)
	if apierrors.IsNotFound(err) {
		r.reported.forget(req.NamespacedName)
		r.waits.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("read PVC: %w", err)
	}
	if !named(s.claim) {
		if concerns(s.claim) && s.claim.DeletionTimestamp.IsZero() {
			r.warnOfDroppedSource(s)
		}
		return ctrl.Result{}, nil
	}

	facts, err := r.observe(ctx, s)
	if err != nil {
		return ctrl.Result{}, err
	}
	decision := populate.Decide(facts)
	log.FromContext(ctx).V(1).Info("Decided", "state", decision.State, "action", decision.Action, "snapshot", decision.Snapshot)

	decision, err = r.act(ctx, s, decision)
	if err != nil {
		return ctrl.Result{}, err
	}
	r.waits.observed(s, decision.State)
	r.warnOfCold(s, facts, decision)
	return ctrl.Result{RequeueAfter: r.report(s, decision)}, nil
}

// named reports whether a PVC names one of our kinds as its source.
func named(claim *corev1.PersistentVolumeClaim) bool {
	ref := claim.Spec.DataSourceRef
	return ref != nil && ref.APIGroup != nil && *ref.APIGroup == v1alpha1.GroupName &&
		(ref.Kind == v1alpha1.GoCacheKind || ref.Kind == v1alpha1.CacheSnapshotKind)
}

// concerns reports whether a PVC names one of our kinds as its source, or was to
// name one: it has the annotations of a consumer, and no source at all. It does so to its
// end: what is remembered of it is forgotten then.
func concerns(claim *corev1.PersistentVolumeClaim) bool {
	if named(claim) {
		return true
	}
	return claim.Spec.DataSourceRef == nil && claim.Spec.DataSource == nil && annotationOfConsumer(claim) != ""
}

// annotationOfConsumer is the first annotation by which a PVC states how its
// consumer builds; empty: there is none.
func annotationOfConsumer(claim *corev1.PersistentVolumeClaim) string {
	for _, name := range []string{v1alpha1.ToolchainAnnotation, v1alpha1.PlatformAnnotation, v1alpha1.MountPathAnnotation} {
		if claim.Annotations[name] != "" {
			return name
		}
	}
	return ""
}

// SetupWithManager has the manager call Reconcile when a PVC, its intermediate PVC or
// its source changes.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &corev1.PersistentVolumeClaim{}, waitingIndex, waitingFor)
	if err != nil {
		return fmt.Errorf("index PVCs by source: %w", err)
	}
	if err := mgr.Add(&registrar{client: r.Client, live: r.Live, interval: registerInterval}); err != nil {
		return fmt.Errorf("register the sources of PVCs: %w", err)
	}
	if err := mgr.Add(&sweeper{client: r.Client, live: r.Live, interval: sweepInterval}); err != nil {
		return fmt.Errorf("sweep contents of shared snapshots: %w", err)
	}
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool {
		claim, ok := o.(*corev1.PersistentVolumeClaim)
		return ok && concerns(claim)
	})
	intermediates := predicate.NewPredicateFuncs(func(o client.Object) bool {
		return o.GetLabels()[volume.IntermediateLabel] != ""
	})
	owner := handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &corev1.PersistentVolumeClaim{}, handler.OnlyControllerOwner())
	err = ctrl.NewControllerManagedBy(mgr).
		Named("populator").
		For(&corev1.PersistentVolumeClaim{}, builder.WithPredicates(ours)).
		Watches(&corev1.PersistentVolumeClaim{}, owner, builder.WithPredicates(intermediates)).
		Watches(&v1alpha1.CacheSnapshot{}, handler.EnqueueRequestsFromMapFunc(r.waitingForSnapshot)).
		Watches(&v1alpha1.GoCache{}, handler.EnqueueRequestsFromMapFunc(r.waitingForCache)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: new(retry.Pacer)}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up the populator: %w", err)
	}
	return nil
}

// waitingFor is the index key of a PVC that has no volume yet.
func waitingFor(o client.Object) []string {
	claim, ok := o.(*corev1.PersistentVolumeClaim)
	if !ok || !named(claim) || claim.Status.Phase == corev1.ClaimBound {
		return nil
	}
	return []string{sourceKey(claim.Spec.DataSourceRef.Kind, claim.Spec.DataSourceRef.Name)}
}

func sourceKey(kind, name string) string { return kind + "/" + name }

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=gocaches;cachesnapshots,verbs=get;list;watch

// waitingForSnapshot finds the PVCs that a change of a CacheSnapshot
// matters to: those that name it, and those that name the cache it is of.
func (r *Reconciler) waitingForSnapshot(ctx context.Context, o client.Object) []reconcile.Request {
	requests := r.waiting(ctx, o.GetNamespace(), v1alpha1.CacheSnapshotKind, o.GetName())
	if snapshot, ok := o.(*v1alpha1.CacheSnapshot); ok && snapshot.Spec.SourceRef.Kind == v1alpha1.GoCacheKind {
		requests = append(requests, r.waiting(ctx, o.GetNamespace(), v1alpha1.GoCacheKind, snapshot.Spec.SourceRef.Name)...)
	}
	return requests
}

// waitingForCache finds the PVCs that name a GoCache.
func (r *Reconciler) waitingForCache(ctx context.Context, o client.Object) []reconcile.Request {
	return r.waiting(ctx, o.GetNamespace(), v1alpha1.GoCacheKind, o.GetName())
}

func (r *Reconciler) waiting(ctx context.Context, namespace, kind, name string) []reconcile.Request {
	var claims corev1.PersistentVolumeClaimList
	err := r.Client.List(ctx, &claims, client.InNamespace(namespace), client.MatchingFields{waitingIndex: sourceKey(kind, name)})
	if err != nil {
		log.FromContext(ctx).Error(err, "PVCs that wait for a source are not woken", "kind", kind, "name", name)
		return nil
	}
	requests := make([]reconcile.Request, 0, len(claims.Items))
	for i := range claims.Items {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: claims.Items[i].Name}})
	}
	return requests
}
