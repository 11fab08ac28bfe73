package populator

import (
	"context"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"gocache.dev/operator/api/v1alpha1"
)

// manage runs the reconciler in a manager, and the cluster beside it, until
// the test ends. From here on only watches wake the reconciler.
func (w *world) manage() {
	w.t.Helper()
	mgr, err := ctrl.NewManager(server.Config, ctrl.Options{
		Scheme:     server.Scheme,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	w.must(err)
	w.reconciler = &Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: w.events, Clock: time.Now}
	w.must(w.reconciler.SetupWithManager(mgr))
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 2)
	go func() { ended <- mgr.Start(ctx) }()
	go func() { ended <- w.keepCluster(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				w.t.Error(err)
			}
		}
	})
}

func (w *world) keepCluster(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.cluster(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func TestFiftyClaimsAtOnce(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t)
	w.cache("ci", "")
	w.manage()
	const many = 50
	for i := range many {
		w.claim(fmt.Sprintf("data-%d", i), v1alpha1.GoCacheKind, "ci")
		w.schedule(fmt.Sprintf("data-%d", i), "n1")
	}
	g.Eventually(func() int { return w.events.count("NothingVerified") }, "30s", "50ms").Should(Equal(many), "all wait")

	// Nothing touches the PVCs any more: their source wakes them.
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.offer("ci", "ci-1")
	began := time.Now()
	g.Eventually(func(g Gomega) {
		var claims corev1.PersistentVolumeClaimList
		g.Expect(server.Client.List(t.Context(), &claims, client.InNamespace(w.namespace))).To(Succeed())
		g.Expect(claims.Items).To(HaveLen(many), "no intermediate PVC is left")
		for i := range claims.Items {
			g.Expect(claims.Items[i].Status.Phase).To(Equal(corev1.ClaimBound))
		}
	}, "90s", "100ms").Should(Succeed())
	t.Logf("%d PVCs filled in %s", many, time.Since(began).Round(time.Millisecond))
	for i := range many {
		w.once(fmt.Sprintf("data-%d: Normal Populated", i), "ci-1")
	}
	if n := w.volumes(); n != many {
		t.Errorf("%d volumes for %d PVCs", n, many)
	}
}

func TestVerdictWakesTheClaimsOfASnapshot(t *testing.T) {
	g := NewWithT(t)
	w := newWorld(t)
	w.manage()
	w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	g.Eventually(func() int { return w.events.count("SourceNotFound") }, "30s", "20ms").Should(Equal(1))
	w.snapshot("ci-1", "ci", "")
	g.Eventually(func() int { return w.events.count("Unverified") }, "30s", "20ms").Should(Equal(1))
	w.verdict("ci-1", metav1.ConditionTrue)
	g.Eventually(func() corev1.PersistentVolumeClaimPhase { return w.get("data").Status.Phase }, "30s", "20ms").Should(Equal(corev1.ClaimBound))
	g.Eventually(func() int { return w.events.count("Populated") }, "30s", "20ms").Should(Equal(1))
}
