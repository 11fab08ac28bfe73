package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/testing/crash"
	"gocache.dev/operator/test/scenario"
)

// nodesVariable is how many nodes the local cluster has, at least three; the tests that
// lose some of them are run only when it is set.
const nodesVariable = "NODES"

// outageVariable is for how long the API server is away.
const outageVariable = "OUTAGE"

// outOfService is the taint by which a person declares a node lost.
const outOfService = "node.kubernetes.io/out-of-service"

// TestNodes plays what happens to the nodes of a cluster: they are drained, freeze, lose
// their power, or are removed. The first one runs the control plane and stays.
func TestNodes(t *testing.T) {
	if os.Getenv(nodesVariable) == "" {
		t.Skipf("%s is not set: this is run by 'make test-nodes'", nodesVariable)
	}
	s := onFull(t)
	s.patchProxy(briskProbes)
	_, err := s.Warmed(s.ctx)
	s.must(err)
	_, err = s.Offered(s.ctx, "")
	s.must(err)
	s.balanced(4 * time.Minute)
	for _, part := range []struct {
		name string
		run  func(*fixture)
	}{
		{"routers and instances are spread", (*fixture).spread},
		{"a snapshot is verified on another node", (*fixture).verifiedElsewhere},
		{"the selected node of a PVC is removed", (*fixture).selectedNodeRemoved},
		{"nodes are drained in turn", (*fixture).drainedInTurn},
		{"two nodes are drained at once", (*fixture).drainedAtOnce},
		{"the node of an instance is lost", (*fixture).instanceLost},
		{"the node of the manager is disconnected", (*fixture).managerDisconnected},
		{"the API server is away", (*fixture).controlPlaneGone},
		{"the node of the writer is lost", (*fixture).writerLost},
	} {
		s.sub(part.name, part.run)
	}
}

// nodes are the names of all nodes, that of the control plane first.
func (s *fixture) nodes() []string {
	s.Helper()
	var list corev1.NodeList
	s.must(s.Client.List(s.ctx, &list))
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	slices.Sort(names) // "x-node" comes before "x-node2"
	return names
}

// nodeOf is the node of a pod.
func (s *fixture) nodeOf(pod string) string {
	s.Helper()
	var p corev1.Pod
	s.get(pod, &p)
	return p.Spec.NodeName
}

// instanceNode is the node of an instance of the proxy.
func (s *fixture) instanceNode(instance string) string {
	s.Helper()
	return s.nodeOf(scenario.Proxy + "-" + instance + "-0")
}

// routerNodes are the nodes of the routers that run.
func (s *fixture) routerNodes() []string {
	s.Helper()
	var pods corev1.PodList
	s.must(s.Client.List(s.ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels(haproxy.Selector(scenario.Proxy))))
	var nodes []string
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil {
			nodes = append(nodes, pods.Items[i].Spec.NodeName)
		}
	}
	return nodes
}

// cordonNode keeps new pods from a node, or allows them again.
func (s *fixture) cordonNode(ctx context.Context, node string, on bool) error {
	o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, on))
	if err := s.Client.Patch(ctx, o, patch); err != nil {
		return fmt.Errorf("cordon %s: %w", node, err)
	}
	return nil
}

// whileCordoned keeps new pods from a node while something is done.
func (s *fixture) whileCordoned(node string, do func()) {
	s.Helper()
	s.must(s.cordonNode(s.ctx, node, true))
	defer func() { s.must(s.cordonNode(context.WithoutCancel(s.ctx), node, false)) }()
	do()
}

// nodeReady waits for the Ready condition of a node to be True, False or Unknown.
func (s *fixture) nodeReady(node string, want corev1.ConditionStatus) {
	s.Helper()
	s.until(2*time.Minute, fmt.Sprintf("node %s to be Ready=%s", node, want), func(ctx context.Context) (bool, string, error) {
		var n corev1.Node
		err := s.Client.Get(ctx, client.ObjectKey{Name: node}, &n)
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				return c.Status == want, string(c.Status), client.IgnoreNotFound(err)
			}
		}
		return false, "no condition Ready", client.IgnoreNotFound(err)
	})
}

