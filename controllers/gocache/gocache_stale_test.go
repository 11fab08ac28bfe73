package gocache

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/kube/csisnapshot"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/kube/volume"
)

// frozen lets the reconciler's cache lag behind: it keeps the snapshots as they
// are now, whatever happens later.
func (w *world) frozen() {
	var list v1alpha1.CacheSnapshotList
	w.must(server.Client.List(w.t.Context(), &list, inNamespace(w)...))
	w.reconciler.Client = interceptor.NewClient(server.Client, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, into client.ObjectList, opts ...client.ListOption) error {
			if snapshots, ok := into.(*v1alpha1.CacheSnapshotList); ok {
				list.DeepCopyInto(snapshots)
				return nil
			}
			return c.List(ctx, into, opts...)
		},
	})
}

// two is a cache with two verified snapshots, of which the policy from now on
// keeps one; the name is that of the older.
func (w *world) two() string {
	w.t.Helper()
	w.cache(hourly(2))
	w.settle()
	w.wait(time.Hour + time.Minute)
	names := w.names()
	if len(names) != 2 {
		w.t.Fatalf("snapshots %v, want two", names)
	}
	slices.Sort(names)
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Snapshots.Retention.KeepLast = 1 })
	return names[0]
}

// TestPinnedInTimeIsKept holds that a snapshot which was pinned a moment ago is
// not dropped by a decision on what the cache still shows.
func TestPinnedInTimeIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := w.two()
	w.frozen()
	s := get[v1alpha1.CacheSnapshot](w, name)
	s.Spec.Pinned = true
	w.must(server.Client.Update(t.Context(), s))
	w.must(w.pass())
	if got := w.names(); len(got) != 2 {
		t.Errorf("kept %v: the pinned one was dropped", got)
	}
}

// TestClonedSnapshotIsKept holds that a snapshot stays while a consumer's
// volume is being made from it, and goes afterwards.
func TestClonedSnapshotIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := w.two()
	intermediate := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.namespace, Name: "intermediate-1",
		Labels:      map[string]string{volume.IntermediateLabel: "1", v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
		Annotations: map[string]string{v1alpha1.PopulatedFromAnnotation: name},
	}}
	intermediate.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	intermediate.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	w.must(server.Client.Create(t.Context(), intermediate))
	w.settle()
	if got := w.names(); !slices.Contains(got, name) {
		t.Fatalf("kept %v: %s is being cloned", got, name)
	}
	if w.last.RequeueAfter <= 0 || w.last.RequeueAfter > pass.Interval {
		t.Errorf("looks again after %v: nobody tells when the clone is made", w.last.RequeueAfter)
	}
	w.must(server.Client.Delete(t.Context(), intermediate))
	w.settle()
	if got := w.names(); slices.Contains(got, name) {
		t.Errorf("kept %v, want %s dropped", got, name)
	}
}

// TestLatelyClonedSnapshotIsKept holds that a snapshot stays for a while after a
// consumer got its volume: some drivers still copy from it then.
func TestLatelyClonedSnapshotIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := w.two()
	w.must(volume.NoteClone(t.Context(), server.Client, get[v1alpha1.CacheSnapshot](w, name), w.now, "test"))
	w.settle()
	if got := w.names(); !slices.Contains(got, name) {
		t.Fatalf("kept %v: %s was cloned just now", got, name)
	}
	w.wait(2 * time.Hour)
	if got := w.names(); slices.Contains(got, name) {
		t.Errorf("kept %v, want %s dropped", got, name)
	}
}

// TestNoWriterDuringSnapshotCreation holds that no writer is started while a CSI
// snapshot is being created, even if the client's cache does not show it yet.
func TestNoWriterDuringSnapshotCreation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.settle()
	w.frozen()
	w.pendingCSI = true
	w.must(server.Client.Create(t.Context(), &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "mine"},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}},
	}))
	w.prove() // it is admitted
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	for range 4 {
		w.must(w.pass())
	}
	if len(w.warmUps) != 1 || exists[batchv1.Job](w, "ci-writer") {
		t.Fatal("a writer was started while a snapshot was being cut")
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "a warm-up is due and waits: CacheSnapshot mine to be created")
}

// TestWarmUpIsReportedOnce holds that a writer which the cache does not show yet is
// neither started nor announced again.
func TestWarmUpIsReportedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	for range 2 { // the PVC, then the writer; its pod does not exist yet
		w.must(w.pass())
	}
	w.reconciler.Client = interceptor.NewClient(server.Client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, job := o.(*batchv1.Job); job {
				return apierrors.NewNotFound(schema.GroupResource{Group: "batch", Resource: "jobs"}, key.Name)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	for range 3 {
		w.must(w.pass())
	}
	if events := w.newEvents(); strings.Count(events, "WarmUpStarted") != 1 {
		t.Errorf("events: %s", events)
	}
	if job := get[batchv1.Job](w, "ci-writer"); job.Annotations[v1alpha1.CacheRequestAnnotation] != "" {
		t.Error("a run that began before the request passes for its answer")
	}
}

// TestPodThatCannotRunIsReported holds that the conditions report why the pod of
// a warm-up cannot run.
func TestPodThatCannotRunIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cluster.Stuck = &corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "agent", Image: "i", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}},
	}}}
	w.cache()
	w.settle()
	if w.last.RequeueAfter != jobrun.StartTimeout {
		t.Errorf("looks again after %v, want %v: nothing else tells", w.last.RequeueAfter, jobrun.StartTimeout)
	}
	w.wait(jobrun.StartTimeout + time.Second)
	for _, kind := range []string{v1alpha1.ReadyCondition, v1alpha1.WarmCondition} {
		w.condition(kind, metav1.ConditionFalse, v1alpha1.ReasonWarmUpPending, "waits (ImagePullBackOff): no such image")
	}
	w.condition(v1alpha1.StalledCondition, "", "", "")
}

// TestEnvironmentIsWatched holds that a change of an environment ConfigMap is
// reverted although nothing happens to its cache.
func TestEnvironmentIsWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.manage(w.reconciler)

	w.cache()
	env := func() *corev1.ConfigMap {
		var cm corev1.ConfigMap
		w.must(client.IgnoreNotFound(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci-env"}, &cm)))
		return &cm
	}
	w.eventually(func() bool { return env().Data["GOTOOLCHAIN"] == "local" })
	w.eventually(func() bool { return exists[batchv1.Job](w, "ci-writer") })
	cm := env()
	cm.Data["GOTOOLCHAIN"] = "auto"
	w.must(server.Client.Update(t.Context(), cm))
	w.eventually(func() bool { return env().Data["GOTOOLCHAIN"] == "local" })
}

func (w *world) eventually(holds func() bool) {
	w.t.Helper()
	for range 1200 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.t.Fatal("not within a minute")
}

// manage lets a manager run the reconciler on the test's namespace.
func (w *world) manage(r *Reconciler) {
	w.t.Helper()
	mgr, err := ctrl.NewManager(server.Config, ctrl.Options{
		Scheme:  server.Scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		// More than one manager runs in this process.
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{w.namespace: {}}},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.ConfigMap{}}}},
	})
	w.must(err)
	w.must(csisnapshot.Index(w.t.Context(), mgr.GetFieldIndexer()))
	r.Client, r.Live, r.Indexed = mgr.GetClient(), mgr.GetAPIReader(), true
	w.must(r.SetupWithManager(mgr))
	ctx, stop := context.WithCancel(w.t.Context())
	ended := make(chan error)
	go func() { ended <- mgr.Start(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
}
