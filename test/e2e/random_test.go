package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/snapshot"
	"gocache.dev/operator/internal/testing/crash"
	"gocache.dev/operator/test/scenario"
)

// Variables of the long test: how often the manager is killed, and the seed
// that repeats a run.
const (
	roundsVariable = "CRASH_ROUNDS"
	seedVariable   = "CRASH_SEED"
)

// keptSnapshots is the retention of the cache: small, so that each round but
// the first drops something.
const keptSnapshots = 2

// TestRandomKills asks for work on one cache, kills the manager with SIGKILL at
// a random moment of it, and starts another: the work is done as if nothing had
// happened, and no invariant is broken at any revision on the way. With several nodes
// (NODES), one of them is drained or loses its power at that moment, in some rounds:
// what it ended is done again.
func TestRandomKills(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv(roundsVariable))
	if err != nil || rounds < 1 {
		t.Skipf("%s is not set: this is run by 'make crash-random'", roundsVariable)
	}
	if suite.cluster.Kind != scenario.Local {
		t.Skip("the manager runs on this machine, from which only the local cluster's pods can be reached")
	}
	seed := rand.Uint64()
	if text := os.Getenv(seedVariable); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s=%s: %v", seedVariable, text, err)
		}
	}
	s := onOwn(t, "random")
	server, err := client.NewWithWatch(s.Config, client.Options{Scheme: s.Client.Scheme()})
	s.must(err)
	journal := crash.Watch(t, server)
	_, err = s.Offered(s.ctx, "")
	s.must(err)
	s.edit(func(c *v1alpha1.GoCache) {
		c.Spec.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true), Retention: v1alpha1.Retention{KeepLast: keptSnapshots}}
		c.Spec.Cleanup = &v1alpha1.Cleanup{MaxAge: &metav1.Duration{Duration: 240 * time.Hour}}
		c.Spec.Integrity = &v1alpha1.CacheIntegrity{}
	})
	r := &kills{fixture: s, managers: s.takeOver(), random: rand.New(rand.NewPCG(seed, 0)), done: map[string]int{}, troubles: map[string]int{}}
	if os.Getenv(nodesVariable) != "" {
		nodes := s.nodes()
		r.workers = nodes[1:]
		s.must(s.cordonNode(s.ctx, nodes[0], true)) // so that the workers have all pods
		s.Cleanup(func() { s.must(s.cordonNode(context.WithoutCancel(s.ctx), nodes[0], false)) })
	}
	r.manager = s.start(r.managers)
	began := time.Now()
	for round := range rounds {
		if !r.round(round) {
			break
		}
		journal.Check(t, s.Namespace)
		if t.Failed() {
			break
		}
	}
	fmt.Printf("random kills: %d rounds, seed %d, %s, by flow %v, nodes %v, %d of which ran a pod of it, failed: %v\n", r.rounds, seed, time.Since(began).Round(time.Second), r.done, r.troubles, r.busy, t.Failed())
}

// kills is a run of the test.
type kills struct {
	*fixture
	managers *managers
	manager  *process
	random   *rand.Rand
	rounds   int
	done     map[string]int
	workers  []string       // nodes that may be drained and lost
	troubles map[string]int // how often that has happened
	busy     int            // how often to one that ran a pod of the namespace
	// disturbed: a node was drained or lost in this round, so a request may fail and
	// a pod may be gone; it is made once more then.
	disturbed bool
}

// trouble is what may happen to a node beside the end of the manager.
type trouble struct {
	name  string
	begin func(r *kills, node string)
	end   func(r *kills, node string)
}

var (
	drained = trouble{"drained",
		func(r *kills, node string) { r.must(r.drainNode(r.ctx, node)) },
		func(r *kills, node string) { r.must(r.cordonNode(context.WithoutCancel(r.ctx), node, false)) },
	}
	// lost is a power failure, and a person who declares the node lost.
	lost = trouble{"lost",
		func(r *kills, node string) {
			r.must(r.Node(r.ctx, node, "kill"))
			_, err := r.KubectlOutput(r.ctx, "taint", "nodes", node, outOfService+"=nodeshutdown:NoExecute")
			r.must(err)
		},
		func(r *kills, node string) {
			ctx := context.WithoutCancel(r.ctx)
			r.must(r.Node(ctx, node, "start"))
			r.nodeReady(node, corev1.ConditionTrue)
			_, err := r.KubectlOutput(ctx, "taint", "nodes", node, outOfService+"-")
			r.must(err)
		},
	}
)