// spread holds that no two routers, and no two instances, are on one node.
func (s *fixture) spread() {
	routers := s.routerNodes()
	slices.Sort(routers)
	if len(routers) != 2 || len(slices.Compact(slices.Clone(routers))) != 2 {
		s.Errorf("the routers are on %v", routers)
	}
	if blue, green := s.instanceNode("blue"), s.instanceNode("green"); blue == green {
		s.Errorf("both instances are on %s", blue)
	}
}

// verifiedElsewhere creates a snapshot of the cache while a node has its volume, and
// verifies it on the others.
func (s *fixture) verifiedElsewhere() {
	node := s.nodes()[1]
	holder := s.unique("holder")
	pod := holding(s, holder, node)
	s.must(s.Client.Create(s.ctx, pod))
	defer s.discard(holder)
	s.until(2*time.Minute, "the volume of the cache to be mounted on "+node, func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		return pod.Status.Phase == corev1.PodRunning, string(pod.Status.Phase), err
	})
	s.whileCordoned(node, func() {
		snap := s.snapshotObject("elsewhere")
		s.must(s.Client.Create(s.ctx, snap))
		job, on := naming.Child(snap.Name, naming.Verify), ""
		s.until(4*time.Minute, "CacheSnapshot "+snap.Name+" to be Intact", func(ctx context.Context) (bool, string, error) {
			if found, err := s.jobNode(ctx, job); err != nil || found != "" {
				on = found
			}
			err := s.Client.Get(ctx, client.ObjectKeyFromObject(snap), snap)
			return snap.Status.Verification.Verdict == v1alpha1.VerdictIntact, string(snap.Status.Verification.Verdict), err
		})
		if on == "" || on == node {
			s.Errorf("the source is on %s, and was verified on %q", node, on)
		}
		s.must(s.Client.Delete(s.ctx, snap))
	})
}

// holding is a pod that keeps the volume of the cache on a node.
func holding(s *fixture, name, node string) *corev1.Pod {
	text := `{"metadata":{"name":%q,"namespace":%q},"spec":{"restartPolicy":"Never","terminationGracePeriodSeconds":0,
		"nodeSelector":{"kubernetes.io/hostname":%q},
		"securityContext":{"runAsUser":65532,"runAsGroup":65532,"fsGroup":65532,"fsGroupChangePolicy":"OnRootMismatch","runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},
		"containers":[{"name":"hold","image":%q,"command":["sleep","600"],"volumeMounts":[{"name":"cache","mountPath":"/cache"}],
			"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}],
		"volumes":[{"name":"cache","persistentVolumeClaim":{"claimName":%q}}]}}`
	pod := &corev1.Pod{}
	s.must(json.Unmarshal(fmt.Appendf(nil, text, name, s.Namespace, node, s.Image, scenario.Cache), pod))
	return pod
}

// jobNode is the node of the pod of a Job that is not being deleted; empty: it has none.
func (s *fixture) jobNode(ctx context.Context, job string) (string, error) {
	var pods corev1.PodList
	err := s.Client.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job})
	for i := range pods.Items {
		if pods.Items[i].DeletionTimestamp == nil && pods.Items[i].Spec.NodeName != "" {
			return pods.Items[i].Spec.NodeName, err
		}
	}
	return "", err
}

// selectedNodeRemoved loses the node that was selected for a PVC, and removes its Node
// object, while the PVC is populated: the PVC is populated for another node.
func (s *fixture) selectedNodeRemoved() {
	nodes := s.nodes()
	lost, other := nodes[1], nodes[2]
	name := s.unique("selected")
	s.must(s.Fault(s.ctx, "set", "restore", "--delay", "20s", "--times", "1", "--namespace", s.Namespace))
	s.Cleanup(func() { s.must(s.Fault(context.WithoutCancel(s.ctx), "clear", "restore")) })
	s.must(s.cordonNode(s.ctx, nodes[0], true))
	s.must(s.cordonNode(s.ctx, other, true))
	defer func() {
		for _, node := range []string{nodes[0], other} {
			s.must(s.cordonNode(context.WithoutCancel(s.ctx), node, false))
		}
		s.must(s.Node(context.WithoutCancel(s.ctx), lost, "start"))
		s.nodeReady(lost, corev1.ConditionTrue)
		s.balanced(4 * time.Minute)
	}()
	s.must(s.Claim(s.ctx, name))
	s.consume(name, name)
	s.until(time.Minute, "a node to be selected for the PVC", func(ctx context.Context) (bool, string, error) {
		var claim corev1.PersistentVolumeClaim
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &claim)
		selected := claim.Annotations["volume.kubernetes.io/selected-node"]
		return selected == lost, selected, err
	})
	s.must(s.Node(s.ctx, lost, "kill"))
	s.must(s.Client.Delete(s.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: lost}}))
	s.must(s.cordonNode(s.ctx, other, false))
	began := time.Now()
	s.consumed(name, 4*time.Minute)
	s.Logf("populated and used on %s %s after node %s was removed", s.nodeOf(name), since(began), lost)
	s.filled(name)
	s.discard(name, name)
}

