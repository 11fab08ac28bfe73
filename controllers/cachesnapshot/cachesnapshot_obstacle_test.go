package cachesnapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/plan/queue"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestNoSnapshotClass checks that a driver without a usable VolumeSnapshotClass is
// reported with its name and the remedy, without a VolumeSnapshot being created,
// and that the snapshot is created once there is a default class.
func TestNoSnapshotClass(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		classes []string // of the driver
		named   *string
		driver  string
		message string
	}{
		"none":       {driver: "a.example.com", message: `driver a.example.com of PVC ci has no VolumeSnapshotClass: create one with driver: a.example.com`},
		"no default": {driver: "b.example.com", classes: []string{"b1", "b2"}, message: "name one of b1, b2 in volumeSnapshotClassName"},
		"not there":  {named: new("nowhere"), message: "VolumeSnapshotClass nowhere does not exist"},
		"of another": {named: new("test"), driver: "c.example.com", message: "is of driver test.csi.gocache.dev, and the volume of driver c.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cluster.Driver = tt.driver
			for _, name := range tt.classes {
				w.snapshotClass(name, tt.driver)
			}
			w.cache()
			w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) { s.VolumeSnapshotClassName = tt.named })
			w.settle()
			w.stalled(v1alpha1.ReasonSnapshotClassMissing, tt.message)
			if reported := w.reported(); !strings.Contains(reported, v1alpha1.ReasonSnapshotClassMissing) || w.asked() {
				t.Errorf("asked: %v, events: %s", w.asked(), reported)
			}
			if tt.named != nil {
				return
			}
			class := &snapshotv1.VolumeSnapshotClass{
				ObjectMeta: metav1.ObjectMeta{Name: strings.ReplaceAll(tt.driver, ".", "-"), Annotations: map[string]string{defaultClass: "true"}},
				Driver:     tt.driver, DeletionPolicy: snapshotv1.VolumeSnapshotContentDelete,
			}
			w.createClass(class)
			own := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w.get())}
			if !slices.Contains(w.reconciler.withoutCSISnapshot(t.Context(), class), own) {
				t.Error("the class does not wake the snapshot that waits for it")
			}
			w.passes(1)
			w.settle()
			w.ready(v1alpha1.ReasonIntact, "intact")
			if slices.Contains(w.reconciler.withoutCSISnapshot(t.Context(), class), own) {
				t.Error("a class wakes a snapshot that has its own")
			}
		})
	}
}

// snapshotClass creates a VolumeSnapshotClass that is not marked as default.
func (w *world) snapshotClass(name, driver string) {
	w.t.Helper()
	w.createClass(&snapshotv1.VolumeSnapshotClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Driver: driver, DeletionPolicy: snapshotv1.VolumeSnapshotContentDelete,
	})
}

// createClass creates a class and deletes it with the test: it belongs to no
// namespace, and the next run of the test begins without it.
func (w *world) createClass(class *snapshotv1.VolumeSnapshotClass) {
	w.t.Helper()
	w.must(server.Client.Create(w.t.Context(), class))
	w.t.Cleanup(func() { w.must(server.Client.Delete(context.WithoutCancel(w.t.Context()), class)) })
}

// TestOnlySnapshotClass checks that the only class of the driver is used even if it
// is not marked as default, and stays the class of the snapshot.
func TestOnlySnapshotClass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.Driver = "only.example.com"
	w.snapshotClass("only", "only.example.com")
	w.snapshotClass("other", "another.example.com")
	w.cache()
	w.snapshot()
	w.settle()
	w.ready(v1alpha1.ReasonIntact, "intact")
	w.snapshotClass("later", "only.example.com")
	w.passes(2)
	w.settle()
	w.ready(v1alpha1.ReasonIntact, "intact")
	csi := &snapshotv1.VolumeSnapshot{}
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.get().Status.VolumeSnapshotName}, csi))
	if got := ptr.Deref(csi.Spec.VolumeSnapshotClassName, ""); got != "only" {
		t.Errorf("class %q, want the only one", got)
	}
}

