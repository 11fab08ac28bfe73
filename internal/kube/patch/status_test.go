package patch_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/kube/patch"
)

func TestStatus(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}
	c := fake.NewClientBuilder().WithObjects(pod).WithStatusSubresource(pod).Build()
	read := func() *corev1.Pod {
		var p corev1.Pod
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), &p); err != nil {
			t.Fatal(err)
		}
		return &p
	}
	before := read()
	after := before.DeepCopy()
	if wrote, err := patch.Status(t.Context(), c, before, after); wrote || err != nil {
		t.Errorf("no change: wrote %v, %v", wrote, err)
	}
	after.Status.Message = "one"
	if wrote, err := patch.Status(t.Context(), c, before, after.DeepCopy()); !wrote || err != nil || read().Status.Message != "one" {
		t.Errorf("a change: wrote %v, %v", wrote, err)
	}
	after.Status.Message = "two"
	if wrote, err := patch.Status(t.Context(), c, before, after); wrote || !apierrors.IsConflict(err) || read().Status.Message != "one" {
		t.Errorf("on top of what is no longer there: wrote %v, %v", wrote, err)
	}
	gone := read()
	if err := c.Delete(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if wrote, err := patch.Status(t.Context(), c, gone, after); wrote || err != nil {
		t.Errorf("an object that is gone: wrote %v, %v", wrote, err)
	}
}
