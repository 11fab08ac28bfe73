package populator

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/pool"
	"gocache.dev/operator/internal/kube/volume"
)

// poolOf gives the cache ci a pool of volumes that were made from a snapshot and read.
func (w *world) poolOf(snapshot string, members int, change ...func(*corev1.PersistentVolumeClaim)) {
	w.t.Helper()
	cache := w.gocache()
	cache.Spec.Pool = &v1alpha1.CachePool{Size: int32(members)} //nolint:gosec // a few
	w.must(server.Client.Update(w.t.Context(), cache))
	for slot := range members {
		pvc := volume.Claim{
			Namespace: w.namespace, Name: pool.Name(cache, slot), Labels: pool.Labels("ci"),
			Class: &w.class, Size: resource.MustParse("1Gi"), Snapshot: snapshot + "-csi",
		}.Object()
		pvc.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(cache, v1alpha1.GroupVersion.WithKind(v1alpha1.GoCacheKind))}
		pvc.Annotations = map[string]string{v1alpha1.PopulatedFromAnnotation: snapshot, volume.SelectedNodeAnnotation: "n1"}
		for _, f := range change {
			f(pvc)
		}
		w.create(pvc)
	}
	for range 3 {
		w.must(w.cluster(w.t.Context()))
	}
	w.changePool(func(p *v1alpha1.PoolStatus) {
		for slot := range members {
			pvc := w.get(pool.Name(cache, slot))
			p.Members = append(p.Members, v1alpha1.PoolMember{
				Name: pvc.Name, UID: string(pvc.UID), State: v1alpha1.PoolMemberReady, Snapshot: snapshot, VolumeName: pvc.Spec.VolumeName, ReadyTime: ptr.To(metav1.NewTime(w.now)),
			})
		}
	})
}

// slot is the name of a member of the pool.
func (w *world) slot(n int) string { return pool.Name(w.gocache(), n) }

func (w *world) gocache() *v1alpha1.GoCache {
	w.t.Helper()
	cache := &v1alpha1.GoCache{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, cache))
	return cache
}

func (w *world) changePool(change func(*v1alpha1.PoolStatus)) {
	w.t.Helper()
	cache := w.gocache()
	if cache.Status.Pool == nil {
		cache.Status.Pool = &v1alpha1.PoolStatus{}
	}
	change(cache.Status.Pool)
	w.must(server.Client.Status().Update(w.t.Context(), cache))
}

// withPool is a world with a cache that has one volume ready.
func withPool(t *testing.T, change ...func(*corev1.PersistentVolumeClaim)) *world {
	t.Helper()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.cache("ci", "ci-1")
	w.poolOf("ci-1", 1, change...)
	return w
}

// TestPool holds that a PVC gets the volume of the pool at once, without a clone being
// made, and that the next one gets a clone.
func TestPool(t *testing.T) {
	w := withPool(t)
	of := w.get(w.slot(0)).Spec.VolumeName
	w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.pass("data")
	if n := w.events.count("data: Normal WaitingForNode"); w.get("data").Spec.VolumeName != "" || n > 1 {
		t.Error("a volume was given before a node was chosen")
	}
	w.schedule("data", "n1")
	w.pass("data")
	if w.intermediateOf(w.get("data")) != nil {
		t.Error("a clone is made")
	}
	w.pass("data") // before the cluster has bound the two
	if w.intermediateOf(w.get("data")) != nil {
		t.Error("a clone is made of what was given already")
	}
	w.settle("data")
	w.populated("data", "ci-1")
	if got := w.get("data").Spec.VolumeName; got != of {
		t.Errorf("volume %s, want that of the pool, %s", got, of)
	}
	w.once("data: Normal Pooled", "from the pool of GoCache ci", "ci-1")

	w.claim("next", v1alpha1.GoCacheKind, "ci")
	w.schedule("next", "n1")
	w.settle("next")
	w.populated("next", "ci-1")
	w.once("next: Normal Cloning")
	for result, want := range map[string]float64{hit: 1, miss: 1} {
		if got := testutil.ToFloat64(pooledPVCs.WithLabelValues(w.namespace, result)); got != want {
			t.Errorf("%s: counted %v, want %v", result, got, want)
		}
	}
}