// drainedInTurn drains each node under real go mod download, the next once both instances
// serve again: no command fails, and nothing is reported as Corrupt.
func (s *fixture) drainedInTurn() {
	nodes := s.nodes()
	commands := 0
	for i, node := range nodes {
		s.TaskNode = nodes[(i+1)%len(nodes)]
		clients, err := s.UnderDownloads(s.ctx, func(ctx context.Context) error { return s.drainNode(ctx, node) })
		s.must(s.cordonNode(s.ctx, node, false))
		s.must(err)
		commands += clients.Commands
		if len(clients.Failed) > 0 {
			s.Errorf("drain of %s: %d of %d downloads failed:\n%s", node, len(clients.Failed), clients.Commands, strings.Join(clients.Failed, "\n"))
		}
		s.balanced(4 * time.Minute)
	}
	s.TaskNode = ""
	s.Logf("%d nodes drained in turn under %d downloads", len(nodes), commands)
	s.nothingCorrupt()
}

// drainNode evicts all pods of a node.
func (s *fixture) drainNode(ctx context.Context, node string) error {
	began := time.Now()
	_, err := s.KubectlOutput(ctx, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=4m")
	s.Logf("%s was drained in %s", node, since(began))
	return err
}

// drainedAtOnce drains all nodes but the first at once, under real go mod download: their
// pods are evicted one by one, and no command fails.
func (s *fixture) drainedAtOnce() {
	nodes := s.nodes()
	s.instancesOnWorkers(nodes)
	s.TaskNode = nodes[0]
	defer func() { s.TaskNode = "" }()
	s.must(s.StartDownloads(s.ctx, 2*time.Minute))
	defer func() {
		for _, node := range nodes[1:] {
			s.must(s.cordonNode(context.WithoutCancel(s.ctx), node, false))
		}
	}()
	drains, ctx := errgroup.WithContext(s.ctx)
	for _, node := range nodes[1:] {
		drains.Go(func() error { return s.drainNode(ctx, node) })
	}
	s.must(drains.Wait())
	clients, err := s.FinishDownloads(s.ctx, 4*time.Minute)
	s.must(err)
	s.Logf("%d nodes drained at once under %d downloads, %d failed", len(nodes)-1, clients.Commands, len(clients.Failed))
	if len(clients.Failed) > 0 {
		s.Errorf("%d of %d downloads failed:\n%s", len(clients.Failed), clients.Commands, strings.Join(clients.Failed, "\n"))
	}
	for _, node := range nodes[1:] {
		s.must(s.cordonNode(s.ctx, node, false))
	}
	s.balanced(4 * time.Minute)
	s.nothingCorrupt()
}

// instancesOnWorkers moves the instances away from the first node, each to another one of
// the rest.
func (s *fixture) instancesOnWorkers(nodes []string) {
	s.Helper()
	s.whileCordoned(nodes[0], func() {
		for _, name := range []string{"blue", "green"} {
			if s.instanceNode(name) == nodes[0] {
				s.moveInstance(name)
			}
		}
		s.balanced(4 * time.Minute)
	})
	if blue, green := s.instanceNode("blue"), s.instanceNode("green"); blue == green {
		s.Fatalf("both instances are on %s", blue)
	}
}

// moveInstance deletes the pod of an instance, and waits for the next one to be ready.
func (s *fixture) moveInstance(name string) {
	s.Helper()
	var old, pod corev1.Pod
	s.get(scenario.Proxy+"-"+name+"-0", &old)
	s.must(s.Client.Delete(s.ctx, &old))
	s.until(2*time.Minute, "another pod of "+name, func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(&old), &pod)
		return err == nil && pod.UID != old.UID && isReady(&pod), string(pod.Status.Phase), client.IgnoreNotFound(err)
	})
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func (s *fixture) nothingCorrupt() {
	s.Helper()
	var all v1alpha1.CacheSnapshotList
	s.must(s.Client.List(s.ctx, &all, client.InNamespace(s.Namespace)))
	for i := range all.Items {
		if v := all.Items[i].Status.Verification; v.Verdict == v1alpha1.VerdictCorrupt {
			s.Errorf("snapshot %s is Corrupt: %s", all.Items[i].Name, v.Message)
		}
	}
	var cache v1alpha1.GoCache
	s.get(scenario.Cache, &cache)
	if got := condition(cache.Status.Conditions, v1alpha1.IntactCondition); strings.HasPrefix(got, "False") {
		s.Errorf("the cache is Intact=%s", got)
	}
}

