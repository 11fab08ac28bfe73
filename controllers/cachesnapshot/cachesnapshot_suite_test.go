package cachesnapshot

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/faults"
)

var server *env.Env

func TestMain(m *testing.M) {
	os.Exit(env.Main(m, func(e *env.Env) { server = e }))
}

// Reports of the agent's check.
const (
	intactReport  = `{"verdict":"Intact","digest":"sha256:aa","bytes":1048576,"durationSeconds":1.5,"counts":{"modules":3,"zips":3,"dirs":3,"buildEntries":7},"findings":{},"examples":[]}`
	corruptReport = `{"verdict":"Corrupt","message":"1 corrupt: Corrupt 1","digest":"sha256:bb","bytes":1048576,"durationSeconds":1.5,"counts":{"modules":3,"zips":3,"dirs":3,"buildEntries":7},"corrupt":1,"findings":{"Corrupt":1},"examples":[{"class":"Corrupt","severity":"corrupt","cache":"build","path":"ab/abcd-d","detail":"content has another hash"}]}`
)

// world is a namespace with a reconciler and a simulation of the controllers of
// Kubernetes and the CSI driver. Its clock is set by the test.
type world struct {
	t          *testing.T
	namespace  string
	now        time.Time
	cluster    *cluster.Cluster
	reconciler *Reconciler
	events     *events.FakeRecorder
	ending     *cluster.Ending
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, namespace: server.Namespace(t), now: time.Now().Truncate(time.Second),
		events: events.NewFakeRecorder(1000), ending: &cluster.Ending{Message: intactReport},
	}
	w.cluster = &cluster.Cluster{
		Client: server.Client, Namespace: w.namespace, Now: func() time.Time { return w.now },
		Job: func(*batchv1.Job) *cluster.Ending { return w.ending },
	}
	w.reconciler = w.fresh(server.Client)
	return w
}

// fresh returns a reconciler as after a restart, without state in memory.
func (w *world) fresh(c client.Client) *Reconciler {
	return &Reconciler{
		Client: c, Live: c, Events: w.events, Clock: func() time.Time { return w.now },
		Images: images.Images{Operator: "operator:test", Toolchain: "go:{version}", HAProxy: "haproxy:test"},
	}
}

// cache creates the GoCache ci and its PVC, as the controller of GoCaches does.
func (w *world) cache() {
	w.t.Helper()
	c := &v1alpha1.GoCache{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci"},
		Spec:       v1alpha1.GoCacheSpec{Toolchain: v1alpha1.Toolchain{Version: "1.26.8"}},
	}
	c.Spec.Storage.Size = resource.MustParse("1Gi")
	w.must(server.Client.Create(w.t.Context(), c))
	class := "standard"
	w.must(server.Client.Create(w.t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: &class,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}))
	_, err := w.cluster.Step(w.t.Context())
	w.must(err)
	c.Status.Storage.PersistentVolumeClaimName, c.Status.Platform = "ci", "linux/amd64"
	w.must(server.Client.Status().Update(w.t.Context(), c))
}

// snapshot creates the CacheSnapshot s of the GoCache ci.
func (w *world) snapshot(change ...func(*v1alpha1.CacheSnapshotSpec)) {
	w.t.Helper()
	s := &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "s"},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}},
	}
	for _, f := range change {
		if f != nil {
			f(&s.Spec)
		}
	}
	w.must(server.Client.Create(w.t.Context(), s))
}

func (w *world) get() *v1alpha1.CacheSnapshot {
	w.t.Helper()
	var s v1alpha1.CacheSnapshot
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "s"}, &s))
	return &s
}

// clone is the name of the clone that the snapshot s is verified on first.
func (w *world) clone() string { return naming.Clone(string(w.get().UID), naming.Verify) }

func (w *world) pass(ctx context.Context) (ctrl.Result, error) {
	return w.reconciler.Reconcile(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: "s"}})
}

// settle runs reconciler and cluster in turn until neither changes anything. If the
// reconciler waits, the clock advances; if it was killed, a new one replaces it. It
// also ends when the snapshot is stalled and only retried.
func (w *world) settle() {
	w.t.Helper()
	for range 60 {
		before := w.get()
		result, err := w.pass(w.t.Context())
		died := errors.Is(err, faults.ErrDead)
		if died {
			w.reconciler = w.fresh(server.Client)
		} else {
			w.must(err)
		}
		acted, err := w.cluster.Step(w.t.Context())
		w.must(err)
		after := w.get()
		if died || acted || before.ResourceVersion != after.ResourceVersion {
			continue
		}
		stalled := meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.StalledCondition)
		if stalled || result.RequeueAfter == 0 || result.RequeueAfter > 2*time.Minute {
			return
		}
		w.now = w.now.Add(result.RequeueAfter)
	}
	w.t.Fatalf("no end: %+v", w.get().Status)
}

// left returns the Jobs, pods and PVCs that exist in addition to those of the source.
func (w *world) left(sources ...string) []string {
	w.t.Helper()
	var left []string
	var jobs batchv1.JobList
	var pvcs corev1.PersistentVolumeClaimList
	var pods corev1.PodList
	for _, l := range []client.ObjectList{&jobs, &pvcs, &pods} {
		w.must(server.Client.List(w.t.Context(), l, client.InNamespace(w.namespace)))
	}
	for _, j := range jobs.Items {
		left = append(left, "Job "+j.Name)
	}
	for _, c := range pvcs.Items {
		if c.Name != "ci" && !slices.Contains(sources, c.Name) {
			left = append(left, "claim "+c.Name)
		}
	}
	for _, p := range pods.Items {
		left = append(left, "pod "+p.Name)
	}
	return left
}

// reported returns the events that were recorded since the last call.
func (w *world) reported() string {
	var all []string
	for {
		select {
		case e := <-w.events.Events:
			all = append(all, e)
		default:
			return strings.Join(all, "\n")
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}
