package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/test/scenario"
)

// storageVariable runs the tests with a storage that behaves as clouds and thin LVM do.
// They take minutes, most of which are waits.
const storageVariable = "STORAGE"

// TestStorage has the driver restrict what clouds and thin LVM restrict: snapshots and PVCs
// come into being all the same, later.
func TestStorage(t *testing.T) {
	if os.Getenv(storageVariable) == "" {
		t.Skipf("%s is not set: this is run by 'make test-storage'", storageVariable)
	}
	s := onOwn(t, "storage")
	_, err := s.Offered(s.ctx, "")
	s.must(err)
	for _, part := range []struct {
		name string
		run  func(*fixture)
	}{
		{"a snapshot is ready after minutes, of unknown size, and copied in its own size only", (*fixture).slowSnapshot},
		{"a snapshot is copied once in 20 seconds", (*fixture).ratedCopies},
		{"a copy and its first mount take a while, and a volume of the pool is there at once", (*fixture).pooled},
		{"a snapshot is copied once in 30 seconds, and volumes of the pool are there at once", (*fixture).ratedPool},
		{"a volume is snapshotted once in 30 seconds", (*fixture).ratedSnapshots},
		{"a snapshot with a copy is not deleted", (*fixture).copiedSnapshot},
		{"a copy is loaded when it is first read", (*fixture).lazyCopies},
	} {
		s.sub(part.name, part.run)
	}
}

// fault adds a fault of the driver until the test ends.
func (s *fixture) fault(operation string, flags ...string) {
	s.Helper()
	s.must(s.Fault(s.ctx, append([]string{"set", operation}, flags...)...))
	s.Cleanup(func() { s.must(s.Fault(context.WithoutCancel(s.ctx), "clear", operation)) })
}

// slowSnapshot holds that a snapshot which the storage has not finished is waited for, and
// that its copies are as large as the volume where the driver reports no size of it.
func (s *fixture) slowSnapshot() {
	s.fault("snapshot", "--ready-after", "100s", "--size-unknown")
	s.fault("restore", "--same-size")
	snap := s.snapshotObject("slow")
	began := time.Now()
	s.must(s.Client.Create(s.ctx, snap))
	s.until(time.Minute, "the snapshot to be reported as not ready", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(snap), snap)
		got := condition(snap.Status.Conditions, v1alpha1.SnapshotReadyCondition)
		return got == "False "+v1alpha1.ReasonCreatingSnapshot, got, err
	})
	s.Logf("meanwhile it is SnapshotReady=%s", condition(snap.Status.Conditions, v1alpha1.SnapshotReadyCondition))
	s.until(5*time.Minute, "the snapshot to be Intact", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(snap), snap)
		v := snap.Status.Verification
		return v.Verdict == v1alpha1.VerdictIntact, fmt.Sprintf("%s after %d attempts, %s", v.Verdict, v.Attempts, v.Message), err
	})
	s.Logf("Intact after %s, attempt %d, restoreSize %s", since(began), snap.Status.Verification.Attempts, snap.Status.RestoreSize)
	if n := snap.Status.Verification.Attempts; n != 1 {
		s.Errorf("%d attempts, want one: nothing failed", n)
	}
	name := s.unique("sized")
	s.must(s.ClaimFrom(s.ctx, name, v1alpha1.CacheSnapshotKind, snap.Name))
	s.consume(name, name)
	s.consumed(name, 2*time.Minute)
	s.filled(name)
	s.discard(name, name)
}

// ratedCopies holds that more PVCs than the storage copies at once are all populated.
func (s *fixture) ratedCopies() {
	const claims = 4
	s.fault("restore", "--every", "20s", "--namespace", s.Namespace)
	prefix := s.unique("rated")
	began := time.Now()
	var names []string
	for i := range claims {
		names = append(names, fmt.Sprintf("%s-%d", prefix, i))
		s.must(s.Claim(s.ctx, names[i]))
		s.consume(names[i], names[i])
	}
	for _, name := range names {
		s.consumed(name, 6*time.Minute)
	}
	s.Logf("%d PVCs were populated %s after they were created", claims, since(began))
	s.filled(names...)
	for _, name := range names {
		s.discard(name, name)
	}
}