// trouble returns what is to happen to a node in a round; nil: nothing.
func (r *kills) trouble(round int) *trouble {
	if len(r.workers) == 0 {
		return nil
	}
	switch n := r.random.IntN(12); {
	case round == 0 || round != 1 && n < 3:
		return &drained
	case round == 1 || n < 5:
		return &lost
	default:
		return nil
	}
}

// busyNode is a worker that runs a pod of the namespace now, or any if there is none.
func (r *kills) busyNode() (node string, busy bool) {
	var pods corev1.PodList
	r.must(r.Client.List(r.ctx, &pods, client.InNamespace(r.Namespace)))
	var nodes []string
	for i := range pods.Items {
		p := &pods.Items[i]
		if slices.Contains(r.workers, p.Spec.NodeName) && (p.Status.Phase == corev1.PodPending || p.Status.Phase == corev1.PodRunning) {
			nodes = append(nodes, p.Spec.NodeName)
		}
	}
	if busy = len(nodes) > 0; !busy {
		nodes = r.workers
	}
	node = nodes[r.random.IntN(len(nodes))]
	r.Logf("node %s, which runs a pod: %t", node, busy)
	return node, busy
}

// flows that are asked for, each with how long it takes at most until the
// manager is killed in the midst of it.
var flows = []struct {
	name string
	life time.Duration
	ask  func(r *kills, round int) (done func())
}{
	{"warm-up, snapshot, retention", 12 * time.Second, func(r *kills, round int) func() {
		return r.request(round, v1alpha1.RequestWarmUp)
	}},
	{"snapshot, verification", 8 * time.Second, func(r *kills, round int) func() {
		return r.request(round, v1alpha1.RequestSnapshot)
	}},
	{"populate", 3 * time.Second, func(r *kills, round int) func() {
		name := fmt.Sprintf("clone-%d", round)
		r.must(r.Claim(r.ctx, name))
		r.consume(name, name)
		return func() {
			r.consumedAgain(name)
			r.filled(name)
			r.discard(name, name)
		}
	}},
	{"cleanup", 8 * time.Second, func(r *kills, round int) func() {
		return r.request(round, v1alpha1.RequestCleanup)
	}},
	{"integrity", 6 * time.Second, func(r *kills, round int) func() {
		return r.request(round, v1alpha1.RequestCheckIntegrity)
	}},
	{"rollback by swap", 10 * time.Second, func(r *kills, round int) func() {
		var cache v1alpha1.GoCache
		r.get(scenario.Cache, &cache)
		return r.request(round, v1alpha1.RequestRollback, cache.Status.LatestVerifiedSnapshot)
	}},
}

// round asks for something, kills the manager meanwhile, and waits for the end.
func (r *kills) round(round int) bool {
	flow := flows[r.random.IntN(len(flows))]
	if round < len(flows) { // each at least once
		flow = flows[round]
	}
	life := time.Duration(r.random.Int64N(int64(flow.life)))
	t := r.trouble(round)
	name := fmt.Sprintf("round %d, %s, killed after %s", round+1, flow.name, life.Round(time.Millisecond))
	if t != nil {
		name += ", a node " + t.name
		r.troubles[t.name]++
	}
	r.sub(name, func(s *fixture) {
		part := *r
		part.fixture, part.disturbed = s, t != nil
		done := flow.ask(&part, round)
		time.Sleep(life) // the moment is what is random here
		r.manager.kill()
		if t != nil {
			node, busy := part.busyNode()
			if busy {
				r.busy++
			}
			defer t.end(&part, node)
			t.begin(&part, node)
		}
		r.manager = r.fixture.start(r.managers)
		done()
		part.atRest()
	})
	r.rounds++
	r.done[flow.name]++
	return !r.Failed()
}

