package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
)

// TestTamperedCache inverts one bit of a compiled archive: a fresh snapshot is
// Corrupt, reports it, and is not used; consumers go on with the old one.
func TestTamperedCache(t *testing.T) {
	t.Parallel()
	s := onFull(t)
	before, err := s.Offered(s.ctx, "")
	s.must(err)

	file, err := s.CorruptArchive(s.ctx)
	s.must(err)
	s.Cleanup(func() { s.must(s.UndoCorruption(s.ctx, file)) })
	began := time.Now()
	corrupt, err := s.Snapshot(s.ctx, fmt.Sprint("tampered-", began.UnixMilli()))
	s.must(err)
	s.Logf("found corrupt after %s: %s", time.Since(began).Round(100*time.Millisecond), corrupt.Status.Verification.Message)
	s.corrupt(&corrupt, file)

	newest, fixed := fmt.Sprintf("newest-%x", began.UnixMilli()), fmt.Sprintf("fixed-%x", began.UnixMilli())
	s.must(s.Claim(s.ctx, newest))
	s.must(s.ClaimFrom(s.ctx, fixed, v1alpha1.CacheSnapshotKind, corrupt.Name))
	s.consume(newest, newest)
	s.consume(fixed, fixed)
	s.Cleanup(func() { s.discard(newest, newest); s.discard(fixed, fixed) })

	s.consumed(newest, 2*time.Minute)
	from, err := s.PopulatedFrom(s.ctx, newest)
	s.must(err)
	if from != before.Name {
		s.Errorf("a new claim is a clone of %q, want %q", from, before.Name)
	}
	s.recorded("PersistentVolumeClaim", fixed, "SnapshotCorrupt")
	s.neverFilled(fixed)

	after, err := s.Offered(s.ctx, "")
	s.must(err)
	if after.Name != before.Name {
		s.Errorf("consumers are offered %s, and were offered %s before the damage", after.Name, before.Name)
	}
}

// corrupt checks the status, the conditions and the events of a Corrupt snapshot.
func (s *fixture) corrupt(snap *v1alpha1.CacheSnapshot, file string) {
	s.Helper()
	if got := snap.Status.Verification.Verdict; got != v1alpha1.VerdictCorrupt {
		s.Fatalf("a snapshot of the damaged cache is %s", got)
	}
	for kind, want := range map[string]string{
		v1alpha1.VerifiedCondition: "False " + v1alpha1.ReasonCorrupt,
		v1alpha1.ReadyCondition:    "False " + v1alpha1.ReasonCorrupt,
		v1alpha1.StalledCondition:  "True " + v1alpha1.ReasonCorrupt,
	} {
		if got := condition(snap.Status.Conditions, kind); got != want {
			s.Errorf("the convicted snapshot is %s=%s, want %s", kind, got, want)
		}
	}
	found := false
	for _, e := range snap.Status.Verification.Examples {
		found = found || e.Class != "" && e.Detail != "" && strings.HasSuffix(e.Path, strings.TrimPrefix(file, "build/"))
	}
	if !found {
		s.Errorf("no example names %s: %+v", file, snap.Status.Verification.Examples)
	}
	s.recorded(v1alpha1.CacheSnapshotKind, snap.Name, "SnapshotCreated", "SnapshotCorrupt")
}

// neverFilled checks that a PVC has no volume, and that none is on its way.
func (s *fixture) neverFilled(name string) {
	s.Helper()
	var claim corev1.PersistentVolumeClaim
	s.get(name, &claim)
	if claim.Spec.VolumeName != "" || claim.Status.Phase != corev1.ClaimPending {
		s.Errorf("claim %s is %s, with volume %q", name, claim.Status.Phase, claim.Spec.VolumeName)
	}
	err := s.Client.Get(s.ctx, client.ObjectKey{Namespace: s.Namespace, Name: volume.IntermediateName(claim.UID)}, &corev1.PersistentVolumeClaim{})
	if client.IgnoreNotFound(err) != nil || err == nil {
		s.Errorf("a clone for claim %s is on its way: %v", name, err)
	}
}
