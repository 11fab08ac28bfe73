package provision

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
)

func TestBound(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*pass.Observed)
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		"bound":         {func(*pass.Observed) {}, metav1.ConditionTrue, v1alpha1.ReasonPVCBound, "PVC ci is bound to volume v1"},
		"none":          {func(o *pass.Observed) { o.PVC = nil }, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "PVC ci is being created"},
		"pending":       {func(o *pass.Observed) { o.PVC.Status.Phase = corev1.ClaimPending }, metav1.ConditionFalse, v1alpha1.ReasonPVCPending, "waits for its volume"},
		"lost":          {func(o *pass.Observed) { o.PVC.Status.Phase = corev1.ClaimLost }, metav1.ConditionFalse, v1alpha1.ReasonPVCLost, "delete the PersistentVolumeClaim to begin again"},
		"being deleted": {func(o *pass.Observed) { o.PVC.DeletionTimestamp = &metav1.Time{Time: now} }, metav1.ConditionFalse, v1alpha1.ReasonPVCPending, ""},
	} {
		cache, o := bound()
		tt.change(&o)
		if f := Bound(cache, o); f.Status != tt.status || f.Reason != tt.reason || !strings.Contains(f.Message, tt.message) {
			t.Errorf("%s: %+v, want %s, %s, %q", name, f, tt.status, tt.reason, tt.message)
		}
	}
}

// TestSufficient holds what is reported of the room that is left, at each state of the
// growth of the PVC.
func TestSufficient(t *testing.T) {
	used := func(percent int32) func(*v1alpha1.GoCache, *pass.Observed) {
		return func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Status.Storage.UsedPercent = &percent }
	}
	inodes := func(all, used int64) func(*v1alpha1.GoCache) {
		return func(c *v1alpha1.GoCache) { c.Status.Storage.Inodes, c.Status.Storage.InodesUsed = &all, &used }
	}
	asked := func(o *pass.Observed, text string) { o.PVC.Spec.Resources = size(text) }
	resizing := func(o *pass.Observed, kind corev1.PersistentVolumeClaimConditionType, status corev1.ConditionStatus) {
		o.PVC.Status.Conditions = append(o.PVC.Status.Conditions, corev1.PersistentVolumeClaimCondition{Type: kind, Status: status, Message: "the quota of the account"})
	}
	for name, tt := range map[string]struct {
		change  func(*v1alpha1.GoCache, *pass.Observed)
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		"enough":          {used(50), metav1.ConditionTrue, v1alpha1.ReasonSpaceLeft, "50% of 1Gi is used; the PVC grows at 80%"},
		"it is to grow":   {used(90), metav1.ConditionFalse, v1alpha1.ReasonGrowing, "90% of 1Gi is used; growth of the PVC to 2Gi is requested"},
		"few inodes left": {func(c *v1alpha1.GoCache, _ *pass.Observed) { used(50)(c, nil); inodes(1000, 900)(c) }, metav1.ConditionFalse, v1alpha1.ReasonGrowing, "50% of 1Gi is used, 900 of 1000 inodes; growth"},
		"inodes unknown in part": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			used(50)(c, nil)
			c.Status.Storage.Inodes = ptr.To[int64](1000)
		}, metav1.ConditionTrue, v1alpha1.ReasonSpaceLeft, "50% of 1Gi is used; the PVC"},
		"never measured": {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Status.Storage.UsedPercent = nil }, metav1.ConditionUnknown, v1alpha1.ReasonWaiting, "No run has measured yet how full the volume of 1Gi is"},
		"no volume":      {func(_ *v1alpha1.GoCache, o *pass.Observed) { o.PVC.Status.Phase = corev1.ClaimPending }, metav1.ConditionUnknown, v1alpha1.ReasonWaiting, "has no volume yet"},
		"at the limit": {func(c *v1alpha1.GoCache, _ *pass.Observed) { c.Spec.Storage.Growth.Limit = resource.MustParse("1Gi") }, metav1.ConditionFalse, v1alpha1.ReasonAtLimit,
			"spec.storage.growth.limit is 1Gi: raise it"},
		"it grows": {func(_ *v1alpha1.GoCache, o *pass.Observed) { asked(o, "2Gi") }, metav1.ConditionFalse, v1alpha1.ReasonGrowing, "The PVC grows from 1Gi to 2Gi"},
		"the next run finishes it": {func(_ *v1alpha1.GoCache, o *pass.Observed) {
			asked(o, "2Gi")
			resizing(o, corev1.PersistentVolumeClaimFileSystemResizePending, corev1.ConditionTrue)
		}, metav1.ConditionFalse, v1alpha1.ReasonGrowing, "grows from 1Gi to 2Gi; the next run on it finishes that"},
		"the driver fails": {func(_ *v1alpha1.GoCache, o *pass.Observed) {
			asked(o, "2Gi")
			resizing(o, corev1.PersistentVolumeClaimControllerResizeError, corev1.ConditionTrue)
		}, metav1.ConditionFalse, v1alpha1.ReasonGrowing, "; error of the driver: the quota of the account"},
		"the driver gave up": {func(_ *v1alpha1.GoCache, o *pass.Observed) {
			asked(o, "2Gi")
			resizing(o, corev1.PersistentVolumeClaimNodeResizeError, corev1.ConditionTrue)
			o.PVC.Status.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{corev1.ResourceStorage: corev1.PersistentVolumeClaimNodeResizeInfeasible}
		}, metav1.ConditionFalse, v1alpha1.ReasonGrowthRefused, "cannot expand the volume of 1Gi to 2Gi; error of the driver: the quota of the account"},
		"refused": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			c.Status.Storage.Growth = &v1alpha1.GrowthStatus{Size: resource.MustParse("2Gi"), Refused: "exceeded quota", Time: metav1.NewTime(now.Add(-time.Minute))}
		}, metav1.ConditionFalse, v1alpha1.ReasonGrowthRefused, "may not grow to 2Gi: exceeded quota"},
		"growth brought no inodes": {func(c *v1alpha1.GoCache, _ *pass.Observed) {
			used(50)(c, nil)
			inodes(1000, 990)(c)
			c.Status.Storage.Growth = &v1alpha1.GrowthStatus{Size: resource.MustParse("1Gi"), Inodes: ptr.To[int64](1000), Time: metav1.NewTime(now.Add(-time.Hour))}
		}, metav1.ConditionFalse, v1alpha1.ReasonOutOfInodes, "990 of 1000 inodes, and the file system has no more inodes"},
	} {
		cache, o := bound()
		tt.change(cache, &o)
		if f := Sufficient(cache, o); f == nil || f.Status != tt.status || f.Reason != tt.reason || !strings.Contains(f.Message, tt.message) {
			t.Errorf("%s: %+v, want %s, %s, %q", name, f, tt.status, tt.reason, tt.message)
		}
	}
	cache, o := bound()
	if cache.Spec.Storage.Growth = nil; Sufficient(cache, o) != nil {
		t.Error("without a rule of growth")
	}
}

// TestExpansionThatIsOver holds that a condition which is not true any more is not
// reported.
func TestExpansionThatIsOver(t *testing.T) {
	_, o := bound()
	o.PVC.Status.Conditions = []corev1.PersistentVolumeClaimCondition{
		{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionFalse},
		{Type: corev1.PersistentVolumeClaimNodeResizeError, Status: corev1.ConditionFalse, Message: "m"},
		{Type: corev1.PersistentVolumeClaimResizing, Status: corev1.ConditionTrue, Message: "m"},
	}
	if report, infeasible := expansion(o.PVC); report != "" || infeasible {
		t.Errorf("%q, %t", report, infeasible)
	}
}