// instanceLost is a power failure of a node with an instance and no router, under real go
// mod download: no command fails, and the other instance serves.
func (s *fixture) instanceLost() {
	nodes := s.nodes()
	s.instancesOnWorkers(nodes)
	lost := s.placeInstance()
	s.TaskNode = nodes[0]
	defer func() { s.TaskNode = "" }()
	name := "blue"
	if s.instanceNode(name) != lost {
		name = "green"
	}
	s.Logf("instance %s is on %s, routers on %v", name, lost, s.routerNodes())
	clients, err := s.UnderDownloads(s.ctx, func(ctx context.Context) error { return s.Node(ctx, lost, "kill") })
	s.Cleanup(func() { s.must(s.Node(context.WithoutCancel(s.ctx), lost, "start")) })
	s.must(err)
	s.Logf("%d downloads, %d failed", clients.Commands, len(clients.Failed))
	if len(clients.Failed) > 0 {
		s.Errorf("%d of %d downloads failed:\n%s", len(clients.Failed), clients.Commands, strings.Join(clients.Failed, "\n"))
	}
	s.proxyUntil(2*time.Minute, "the router to leave "+name, func(p *v1alpha1.ModProxy) bool {
		i := instance(p, name)
		return !i.Healthy && i.DesiredWeight == 0 && condition(p.Status.Conditions, v1alpha1.ReadyCondition) == "True "+v1alpha1.ReasonServing
	})
	s.must(s.Node(s.ctx, lost, "start"))
	s.nodeReady(lost, corev1.ConditionTrue)
	began := time.Now()
	s.balanced(5 * time.Minute)
	s.Logf("both serve again %s after the node came back", since(began))
}

// placeInstance returns a node that runs an instance and no router, and moves routers
// away from one if there is none.
func (s *fixture) placeInstance() string {
	s.Helper()
	lost := ""
	for _, name := range []string{"blue", "green"} {
		if node := s.instanceNode(name); lost == "" || !slices.Contains(s.routerNodes(), node) {
			lost = node
		}
	}
	if !slices.Contains(s.routerNodes(), lost) {
		return lost
	}
	s.whileCordoned(lost, func() {
		s.must(s.Client.DeleteAllOf(s.ctx, &corev1.Pod{}, client.InNamespace(s.Namespace),
			client.MatchingLabels(haproxy.Selector(scenario.Proxy)), client.MatchingFields{"spec.nodeName": lost}))
		s.until(2*time.Minute, "two routers elsewhere", func(context.Context) (bool, string, error) {
			on := s.routerNodes()
			return len(on) == 2 && !slices.Contains(on, lost), fmt.Sprint(on), nil
		})
		s.balanced(2 * time.Minute)
	})
	return lost
}