// TestRepairedSnapshotKeepsItsClass checks that the VolumeSnapshot of the repaired clone
// keeps the class that the operator chose, after the original one is gone: without it the
// snapshot controller could not delete it.
func TestRepairedSnapshotKeepsItsClass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.Driver = "repaired.example.com"
	w.snapshotClass("repaired", "repaired.example.com")
	w.endings(map[string]cluster.Ending{"verify": {Exit: 3, Message: corruptReport}, "repair": {Message: repairedReport}, "reverify": {Message: intactReport}})
	w.cache()
	w.snapshot(repairable)
	w.settle()
	w.passes(2)
	if got := w.snapshots(); got != "s-repaired" {
		t.Fatalf("VolumeSnapshots %q", got)
	}
	csi := &snapshotv1.VolumeSnapshot{}
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "s-repaired"}, csi))
	if got := ptr.Deref(csi.Spec.VolumeSnapshotClassName, ""); got != "repaired" {
		t.Errorf("class %q, want the one that was chosen", got)
	}
}

// TestQuota checks that a quota that refuses the clone is reported, and that the
// check starts when the quota admits the clone.
func TestQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	one := corev1.ResourceList{"persistentvolumeclaims": resource.MustParse("1")}
	quota, err := cluster.Enforce(t.Context(), server.Client, w.namespace, "tight", one, one)
	w.must(err)
	w.snapshot()
	for range 8 {
		w.passes(1)
		_, err = w.cluster.Step(t.Context())
		w.must(err)
	}
	result, err := w.pass(t.Context())
	w.must(err)
	w.ready(v1alpha1.ReasonQuotaExceeded, "exceeded quota: tight")
	if result.RequeueAfter == 0 || result.RequeueAfter > time.Minute {
		t.Errorf("looks again after %v", result.RequeueAfter)
	}
	if reported := w.reported(); !strings.Contains(reported, v1alpha1.ReasonQuotaExceeded) {
		t.Errorf("events: %s", reported)
	}
	w.must(cluster.Lift(t.Context(), server.Client, quota))
	w.eventually(v1alpha1.ReasonIntact)
}

// reason returns the reason of condition Ready; empty if there is none.
func (w *world) reason() string {
	for _, c := range w.get().Status.Conditions {
		if c.Type == v1alpha1.ReadyCondition {
			return c.Reason
		}
	}
	return ""
}

// eventually runs reconciler and cluster in turn until Ready has the reason.
func (w *world) eventually(reason string) {
	w.t.Helper()
	for range 200 {
		result, err := w.pass(w.t.Context())
		w.must(err)
		_, err = w.cluster.Step(w.t.Context())
		w.must(err)
		if w.reason() == reason {
			return
		}
		if result.RequeueAfter < time.Minute {
			w.now = w.now.Add(result.RequeueAfter)
		}
	}
	w.t.Errorf("Ready is %s, want %s", w.reason(), reason)
}

