package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/test/scenario"
)

// Requests of the manager, as an API server sees them.
const (
	claimsPath         = `/persistentvolumeclaims$`
	intermediatePath   = `/persistentvolumeclaims/intermediate-`
	volumePath         = `^/api/v1/persistentvolumes/[^/]+$`
	weightsPath        = `/configmaps/goproxy-router-weights$`
	proxyStatus        = `/modproxies/goproxy/status$`
	snapshotStatus     = `/cachesnapshots/SNAPSHOT/status$`
	verdictInBody      = `"verdict"`
	weightChangeInBody = `"lastWeightChange"`
)

// TestKilledManager kills the manager with SIGKILL at the points where it has
// done one thing and not the next, each time with a fresh one after it: all
// ends as if nothing had happened.
func TestKilledManager(t *testing.T) {
	if suite.cluster.Kind != scenario.Local {
		t.Skip("the manager runs on this machine, from which only the local cluster's pods can be reached")
	}
	s := onSmall(t)
	_, err := s.Offered(s.ctx, "")
	s.must(err)
	full := onFull(t)
	full.patchProxy(briskProbes)
	_, err = full.ProxyReady(full.ctx)
	s.must(err)

	m := s.takeOver()
	for _, c := range []struct {
		name  string
		point point
	}{
		{"the prime was made", point{method: "POST", path: claimsPath, after: true}},
		{"the volume was about to be handed over", point{method: "PATCH", path: volumePath}},
		{"the volume was handed over", point{method: "PATCH", path: volumePath, after: true}},
		{"the prime was about to be dropped", point{method: "DELETE", path: intermediatePath}},
		{"the prime was dropped", point{method: "DELETE", path: intermediatePath, after: true}},
	} {
		s.sub("populating, "+c.name, func(s *fixture) { s.populationSurvives(m, c.point) })
	}
	for _, c := range []struct {
		name  string
		point point
	}{
		{"the clone was made", point{method: "POST", path: claimsPath, body: `clone-UID-verify`, after: true}},
		{"the Job was made", point{method: "POST", path: `/jobs$`, body: `SNAPSHOT-verify`, after: true}},
		{"the verdict was about to be booked", point{method: "PATCH", path: snapshotStatus, body: verdictInBody}},
		{"the verdict was booked", point{method: "PATCH", path: snapshotStatus, body: verdictInBody, after: true}},
		{"the Job was about to be deleted", point{method: "DELETE", path: `/jobs/SNAPSHOT-verify$`}},
		{"the Job was deleted", point{method: "DELETE", path: `/jobs/SNAPSHOT-verify$`, after: true}},
		{"the clone was about to be deleted", point{method: "DELETE", path: `/persistentvolumeclaims/clone-UID-verify$`}},
	} {
		s.sub("verifying, "+c.name, func(s *fixture) { s.verificationSurvives(m, c.point) })
	}
	full.managerLog = m.log
	for _, c := range []struct {
		name, to string
		point    point
	}{
		{"the weights were written", "green", point{method: "PATCH", path: weightsPath, after: true}},
		{"the flip was about to be reported", "blue", point{method: "PATCH", path: proxyStatus, body: weightChangeInBody}},
		{"the flip was reported and not confirmed", "green", point{method: "PATCH", path: proxyStatus, body: weightChangeInBody, after: true}},
	} {
		full.sub("flipping, "+c.name, func(s *fixture) { s.weightChangeSurvives(m, c.point, c.to) })
	}
	full.sub("flipping back", func(s *fixture) {
		s.start(m)
		s.request(v1alpha1.RequestFailback)
		s.balanced(time.Minute)
	})
	s.sub("populating a crowd, at random moments", func(s *fixture) { s.groupSurvives(m, 10, 20) })
}

// populationSurvives fills a PVC with a manager that is killed at a point.
func (s *fixture) populationSurvives(m *managers, p point) {
	s.Helper()
	name := s.unique("killed")
	s.must(s.Claim(s.ctx, name))
	s.consume(name, name)
	s.killAt(m, p)
	s.start(m)
	s.consumed(name, 2*time.Minute)
	s.filled(name)
	s.discard(name, name)
}

