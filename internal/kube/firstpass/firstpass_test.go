package firstpass_test

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/internal/kube/firstpass"
)

// TestClient asserts that each kind of write is refused and noticed, and that reads are not.
func TestClient(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}
	applied := corev1apply.Pod("p", "n")
	patch := client.MergeFrom(pod.DeepCopy())
	for name, write := range map[string]func(client.Client) error{
		"Apply":         func(c client.Client) error { return c.Apply(t.Context(), applied) },
		"Create":        func(c client.Client) error { return c.Create(t.Context(), pod.DeepCopy()) },
		"Delete":        func(c client.Client) error { return c.Delete(t.Context(), pod) },
		"DeleteAllOf":   func(c client.Client) error { return c.DeleteAllOf(t.Context(), pod, client.InNamespace("n")) },
		"Patch":         func(c client.Client) error { return c.Patch(t.Context(), pod, patch) },
		"Update":        func(c client.Client) error { return c.Update(t.Context(), pod) },
		"status Apply":  func(c client.Client) error { return c.Status().Apply(t.Context(), applied) },
		"status Patch":  func(c client.Client) error { return c.Status().Patch(t.Context(), pod, patch) },
		"status Update": func(c client.Client) error { return c.Status().Update(t.Context(), pod) },
		"eviction":      func(c client.Client) error { return c.SubResource("eviction").Create(t.Context(), pod, pod) },
		"resize Apply":  func(c client.Client) error { return c.SubResource("resize").Apply(t.Context(), applied) },
		"resize Patch":  func(c client.Client) error { return c.SubResource("resize").Patch(t.Context(), pod, patch) },
		"resize Update": func(c client.Client) error { return c.SubResource("resize").Update(t.Context(), pod) },
	} {
		t.Run(name, func(t *testing.T) {
			real := fake.NewClientBuilder().WithObjects(pod.DeepCopy()).WithStatusSubresource(pod).Build()
			c := &firstpass.Client{Client: real}
			var read corev1.Pod
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), &read); err != nil || c.Refused() {
				t.Fatalf("it reads with %v, refused %t", err, c.Refused())
			}
			if err := write(c); !errors.Is(err, firstpass.ErrRefused) || !c.Refused() {
				t.Errorf("it writes with %v, refused %t", err, c.Refused())
			}
			var after corev1.Pod
			if err := real.Get(t.Context(), client.ObjectKeyFromObject(pod), &after); err != nil || after.ResourceVersion != read.ResourceVersion {
				t.Errorf("afterwards there is %q (%v), want version %s", after.ResourceVersion, err, read.ResourceVersion)
			}
		})
	}
}

// TestObjects asserts that objects differ by both names, and are forgotten.
func TestObjects(t *testing.T) {
	of := func(namespace, name string) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
	}
	var objects firstpass.Objects
	if objects.Read(of("a", "b")) {
		t.Error("it was read before anything was")
	}
	objects.Add(of("a", "b"))
	for _, tt := range []struct {
		req  reconcile.Request
		want bool
	}{{of("a", "b"), true}, {of("b", "a"), false}, {of("ab", ""), false}, {of("", "ab"), false}} {
		if got := objects.Read(tt.req); got != tt.want {
			t.Errorf("%s was read: %t, want %t", tt.req, got, tt.want)
		}
	}
	objects.Remove(of("a", "b"))
	if objects.Read(of("a", "b")) {
		t.Error("it is remembered")
	}
}