// TestDriverThatCannotRestore checks that the provisioner's error about the clone
// is reported, and that the snapshot stalls at the deadline.
func TestDriverThatCannotRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cluster.Stuck = &corev1.PodStatus{Phase: corev1.PodPending}
	w.cluster.Unbound = func(c *corev1.PersistentVolumeClaim) bool { return strings.HasPrefix(c.Name, "clone-") }
	w.cache()
	w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) {
		s.Verification.Deadline = &metav1.Duration{Duration: 10 * time.Minute}
	})
	for range 8 {
		w.passes(1)
		_, err := w.cluster.Step(t.Context())
		w.must(err)
	}
	var clone corev1.PersistentVolumeClaim
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.clone()}, &clone))
	w.must(server.Client.Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, Name: "e"},
		InvolvedObject: corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: w.namespace, Name: clone.Name, UID: clone.UID},
		Type:           corev1.EventTypeWarning, Reason: "ProvisioningFailed", Message: "this driver cannot restore", LastTimestamp: metav1.Now(),
	}))
	w.now = w.now.Add(jobrun.StartTimeout + time.Second)
	w.passes(1)
	w.ready(v1alpha1.ReasonCloneFailed, "for PVC "+clone.Name+": this driver cannot restore")
	w.must(server.Client.Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, Name: "progress"},
		InvolvedObject: corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: w.namespace, Name: clone.Name, UID: clone.UID},
		Type:           corev1.EventTypeWarning, Reason: "ProvisioningFailed", LastTimestamp: metav1.NewTime(time.Now().Add(time.Minute)),
		Message: "rpc error: code = Aborted desc = clone from snapshot is pending",
	}))
	w.passes(1)
	w.ready(v1alpha1.ReasonCloning, "still creating the volume for PVC "+clone.Name)
	if reported := w.reported(); !strings.Contains(reported, "this driver cannot restore") {
		t.Errorf("events: %s", reported)
	}
	w.now = w.now.Add(time.Hour)
	w.settle()
	w.stalled(v1alpha1.ReasonDeadlineExceeded, "No verdict within 10m0s")
	if left := w.left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCloneIsLargeEnough checks that a clone requests the larger of the restore
// size and the capacity of the source.
func TestCloneIsLargeEnough(t *testing.T) {
	t.Parallel()
	s := &scope{snapshot: &v1alpha1.CacheSnapshot{}}
	s.snapshot.Status.Source = &v1alpha1.SourceRecord{Capacity: new(resource.MustParse("1Gi"))}
	for _, tt := range []struct{ restore, want string }{{"2Gi", "2Gi"}, {"512Mi", "1Gi"}} {
		s.snapshot.Status.RestoreSize = new(resource.MustParse(tt.restore))
		pvc := s.clone()
		if got := pvc.Size.String(); got != tt.want {
			t.Errorf("restoreSize %s: the clone asks for %s, want %s", tt.restore, got, tt.want)
		}
	}
}

// until runs reconciler and cluster in turn until the object exists.
func (w *world) until(name string, o client.Object) {
	w.t.Helper()
	for range 40 {
		w.passes(1)
		if server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, o) == nil {
			return
		}
		_, err := w.cluster.Step(w.t.Context())
		w.must(err)
	}
	w.t.Fatalf("%s never comes", name)
}

// TestRemovedByHand checks that a snapshot gets its verdict if a user deletes its
// source, its Job, or the clone under the Job. The report of a clone that is gone does not
// count: nothing shows which PVC of the name the Job has read.
func TestRemovedByHand(t *testing.T) {
	t.Parallel()
	background := client.PropagationPolicy(metav1.DeletePropagationBackground)
	for name, remove := range map[string]func(*world){
		"the source": func(w *world) {
			w.must(server.Client.Delete(w.t.Context(), &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci"}}))
			w.must(server.Client.Delete(w.t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ci"}}))
		},
		"the Job": func(w *world) {
			w.must(server.Client.Delete(w.t.Context(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "s-verify"}}, background))
		},
		"the clone": func(w *world) {
			w.must(server.Client.Delete(w.t.Context(), &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: w.clone()}}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache()
			w.snapshot()
			w.until("s-verify", &batchv1.Job{})
			remove(w)
			w.settle()
			attempts := map[string]int32{"the clone": 2}[name]
			if v := w.get().Status.Verification; v.Verdict != v1alpha1.VerdictIntact || v.Attempts != max(1, attempts) {
				t.Errorf("verdict %s after %d attempts", v.Verdict, v.Attempts)
			}
			if left := w.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestOneAfterTheOther checks that no more snapshots than configured are verified
// at the same time, and that a snapshot that waits reports it, also after a restart.
// The time that it waits for its turn does not count against its deadline.
func TestOneAfterTheOther(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		deadline *metav1.Duration
		step     time.Duration
	}{
		"without a deadline":                 {nil, time.Second},
		"the last waits beyond the deadline": {&metav1.Duration{Duration: 100 * time.Second}, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			oneAfterTheOther(t, tt.deadline, tt.step)
		})
	}
}

// TestSupersededInTheQueue checks that a snapshot of a policy that waits for its first
// check beyond its deadline expires if there is a newer one, and waits if there is not.
func TestSupersededInTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reconciler.lines.verifications = queue.New(1)
	w.cache()
	create := func(name string) {
		w.must(server.Client.Create(t.Context(), &v1alpha1.CacheSnapshot{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}},
			Spec: v1alpha1.CacheSnapshotSpec{
				SourceRef:    v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"},
				Verification: v1alpha1.Verification{Deadline: &metav1.Duration{Duration: time.Minute}},
			},
		}))
	}
	create("first")
	var first v1alpha1.CacheSnapshot
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "first"}, &first))
	wait := func(names ...string) {
		for range 6 {
			first.Status.Stages = []v1alpha1.StageStatus{{Name: stageVerify, StartTime: metav1.NewTime(w.now)}} // has the only place
			w.must(server.Client.Status().Update(t.Context(), &first))
			for _, name := range names {
				_, err := w.reconciler.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: w.namespace, Name: name}})
				w.must(err)
			}
			_, err := w.cluster.Step(t.Context())
			w.must(err)
			w.now = w.now.Add(20 * time.Second)
		}
	}
	create("s")
	wait("s")
	if got := w.reason(); got != v1alpha1.ReasonQueued {
		t.Fatalf("the only snapshot: Ready is %s, want %s", got, v1alpha1.ReasonQueued)
	}
	time.Sleep(time.Second) // creation timestamps have seconds
	create("t")
	wait("t", "s")
	w.stalled(v1alpha1.ReasonDeadlineExceeded, "there is a newer one of this source")
}

