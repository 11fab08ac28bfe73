package cachesnapshot

import (
	"context"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/faults"
)

// staleCache makes the reconciler read from a cache that contains no Jobs yet.
func (w *world) staleCache() {
	w.reconciler.Client = interceptor.NewClient(server.Client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, job := o.(*batchv1.Job); job {
				return apierrors.NewNotFound(schema.GroupResource{Group: "batch", Resource: "jobs"}, key.Name)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
}

// writer creates a Job that writes to the cache and whose pod keeps running.
func (w *world) writer() *batchv1.Job {
	w.t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci-writer"}}
	job.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: "i"}}}
	w.must(server.Client.Create(w.t.Context(), job))
	ends := w.cluster.Job
	w.cluster.Job = func(j *batchv1.Job) *cluster.Ending {
		if j.Name == job.Name {
			return nil
		}
		return ends(j)
	}
	_, err := w.cluster.Step(w.t.Context())
	w.must(err)
	return job
}

func (w *world) passes(n int) {
	w.t.Helper()
	for range n {
		_, err := w.pass(w.t.Context())
		w.must(err)
	}
}

func (w *world) asked() bool {
	w.t.Helper()
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "s"}, &snapshotv1.VolumeSnapshot{})
	w.must(client.IgnoreNotFound(err))
	return err == nil
}

// TestSnapshotWaitsForWriter checks that no CSI snapshot is created while a Job
// writes to the PVC, also if the Job is not in the cache yet or only its pod is left,
// and that the deadline does not run meanwhile.
func TestSnapshotWaitsForWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	job := w.writer()
	w.staleCache()
	w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) {
		s.Verification.Deadline = &metav1.Duration{Duration: 10 * time.Minute}
	})
	w.passes(4)
	if w.asked() {
		t.Fatal("a snapshot was asked for while a Job writes that the cache has not seen")
	}
	w.ready(v1alpha1.ReasonWaiting, "A Job writes to the PVC")

	orphan := metav1.DeletePropagationOrphan
	w.must(server.Client.Delete(t.Context(), job, &client.DeleteOptions{PropagationPolicy: &orphan}))
	var left batchv1.Job
	w.must(server.Client.Get(t.Context(), client.ObjectKeyFromObject(job), &left))
	left.Finalizers = nil
	w.must(server.Client.Update(t.Context(), &left))
	w.passes(2)
	if w.asked() {
		t.Fatal("a snapshot was asked for while the pod of a deleted Job writes")
	}

	w.now = w.now.Add(time.Hour)
	w.must(server.Client.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(w.namespace), client.GracePeriodSeconds(0)))
	w.reconciler = w.fresh(server.Client)
	w.settle()
	if v := w.get().Status.Verification.Verdict; v != v1alpha1.VerdictIntact {
		t.Errorf("verdict %q once it is quiet: %+v", v, w.get().Status.Conditions)
	}
}

// TestCloneOfARetryStays checks that a clone is not deleted as unused while the Job
// that was created for it is not in the cache yet.
func TestCloneOfARetryStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = &cluster.Ending{Evicted: true}
	w.cache()
	w.snapshot()
	key := types.NamespacedName{Namespace: w.namespace, Name: "s-verify"}
	for range 40 { // until the second attempt has started
		result, err := w.pass(t.Context())
		w.must(err)
		if w.get().Status.Verification.Attempts == 1 && server.Client.Get(t.Context(), key, &batchv1.Job{}) == nil {
			if job := new(batchv1.Job); server.Client.Get(t.Context(), key, job) == nil && string(job.UID) != w.get().Status.Verification.Run {
				break
			}
		}
		acted, err := w.cluster.Step(t.Context())
		w.must(err)
		if !acted && result.RequeueAfter < time.Minute {
			w.now = w.now.Add(result.RequeueAfter)
		}
	}
	w.staleCache()
	w.passes(2)
	var clone corev1.PersistentVolumeClaim
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.clone()}, &clone))
	if !clone.DeletionTimestamp.IsZero() {
		t.Error("the clone was deleted under its Job")
	}
	w.must(server.Client.Get(t.Context(), key, &batchv1.Job{}))
}

// ready checks the reason and a part of the message of condition Ready.
func (w *world) ready(reason, message string) {
	w.t.Helper()
	w.condition(v1alpha1.ReadyCondition, reason, message)
}

// counted is a client that counts how often a kind is read, and plays a cache that may be
// behind.
type counted struct {
	client.Client
	reads  int
	behind *v1alpha1.CacheSnapshot // in place of what there is
}

// Get counts.
func (c *counted) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	s, ok := o.(*v1alpha1.CacheSnapshot)
	if !ok {
		return c.Client.Get(ctx, key, o, opts...)
	}
	c.reads++
	if c.behind != nil {
		c.behind.DeepCopyInto(s)
		return nil
	}
	return c.Client.Get(ctx, key, o, opts...)
}

// TestFirstPass asserts that a manager which starts reads a snapshot from the API server
// only if there is something to do, and does it on what the API server has: its cache may
// be behind.
func TestFirstPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.snapshot()
	created := w.get()
	w.settle()
	verified := w.get()
	mortal := &faults.Mortal{}
	start := func(behind *v1alpha1.CacheSnapshot) (live *counted) {
		w.reconciler = w.fresh(&counted{Client: mortal.Client(server.Client), behind: behind})
		live = &counted{Client: server.Client}
		w.reconciler.Live = live
		return live
	}

	live := start(nil)
	w.passes(3)
	if live.reads > 0 {
		t.Errorf("a snapshot at rest was read %d times from the API server", live.reads)
	}

	live = start(created)
	w.passes(3)
	if live.reads != 3 || len(mortal.Writes) > 0 {
		t.Errorf("by a cache that is behind there is something to do: read %d times from the API server, want each time; wrote %q", live.reads, mortal.Writes)
	}

	w.must(server.Client.Delete(t.Context(), &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "s"}}))
	live = start(verified)
	w.passes(1)
	if live.reads != 1 || len(mortal.Writes) != 1 {
		t.Errorf("the VolumeSnapshot is gone: read %d times from the API server, wrote %q", live.reads, mortal.Writes)
	}
	w.condition(v1alpha1.SnapshotReadyCondition, v1alpha1.ReasonSnapshotLost, "no longer exists")

	w.must(server.Client.Delete(t.Context(), verified))
	w.passes(1)
	if key := (ctrl.Request{NamespacedName: client.ObjectKeyFromObject(verified)}); w.reconciler.loaded.Read(key) {
		t.Error("a snapshot that is gone is remembered")
	}
}
