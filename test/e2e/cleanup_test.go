package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// TestCleanup bounds the age of cache entries: entries that were not used for long
// are planned, wait for the approval, are removed, and are not needed: a build on a
// clone of the next snapshot compiles nothing.
func TestCleanup(t *testing.T) {
	t.Parallel()
	s := onOwn(t, "cleanup")
	_, err := s.Warmed(s.ctx)
	s.must(err)
	// Two warm-ups: what the first one wrote for more packages is not used any more.
	more := time.Now()
	var packages []string
	s.edit(func(c *v1alpha1.GoCache) {
		source := &c.Spec.WarmUp.Sources[0]
		packages = source.Packages
		source.Packages = append(slices.Clone(packages), "encoding/csv", "text/tabwriter")
	})
	s.warm("warm-up-more")
	less := time.Now()
	s.edit(func(c *v1alpha1.GoCache) { c.Spec.WarmUp.Sources[0].Packages = packages })
	s.warm("warm-up-less")
	unused, err := s.Age(s.ctx, more, less)
	s.must(err)
	cache := s.edit(func(c *v1alpha1.GoCache) {
		c.Spec.Cleanup = &v1alpha1.Cleanup{MaxAge: &metav1.Duration{Duration: 240 * time.Hour}, Approval: v1alpha1.ApprovalRequired}
	})

	began := time.Now()
	answer := s.ask("cleanup-1", v1alpha1.RequestCleanup)
	if answer.Outcome != v1alpha1.RequestSucceeded || !strings.Contains(answer.Message, "waits for approval") {
		s.Fatalf("the plan is answered %s %q", answer.Outcome, answer.Message)
	}
	s.get(cache.Name, cache)
	plan := cache.Status.Cleanup.LastPlan
	s.Logf("planned after %s: %d files are unused, %d entries and %d bytes would go; checks %+v", since(began), unused, plan.Entries, plan.Bytes, cache.Status.Cleanup.Preflight)
	if !plan.Open || plan.Entries == 0 || plan.Bytes == 0 || plan.Entries > int64(unused) {
		s.Errorf("plan %+v of %d files", plan, unused)
	}
	if answer := s.ask("approve-cleanup-2", v1alpha1.RequestApproveCleanup, "sha256:other"); answer.Outcome != v1alpha1.RequestRefused || !strings.Contains(answer.Message, plan.Digest) {
		s.Errorf("another approval is answered %s %q", answer.Outcome, answer.Message)
	}

	began = time.Now()
	answer = s.ask("approve-cleanup-3", v1alpha1.RequestApproveCleanup, plan.Digest)
	s.get(cache.Name, cache)
	status := cache.Status.Cleanup
	if answer.Outcome != v1alpha1.RequestSucceeded || status.Freed == nil || status.Freed.Value() != plan.Bytes || status.Proof == nil || status.Proof.Compiled != 0 {
		s.Fatalf("the approval is answered %s %q: %+v, %+v", answer.Outcome, answer.Message, status, status.Proof)
	}
	s.Logf("approved and applied after %s: %s; %d removed, proof %+v", since(began), answer.Message, status.Removed, status.Proof)
	s.recorded(v1alpha1.GoCacheKind, cache.Name, "CleanupStarted", "CleanupPlanned", "Cleaned")
	s.until(time.Minute, "the cache to be clean", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(cache), cache)
		saw := condition(cache.Status.Conditions, v1alpha1.CleanCondition)
		return saw == "True "+v1alpha1.ReasonWithinBounds, saw, err
	})

	snap, err := s.Snapshot(s.ctx, "cleaned")
	s.must(err)
	if snap.Status.Verification.Verdict != v1alpha1.VerdictIntact {
		s.Fatalf("what is left is %s: %s", snap.Status.Verification.Verdict, snap.Status.Verification.Message)
	}
	s.must(s.ClaimFrom(s.ctx, "cleaned", v1alpha1.CacheSnapshotKind, snap.Name))
	n, err := s.CompiledOn(s.ctx, "cleaned")
	s.must(err)
	if n != 0 {
		s.Errorf("a build on a clone compiles %d packages", n)
	}
}

// warm asks for a warm-up and waits for it.
func (s *fixture) warm(request string) {
	s.Helper()
	if answer := s.ask(request, v1alpha1.RequestWarmUp); answer.Outcome != v1alpha1.RequestSucceeded {
		s.Fatalf("the warm-up is answered %s %q", answer.Outcome, answer.Message)
	}
}