// pooled has each copy take a while to be made, and once more when it is mounted for the
// first time, as one that is loaded in the background. It holds that a build on a
// volume of the pool waits for neither, and the next one, on a clone, for both; that
// no other pod may mount what the pool holds; and that the pool is filled again, and goes.
func (s *fixture) pooled() {
	const slow = 40 * time.Second
	s.fault("restore", "--delay", slow.String(), "--namespace", s.Namespace)
	s.fault("mount", "--delay", slow.String(), "--times", "1", "--each")
	s.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = &v1alpha1.CachePool{Size: 1} })
	s.poolFilled("")
	member := s.notMounted()
	bound, built := s.buildOn("pooled", "Pooled")
	if bound >= slow || built >= slow {
		s.Errorf("with the pool the PVC was bound after %s, and the build done after %s: a copy alone takes %s", bound, built, slow)
	}
	if bound, built = s.buildOn("cloned", "Cloning"); bound < slow || built < 2*slow {
		s.Errorf("without the pool the PVC was bound after %s, and the build done after %s: the copy and its first mount take %s each", bound, built, slow)
	}
	s.poolFilled(member)
	s.poolRemoved()
}

// ratedPool has the storage copy a snapshot once in 30 seconds. It holds that builds
// which begin at once wait for no copy while the pool has a volume for each.
func (s *fixture) ratedPool() {
	const size, every = 2, 30 * time.Second
	s.fault("restore", "--every", every.String(), "--namespace", s.Namespace)
	s.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = &v1alpha1.CachePool{Size: size} })
	s.poolFilled("")
	prefix := s.unique("ready")
	began := time.Now()
	var names []string
	for i := range size {
		names = append(names, fmt.Sprintf("%s-%d", prefix, i))
		s.must(s.Claim(s.ctx, names[i]))
		s.consume(names[i], names[i])
	}
	bound := s.boundAfter(began, names)
	s.Logf("the PVCs were bound %s after the builds began", bound)
	if last := bound[size-1]; last >= every {
		s.Errorf("a PVC was bound after %s: it waited for a copy", last)
	}
	for _, name := range names {
		s.recorded("PersistentVolumeClaim", name, "Pooled")
		s.consumed(name, 2*time.Minute)
	}
	s.filled(names...)
	for _, name := range names {
		s.discard(name, name)
	}
	s.poolRemoved()
}

// poolRemoved takes the pool from the cache, and waits until nothing is left of it.
func (s *fixture) poolRemoved() {
	s.Helper()
	s.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = nil })
	s.until(time.Minute, "the pool to be gone", func(ctx context.Context) (bool, string, error) {
		var left corev1.PersistentVolumeClaimList
		err := s.Client.List(ctx, &left, client.InNamespace(s.Namespace), client.HasLabels{v1alpha1.PoolLabel})
		return len(left.Items) == 0, fmt.Sprintf("%d PVCs", len(left.Items)), err
	})
}

// poolFilled waits until the pool of the cache is filled, and not with the PVC of this uid.
func (s *fixture) poolFilled(former string) {
	s.Helper()
	s.until(6*time.Minute, "the pool to be filled", func(ctx context.Context) (bool, string, error) {
		var cache v1alpha1.GoCache
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: scenario.Cache}, &cache); err != nil {
			return false, "", err
		}
		got := condition(cache.Status.Conditions, v1alpha1.PoolFilledCondition)
		if got != "True "+v1alpha1.ReasonPoolFilled || cache.Spec.Pool == nil {
			return false, got, nil
		}
		// The condition may be that of another spec.
		ready := 0
		for _, m := range cache.Status.Pool.Members {
			if m.State == v1alpha1.PoolMemberReady && m.UID != former {
				ready++
			}
		}
		return ready == int(cache.Spec.Pool.Size), fmt.Sprintf("%s, %d volumes are ready", got, ready), nil
	})
}

// notMounted holds that a pod which names a PVC of the pool is refused, and returns
// the uid of that PVC.
func (s *fixture) notMounted() string {
	s.Helper()
	cache := &v1alpha1.GoCache{}
	s.get(scenario.Cache, cache)
	member := cache.Status.Pool.Members[0]
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.unique("nosy")}}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	pod.Spec.Containers = []corev1.Container{{Name: "c", Image: s.Image, SecurityContext: &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: member.Name}}}}
	if err := s.Client.Create(s.ctx, pod); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "about to be given") {
		s.Errorf("a pod that mounts PVC %s of the pool: %v, want a refusal by the admission policy", member.Name, err)
	}
	return member.UID
}

