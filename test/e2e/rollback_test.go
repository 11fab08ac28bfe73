package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/test/scenario"
)

// holders is how many pods use the PVC that is to be rolled back.
const holders = 20

// TestRollback damages a cache PVC that twenty pods use: it is found Corrupt and
// rolled back under its name, first waiting for the pods, then evicting them.
// Then its volume is replaced by a smaller one.
func TestRollback(t *testing.T) {
	t.Parallel()
	s := onOwn(t, "rollback")
	_, err := s.Warmed(s.ctx)
	s.must(err)
	good, err := s.Offered(s.ctx, "")
	s.must(err)

	s.sub("corrupt", func(s *fixture) { underPods(s, good.Name) })
	s.sub("smaller", smaller)
}

// underPods has a rotten volume replaced that pods use.
func underPods(s *fixture, good string) {
	before := s.boundTo(scenario.Cache)
	s.edit(func(c *v1alpha1.GoCache) {
		c.Spec.Integrity = &v1alpha1.CacheIntegrity{OnCorrupt: v1alpha1.CacheRollback}
	})
	_, err := s.CorruptArchive(s.ctx) // its pod has ended, and still names the PVC
	s.must(err)
	s.hold(holders)

	began := time.Now()
	report := s.demand(v1alpha1.GoCacheKind, scenario.Cache, "broken", v1alpha1.RequestReportFailure)
	cache := &v1alpha1.GoCache{}
	s.get(scenario.Cache, cache)
	s.until(5*time.Minute, "the rollback to wait for the pods", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(cache), cache)
		replacement := cache.Status.VolumeReplacement
		return replacement != nil && len(replacement.Consumers) == holders+1, fmt.Sprintf("%+v", replacement), err
	})
	s.Logf("convicted, and the new volume made and verified, after %s: %s", since(began), cache.Status.VolumeReplacement.Message)
	s.until(time.Minute, "the condition to say so", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(cache), cache)
		got := condition(cache.Status.Conditions, v1alpha1.ReadyCondition)
		return got == "False "+v1alpha1.ReasonWaitingForConsumers, got, err
	})
	if now := s.boundTo(scenario.Cache); now != before {
		s.Fatalf("the claim moved to %s under %d pods", now, holders)
	}

	began = time.Now()
	s.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.VolumeReplacement.Consumers = v1alpha1.ConsumersEvict })
	s.replaced(v1alpha1.ReplacementRollback)
	s.Logf("%d pods evicted and the volume replaced %s after that was allowed", holders+1, since(began))
	s.get(scenario.Cache, cache)
	if c := cache.Status.Content; c == nil || c.Snapshot != good {
		s.Errorf("the claim holds %+v, want %s", c, good)
	}
	now, previous := s.boundTo(scenario.Cache), s.boundTo(scenario.Cache+"-previous")
	if now == before || previous != before {
		s.Errorf("the claim is on %s and the previous one on %s; it was on %s", now, previous, before)
	}
	s.until(time.Minute, "the answer to the failure report", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(report), report)
		return report.Status.Outcome == v1alpha1.RequestSucceeded, fmt.Sprintf("%+v", report.Status), err
	})
	s.recorded(v1alpha1.GoCacheKind, scenario.Cache, "VolumeReplacementStarted", v1alpha1.ReasonWaitingForConsumers, "VolumeReplaced")
	s.usable("after-rollback")
}

// smaller has the content moved to a volume that a clone would not fit into.
func smaller(s *fixture) {
	before := s.boundTo(scenario.Cache)
	began := time.Now()
	s.edit(func(c *v1alpha1.GoCache) { c.Spec.Storage.Size = resource.MustParse("448Mi") })
	s.replaced(v1alpha1.ReplacementMigration)
	s.Logf("captured, verified, copied, verified and replaced by a smaller volume after %s", since(began))
	if now := s.boundTo(scenario.Cache); now == before {
		s.Error("the claim did not move")
	}
	var claim corev1.PersistentVolumeClaim
	s.get(scenario.Cache, &claim)
	if got := claim.Status.Capacity[corev1.ResourceStorage]; got.Cmp(resource.MustParse("448Mi")) != 0 {
		s.Errorf("the claim has %s, want 448Mi", got.String())
	}
	s.usable("after-migration")
}

// boundTo is the volume of a PVC.
func (s *fixture) boundTo(name string) string {
	s.Helper()
	var claim corev1.PersistentVolumeClaim
	s.get(name, &claim)
	if claim.Status.Phase != corev1.ClaimBound {
		s.Errorf("claim %s is %s", name, claim.Status.Phase)
	}
	return claim.Spec.VolumeName
}

// replaced waits until a volume replacement has succeeded, and checks that its objects are gone.
func (s *fixture) replaced(reason v1alpha1.VolumeReplacementReason) {
	s.Helper()
	var cache v1alpha1.GoCache
	s.until(5*time.Minute, "the volume to be replaced", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: scenario.Cache}, &cache)
		last := cache.Status.LastVolumeReplacement
		done := cache.Status.VolumeReplacement == nil && last != nil && last.Reason == reason && meta.IsStatusConditionTrue(cache.Status.Conditions, v1alpha1.ReadyCondition)
		return done && len(cache.Finalizers) == 0, fmt.Sprintf("replacement %+v, last %+v, ready: %s", cache.Status.VolumeReplacement, last, condition(cache.Status.Conditions, v1alpha1.ReadyCondition)), err
	})
	if why := cache.Status.LastVolumeReplacement.Failure; why != "" {
		s.Fatalf("it was not: %s", why)
	}
}

// usable has the cache PVC checked by the operator, and mounted by a pod.
func (s *fixture) usable(name string) {
	s.Helper()
	if answer := s.ask("integrity-"+name, v1alpha1.RequestCheckIntegrity); answer.Outcome != v1alpha1.RequestSucceeded {
		s.Errorf("the live claim is %s %s", answer.Outcome, answer.Message)
	}
	s.intact("True " + v1alpha1.ReasonIntact)
	s.consume(name, scenario.Cache)
	s.consumed(name, 2*time.Minute)
	s.discard(name)
}

// hold starts pods that use the cache PVC and do nothing, and waits until they
// run.
func (s *fixture) hold(n int) {
	s.Helper()
	for i := range n {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: fmt.Sprintf("holder-%d", i), Labels: map[string]string{"app": "holder"}}}
		pod.Spec = corev1.PodSpec{
			TerminationGracePeriodSeconds: ptr.To[int64](1),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsUser: ptr.To[int64](65532), RunAsGroup: ptr.To[int64](65532), FSGroup: ptr.To[int64](65532),
				FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch), RunAsNonRoot: ptr.To(true),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "hold", Image: s.Image, Command: []string{"sleep", "3600"},
				VolumeMounts: []corev1.VolumeMount{{Name: "cache", MountPath: "/cache"}},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
			Volumes: []corev1.Volume{{Name: "cache", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: scenario.Cache},
			}}},
		}
		s.must(s.Client.Create(s.ctx, pod))
	}
	s.until(3*time.Minute, "the pods to run", func(ctx context.Context) (bool, string, error) {
		var pods corev1.PodList
		err := s.Client.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels{"app": "holder"})
		running := 0
		for i := range pods.Items {
			if pods.Items[i].Status.Phase == corev1.PodRunning {
				running++
			}
		}
		return running == n, fmt.Sprintf("%d of %d run", running, n), err
	})
}