// groupSurvives fills many PVCs at once with managers that are killed again
// and again, at random moments.
func (s *fixture) groupSurvives(m *managers, size, kills int) {
	s.Helper()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	s.Logf("seed %d", seed)
	// Clones that take a while are met half made.
	s.must(s.Fault(s.ctx, "set", "restore", "--delay", "1s", "--namespace", s.Namespace))
	s.Cleanup(func() { s.must(s.Fault(context.WithoutCancel(s.ctx), "clear", "restore")) })
	prefix := s.unique("crowd")
	var claims []string
	for i := range size {
		claims = append(claims, fmt.Sprintf("%s-%d", prefix, i))
		s.must(s.Claim(s.ctx, claims[i]))
	}
	s.consume(prefix, claims...)
	for range kills {
		manager := s.start(m)
		// It takes a third of a second to begin, and as long for the rest.
		life := time.Duration(250+random.IntN(500)) * time.Millisecond
		time.Sleep(life)
		manager.kill()
		bound, intermediates := s.progress(claims)
		s.Logf("killed after %s: %d claims filled, %d clones under way", life, bound, intermediates)
		if bound == size && intermediates == 0 {
			break
		}
	}
	s.start(m)
	s.consumed(prefix, 3*time.Minute)
	s.filled(claims...)
	s.discard(prefix, claims...)
}

// progress counts the PVCs that are bound, and the clones under way.
func (s *fixture) progress(claims []string) (bound, intermediates int) {
	s.Helper()
	for _, name := range claims {
		var claim corev1.PersistentVolumeClaim
		s.get(name, &claim)
		if claim.Status.Phase == corev1.ClaimBound {
			bound++
		}
	}
	names, err := s.intermediates(s.ctx)
	s.must(err)
	return bound, len(names)
}

// filled waits until PVCs are bound to volumes that name the snapshot that they are
// clones of, and nothing else that a population makes is left in the namespace.
func (s *fixture) filled(claims ...string) {
	s.Helper()
	s.until(time.Minute, "the claims to be filled and the rest to be gone", func(ctx context.Context) (bool, string, error) {
		intermediates, err := s.intermediates(ctx)
		if err != nil || len(intermediates) > 0 {
			return false, fmt.Sprintf("primes %v", intermediates), err
		}
		stray, err := s.strayVolumes(ctx)
		return err == nil && len(stray) == 0, fmt.Sprintf("stray volumes %v", stray), err
	})
	for _, name := range claims {
		var claim corev1.PersistentVolumeClaim
		s.get(name, &claim)
		var pv corev1.PersistentVolume
		s.must(s.Client.Get(s.ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &pv))
		if claim.Status.Phase != corev1.ClaimBound || !volume.HeldBy(&pv, &claim) || pv.Annotations[v1alpha1.PopulatedFromAnnotation] == "" {
			s.Errorf("claim %s is %s; its volume %s is held by %+v, and populated from %q", name, claim.Status.Phase, pv.Name, pv.Spec.ClaimRef, pv.Annotations[v1alpha1.PopulatedFromAnnotation])
		}
	}
}

// strayVolumes are those of the namespace that no PVC holds.
func (s *fixture) strayVolumes(ctx context.Context) ([]string, error) {
	var claims corev1.PersistentVolumeClaimList
	var volumes corev1.PersistentVolumeList
	if err := s.Client.List(ctx, &volumes); err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	if err := s.Client.List(ctx, &claims, client.InNamespace(s.Namespace)); err != nil {
		return nil, fmt.Errorf("list claims: %w", err)
	}
	held := map[string]bool{}
	for i := range claims.Items {
		held[string(claims.Items[i].UID)] = true
	}
	var stray []string
	for i := range volumes.Items {
		v := &volumes.Items[i]
		if ref := v.Spec.ClaimRef; ref == nil || ref.Namespace == s.Namespace && !held[string(ref.UID)] {
			stray = append(stray, fmt.Sprintf("%s (%s)", v.Name, v.Status.Phase))
		}
	}
	return stray, nil
}