// writerLost freezes the node of a warm-up: the cache reports what to do, and when the
// node is declared lost the warm-up is made on another one, by itself. No second writer
// exists before.
func (s *fixture) writerLost() {
	nodes := s.nodes()
	server, err := client.NewWithWatch(s.Config, client.Options{Scheme: s.Client.Scheme()})
	s.must(err)
	journal := crash.Watch(s.T, server)
	// So little of a processor that the warm-up is still at it when its node is lost.
	s.edit(func(c *v1alpha1.GoCache) {
		c.Spec.WarmUp.Resources = &v1alpha1.Resources{Limits: map[string]resource.Quantity{"cpu": resource.MustParse("200m")}}
	})
	lost := ""
	s.whileCordoned(nodes[0], func() {
		request := s.demand(v1alpha1.GoCacheKind, scenario.Cache, s.unique("lost"), v1alpha1.RequestWarmUp)
		s.until(2*time.Minute, "the warm-up to run", func(ctx context.Context) (_ bool, saw string, err error) {
			lost, err = s.jobNode(ctx, naming.Child(scenario.Cache, naming.Writer))
			return lost != "", "no pod with a node for " + request.Name, err
		})
		s.must(s.Node(s.ctx, lost, "freeze"))
		s.Cleanup(func() { s.must(s.Node(context.WithoutCancel(s.ctx), lost, "thaw")) })
	})
	began := time.Now()
	message := ""
	s.until(5*time.Minute, "the cache to report what to do", func(ctx context.Context) (bool, string, error) {
		var cache v1alpha1.GoCache
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: scenario.Cache}, &cache)
		all := ""
		for _, c := range cache.Status.Conditions {
			if strings.Contains(c.Message, "kubectl taint nodes "+lost+" "+outOfService) {
				message = c.Message
			}
			all += c.Type + ": " + c.Message + "; "
		}
		return message != "", all, err
	})
	s.Logf("%s after node %s froze: %s", since(began), lost, message)
	if second, err := s.jobNode(s.ctx, naming.Child(scenario.Cache, naming.Writer)); err != nil || second != "" {
		s.Errorf("a second writer is on %q, error %v", second, err)
	}

	_, err = s.KubectlOutput(s.ctx, "taint", "nodes", lost, outOfService+"=nodeshutdown:NoExecute")
	s.must(err)
	began = time.Now()
	s.until(8*time.Minute, "the warm-up on another node", func(ctx context.Context) (bool, string, error) {
		var cache v1alpha1.GoCache
		err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: scenario.Cache}, &cache)
		w := cache.Status.WarmUp
		return w.Outcome == v1alpha1.RunSucceeded && w.CompletionTime != nil && w.CompletionTime.After(began), fmt.Sprintf("%+v", w), err
	})
	s.Logf("warm again %s after the taint", since(began))
	s.must(s.Node(s.ctx, lost, "thaw"))
	_, err = s.KubectlOutput(s.ctx, "taint", "nodes", lost, outOfService+"-")
	s.must(err)
	s.nodeReady(lost, corev1.ConditionTrue)
	s.balanced(5 * time.Minute)
	journal.Check(s.T, s.Namespace)
	s.nothingCorrupt()
}

// managerDisconnected disconnects the node of the manager from the API server: another one
// leads, and makes the next warm-up; no cache has two writers at any revision.
func (s *fixture) managerDisconnected() {
	nodes := s.nodes()
	server, err := client.NewWithWatch(s.Config, client.Options{Scheme: s.Client.Scheme()})
	s.must(err)
	journal := crash.Watch(s.T, server)
	var old *corev1.Pod
	s.whileCordoned(nodes[0], func() {
		if old = s.manager(""); old.Spec.NodeName == nodes[0] {
			s.must(s.Client.Delete(s.ctx, old))
			old = s.manager(old.Name)
		}
	})
	node := old.Spec.NodeName
	s.must(s.Node(s.ctx, node, "partition"))
	s.Cleanup(func() { s.must(s.Node(context.WithoutCancel(s.ctx), node, "heal")) })
	began := time.Now()
	request := s.demand(v1alpha1.GoCacheKind, scenario.Cache, s.unique("apart"), v1alpha1.RequestWarmUp)
	s.succeeded(request, 5*time.Minute)
	second := s.manager(old.Name)
	s.Logf("manager %s on %s was disconnected; %s on %s had made a warm-up %s later", old.Name, node, second.Name, second.Spec.NodeName, since(began))
	s.must(s.Node(s.ctx, node, "heal"))
	s.nodeReady(node, corev1.ConditionTrue)
	s.balanced(5 * time.Minute)
	journal.Check(s.T, s.Namespace)
}

