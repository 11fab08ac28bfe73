package modproxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/testing/faults"
)

// TestStoreCannotFollow holds that storage that the PVC cannot get is
// reported, that the proxy serves on meanwhile, and that taking it back is enough.
func TestStoreCannotFollow(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.InstanceStorage)
		reason string
		want   string
	}{
		"a size lowered":                       {func(s *v1alpha1.InstanceStorage) { s.Size = resource.MustParse("512Mi") }, v1alpha1.ReasonInvalidSpec, "spec.instances[blue].storage.size is 512Mi"},
		"a class changed":                      {func(s *v1alpha1.InstanceStorage) { s.StorageClassName = ptr.To("faster") }, v1alpha1.ReasonInvalidSpec, `spec.instances[blue].storage.storageClassName is "faster"`},
		"a size that the class does not allow": {func(s *v1alpha1.InstanceStorage) { s.Size = resource.MustParse("2Gi") }, v1alpha1.ReasonExpansionNotAllowed, "spec.instances[blue].storage.size: PVC goproxy-blue cannot grow from 1Gi to 2Gi"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.serving()
			var pvc corev1.PersistentVolumeClaim
			if !w.exists(&pvc, "goproxy-blue") {
				t.Fatal("there is no PVC")
			}
			pvc.Status.Phase = corev1.ClaimBound // only the size of a bound one can change
			w.must(server.Client.Status().Update(t.Context(), &pvc))
			before := w.get().Spec.Instances[0].Storage.DeepCopy()
			w.edit(func(p *v1alpha1.ModProxy) { tt.change(p.Spec.Instances[0].Storage) })
			w.settle()
			w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, tt.reason, tt.want)
			w.weights(100, 100)

			w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Instances[0].Storage = before })
			w.settle()
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue and green serve")
		})
	}
}

// TestMovedVersion holds that a tag that was moved is an event and stays in the status with
// both commits, once for all instances and restarts of them, and again when it is moved
// again; that it takes no instance out; and that only the newest are kept.
func TestMovedVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.tick(3)
	w.recorded()
	a, b, c := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)
	moved := func(version, to string) []probe.MovedVersion {
		return []probe.MovedVersion{{Module: "corp.test/m", Version: version, Stored: a, Moved: to, Noticed: w.now}}
	}
	w.blue.moved = moved("v1.0.0", b)
	w.tick(3)
	want := "Warning VersionMoved Version v1.0.0 of corp.test/m was moved to commit " + b + "; commit " + a + ", which was seen first, is served"
	if events := w.recorded(); strings.Count(events, want) != 1 {
		t.Errorf("the events are %s", events)
	}
	if got := w.get().Status.MovedVersions; len(got) != 1 || got[0].StoredCommit != a || got[0].MovedCommit != b || got[0].Time.IsZero() {
		t.Errorf("the status has %+v", got)
	}
	w.green.moved, w.blue.moved = moved("v1.0.0", b), nil // restarted
	w.tick(3)
	if events := w.recorded(); strings.Contains(events, "VersionMoved") {
		t.Errorf("the same again: %s", events)
	}
	w.now = w.now.Add(time.Minute)
	w.green.moved = moved("v1.0.0", c) // blue, which did not look again, still has b
	w.tick(3)
	if events := w.recorded(); strings.Count(events, "was moved to commit "+c) != 1 || len(w.get().Status.MovedVersions) != 1 {
		t.Errorf("moved again: %s", events)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue and green serve")
	w.blue.moved = moved("v1.0.0", b) // looked before green, on a clock that is ahead
	w.blue.moved[0].Noticed = w.now.Add(time.Hour)
	w.tick(3)
	if got := w.get().Status.MovedVersions; len(got) != 1 || got[0].MovedCommit != c {
		t.Errorf("noticed in the future: %+v", got)
	}
	w.blue.moved = nil
	for i := range 20 { // more than are kept, of which the instances have different ones
		w.blue.moved = append(w.blue.moved, moved(fmt.Sprintf("v0.1.%d", i), b)...)
		w.now = w.now.Add(time.Second)
	}
	w.blue.moved = w.blue.moved[4:]
	w.now = w.now.Add(time.Minute)
	w.tick(3)
	if events := w.recorded(); strings.Count(events, "VersionMoved") != 1 || !strings.Contains(events, "Version v0.1.19 of corp.test/m") || !strings.Contains(events, "; so were 15 other versions (status.movedVersions)") {
		t.Errorf("many at once: %s", events)
	}
	for i := range 17 {
		w.now = w.now.Add(time.Minute)
		w.green.moved = moved(fmt.Sprintf("v1.1.%d", i), b)
		w.tick(2)
	}
	if got := w.get().Status.MovedVersions; len(got) != 16 || got[15].Version != "v1.1.16" {
		t.Errorf("%d versions are kept: %+v", len(got), got)
	}
	if n := strings.Count(w.recorded(), "VersionMoved"); n != 17 {
		t.Errorf("%d events of 17 versions", n)
	}
}

