package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// TestFullPath walks from nothing to builds without a network: a proxy, a
// cache warmed through it, a snapshot that is proven, and pods that build from
// clones of exactly that snapshot.
func TestFullPath(t *testing.T) {
	t.Parallel()
	s := onFull(t)
	proxy, err := s.ProxyReady(s.ctx)
	s.must(err)
	if got := condition(proxy.Status.Conditions, v1alpha1.RoutedCondition); got != "True "+v1alpha1.ReasonRouterConfigured {
		s.Errorf("ModProxy is Routed=%s", got)
	}
	if attempts := strings.Split(proxy.Status.GOPROXY, "|"); len(attempts) != 3 || attempts[0] != proxy.Status.URL || attempts[1] == attempts[2] {
		s.Errorf("GOPROXY %q does not give clients three attempts, each at another instance first", proxy.Status.GOPROXY)
	}

	cache, err := s.Warmed(s.ctx)
	s.must(err)
	if cache.Status.Counts.Modules == 0 || cache.Status.Counts.BuildEntries == 0 || cache.Status.Toolchain == nil {
		s.Errorf("the warm cache holds %+v, built by %+v", cache.Status.Counts, cache.Status.Toolchain)
	}
	s.Logf("warm after %s: %+v", cache.Status.WarmUp.CompletionTime.Sub(cache.Status.WarmUp.StartTime.Time), cache.Status.Counts)

	snap, err := s.Offered(s.ctx, "")
	s.must(err)
	v := snap.Status.Verification
	if got := condition(snap.Status.Conditions, v1alpha1.VerifiedCondition); got != "True "+v1alpha1.ReasonIntact || v.Digest == "" || v.Attempts != 1 {
		s.Errorf("the snapshot is Verified=%s, digest %q, after %d attempts", got, v.Digest, v.Attempts)
	}
	s.Logf("snapshot %s: %d MiB verified in %s, %s", snap.Name, v.Bytes>>20, v.Duration.Duration, v.Digest)
	s.recorded(v1alpha1.GoCacheKind, cache.Name, "WarmUpStarted", "Warmed", "SnapshotRequested", "SnapshotOffered")
	s.recorded(v1alpha1.CacheSnapshotKind, snap.Name, "SnapshotCreated", "Verified")

	clones, err := s.OfflineBuilds(s.ctx)
	s.must(err)
	for _, c := range clones {
		if c.Snapshot != snap.Name {
			s.Errorf("claim %s is a clone of %q, want %q", c.Claim, c.Snapshot, snap.Name)
		}
		s.recorded("PersistentVolumeClaim", c.Claim, "Populated")
	}
	s.ephemeralBuild(snap.Name)
	s.coldAgainstWarm()
}

// ephemeralBuild waits for the sample Job, which builds on a volume that lives
// with its pod.
func (s *fixture) ephemeralBuild(snapshot string) {
	s.Helper()
	var job batchv1.Job
	s.until(3*time.Minute, "the sample Job build", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: "build"}, &job)
		return job.Status.Succeeded == 1, fmt.Sprintf("%d active, %d failed", job.Status.Active, job.Status.Failed), err
	})
	var pods corev1.PodList
	s.must(s.Client.List(s.ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels{batchv1.JobNameLabel: "build"}))
	for i := range pods.Items {
		claim := pods.Items[i].Name + "-cache"
		from, err := s.PopulatedFrom(s.ctx, claim)
		s.must(err)
		if from != snapshot {
			s.Errorf("ephemeral claim %s is a clone of %q, want %q", claim, from, snapshot)
		}
	}
}

// coldAgainstWarm builds without a cache and with a clone. How much faster it
// is depends on the machine; that it is, does not.
func (s *fixture) coldAgainstWarm() {
	s.Helper()
	cold, err := s.ColdBuild(s.ctx)
	s.must(err)
	warm, err := s.WarmBuild(s.ctx)
	s.must(err)
	s.Logf("cold build %s, warm build %s: %.1f times faster", cold, warm, cold.Seconds()/warm.Seconds())
	if warm >= cold {
		s.Errorf("a build on a clone takes %s, and %s without", warm, cold)
	}
}
