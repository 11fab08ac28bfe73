package gocache

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/plan/growth"
	"gocache.dev/operator/internal/testing/cluster"
)

// growsTo lets a PVC of a class grow by 1Gi at a time, up to a limit.
func growsTo(limit string, class *string) func(*v1alpha1.GoCacheSpec) {
	return func(s *v1alpha1.GoCacheSpec) {
		s.Storage.StorageClassName = class
		s.Storage.Growth = &v1alpha1.StorageGrowth{Step: resource.MustParse("1Gi"), Limit: resource.MustParse(limit)}
	}
}

// fills is a warm-up that leaves so much used and available.
func fills(usedMiB, availableMiB int64) *cluster.Ending {
	return ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 3, BuildEntries: 7, UsedBytes: usedMiB << 20, AvailableBytes: availableMiB << 20})
}

// TestGrowth follows a PVC that fills up from step to step to its limit.
func TestGrowth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = fills(800, 224) // 79 %
	w.cache(growsTo("2500Mi", w.class()))
	w.settle()
	w.asksFor("1Gi")
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionTrue, v1alpha1.ReasonSpaceLeft, "79% of 1Gi is used; the PVC grows at 85%")

	w.cluster.HoldExpansion = true
	w.ending = fills(900, 124)
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	w.asksFor("2Gi")
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonGrowing, "grows from 1Gi to 2Gi")
	w.newEvents()
	w.cluster.HoldExpansion = false
	w.settle()
	w.asksFor("2Gi") // grows once per measurement
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionUnknown, v1alpha1.ReasonWaiting, "No run has measured yet how full the volume of 2Gi is")
	if events := w.newEvents(); !strings.Contains(events, "StorageGrown PVC ci has grown from 1Gi to 2Gi") {
		t.Errorf("events %s", events)
	}

	w.ending = fills(2000, 48)
	w.request("warm-up-2", v1alpha1.RequestWarmUp)
	w.settle()
	w.asksFor("2500Mi") // and not 3Gi
	w.ending = fills(2400, 100)
	w.request("warm-up-3", v1alpha1.RequestWarmUp)
	w.settle()
	w.asksFor("2500Mi")
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonAtLimit, "96% of 2500Mi is used, and spec.storage.growth.limit is 2500Mi")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if events := w.newEvents(); strings.Count(events, "AtLimit") != 1 {
		t.Errorf("events %s", events)
	}
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.Growth.Limit = resource.MustParse("9Gi") })
	w.settle()
	w.asksFor("3524Mi")
}

// TestGrowthForInodes follows a PVC whose inodes are almost used up, and most of whose
// bytes are not: it grows, and not again if that added no inodes.
func TestGrowthForInodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	few := func(used, inodes int64) *cluster.Ending {
		return ended(warmreport.Report{
			Outcome: warmreport.Succeeded, Modules: 3, BuildEntries: 7, UsedBytes: 300 << 20, AvailableBytes: 700 << 20, Inodes: inodes, InodesUsed: used,
		})
	}
	w.ending = few(5900, 6000)
	w.cache(growsTo("9Gi", w.class()))
	w.settle()
	w.asksFor("2Gi")
	w.ending = few(5900, 6000)
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	w.asksFor("2Gi")
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonOutOfInodes, "30% of 2Gi is used, 5900 of 6000 inodes, and the file system has no more inodes")
	w.ending = few(11900, 12000)
	w.request("warm-up-2", v1alpha1.RequestWarmUp)
	w.settle()
	w.asksFor("3Gi")
}

