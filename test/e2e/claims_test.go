package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
)

// claimsVariable sets how many clones TestManyClaims asks for at once.
const claimsVariable = "CLAIMS"

// TestManyClaims asks for many clones at once, most of them when a pod needs
// them and some at once, and counts what the operator writes for them.
func TestManyClaims(t *testing.T) {
	const (
		immediate, podVolumes = 5, 9
		// Create the intermediate PVC, hand its volume over, delete it; and the odd conflict.
		writesPerClaim = 4
	)
	many := 2 * podVolumes
	if text := os.Getenv(claimsVariable); text != "" {
		var err error
		if many, err = strconv.Atoi(text); err != nil || many <= immediate {
			t.Fatalf("%s=%s: want a number above %d", claimsVariable, text, immediate)
		}
	}
	s := onSmall(t)
	snap, err := s.Offered(s.ctx, "")
	s.must(err)
	m := s.takeOver()
	s.start(m)
	s.must(s.ClaimFrom(s.ctx, "before", v1alpha1.GoCacheKind, "absent")) // once it is answered, the manager is up
	s.recorded("PersistentVolumeClaim", "before", "SourceNotFound")
	_ = m.wrote()

	prefix := s.unique("many")
	var claims []string
	began := time.Now()
	for i := range many {
		claims = append(claims, fmt.Sprintf("%s-%d", prefix, i))
		class := ""
		if i < immediate {
			class = "immediate"
		}
		kind, source := v1alpha1.GoCacheKind, "ci"
		if i%2 == 0 {
			kind, source = v1alpha1.CacheSnapshotKind, snap.Name
		}
		s.must(s.ClaimOf(s.ctx, class, claims[i], kind, source))
	}
	var pods []string
	for part := range slices.Chunk(claims, podVolumes) {
		pods = append(pods, fmt.Sprintf("%s-pod-%d", prefix, len(pods)))
		s.consume(pods[len(pods)-1], part...)
	}
	bound := s.boundAfter(began, claims)
	for _, pod := range pods {
		s.consumed(pod, 3*time.Minute)
	}
	ended := time.Since(began)
	s.filled(claims...)
	writes, events := 0, 0
	for _, w := range m.wrote() {
		switch {
		case strings.Contains(w, "/events"):
			events++
		case strings.Contains(w, "/persistentvolume"):
			writes++
		}
	}
	s.Logf("%d claims at once: the first filled after %s, half of them after %s, all after %s, and their pods had looked in after %s; %.1f writes and %.1f events for each",
		many, bound[0].Round(100*time.Millisecond), bound[many/2].Round(100*time.Millisecond), bound[many-1].Round(100*time.Millisecond), ended.Round(100*time.Millisecond),
		float64(writes)/float64(many), float64(events)/float64(many))
	if writes > writesPerClaim*many {
		s.Errorf("the operator made %d writes for %d claims, want at most %d for each", writes, many, writesPerClaim)
	}
	for _, c := range claims {
		from, err := s.PopulatedFrom(s.ctx, c)
		s.must(err)
		if from != snap.Name {
			s.Errorf("claim %s is a clone of %q, want %q", c, from, snap.Name)
		}
	}
	for i, part := range slices.Collect(slices.Chunk(claims, podVolumes)) {
		s.discard(pods[i], part...)
	}
}

// boundAfter waits until all PVCs are bound, and returns when each was, in
// the order of time.
func (s *fixture) boundAfter(began time.Time, claims []string) []time.Duration {
	s.Helper()
	after := map[string]time.Duration{}
	s.until(5*time.Minute, "the claims to be bound", func(ctx context.Context) (bool, string, error) {
		var list corev1.PersistentVolumeClaimList
		if err := s.Client.List(ctx, &list, client.InNamespace(s.Namespace)); err != nil {
			return false, "", err
		}
		for i := range list.Items {
			c := &list.Items[i]
			if slices.Contains(claims, c.Name) && after[c.Name] == 0 && volume.Bound(c) {
				after[c.Name] = time.Since(began)
			}
		}
		return len(after) == len(claims), fmt.Sprintf("%d of %d", len(after), len(claims)), nil
	})
	var all []time.Duration
	for _, d := range after {
		all = append(all, d)
	}
	slices.Sort(all)
	return all
}