// verificationSurvives proves a snapshot with a manager that is killed at a
// point: its verdict is recorded once, and nothing of the check is left.
func (s *fixture) verificationSurvives(m *managers, p point) {
	s.Helper()
	snap := s.snapshotObject("killed")
	s.must(s.Client.Create(s.ctx, snap))
	named := strings.NewReplacer("SNAPSHOT", snap.Name, "UID", string(snap.UID))
	p.path, p.body = named.Replace(p.path), named.Replace(p.body)
	s.killAt(m, p)
	s.start(m)
	snap = s.verdict(snap.Name, v1alpha1.VerdictIntact)
	s.cleanedUp(snap.Name)
	s.get(snap.Name, snap)
	if got := condition(snap.Status.Conditions, v1alpha1.VerifiedCondition); got != "True "+v1alpha1.ReasonIntact || snap.Status.Verification.Attempts != 1 {
		s.Errorf("Verified=%s after %d attempts", got, snap.Status.Verification.Attempts)
	}
	s.must(s.Client.Delete(s.ctx, snap))
	s.until(time.Minute, "the VolumeSnapshot to go with the CacheSnapshot", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(snap), &snapshotv1.VolumeSnapshot{})
		return err != nil && client.IgnoreNotFound(err) == nil, "it exists", client.IgnoreNotFound(err)
	})
}

// cleanedUp waits until Job, pods and clones of a check are gone.
func (s *fixture) cleanedUp(snapshot string) {
	s.Helper()
	child := client.ObjectKey{Namespace: s.Namespace, Name: naming.Child(snapshot, naming.Verify)}
	s.until(time.Minute, "Job, pods and clone of snapshot "+snapshot+" to be gone", func(ctx context.Context) (bool, string, error) {
		var pods corev1.PodList
		if err := s.Client.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels{batchv1.JobNameLabel: child.Name}); err != nil {
			return false, "", err
		}
		if len(pods.Items) > 0 {
			return false, "a pod is left", nil
		}
		if err := s.Client.Get(ctx, child, &batchv1.Job{}); client.IgnoreNotFound(err) != nil || err == nil {
			return false, "the Job is left", err
		}
		left, err := s.clones(ctx, snapshot)
		return left == 0, fmt.Sprintf("%d clones are left", left), err
	})
}

// clones counts those that a snapshot is verified on.
func (s *fixture) clones(ctx context.Context, snapshot string) (int, error) {
	var clones corev1.PersistentVolumeClaimList
	err := s.Client.List(ctx, &clones, client.InNamespace(s.Namespace), client.MatchingLabels{v1alpha1.SnapshotLabel: snapshot})
	return len(clones.Items), err
}

// weightChangeSurvives asks for another instance, of a manager that is killed at a
// point. What the routers do is asked of themselves.
func (s *fixture) weightChangeSurvives(m *managers, p point, to string) {
	s.Helper()
	asked := s.request(v1alpha1.RequestFailover, to)
	s.killAt(m, p)
	s.start(m)
	proxy := s.proxyUntil(time.Minute, "the weight change to "+to+" to be read back", func(p *v1alpha1.ModProxy) bool {
		change := p.Status.LastWeightChange
		err := s.Client.Get(s.ctx, client.ObjectKeyFromObject(asked), asked) // again if it fails
		return err == nil && asked.Status.Outcome == v1alpha1.RequestSucceeded && settled(p) &&
			change != nil && change.To == to && change.ConfirmedTime != nil
	})
	var desired []route.Server
	for _, i := range proxy.Status.Instances {
		server := route.Server{Name: i.Name, State: route.Drain}
		if i.Name == to {
			server.State, server.Weight = route.Ready, int(i.DesiredWeight)
		}
		if (i.DesiredWeight > 0) != (i.Name == to) {
			s.Errorf("after the flip to %s, %s has weight %d", to, i.Name, i.DesiredWeight)
		}
		desired = append(desired, server)
	}
	router := haproxy.Router{Replicas: haproxy.Pods{Reader: s.Client, Namespace: s.Namespace, Labels: haproxy.Selector(scenario.Proxy)}.Replicas}
	observed, err := router.Observe(s.ctx)
	s.must(err)
	if ok, difference := observed.Confirms(desired); !ok || len(observed.Replicas) != 2 {
		s.Errorf("%d routers, and not as reported: %s", len(observed.Replicas), difference)
	}
}

// request creates a CacheRequest for the proxy.
func (s *fixture) request(action v1alpha1.RequestAction, argument ...string) *v1alpha1.CacheRequest {
	s.Helper()
	return s.demand(v1alpha1.ModProxyKind, scenario.Proxy, s.unique("t"), action, argument...)
}

// unique is a name that no earlier test or run has used.
func (s *fixture) unique(prefix string) string {
	return fmt.Sprintf("%s-%x", prefix, time.Now().UnixMilli())
}