func oneAfterTheOther(t *testing.T, deadline *metav1.Duration, step time.Duration) {
	t.Helper()
	w := newWorld(t)
	const n = 6
	running, most := map[string]bool{}, 0
	w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
		if running[job.Name] { // it ends at the second step
			delete(running, job.Name)
			return w.ending
		}
		running[job.Name] = true
		most = max(most, len(running))
		return nil
	}
	only := interceptor.NewClient(server.Client, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			return c.List(ctx, l, append(opts, client.InNamespace(w.namespace))...) // other tests run in parallel
		},
	})
	restart := func() {
		w.reconciler = w.fresh(only)
		w.reconciler.lines = lines{creations: queue.New(1), verifications: queue.New(1)}
	}
	restart()
	w.cache()
	for i := range n {
		w.must(server.Client.Create(t.Context(), &v1alpha1.CacheSnapshot{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: fmt.Sprint("s", i)},
			Spec: v1alpha1.CacheSnapshotSpec{
				SourceRef:    v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"},
				Verification: v1alpha1.Verification{Deadline: deadline},
			},
		}))
	}
	queued := false
	for round := range 200 {
		verified := 0
		for i := range n {
			key := types.NamespacedName{Namespace: w.namespace, Name: fmt.Sprint("s", i)}
			_, err := w.reconciler.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
			w.must(err)
			var s v1alpha1.CacheSnapshot
			w.must(server.Client.Get(t.Context(), key, &s))
			for _, c := range s.Status.Conditions {
				if c.Reason == v1alpha1.ReasonDeadlineExceeded {
					t.Fatalf("%s: %s", s.Name, c.Message)
				}
				queued = queued || c.Reason == v1alpha1.ReasonQueued && strings.Contains(c.Message, "Waits for its turn: ")
			}
			if s.Status.Verification.Verdict == v1alpha1.VerdictIntact {
				verified++
			}
		}
		if verified == n {
			break
		}
		if round == 199 {
			t.Fatalf("only %d of %d are verified", verified, n)
		}
		_, err := w.cluster.Step(t.Context())
		w.must(err)
		if round%7 == 6 {
			restart()
		}
		w.now = w.now.Add(step)
	}
	if most != 1 || !queued {
		t.Errorf("%d were verified at once, want 1; one that waits said so: %v", most, queued)
	}
}