// TestMovedVersionsThatChangeAtEachProbe holds that an instance which names other versions,
// commits and times at each probe changes the status once a minute at most, with an event
// each time; that another process does not wait for the minute; and that what it names last is recorded
// within a minute, whether a probe finds a change then or not.
func TestMovedVersionsThatChangeAtEachProbe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.tick(3)
	w.recorded()
	answer := func(n int) {
		w.blue.moved = nil
		for i := range probe.MaxMoved {
			w.blue.moved = append(w.blue.moved, probe.MovedVersion{Module: "corp.test/m", Version: fmt.Sprintf("v%d.0.%d", n%2, i),
				Stored: fmt.Sprintf("%040x", n%3), Moved: fmt.Sprintf("%040x", 1000+n), Noticed: w.now})
		}
	}
	changed, was := 0, ""
	count := func() {
		if is := fmt.Sprint(w.get().Status.MovedVersions); is != was {
			changed, was = changed+1, is
		}
	}
	count()
	changed = 0
	for n := range 30 { // of ten seconds each
		answer(n)
		w.tick(1)
		count()
	}
	if events := strings.Count(w.recorded(), "VersionMoved"); changed != 5 || events != 5 {
		t.Errorf("%d changes and %d events in 5 minutes", changed, events)
	}
	if after := w.last.RequeueAfter; after <= 0 || after > time.Minute {
		t.Errorf("the next pass is after %v", after)
	}
	for range 2 {
		w.now = w.now.Add(interval)
		w.settle()
	}
	if got := w.get().Status.MovedVersions; len(got) != 16 || got[15].MovedCommit != fmt.Sprintf("%040x", 1029) {
		t.Errorf("at last the status has %+v", got)
	}
	answer(31)
	w.restart(faults.Point{})
	w.tick(2)
	if got := w.get().Status.MovedVersions; len(got) != 16 || got[15].MovedCommit != fmt.Sprintf("%040x", 1031) {
		t.Errorf("after a restart the status has %+v", got)
	}
}

// TestStoreFull holds that a store without room for what is fetched is reported
// with what to do, and that this takes no instance out: clients are served.
func TestStoreFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.tick(3)
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionTrue, v1alpha1.ReasonStoresHaveRoom, "")
	w.blue.full = true
	w.tick(5)
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonStoreFull, "blue: the store is full")
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonStoreFull, "Set storage.maxUsedPercent")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue and green serve")
	w.weights(100, 100)
	if events := w.recorded(); !strings.Contains(events, "StoreFull") || !strings.Contains(events, "The store of instance blue is full") {
		t.Errorf("the events are %s", events)
	}
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.Instances[0].Storage.MaxUsedPercent = ptr.To[int32](80) })
	w.settle()
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonStoreFull, "below maxUsedPercent 80")
	w.blue.full = false
	w.tick(5)
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionTrue, v1alpha1.ReasonStoresHaveRoom, "")
	if events := w.recorded(); !strings.Contains(events, "StoreHasRoom") {
		t.Errorf("the events are %s", events)
	}
}
