package gocache

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// hourly declares a warm-up each hour, with a snapshot after it.
func hourly(keep int32) func(*v1alpha1.GoCacheSpec) {
	return func(s *v1alpha1.GoCacheSpec) {
		s.WarmUp = &v1alpha1.WarmUp{Schedule: v1alpha1.Schedule{Schedule: "@every 1h"}}
		s.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true), Retention: v1alpha1.Retention{KeepLast: keep}}
	}
}

// TestRetention holds that the newest verified snapshots stay, that older ones
// go, and that pinned ones and those of a user are left alone.
func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(hourly(2))
	w.settle()
	pinned := w.names()[0]
	s := get[v1alpha1.CacheSnapshot](w, pinned)
	s.Spec.Pinned = true
	w.must(server.Client.Update(t.Context(), s))
	w.must(server.Client.Create(t.Context(), &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "mine"},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}},
	}))
	w.settle()
	var created []string
	for range 4 {
		w.wait(time.Hour + time.Minute)
		created = append(created, w.get().Status.LatestSnapshot)
	}
	want := []string{pinned, "mine", created[2], created[3]}
	slices.Sort(want)
	if got := w.names(); !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if got := w.get().Status.LatestVerifiedSnapshot; got != created[3] {
		t.Errorf("offered %q, want %q", got, created[3])
	}
	if events := w.newEvents(); strings.Count(events, "SnapshotDropped") != 2 || !strings.Contains(events, created[1]+" by the retention policy") {
		t.Errorf("events: %s", events)
	}
}

// TestCorruptSnapshotIsNotOffered holds that the last intact snapshot stays
// offered and is kept, however many corrupt ones follow.
func TestCorruptSnapshotIsNotOffered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(hourly(1))
	w.settle()
	good := w.get().Status.LatestVerifiedSnapshot
	w.corrupt = true
	for range 3 {
		w.wait(time.Hour)
	}
	c := w.get()
	if c.Status.LatestVerifiedSnapshot != good || !slices.Contains(w.names(), good) {
		t.Errorf("offered %q of %v, want %q", c.Status.LatestVerifiedSnapshot, w.names(), good)
	}
	if c.Status.LatestSnapshot == good {
		t.Error("the latest snapshot is not said to be another one")
	}
	if got := len(w.names()); got > 2 {
		t.Errorf("%d snapshots are kept, want the good one and the latest evidence", got)
	}
}

// TestScheduledSnapshot holds that one snapshot is created each time that the
// schedule of snapshots is due.
func TestScheduledSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.Snapshots = &v1alpha1.SnapshotPolicy{Schedule: v1alpha1.Schedule{Schedule: "@every 2h"}}
	})
	w.settle()
	if n := len(w.names()); n != 0 {
		t.Fatalf("%d snapshots before the first is due", n)
	}
	w.wait(2*time.Hour + time.Second)
	w.wait(time.Hour)
	if n := len(w.names()); n != 1 {
		t.Errorf("snapshots %v, want one", w.names())
	}
	w.wait(time.Hour + time.Second)
	if n := len(w.names()); n != 2 {
		t.Errorf("snapshots %v, want two", w.names())
	}
}

// TestSnapshotBearsThePolicy holds that the spec of a snapshot is that of the
// policy.
func TestSnapshotBearsThePolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	class := "fast"
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.PodTemplate = &v1alpha1.PodTemplate{NodeSelector: map[string]string{"a": "b"}}
		s.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true), VolumeSnapshotClassName: &class}
		s.Snapshots.Verification.Deadline = &metav1.Duration{Duration: 7 * time.Minute}
	})
	w.settle()
	s := w.snapshots()[0]
	if *s.Spec.VolumeSnapshotClassName != class || s.Spec.Verification.Deadline.Duration != 7*time.Minute || s.Spec.PodTemplate.NodeSelector["a"] != "b" {
		t.Errorf("spec %+v", s.Spec)
	}
}

// TestOneWriter holds that no writer is started while the pod of the last one
// still exists, while the PVC is being deleted, or while a CSI snapshot is being
// created; settle holds the same after each step of every test here.
func TestOneWriter(t *testing.T) {
	t.Parallel()
	t.Run("the last pod does not go", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.cluster.HoldPods = true
		w.cache()
		w.settle()
		w.request("warm-up-1", v1alpha1.RequestWarmUp)
		w.settle()
		w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "a warm-up is due and waits: the pod of the last run to be gone")
		w.cluster.HoldPods = false
		w.settle()
		w.answered("warm-up-1", v1alpha1.RequestSucceeded, "")
	})
	t.Run("a snapshot is being cut", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.pendingCSI = true
		w.cache(afterWarmUp)
		w.settle()
		w.request("warm-up-1", v1alpha1.RequestWarmUp)
		w.settle()
		if len(w.warmUps) != 1 {
			t.Fatal("a writer was started while a snapshot was being cut")
		}
		w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSnapshotPending, "a warm-up is due and waits: CacheSnapshot "+w.names()[0]+" to be created")
		w.pendingCSI = false
		w.settle()
		w.answered("warm-up-1", v1alpha1.RequestSucceeded, "")
	})
	t.Run("the PVC is being deleted", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.cache()
		w.settle()
		pvc := get[corev1.PersistentVolumeClaim](w, "ci")
		w.must(server.Client.Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "reader"},
			Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: "c", Image: "i"}},
				Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "ci", ReadOnly: true},
				}}},
			},
		}))
		w.must(server.Client.Delete(t.Context(), pvc))
		w.request("warm-up-1", v1alpha1.RequestWarmUp)
		w.settle()
		if len(w.warmUps) != 1 {
			t.Error("a writer was started on a claim that is being deleted")
		}
	})
}

// TestForeignJobIsNoWriter holds that a Job of the writer's name that a user
// created is neither recorded as a run nor deleted.
func TestForeignJobIsNoWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := w.foreignJob("ci-writer")
	w.cache()
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonConflict, "ci-writer exists and is not ours")
	if s := w.get().Status.WarmUp; s.Run != "" {
		t.Errorf("its end was booked: %+v", s)
	}
	w.must(server.Client.Delete(t.Context(), foreign))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
}

// TestRetainedSizeIsKept holds that a cache does not stall if its retained PVC is
// larger than spec.storage.size.
func TestRetainedSizeIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.Storage.Size = resource.MustParse("3Gi") })
	w.settle()
	w.must(server.Client.Delete(t.Context(), w.get()))
	w.end()
	w.cache()
	w.settle()
	w.asksFor("3Gi")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
}

// TestFirstSeenIsKept holds that the snapshot which later ones are compared with
// is not dropped by retention, and that it goes by the policy once nothing is
// compared with it any more.
func TestFirstSeenIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache(hourly(1), func(s *v1alpha1.GoCacheSpec) {
		s.Snapshots.Verification.Trust = &v1alpha1.Trust{FirstSeen: true}
	})
	w.settle()
	first := w.get().Status.LatestVerifiedSnapshot
	for range 3 {
		w.wait(time.Hour + time.Minute)
	}
	newest := w.get().Status.LatestVerifiedSnapshot
	want := []string{first, newest}
	slices.Sort(want)
	if got := w.names(); !slices.Equal(got, want) || first == "" || first == newest {
		t.Errorf("kept %v, want %v", got, want)
	}
}
