package pass_test

import (
	"errors"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/testing/failing"
)

// TestFacts holds what a fact of each kind is.
func TestFacts(t *testing.T) {
	for _, tt := range []struct {
		got  *pass.Fact
		want pass.Fact
	}{
		{pass.True("R", "%d of %d", 1, 2), pass.Fact{Status: metav1.ConditionTrue, Reason: "R", Message: "1 of 2"}},
		{pass.False("R", "%s", "m"), pass.Fact{Status: metav1.ConditionFalse, Reason: "R", Message: "m"}},
		{pass.Unknown("R", "m"), pass.Fact{Status: metav1.ConditionUnknown, Reason: "R", Message: "m"}},
		{pass.Unchanged("R", "%s", "m"), pass.Fact{Status: metav1.ConditionUnknown, Reason: "R", Message: "m", Unchanged: true}},
	} {
		if *tt.got != tt.want {
			t.Errorf("%+v, want %+v", *tt.got, tt.want)
		}
	}
}

// TestInstances holds what is found of an instance, in the spec and in the status.
func TestInstances(t *testing.T) {
	p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	p.Spec.Instances = []v1alpha1.ProxyInstance{{Name: "blue"}, {Name: "green", Storage: &v1alpha1.InstanceStorage{StorageClassName: ptr.To("fast")}}}
	p.Status.Instances = []v1alpha1.InstanceStatus{{Name: "blue", DesiredWeight: 7}, {Name: "green", Quarantined: &v1alpha1.Quarantine{}}}
	if got := pass.Labels(p, "blue"); !maps.Equal(got, map[string]string{v1alpha1.ProxyLabel: "p", v1alpha1.InstanceLabel: "blue"}) {
		t.Errorf("labels %v", got)
	}
	if pass.InstanceStatus(p, "green") != &p.Status.Instances[1] || pass.InstanceStatus(p, "red") != nil {
		t.Error("another status")
	}
	if got := pass.Instance(p, "blue"); got.DesiredWeight != 7 {
		t.Errorf("%+v", got)
	}
	if got := pass.Instance(p, "red"); got.Name != "red" || got.DesiredWeight != 0 {
		t.Errorf("one that is not reported yet: %+v", got)
	}
	if pass.Quarantined(p, "blue") || !pass.Quarantined(p, "green") || pass.Quarantined(p, "red") {
		t.Error("others are quarantined")
	}
	for name, want := range map[string]string{"blue": "", "green": "fast", "red": ""} {
		if got := pass.Storage(p, name); ptr.Deref(got.StorageClassName, "") != want {
			t.Errorf("storage of %s: %+v", name, got)
		}
	}
}

// TestAccepted holds that only a request that was accepted waits to be carried out.
func TestAccepted(t *testing.T) {
	p := &v1alpha1.ModProxy{}
	if _, ok := pass.Accepted(p); ok {
		t.Error("a request without one")
	}
	p.Status.Request = &v1alpha1.RequestStatus{Name: "r", Outcome: v1alpha1.RequestAccepted}
	if got, ok := pass.Accepted(p); !ok || got.Name != "r" {
		t.Errorf("%+v, %t", got, ok)
	}
	var stalled *conditions.StalledError
	if err := pass.Invalid("%s: %d", "spec", 1); !errors.As(err, &stalled) || stalled.Reason != v1alpha1.ReasonInvalidSpec || stalled.Message != "spec: 1" {
		t.Errorf("%v", err)
	}
}

// TestTrust holds that a pod does not wait for what its store is compared with, and that
// a check does.
func TestTrust(t *testing.T) {
	p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}
	sums := func() client.WithWatch {
		return fake.NewClientBuilder().WithObjects(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "sums"}, Data: map[string]string{"go.sum": "x"}}).Build()
	}
	if got, err := pass.Trust(t.Context(), sums(), p); err != nil || len(got.Volumes) > 0 {
		t.Errorf("without trust: %+v, %v", got, err)
	}
	p.Spec.Integrity.Trust = &v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}}
	got, err := pass.Trust(t.Context(), sums(), p)
	if err != nil || len(got.Volumes) != 1 || got.Volumes[0].ConfigMap.Name != "sums" || !ptr.Deref(got.Volumes[0].ConfigMap.Optional, false) {
		t.Errorf("%+v, %v", got, err)
	}
	failing.Each(t, sums, func(c client.Client) error { _, err := pass.Trust(t.Context(), c, p); return err })
	p.Spec.Integrity.Trust.GoSumRefs = append(p.Spec.Integrity.Trust.GoSumRefs, v1alpha1.LocalReference{Name: "none"})
	got, err = pass.Trust(t.Context(), sums(), p)
	if conditions.Stalled(err) == nil || len(got.Volumes) != 1 || !ptr.Deref(got.Volumes[0].ConfigMap.Optional, false) {
		t.Errorf("one that does not exist: %+v, %v", got, err)
	}
}
