package cacherequest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/requests"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/faults"
)

var server *env.Env

func TestMain(m *testing.M) {
	os.Exit(env.Main(m, func(e *env.Env) { server = e }))
}

// world is a namespace with the GoCache ci, the reconciler of requests, and the
// test in the part of the controller of GoCaches.
type world struct {
	t          *testing.T
	namespace  string
	now        time.Time
	reconciler *Reconciler
	mortal     *faults.Mortal
	events     *events.FakeRecorder
	last       ctrl.Result
	// acts is how often an action was begun, by the name of its request.
	acts map[string]int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, namespace: server.Namespace(t), now: time.Now().Truncate(time.Second), events: events.NewFakeRecorder(100), acts: map[string]int{}}
	w.restart(faults.Point{})
	return w
}

func (w *world) restart(point faults.Point) {
	w.mortal = &faults.Mortal{Point: point}
	c := w.mortal.Client(server.Client)
	w.reconciler = &Reconciler{Client: c, Live: c, Events: w.events, Clock: func() time.Time { return w.now }}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// cache creates the GoCache ci.
func (w *world) cache() *v1alpha1.GoCache {
	w.t.Helper()
	c := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci"}}
	c.Spec.Toolchain.Version = "1.26.8"
	c.Spec.Storage.Size = resource.MustParse("1Gi")
	w.must(server.Client.Create(w.t.Context(), c))
	return c
}

func (w *world) request(name string, change ...func(*v1alpha1.CacheRequestSpec)) {
	w.t.Helper()
	q := &v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	q.Spec = v1alpha1.CacheRequestSpec{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestWarmUp}
	for _, f := range change {
		f(&q.Spec)
	}
	w.must(server.Client.Create(w.t.Context(), q))
}

// get reads a request; nil: it does not exist.
func (w *world) get(name string) *v1alpha1.CacheRequest {
	w.t.Helper()
	q := &v1alpha1.CacheRequest{}
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, q)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return q
}

// pass lets the reconciler look at each request once; it is replaced when it
// was killed.
func (w *world) pass() {
	w.t.Helper()
	var all v1alpha1.CacheRequestList
	w.must(server.Client.List(w.t.Context(), &all, client.InNamespace(w.namespace)))
	for i := range all.Items {
		var err error
		w.last, err = w.reconciler.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		if errors.Is(err, faults.ErrDead) {
			w.restart(faults.Point{})
			return
		}
		w.must(err)
	}
}

// work plays the controller of GoCaches: it takes the next request, begins what
// it asks for, and has done it one pass later.
func (w *world) work() {
	w.t.Helper()
	cache := &v1alpha1.GoCache{}
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, cache)
	if apierrors.IsNotFound(err) {
		return
	}
	w.must(err)
	stored := cache.DeepCopy()
	kind := request.Kind{Name: v1alpha1.GoCacheKind, Supports: []v1alpha1.RequestAction{v1alpha1.RequestWarmUp, v1alpha1.RequestRollback}}
	queue := requests.Queue{Client: server.Client, Live: server.Client, Kind: kind, Target: cache}
	cache.Status.Request, err = queue.Take(w.t.Context(), cache.Status.Request, w.now, func(request.Request) string { return "" }, func() bool { return false })
	w.must(err)
	if req, standing := request.Standing(stored.Status.Request, cache.Status.Request); standing {
		w.acts[req.Name]++
		cache.Status.Request.Outcome, cache.Status.Request.Message = v1alpha1.RequestSucceeded, "done"
	}
	w.must(server.Client.Status().Patch(context.WithoutCancel(w.t.Context()), cache, client.MergeFrom(stored)))
}