// TestNoGrowthOfSharedFileSystem holds that what others have on a file system, which
// is larger than the PVC, does not make the PVC grow.
func TestNoGrowthOfSharedFileSystem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = ended(warmreport.Report{
		Outcome: warmreport.Succeeded, Modules: 3, BuildEntries: 7,
		UsedBytes: 23157 << 20, AvailableBytes: 100 << 20, CapacityBytes: 23500 << 20, TreeBytes: 100 << 20, Inodes: 1000, InodesUsed: 999,
	})
	w.cache(growsTo("9Gi", w.class()))
	w.settle()
	w.asksFor("1Gi")
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionTrue, v1alpha1.ReasonSpaceLeft, "50% of 1Gi is used; the PVC grows")
	if s := w.get().Status.Storage; s.Used.String() != "100Mi" || s.Inodes != nil {
		t.Errorf("storage %+v", s)
	}
}

// TestGrowthAfterAFailure holds that a warm-up that found the PVC full makes it
// grow, so that the next one succeeds.
func TestGrowthAfterAFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = ended(warmreport.Report{Outcome: warmreport.Failed, Message: "no space left on device", UsedBytes: 1 << 30})
	w.cache(growsTo("2Gi", w.class()))
	w.settle()
	w.asksFor("2Gi")
	w.ending = fills(1200, 800)
	w.wait(time.Minute)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionTrue, v1alpha1.ReasonSpaceLeft, "60% of 2Gi")
}

// TestRefusedGrowth holds that growth is reported as refused without a
// StorageClass that allows expansion, and is tried again after an hour and not
// before.
func TestRefusedGrowth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = fills(900, 124)
	w.cache(growsTo("2Gi", nil)) // without a class that could expand
	w.settle()
	w.asksFor("1Gi")
	const refused = "may not grow to 2Gi: apply PersistentVolumeClaim"
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonGrowthRefused, refused)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if events := w.newEvents(); strings.Count(events, "GrowthRefused") != 1 || !strings.Contains(events, "only dynamically provisioned pvc can be resized") {
		t.Errorf("events %s", events)
	}
	before := len(w.mortal.Writes)
	for range 5 {
		w.wait(10 * time.Minute)
	}
	if wrote := w.mortal.Writes[before:]; len(wrote) > 0 {
		t.Errorf("refused, it wrote %q", wrote)
	}
	w.wait(growth.Pause)
	tried := 0
	for _, write := range w.mortal.Writes[before:] {
		if strings.HasPrefix(write, "apply") {
			tried++
		}
	}
	if tried != 1 {
		t.Errorf("tried %d times after an hour: %q", tried, w.mortal.Writes[before:])
	}
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonGrowthRefused, refused)
}

// TestQuotaRefusesGrowth holds that an exhausted quota is reported with its name,
// and that the PVC grows after the quota is gone.
func TestQuotaRefusesGrowth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = fills(100, 924)
	w.cache(growsTo("2Gi", w.class()))
	w.settle()
	quota := w.disks()
	w.ending = fills(900, 124)
	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonGrowthRefused, "exceeded quota: disks")
	w.must(cluster.Lift(t.Context(), server.Client, quota))
	w.wait(growth.Pause + time.Minute)
	w.asksFor("2Gi")
}

// TestDriverCannotExpand holds that an expansion which the driver gives up is
// reported.
func TestDriverCannotExpand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.HoldExpansion = true
	w.ending = fills(900, 124)
	w.cache(growsTo("2Gi", w.class()))
	w.settle()
	pvc := get[corev1.PersistentVolumeClaim](w, "ci")
	pvc.Status.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{
		corev1.ResourceStorage: corev1.PersistentVolumeClaimControllerResizeInfeasible,
	}
	pvc.Status.AllocatedResources = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")}
	pvc.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{
		Type: corev1.PersistentVolumeClaimControllerResizeError, Status: corev1.ConditionTrue, Message: "not in my zone",
	}}
	w.must(server.Client.Status().Update(t.Context(), pvc))
	w.settle()
	w.condition(v1alpha1.StorageSufficientCondition, metav1.ConditionFalse, v1alpha1.ReasonGrowthRefused, "cannot expand the volume of 1Gi to 2Gi; error of the driver: not in my zone")
}
