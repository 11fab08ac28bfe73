package instances

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
)

// advisoriesOf is a ConfigMap of about a megabyte with the smallest advisories.
func advisoriesOf(i int) *corev1.ConfigMap {
	const one = `{"id":"A","affected":[{"package":{"ecosystem":"Go","name":"a.b/c"},"versions":["1.0.0","1.0.1"]}]}`
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: fmt.Sprint("osv-", i), UID: types.UID(fmt.Sprint(i)), ResourceVersion: "1"},
		Data:       map[string]string{"all.json": "[" + strings.Repeat(one+",", 9_000) + one + "]"},
	}
}

// TestMemoryOfAdvisories holds that what is remembered of advisories is bounded in sum, whatever
// the number of ConfigMaps, and that those of one policy are.
func TestMemoryOfAdvisories(t *testing.T) {
	var a Advisories
	for i := range 9 {
		if all, size, err := a.in(advisoriesOf(i)); err != nil || len(all) != 9_001 || size > 1<<20 {
			t.Fatalf("%d advisories of %d bytes, %v", len(all), size, err)
		}
	}
	held := 0
	for _, r := range a.known {
		held += r.size
	}
	if held == 0 || held > 4<<20 || held != a.size {
		t.Errorf("%d bytes are held of %d ConfigMaps, counted as %d", held, len(a.known), a.size)
	}
	if _, _, err := a.in(advisoriesOf(8)); err != nil || held != a.size {
		t.Errorf("a ConfigMap that is remembered is counted again: %d bytes, %v", a.size, err)
	}

	live := fake.NewClientBuilder()
	p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}, Spec: v1alpha1.ModProxySpec{Policy: &v1alpha1.ProxyPolicy{}}}
	for i := range 8 {
		c := advisoriesOf(i)
		c.ResourceVersion = ""
		live.WithObjects(c)
		p.Spec.Policy.Advisories = append(p.Spec.Policy.Advisories, v1alpha1.AdvisorySource{ConfigMapRef: v1alpha1.LocalReference{Name: c.Name}})
	}
	if _, err := a.of(t.Context(), live.Build(), p); err == nil || !strings.Contains(err.Error(), "more than 1024 KiB of rules") {
		t.Errorf("8 MiB of advisories: %v", err)
	}
}