// TestPoolIsNotForAll holds which volumes of a pool a PVC does not get: it gets a clone
// then, as without a pool, and the event of that states why.
func TestPoolIsNotForAll(t *testing.T) {
	member := func(change func(*corev1.PersistentVolumeClaim)) func(*world) {
		return func(w *world) { w.changeClaim(w.slot(0), change) }
	}
	record := func(change func(*v1alpha1.PoolMember)) func(*world) {
		return func(w *world) { w.changePool(func(p *v1alpha1.PoolStatus) { change(&p.Members[0]) }) }
	}
	for name, tt := range map[string]struct {
		made   func(*corev1.PersistentVolumeClaim)
		change func(*world)
		claim  func(*corev1.PersistentVolumeClaim)
		why    string // other than that none is ready
	}{
		"it is being read":         {change: record(func(m *v1alpha1.PoolMember) { m.State = v1alpha1.PoolMemberReading })},
		"its pod is being deleted": {change: record(func(m *v1alpha1.PoolMember) { m.State = v1alpha1.PoolMemberClearing })},
		"it is too old":            {change: func(w *world) { w.now = w.now.Add(7 * 24 * time.Hour) }},
		"older than the pool allows": {change: func(w *world) {
			cache := w.gocache()
			cache.Spec.Pool.MaxAge = &metav1.Duration{Duration: time.Hour}
			w.must(server.Client.Update(w.t.Context(), cache))
			w.now = w.now.Add(time.Hour)
		}},
		"its check is not recorded": {change: record(func(m *v1alpha1.PoolMember) { m.ReadyTime = nil })},
		"the pool was removed": {change: func(w *world) {
			cache := w.gocache()
			cache.Spec.Pool = nil
			w.must(server.Client.Update(w.t.Context(), cache))
		}},
		"of another snapshot":         {change: record(func(m *v1alpha1.PoolMember) { m.Snapshot = "ci-0" })},
		"another PVC of the name":     {change: record(func(m *v1alpha1.PoolMember) { m.UID = "another" })},
		"not recorded":                {change: func(w *world) { w.changePool(func(p *v1alpha1.PoolStatus) { p.Members = nil }) }},
		"a volume of another PVC":     {change: record(func(m *v1alpha1.PoolMember) { m.VolumeName = "none" })},
		"not of this cache":           {change: member(func(c *corev1.PersistentVolumeClaim) { c.OwnerReferences[0].UID = "another" })},
		"from another VolumeSnapshot": {made: func(c *corev1.PersistentVolumeClaim) { c.Spec.DataSource.Name = "other-csi" }},
		"the PVC asks for more": {claim: func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("2Gi")
		}, why: "its volumes have 1Gi"},
		"the PVC asks for other modes": {claim: func(c *corev1.PersistentVolumeClaim) {
			c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}, why: "its volumes have access modes [ReadWriteOnce]"},
		"the pool has other modes": {made: func(c *corev1.PersistentVolumeClaim) {
			c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}, why: "its volumes have access modes [ReadWriteMany]"},
		"the PVC asks for another mode": {
			claim: func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock) }, why: "another volume mode"},
		"a pod mounts it": {change: func(w *world) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "nosy"}}
			pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "i"}}
			pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: w.slot(0)}}}}
			w.create(pod)
		}, why: "pod nosy has mounted a volume of the pool"},
		"it is being deleted": {change: func(w *world) {
			w.changeClaim(w.slot(0), func(c *corev1.PersistentVolumeClaim) { c.Finalizers = append(c.Finalizers, "test.gocache.dev/hold") })
			w.must(server.Client.Delete(w.t.Context(), w.get(w.slot(0))))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var made []func(*corev1.PersistentVolumeClaim)
			if tt.made != nil {
				made = append(made, tt.made)
			}
			w := withPool(t, made...)
			if tt.change != nil {
				tt.change(w)
			}
			var asks []func(*corev1.PersistentVolumeClaim)
			if tt.claim != nil {
				asks = append(asks, tt.claim)
			}
			w.claim("data", v1alpha1.GoCacheKind, "ci", asks...)
			w.schedule("data", "n1")
			w.pass("data")
			if w.intermediateOf(w.get("data")) == nil {
				t.Errorf("no clone is made; events: %q", w.events.all())
			}
			if n := w.events.count("Pooled"); n > 0 {
				t.Errorf("events: %q", w.events.all())
			}
			w.once("data: Normal Cloning", "the pool of GoCache ci has no volume for it", cmp.Or(tt.why, "none of its volumes is ready"))
		})
	}
}

// TestPoolOfWithdrawnSnapshot holds that nothing of the pool is given to a PVC once the
// snapshot lost its verdict, although the pool is not emptied yet.
func TestPoolOfWithdrawnSnapshot(t *testing.T) {
	w := withPool(t)
	w.verdict("ci-1", metav1.ConditionFalse)
	w.claim("data", v1alpha1.GoCacheKind, "ci")
	w.schedule("data", "n1")
	w.settle("data")
	if c := w.get("data"); c.Spec.VolumeName != "" || c.Status.Phase == corev1.ClaimBound {
		t.Errorf("the PVC has volume %s", c.Spec.VolumeName)
	}
	w.once("data: Warning SnapshotCorrupt")
}

