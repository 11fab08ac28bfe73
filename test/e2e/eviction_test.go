package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/naming"
)

// TestEvictedCheck evicts the pod of an integrity Job, as draining a node does:
// the verdict is Inconclusive and never Corrupt, and a
// later attempt proves the snapshot.
func TestEvictedCheck(t *testing.T) {
	t.Parallel()
	s := onSmall(t)
	_, err := s.Warmed(s.ctx)
	s.must(err)

	snap := s.snapshotObject("evicted")
	// So little of a processor that the check is still at it when it is evicted.
	snap.Spec.Verification.Resources = &v1alpha1.Resources{Limits: map[string]resource.Quantity{"cpu": resource.MustParse("30m")}}
	s.must(s.Client.Create(s.ctx, snap))
	history := s.watch(snap.Name)
	s.evict(naming.Child(snap.Name, naming.Verify))

	s.verdict(snap.Name, v1alpha1.VerdictIntact)
	inconclusive := false
	for _, was := range history() {
		v := was.Status.Verification
		if got := condition(was.Status.Conditions, v1alpha1.VerifiedCondition); strings.HasPrefix(got, "False") {
			s.Errorf("the snapshot was Verified=%s after attempt %d (%s)", got, v.Attempts, v.Message)
		}
		if v.Verdict == v1alpha1.VerdictInconclusive {
			inconclusive = true
			if v.Attempts != 1 || v.Message == "" {
				s.Errorf("the evicted attempt was booked as attempt %d: %q", v.Attempts, v.Message)
			}
			s.Logf("attempt %d: %s: %s", v.Attempts, v.Verdict, v.Message)
		}
	}
	s.get(snap.Name, snap)
	if !inconclusive || snap.Status.Verification.Attempts != 2 {
		s.Errorf("%d attempts, one of them inconclusive: %v", snap.Status.Verification.Attempts, inconclusive)
	}
	s.recorded(v1alpha1.CacheSnapshotKind, snap.Name, "SnapshotCreated", "Inconclusive", "Verified")
}

// snapshotObject is a CacheSnapshot of the cache, under a name that no earlier
// run has used.
func (s *fixture) snapshotObject(prefix string) *v1alpha1.CacheSnapshot {
	return &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.unique(prefix)},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}},
	}
}

// verdict waits for the last word on a snapshot.
func (s *fixture) verdict(name string, want v1alpha1.Verdict) *v1alpha1.CacheSnapshot {
	s.Helper()
	var snap v1alpha1.CacheSnapshot
	s.until(3*time.Minute, fmt.Sprintf("CacheSnapshot %s to be %s", name, want), func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &snap)
		v := snap.Status.Verification
		return v.Verdict == want, fmt.Sprintf("%s after %d attempts, Ready=%s %s", v.Verdict, v.Attempts, condition(snap.Status.Conditions, v1alpha1.ReadyCondition), v.Message), err
	})
	return &snap
}

// evict evicts the pod of a Job through the eviction API while it runs.
func (s *fixture) evict(job string) {
	s.Helper()
	s.evictAfter(job, func() {})
}

// evictAfter is evict, and something that is done just before.
func (s *fixture) evictAfter(job string, prepare func()) {
	s.Helper()
	var pod corev1.Pod
	s.until(2*time.Minute, "the pod of Job "+job+" to run", func(ctx context.Context) (bool, string, error) {
		var pods corev1.PodList
		err := s.Client.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job})
		if err != nil || len(pods.Items) == 0 {
			return false, "no pod", err
		}
		pod = pods.Items[0]
		return pod.Status.Phase == corev1.PodRunning, string(pod.Status.Phase), nil
	})
	prepare()
	s.must(s.Set.PolicyV1().Evictions(s.Namespace).Evict(s.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: pod.Name}}))
}

// watch records every state of a snapshot from now on.
func (s *fixture) watch(name string) (history func() []v1alpha1.CacheSnapshot) {
	s.Helper()
	watcher, err := client.NewWithWatch(s.Config, client.Options{Scheme: s.Client.Scheme()})
	s.must(err)
	ctx, cancel := context.WithCancel(s.ctx)
	events, err := watcher.Watch(ctx, &v1alpha1.CacheSnapshotList{}, client.InNamespace(s.Namespace), client.MatchingFields{"metadata.name": name})
	if err != nil {
		cancel()
		s.Fatal(err)
	}
	var states []v1alpha1.CacheSnapshot
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range events.ResultChan() {
			if snap, ok := e.Object.(*v1alpha1.CacheSnapshot); ok {
				states = append(states, *snap)
			}
		}
	}()
	stop := func() {
		cancel()
		events.Stop()
		<-done
	}
	s.Cleanup(stop)
	return func() []v1alpha1.CacheSnapshot { stop(); return states }
}
