package failing_test

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/testing/failing"
)

// TestEach holds that each call fails once, and that one which is to be gone on without
// is no fault.
func TestEach(t *testing.T) {
	fresh := func() client.WithWatch {
		return fake.NewClientBuilder().WithObjects(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s"}}).Build()
	}
	var failed []string
	calls := failing.Each(t, fresh, func(c client.Client) error {
		var s corev1.Secret
		key := client.ObjectKey{Namespace: "n", Name: "s"}
		if err := c.Get(t.Context(), key, &s); err != nil {
			failed = append(failed, "get")
			return err
		}
		if err := c.List(t.Context(), &corev1.PodList{}); err != nil {
			failed = append(failed, "list")
			return nil //nolint:nilerr // gone on without
		}
		s.Data = map[string][]byte{"a": nil}
		if err := c.Update(t.Context(), &s); err != nil {
			failed = append(failed, "update")
			return errors.Join(errors.New("write"), err)
		}
		if err := c.Delete(t.Context(), &s); err != nil {
			failed = append(failed, "delete")
			return err
		}
		return c.Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}})
	}, "list *v1.PodList")
	want := []string{"get *v1.Secret", "list *v1.PodList", "update *v1.Secret", "delete *v1.Secret", "create *v1.Pod"}
	if !slices.Equal(calls, want) || !slices.Equal(failed, []string{"get", "list", "update", "delete"}) {
		t.Errorf("calls %v, failed %v", calls, failed)
	}
}