// buildOn has a new PVC populated, with an event of a reason, reads it and builds on it. It
// returns how long after its creation the PVC was bound, and the build done.
func (s *fixture) buildOn(prefix, reason string) (bound, built time.Duration) {
	s.Helper()
	name := s.unique(prefix)
	began := time.Now()
	s.must(s.Claim(s.ctx, name))
	s.consume(name, name)
	bound = s.boundAfter(began, []string{name})[0]
	s.consumed(name, 4*time.Minute)
	compiled, err := s.CompiledOn(s.ctx, name)
	built = time.Since(began)
	s.must(err)
	if compiled != 0 {
		s.Errorf("the build on PVC %s compiled %d packages", name, compiled)
	}
	s.filled(name)
	s.recorded("PersistentVolumeClaim", name, reason)
	s.Logf("%s: bound %s after its creation, the build done after %s", reason, bound.Round(100*time.Millisecond), built.Round(100*time.Millisecond))
	s.discard(name, name)
	return bound, built
}

// ratedSnapshots holds that two snapshots which are due at once are both created.
func (s *fixture) ratedSnapshots() {
	s.fault("snapshot", "--every", "30s", "--namespace", s.Namespace)
	began := time.Now()
	var both []*v1alpha1.CacheSnapshot
	for range 2 {
		snap := s.snapshotObject("rated")
		s.must(s.Client.Create(s.ctx, snap))
		both = append(both, snap)
	}
	for _, snap := range both {
		got := s.verdict(snap.Name, v1alpha1.VerdictIntact)
		if n := got.Status.Verification.Attempts; n != 1 {
			s.Errorf("%s has %d attempts, want one", snap.Name, n)
		}
		s.Logf("Intact %s after both were created", since(began))
	}
}

// copiedSnapshot holds that a CacheSnapshot whose volumes the storage still needs is
// deleted, and that its VolumeSnapshot goes once they are gone.
func (s *fixture) copiedSnapshot() {
	snap := s.snapshotObject("copied")
	s.must(s.Client.Create(s.ctx, snap))
	s.verdict(snap.Name, v1alpha1.VerdictIntact)
	s.cleanedUp(snap.Name)
	name := s.unique("copy")
	s.must(s.ClaimFrom(s.ctx, name, v1alpha1.CacheSnapshotKind, snap.Name))
	s.consume(name, name)
	s.consumed(name, 2*time.Minute)
	s.filled(name)
	s.fault("delete-snapshot", "--while-copied")
	s.get(snap.Name, snap)
	s.must(s.Client.Delete(s.ctx, snap))
	set := &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: snap.Status.VolumeSnapshotName}}
	s.until(time.Minute, "the VolumeSnapshot to be deleted", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(set), set)
		return apierrors.IsNotFound(err) || err == nil && set.DeletionTimestamp != nil, "it is not", client.IgnoreNotFound(err)
	})
	s.discard(name, name)
	s.until(6*time.Minute, "the VolumeSnapshot and the CacheSnapshot to be gone", func(ctx context.Context) (bool, string, error) {
		for _, o := range []client.Object{set, snap} {
			if err := s.Client.Get(ctx, client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
				return false, fmt.Sprintf("%T is there", o), err
			}
		}
		return true, "", nil
	})
	// The cache goes on: its newest verified snapshot is another one.
	_, err := s.Offered(s.ctx, "")
	s.must(err)
	other := s.unique("other")
	s.must(s.Claim(s.ctx, other))
	s.consume(other, other)
	s.consumed(other, 2*time.Minute)
	s.discard(other, other)
}

// lazyCopies has the storage load volumes when they are first read: a second for each
// 512 KiB, so that it is more than the machine's other work costs. It holds that a
// snapshot is verified on such a clone, and that the first build on a volume of the pool, which
// was read before, takes less time than on a clone.
func (s *fixture) lazyCopies() {
	s.fault("restore", "--lazy", "1s", "--namespace", s.Namespace)
	snap := s.snapshotObject("lazy")
	s.must(s.Client.Create(s.ctx, snap))
	if n := s.verdict(snap.Name, v1alpha1.VerdictIntact).Status.Verification.Attempts; n != 1 {
		s.Errorf("%d attempts, want one: a slow clone is no failed one", n)
	}
	clone, err := s.Consumers(s.ctx, 1)
	s.must(err)
	s.edit(func(c *v1alpha1.GoCache) { c.Spec.Pool = &v1alpha1.CachePool{Size: 1} })
	s.poolFilled("")
	pooled, err := s.Consumers(s.ctx, 1)
	s.must(err)
	for _, c := range []struct {
		what string
		scenario.Consumer
	}{{"a clone", clone[0]}, {"a volume of the pool", pooled[0]}} {
		s.Logf("%s: bound after %s, pod started after %s, first build %s, the same again %s", c.what, c.Bound, c.Started, c.First, c.Again)
	}
	if pooled[0].First >= clone[0].First {
		s.Errorf("the first build takes %s on a volume of the pool, and %s on a clone", pooled[0].First, clone[0].First)
	}
	s.poolRemoved()
}
