package cacherequest

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"gocache.dev/operator/api/v1alpha1"
	record "gocache.dev/operator/internal/kube/event"
	"gocache.dev/operator/internal/kube/patch"
	"gocache.dev/operator/internal/kube/read"
	"gocache.dev/operator/internal/kube/retry"
	"gocache.dev/operator/internal/plan/buildreport"
	"gocache.dev/operator/internal/plan/livecheck"
	"gocache.dev/operator/internal/plan/request"
)

// targetIndex finds the CacheRequests for an object.
const targetIndex = "spec.targetRef"

// Reconciler follows CacheRequests.
type Reconciler struct {
	// Client reads from caches and writes.
	Client client.Client
	// Live reads past the caches.
	Live client.Reader
	// Events are recorded on the CacheRequest.
	Events events.EventRecorder
	// Clock is the time of a pass.
	Clock func() time.Time
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.CacheRequest{}, targetIndex, func(o client.Object) []string {
		if q, ok := o.(*v1alpha1.CacheRequest); ok {
			return []string{key(q.Spec.TargetRef)}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("index CacheRequests by target: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("cacherequest").
		For(&v1alpha1.CacheRequest{}).
		Watches(&v1alpha1.GoCache{}, handler.EnqueueRequestsFromMapFunc(r.byTarget(v1alpha1.GoCacheKind)), builder.WithPredicates(changed())).
		Watches(&v1alpha1.ModProxy{}, handler.EnqueueRequestsFromMapFunc(r.byTarget(v1alpha1.ModProxyKind)), builder.WithPredicates(changed())).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: new(retry.Pacer)}).
		Complete(r)
}

// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cacherequests,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=cacherequests/status,verbs=patch
// +kubebuilder:rbac:groups=cache.gocache.dev,resources=gocaches;modproxies,verbs=get;list;watch

// Reconcile makes one pass: load, observe, decide, report. It reads past the
// client's cache: an outcome must not be copied from a status that was replaced.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	q, err := read.Object[v1alpha1.CacheRequest](ctx, r.Live, req.Namespace, req.Name)
	if err != nil || q == nil || !q.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, err
	}
	now := r.Clock()
	if request.Finished(q) {
		return r.expire(ctx, q, now)
	}
	target, err := r.target(ctx, q)
	if err != nil {
		return ctrl.Result{}, err
	}
	progress := request.Follow(q, target)
	stored := q.DeepCopy()
	setStatus(q, target, progress, now)
	wrote, err := patch.Status(ctx, r.Client, stored, q)
	if err != nil {
		return ctrl.Result{}, err
	}
	if wrote {
		log.FromContext(ctx).Info("Decided", "action", q.Spec.Action, "target", key(q.Spec.TargetRef), "reason", progress.Reason, "message", progress.Message)
		count(stored, q)
		record.Record(r.Events, q, happened(q, progress))
	}
	if request.Finished(q) {
		return r.expire(ctx, q, now)
	}
	return ctrl.Result{}, nil // the watches report what changes
}

// expire deletes a finished request when its time to live has passed, and with each report
// those of which enough newer ones are kept.
func (r *Reconciler) expire(ctx context.Context, q *v1alpha1.CacheRequest, now time.Time) (ctrl.Result, error) {
	if request.IsReport(q.Spec.Action) {
		if err := r.deleteSurplus(ctx, q.Namespace); err != nil {
			return ctrl.Result{}, err
		}
	}
	if wait := request.Expires(q).Sub(now); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	return ctrl.Result{}, r.delete(ctx, q)
}

// deleteSurplus deletes the reports of a namespace that are too many. The list may be behind:
// each report that is finished has it read again.
func (r *Reconciler) deleteSurplus(ctx context.Context, namespace string) error {
	var all v1alpha1.CacheRequestList
	if err := r.Client.List(ctx, &all, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the CacheRequests of namespace %s: %w", namespace, err)
	}
	surplus := request.Surplus(all.Items)
	if len(surplus) > 0 {
		log.FromContext(ctx).Info("Deleting reports, of which enough newer ones are kept", "count", len(surplus))
	}
	for _, q := range surplus {
		if err := r.delete(ctx, q.DeepCopy()); err != nil {
			return err
		}
	}
	return nil
}

// delete deletes a finished request, and no other one of its name.
func (r *Reconciler) delete(ctx context.Context, q *v1alpha1.CacheRequest) error {
	err := r.Client.Delete(ctx, q, client.Preconditions{UID: &q.UID})
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) { // another one has its name
		return fmt.Errorf("delete the finished CacheRequest %s: %w", q.Name, err)
	}
	return nil
}

// target reads the object that a request is for.
func (r *Reconciler) target(ctx context.Context, q *v1alpha1.CacheRequest) (request.Target, error) {
	ref := q.Spec.TargetRef
	if ref.Kind == v1alpha1.ModProxyKind {
		proxy, err := read.Object[v1alpha1.ModProxy](ctx, r.Live, q.Namespace, ref.Name)
		if err != nil || proxy == nil {
			return request.Target{}, err
		}
		return request.Target{UID: string(proxy.UID), Request: proxy.Status.Request}, nil
	}
	cache, err := read.Object[v1alpha1.GoCache](ctx, r.Live, q.Namespace, ref.Name)
	if err != nil || cache == nil {
		return request.Target{}, err
	}
	answer := livecheck.Answer(q, cache.Status.Integrity, cache.Status.Storage.VolumeName)
	if buildreport.Is(q) {
		answer = buildreport.Answer(q, cache)
	}
	return request.Target{UID: string(cache.UID), Suspended: cache.Spec.Suspend, Request: cache.Status.Request, Answer: answer}, nil
}

// byTarget maps an object to the CacheRequests for it.
func (r *Reconciler) byTarget(kind string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []ctrl.Request {
		var all v1alpha1.CacheRequestList
		field := client.MatchingFields{targetIndex: key(v1alpha1.RequestTarget{Kind: kind, Name: o.GetName()})}
		if err := r.Client.List(ctx, &all, client.InNamespace(o.GetNamespace()), field); err != nil {
			log.FromContext(ctx).Error(err, "List the CacheRequests of a target", "target", o.GetName())
			return nil
		}
		var requests []ctrl.Request
		for i := range all.Items {
			if q := &all.Items[i]; !request.Finished(q) {
				requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(q)})
			}
		}
		return requests
	}
}

// changed passes only the changes of a target that change the progress of a
// request.
func changed() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return !equality.Semantic.DeepEqual(relevant(e.ObjectOld), relevant(e.ObjectNew))
	}}
}

// relevance is what of a target decides on the progress of a request.
type relevance struct {
	Request   *v1alpha1.RequestStatus
	Suspended bool
	// Check is the end of the last check, which answers reports of failed builds.
	Check *metav1.Time
}

func relevant(o client.Object) relevance {
	switch o := o.(type) {
	case *v1alpha1.GoCache:
		r := relevance{Request: o.Status.Request, Suspended: o.Spec.Suspend}
		if o.Status.Integrity != nil {
			r.Check = o.Status.Integrity.CompletionTime
		}
		return r
	case *v1alpha1.ModProxy:
		return relevance{Request: o.Status.Request, Suspended: o.Spec.Suspend}
	}
	return relevance{}
}

func key(ref v1alpha1.RequestTarget) string { return ref.Kind + "/" + ref.Name }
