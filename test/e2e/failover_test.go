package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/test/scenario"
)

// briskProbes make a ModProxy notice, and forgive, in seconds.
const briskProbes = `{"spec":{
  "probes":{"interval":"2s","timeout":"2s","failureThreshold":2,"successThreshold":1},
  "failover":{"failback":{"holdDown":"3s","maxHoldDown":"6s","steps":[50,100],"stepInterval":"2s"},"maxFailbacksPerHour":60}}}`

// TestKilledInstance kills an instance of the proxy under a loop of real go mod
// download and keeps it from coming back: no command fails, weights, conditions
// and events describe what happened, and once it may, it comes back.
func TestKilledInstance(t *testing.T) {
	s := onFull(t)
	s.patchProxy(briskProbes)
	s.balanced(2 * time.Minute)
	alerts := s.monitored()

	clients, err := s.UnderDownloads(s.ctx, func(ctx context.Context) error {
		if err := s.forbidPods(ctx); err != nil {
			return err
		}
		return s.Kill(ctx, "blue")
	})
	s.must(err)
	s.Cleanup(func() { s.must(s.allowPods(s.ctx)) })
	s.Logf("%d downloads, %d failed", clients.Commands, len(clients.Failed))
	if len(clients.Failed) > 0 {
		s.Errorf("%d of %d downloads failed:\n%s", len(clients.Failed), clients.Commands, strings.Join(clients.Failed, "\n"))
	}

	proxy := s.proxyUntil(time.Minute, "the router to leave blue", func(p *v1alpha1.ModProxy) bool {
		blue := instance(p, "blue")
		return !blue.Healthy && blue.DesiredWeight == 0 && blue.ObservedWeight == 0 && p.Status.Serving == "green"
	})
	for kind, want := range map[string]string{
		v1alpha1.HealthyCondition: "False " + v1alpha1.ReasonInstanceUnhealthy,
		v1alpha1.RoutedCondition:  "True " + v1alpha1.ReasonRouterConfigured,
		v1alpha1.ReadyCondition:   "True " + v1alpha1.ReasonServing,
	} {
		if got := condition(proxy.Status.Conditions, kind); got != want {
			s.Errorf("with blue dead the proxy is %s=%s, want %s", kind, got, want)
		}
	}
	if blue := instance(proxy, "blue"); len(blue.FailingProbes) == 0 || blue.Quarantined != nil {
		s.Errorf("the dead instance fails probes %v, convicted %v", blue.FailingProbes, blue.Quarantined)
	}

	s.alerted(alerts, "GocacheInstanceUnhealthy", map[string]string{"name": scenario.Proxy, "instance": "blue"})
	s.must(s.allowPods(s.ctx))
	began := time.Now()
	s.balanced(4 * time.Minute)
	s.Logf("back with its whole weight after %s", time.Since(began).Round(100*time.Millisecond))
	s.recorded(v1alpha1.ModProxyKind, scenario.Proxy, "InstanceUnhealthy", "WeightsChanged", "WeightsConfirmed", "InstanceHealthy")
}

// TestReplacedInstances changes the template of all pods of a proxy, as an
// upgrade of the operator does, under real go mod download: the instances are
// replaced one after the other, and no command fails.
func TestReplacedInstances(t *testing.T) {
	s := onFull(t)
	s.patchProxy(briskProbes)
	s.balanced(2 * time.Minute)
	const annotation = "example.com/replaced"
	mark, began, commands := s.unique("template"), time.Now(), 0
	change := func(context.Context) error {
		s.patchProxy(fmt.Sprintf(`{"spec":{"podTemplate":{"annotations":{%q:%q}}}}`, annotation, mark))
		return nil
	}
	left := []string{"blue", "green"}
	for round := 0; len(left) > 0; round++ {
		if round == 10 {
			s.Fatalf("after %d downloads %v run the old template", commands, left)
		}
		clients, err := s.UnderDownloads(s.ctx, change)
		s.must(err)
		commands += clients.Commands
		if len(clients.Failed) > 0 {
			s.Errorf("%d of %d downloads failed:\n%s", len(clients.Failed), clients.Commands, strings.Join(clients.Failed, "\n"))
		}
		change = func(context.Context) error { return nil }
		left = slices.DeleteFunc(left, func(name string) bool {
			var pod corev1.Pod
			err := s.Client.Get(s.ctx, client.ObjectKey{Namespace: s.Namespace, Name: scenario.Proxy + "-" + name + "-0"}, &pod)
			return err == nil && pod.Annotations[annotation] == mark
		})
	}
	s.balanced(2 * time.Minute)
	s.Logf("both replaced under %d downloads, and back with their whole weight after %s", commands, time.Since(began).Round(100*time.Millisecond))
}