// controlPlaneGone stops the API server during a warm-up, under real go mod download: no
// command fails, the warm-up ends as one run, and the next one is made.
func (s *fixture) controlPlaneGone() {
	outage := 10 * time.Minute
	if text := os.Getenv(outageVariable); text != "" {
		var err error
		outage, err = time.ParseDuration(text)
		s.must(err)
	}
	s.must(s.StartDownloads(s.ctx, outage+30*time.Second))
	during := s.demand(v1alpha1.GoCacheKind, scenario.Cache, s.unique("during"), v1alpha1.RequestWarmUp)
	job := naming.Child(scenario.Cache, naming.Writer)
	s.until(2*time.Minute, "the warm-up to run", func(ctx context.Context) (bool, string, error) {
		node, err := s.jobNode(ctx, job)
		return node != "", "no pod with a node", err
	})
	const server = "kube-apiserver"
	s.must(s.Component(s.ctx, "stop", server))
	s.Cleanup(func() { s.must(s.Component(context.WithoutCancel(s.ctx), "start", server)) })
	stopped := time.Now()
	select {
	case <-time.After(outage):
	case <-s.ctx.Done():
		s.Fatal("the tests are being stopped")
	}
	s.must(s.Component(s.ctx, "start", server))
	back := time.Now()
	s.until(2*time.Minute, "the API server", func(context.Context) (bool, string, error) {
		_, err := s.Set.Discovery().ServerVersion()
		return err == nil, fmt.Sprint(err), nil
	})
	for _, node := range s.nodes() {
		s.nodeReady(node, corev1.ConditionTrue)
	}
	clients, err := s.FinishDownloads(s.ctx, 4*time.Minute)
	s.must(err)
	if len(clients.Failed) > 0 {
		s.Errorf("%d of %d downloads failed:\n%s", len(clients.Failed), clients.Commands, strings.Join(clients.Failed, "\n"))
	}
	// The kubelet restarts a manager that cannot start without the API server up to five minutes later.
	s.succeeded(during, 8*time.Minute)
	s.Logf("the API server was away for %s; %d downloads, %d failed; the warm-up was recorded %s after it was back",
		back.Sub(stopped).Round(time.Second), clients.Commands, len(clients.Failed), since(back))
	after := s.demand(v1alpha1.GoCacheKind, scenario.Cache, s.unique("after"), v1alpha1.RequestWarmUp)
	s.succeeded(after, 5*time.Minute)
	s.balanced(5 * time.Minute)
	s.nothingCorrupt()
}

// succeeded waits until a request is answered with success.
func (s *fixture) succeeded(request *v1alpha1.CacheRequest, limit time.Duration) {
	s.Helper()
	s.until(limit, "request "+request.Name, func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(request), request)
		if o := request.Status.Outcome; o == v1alpha1.RequestFailed || o == v1alpha1.RequestRefused {
			return false, "", fmt.Errorf("%s: %s", o, request.Status.Message)
		}
		return request.Status.Outcome == v1alpha1.RequestSucceeded, fmt.Sprintf("%+v", request.Status), err
	})
}

// manager waits for a manager that is ready, other than one.
func (s *fixture) manager(other string) *corev1.Pod {
	s.Helper()
	var found corev1.Pod
	s.until(3*time.Minute, "a manager", func(ctx context.Context) (bool, string, error) {
		var d appsv1.Deployment
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: scenario.SystemNamespace, Name: scenario.ManagerDeployment}, &d); err != nil {
			return false, "", err
		}
		var pods corev1.PodList
		err := s.Client.List(ctx, &pods, client.InNamespace(d.Namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels))
		for i := range pods.Items {
			p := &pods.Items[i]
			if p.Name != other && isReady(p) && p.DeletionTimestamp == nil {
				found = *p
				return true, "", err
			}
		}
		return false, fmt.Sprintf("%d pods", len(pods.Items)), err
	})
	return &found
}
