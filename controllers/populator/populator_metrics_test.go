package populator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/gauges"
	"gocache.dev/operator/internal/plan/populate"
)

// TestWaits holds which PVCs are exported as waiting: those without a volume, by
// source and state, until they have one or are gone.
func TestWaits(t *testing.T) {
	t.Parallel()
	var w waits
	claim := func(name string, age int64) *scope {
		return &scope{claim: &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1000-age, 0))},
			Spec:       corev1.PersistentVolumeClaimSpec{DataSourceRef: &corev1.TypedObjectReference{Kind: v1alpha1.GoCacheKind, Name: "ci"}},
		}}
	}
	exported := func() string {
		var all []string
		w.emit(func(metric *gauges.Metric, value float64, labels ...string) {
			name := "count"
			if metric == waitingSince {
				name = "since"
			}
			all = append(all, fmt.Sprintf("%s %s=%v", name, strings.Join(labels, "/"), value))
		})
		slices.Sort(all)
		return strings.Join(all, "\n")
	}
	a, b := claim("a", 10), claim("b", 20)
	w.observed(a, populate.NothingVerified)
	w.observed(b, populate.NothingVerified)
	if got, want := exported(), "count team/GoCache/ci/NothingVerified=2\nsince team/GoCache/ci/NothingVerified=980"; got != want {
		t.Errorf("two wait: %s\nwant %s", got, want)
	}
	w.observed(b, populate.Cloning)
	if got, want := exported(), "count team/GoCache/ci/Cloning=1\ncount team/GoCache/ci/NothingVerified=1\nsince team/GoCache/ci/Cloning=980\nsince team/GoCache/ci/NothingVerified=990"; got != want {
		t.Errorf("one is cloned: %s\nwant %s", got, want)
	}
	b.claim.Status.Phase = corev1.ClaimBound
	w.observed(b, populate.Clearing)
	w.forget(client.ObjectKeyFromObject(a.claim))
	if got := exported(); got != "" {
		t.Errorf("one is bound and the other gone: %s", got)
	}
}