// TestPoolOfReachableNode holds that a volume which the chosen node cannot reach, or which
// it is not known to reach, is not given to a PVC, and one that it can reach is.
func TestPoolOfReachableNode(t *testing.T) {
	const zone = "topology.kubernetes.io/zone"
	for name, tt := range map[string]struct {
		zone      string
		pooled    int
		forbidden bool
		why       string
	}{
		"its zone":     {zone: "a", pooled: 1},
		"another zone": {zone: "b", why: "cannot reach its volumes"},
		"not granted":  {zone: "a", forbidden: true, why: "the operator may not read node"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.snapshot("ci-1", "ci", metav1.ConditionTrue)
			w.cache("ci", "ci-1")
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: w.namespace, Labels: map[string]string{zone: tt.zone}}}
			w.create(node)
			t.Cleanup(func() { w.must(server.Client.Delete(context.WithoutCancel(t.Context()), node)) })
			w.affinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: zone, Operator: corev1.NodeSelectorOpIn, Values: []string{"a"}}},
			}}}}
			w.poolOf("ci-1", 1)
			if tt.forbidden {
				w.reconciler.Live = withoutNodes(server.Client)
			}
			w.claim("data", v1alpha1.GoCacheKind, "ci")
			w.schedule("data", node.Name)
			w.settle("data")
			w.populated("data", "ci-1")
			if tt.why != "" {
				w.once("data: Normal Cloning", node.Name, tt.why)
			}
			if n := w.events.count("data: Normal Pooled"); n != tt.pooled {
				t.Errorf("events: %q", w.events.all())
			}
		})
	}
}

// withoutNodes is a reader that may not read nodes.
func withoutNodes(c client.WithWatch) client.Reader {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*corev1.Node); ok {
				return apierrors.NewForbidden(corev1.Resource("nodes"), key.Name, nil)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
}

// TestPoolGivesEachVolumeOnce has more PVCs than volumes ask at once.
func TestPoolGivesEachVolumeOnce(t *testing.T) {
	const volumes, claims = 3, 8
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	w.cache("ci", "ci-1")
	w.poolOf("ci-1", volumes)
	for i := range claims {
		w.claim(fmt.Sprintf("data-%d", i), v1alpha1.GoCacheKind, "ci")
		w.schedule(fmt.Sprintf("data-%d", i), "n1")
	}
	var all sync.WaitGroup
	for i := range claims {
		all.Go(func() {
			for range 4 {
				if _, err := w.reconciler.Reconcile(t.Context(), w.request(fmt.Sprintf("data-%d", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for i := range claims {
		w.settle(fmt.Sprintf("data-%d", i))
	}
	if n := w.events.count("Normal Pooled"); n != volumes {
		t.Errorf("%d PVCs have a volume of the pool, want %d", n, volumes)
	}
	seen := map[string]bool{}
	for i := range claims {
		name := fmt.Sprintf("data-%d", i)
		w.populated(name, "ci-1")
		if of := w.get(name).Spec.VolumeName; seen[of] {
			t.Errorf("volume %s was given twice", of)
		} else {
			seen[of] = true
		}
	}
}

// deleteVolume deletes a volume that stays for a while, as one does that is bound.
func (w *world) deleteVolume(name string) {
	w.t.Helper()
	pv := &corev1.PersistentVolume{}
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Name: name}, pv))
	pv.Finalizers = append(pv.Finalizers, "test.gocache.dev/hold")
	w.must(server.Client.Update(w.t.Context(), pv))
	w.must(server.Client.Delete(w.t.Context(), pv))
	w.t.Cleanup(func() {
		if server.Client.Get(context.Background(), client.ObjectKeyFromObject(pv), pv) == nil {
			pv.Finalizers = nil
			_ = server.Client.Update(context.Background(), pv)
		}
	})
}

// TestPoolVolumeDeleted holds that a volume which is being deleted is given to no PVC, and
// that a PVC which it was given to is filled otherwise: the cluster binds none to it.
func TestPoolVolumeDeleted(t *testing.T) {
	for name, given := range map[string]bool{"before it is given": false, "after it was given": true} {
		t.Run(name, func(t *testing.T) {
			w := withPool(t)
			of := w.get(w.slot(0)).Spec.VolumeName
			w.claim("data", v1alpha1.GoCacheKind, "ci")
			w.schedule("data", "n1")
			if given {
				w.pass("data")
			}
			w.deleteVolume(of)
			w.settle("data")
			if is := w.get("data"); is.Status.Phase != corev1.ClaimBound || is.Spec.VolumeName == of {
				t.Errorf("it is %s with volume %q; %s is being deleted", is.Status.Phase, is.Spec.VolumeName, of)
			}
		})
	}
}

// TestCloneDeleted holds that a clone which is being deleted before the PVC has it is made
// again.
func TestCloneDeleted(t *testing.T) {
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	w.pass("data")
	for range 3 {
		w.must(w.cluster(t.Context()))
	}
	of := w.intermediateOf(claim).Spec.VolumeName
	if of == "" {
		t.Fatal("there is no clone yet")
	}
	w.deleteVolume(of)
	w.settle("data")
	w.once("Warning VolumeLost", of)
	w.populated("data", "ci-1")
}