func (s *fixture) patchProxy(patch string) {
	s.Helper()
	p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: scenario.Proxy}}
	s.must(s.Client.Patch(s.ctx, p, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// balanced waits until both instances serve with their whole weight.
func (s *fixture) balanced(limit time.Duration) {
	s.Helper()
	s.proxyUntil(limit, "both instances to serve", func(p *v1alpha1.ModProxy) bool {
		return condition(p.Status.Conditions, v1alpha1.ReadyCondition) == "True "+v1alpha1.ReasonServing &&
			p.Status.Healthy == "2/2" && settled(p) && instance(p, "blue").DesiredWeight == 100 && instance(p, "green").DesiredWeight == 100
	})
}

// settled reports whether the router has the desired weights, as far as was read back.
func settled(p *v1alpha1.ModProxy) bool {
	for _, i := range p.Status.Instances {
		if i.ObservedWeight != i.DesiredWeight {
			return false
		}
	}
	return p.Status.ObservedGeneration == p.Generation && condition(p.Status.Conditions, v1alpha1.RoutedCondition) == "True "+v1alpha1.ReasonRouterConfigured
}

func (s *fixture) proxyUntil(limit time.Duration, what string, holds func(*v1alpha1.ModProxy) bool) *v1alpha1.ModProxy {
	s.Helper()
	var p v1alpha1.ModProxy
	s.until(limit, what, func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: scenario.Proxy}, &p)
		saw := fmt.Sprintf("Ready=%s, healthy %s, serving %s", condition(p.Status.Conditions, v1alpha1.ReadyCondition), p.Status.Healthy, p.Status.Serving)
		for _, i := range p.Status.Instances {
			saw += fmt.Sprintf(", %s wanted %d observed %d", i.Name, i.DesiredWeight, i.ObservedWeight)
		}
		return err == nil && holds(&p), saw, err
	})
	return &p
}

func instance(p *v1alpha1.ModProxy, name string) v1alpha1.InstanceStatus {
	for _, i := range p.Status.Instances {
		if i.Name == name {
			return i
		}
	}
	return v1alpha1.InstanceStatus{}
}

// noMorePods is a quota that lets no new pod into the namespace.
func (s *fixture) noMorePods() *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "no-more-pods"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}},
	}
}

// forbidPods keeps a dead instance dead.
func (s *fixture) forbidPods(ctx context.Context) error {
	quota := s.noMorePods()
	if err := s.Client.Create(ctx, quota); err != nil {
		return fmt.Errorf("forbid pods: %w", err)
	}
	return scenario.Until(ctx, 30*time.Second, "the quota to hold", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(quota), quota)
		return len(quota.Status.Hard) > 0, "it is not counted yet", err
	})
}

// allowPods ends what forbidPods began, and has each StatefulSet try at once. Its
// controller pauses after creations that failed in a row, for minutes in the end,
// and looks at the StatefulSet again when that changes. For a moment after the
// quota is deleted the API server still enforces it, so this is repeated.
func (s *fixture) allowPods(ctx context.Context) error {
	if err := client.IgnoreNotFound(s.Client.Delete(ctx, s.noMorePods())); err != nil {
		return err
	}
	return scenario.Until(ctx, time.Minute, "all StatefulSets to have their pods", func(ctx context.Context) (bool, string, error) {
		var sets appsv1.StatefulSetList
		if err := s.Client.List(ctx, &sets, client.InNamespace(s.Namespace)); err != nil {
			return false, "", err
		}
		var without []string
		for i := range sets.Items {
			set := &sets.Items[i]
			for n := range ptr.Deref(set.Spec.Replicas, 1) {
				name := fmt.Sprintf("%s-%d", set.Name, n)
				err := s.Client.Get(ctx, client.ObjectKey{Namespace: set.Namespace, Name: name}, &corev1.Pod{})
				if err == nil {
					continue
				}
				if !apierrors.IsNotFound(err) {
					return false, "", err
				}
				without = append(without, name)
				touch := fmt.Sprintf(`{"metadata":{"annotations":{"example.com/touched":%q}}}`, time.Now().Format(time.RFC3339Nano))
				if err := s.Client.Patch(ctx, set, client.RawPatch(types.MergePatchType, []byte(touch))); err != nil {
					return false, "", err
				}
			}
		}
		return len(without) == 0, "without " + strings.Join(without, ", "), nil
	})
}