// request creates a CacheRequest; it is done when that has succeeded. One that failed
// because its node was drained or lost is made once more.
func (r *kills) request(round int, action v1alpha1.RequestAction, argument ...string) (done func()) {
	q := r.demand(v1alpha1.GoCacheKind, scenario.Cache, fmt.Sprintf("round-%d", round), action, argument...)
	return func() {
		r.until(6*time.Minute, q.Name+" to be finished", func(ctx context.Context) (bool, string, error) {
			err := r.Client.Get(ctx, client.ObjectKeyFromObject(q), q)
			switch o := q.Status.Outcome; {
			case o == v1alpha1.RequestFailed && r.disturbed:
				r.disturbed = false
				r.Logf("%s of %s: %s: %s", q.Name, action, o, q.Status.Message)
				q = r.demand(v1alpha1.GoCacheKind, scenario.Cache, fmt.Sprintf("round-%d-again", round), action, argument...)
				return false, "it failed once", err
			case o == v1alpha1.RequestFailed || o == v1alpha1.RequestRefused:
				return false, "", fmt.Errorf("%s of %s: %s: %s", q.Name, action, o, q.Status.Message)
			default:
				return o == v1alpha1.RequestSucceeded, fmt.Sprintf("%s: %s", o, q.Status.Message), err
			}
		})
	}
}

// consumedAgain waits until a pod of consume has seen its volume. One that its node has
// ended is created once more.
func (r *kills) consumedAgain(name string) {
	r.Helper()
	var pod corev1.Pod
	r.until(6*time.Minute, "pod "+name+" to succeed", func(ctx context.Context) (bool, string, error) {
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, &pod)
		switch {
		case apierrors.IsNotFound(err) && r.disturbed:
			r.disturbed = false
			r.consume(name, name)
			return false, "it is created once more", nil
		case err != nil:
			return false, "", err
		case pod.Status.Phase == corev1.PodFailed && pod.DeletionTimestamp == nil && !r.disturbed:
			return false, "", fmt.Errorf("pod %s failed: a volume holds no cache", name)
		default:
			return pod.Status.Phase == corev1.PodSucceeded, string(pod.Status.Phase), nil
		}
	})
}

// atRest waits until nothing is under way any more: every snapshot has its
// verdict, the policy's number of them is kept, the newest is offered, the
// cache is Ready, and no Job, clone or volume is left.
func (r *kills) atRest() {
	r.Helper()
	r.until(4*time.Minute, "the cache to be at rest", func(ctx context.Context) (bool, string, error) {
		var c v1alpha1.GoCache
		if err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: scenario.Cache}, &c); err != nil {
			return false, "", err
		}
		if ready := condition(c.Status.Conditions, v1alpha1.ReadyCondition); ready != "True "+v1alpha1.ReasonCacheReady || c.Status.VolumeReplacement != nil {
			return false, fmt.Sprintf("Ready=%s, swap %+v", ready, c.Status.VolumeReplacement), nil
		}
		var snapshots v1alpha1.CacheSnapshotList
		if err := r.Client.List(ctx, &snapshots, client.InNamespace(r.Namespace)); err != nil {
			return false, "", err
		}
		verified := 0
		for i := range snapshots.Items {
			switch snap := &snapshots.Items[i]; condition(snap.Status.Conditions, v1alpha1.VerifiedCondition) {
			case "True " + v1alpha1.ReasonIntact:
				if snapshot.InUseUntil(snap, time.Now()).IsZero() { // those are kept beside
					verified++
				}
			default:
				return false, fmt.Sprintf("snapshot %s is not verified", snap.Name), nil
			}
		}
		if offered := c.Status.LatestVerifiedSnapshot; verified > keptSnapshots || !slices.ContainsFunc(snapshots.Items, func(s v1alpha1.CacheSnapshot) bool { return s.Name == offered }) {
			return false, fmt.Sprintf("%d verified snapshots, %q is offered", verified, offered), nil
		}
		var jobs batchv1.JobList
		if err := r.Client.List(ctx, &jobs, client.InNamespace(r.Namespace)); err != nil || len(jobs.Items) > 0 {
			return false, fmt.Sprintf("%d Jobs", len(jobs.Items)), err
		}
		for i := range snapshots.Items {
			clone := client.ObjectKey{Namespace: r.Namespace, Name: naming.Clone(string(snapshots.Items[i].UID), naming.Verify)}
			if err := r.Client.Get(ctx, clone, &corev1.PersistentVolumeClaim{}); client.IgnoreNotFound(err) != nil || err == nil {
				return false, "clone " + clone.Name + " is left", err
			}
		}
		return true, "", nil
	})
}
