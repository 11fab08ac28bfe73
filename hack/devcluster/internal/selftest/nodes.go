package selftest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"gocache.dev/operator/hack/devcluster/internal/apiclient"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/image"
	"gocache.dev/operator/hack/devcluster/internal/lifecycle"
	"gocache.dev/operator/hack/devcluster/internal/progress"
)

// nodes of the third cluster.
const nodes = 3

// testNodes is the part of the test that needs several nodes.
func testNodes(ctx context.Context, m *lifecycle.Manager, reporter *progress.Reporter) error {
	m.Spec.Nodes = nodes
	record, err := m.Up(ctx)
	if err != nil {
		return err
	}
	reporter.Stage("a cluster of %d nodes runs", nodes)
	s, err := newSuite(m, record)
	if err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	for _, step := range []step{
		{"pods on all nodes reach each other, by address and by name", (*suite).between},
		{"a volume is at one node at a time, and its snapshot at another", (*suite).exclusive},
		{"a frozen node loses its volume, and does not write to it afterwards", (*suite).fenced},
		{"pods follow a node-local volume", (*suite).local},
		{"a node without power and one that is disconnected are missed, and come back", (*suite).lost},
		{"up starts and thaws nodes", (*suite).repaired},
	} {
		if err := step.run(s, ctx); err != nil {
			return fmt.Errorf("%s: %s: %w", record.Name, step.what, err)
		}
		reporter.Stage("%s", step.what)
	}
	return nil
}

const webOnAll = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web, namespace: selftest}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext:
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        runAsNonRoot: true
        seccompProfile: {type: RuntimeDefault}
      containers:
      - name: c
        image: ` + image.BusyboxRef + `
        command: [sh, -c, "mkdir /tmp/site; hostname > /tmp/site/index.html; exec httpd -f -p 8080 -h /tmp/site"]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`

// podOn runs a shell script with a PVC mounted at /d, on one node if that is named.
func podOn(node, name, claim, script string) string {
	selector := ""
	if node != "" {
		selector = "\n  nodeSelector: {kubernetes.io/hostname: " + node + "}"
	}
	return `
apiVersion: v1
kind: Pod
metadata: {name: ` + name + `, namespace: selftest}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never` + selector + `
` + restricted + `
  containers:
  - name: c
    image: ` + image.BusyboxRef + `
    command: [sh, -c, "` + script + `"]
    volumeMounts: [{name: d, mountPath: /d}]
` + restrictedContainer + `  volumes: [{name: d, persistentVolumeClaim: {claimName: ` + claim + `}}]
`
}

func (s *suite) node(number int) cluster.Node { return s.record.Node(number) }

// between lets each pod and the machine ask each pod.
func (s *suite) between(ctx context.Context) error {
	if err := s.apply(ctx, webOnAll); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "", "rollout", "status", "daemonset/web", "--timeout="+timeout.String()); err != nil {
		return err
	}
	// Pods of a node that has just come back are started again.
	return apiclient.Wait(ctx, timeout, s.reach)
}

func (s *suite) reach(ctx context.Context) error {
	out, err := s.kubectl(ctx, "", "get", "pods", "-l", "app=web", "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{"\n"}{end}`)
	if err != nil {
		return err
	}
	ips := map[string]string{}
	for line := range strings.Lines(out) {
		if name, ip, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			ips[name] = ip
		}
	}
	if len(ips) != nodes {
		return fmt.Errorf("%d pods: %s", len(ips), out)
	}
	group, ctx := errgroup.WithContext(ctx)
	for from := range ips {
		args := []string{"exec", from, "--", "probe", "http://web.selftest.svc.cluster.local"}
		for _, ip := range ips {
			args = append(args, "http://"+ip+":8080")
		}
		group.Go(func() error {
			out, err := s.kubectl(ctx, "", args...)
			for to := range ips {
				if err == nil && !strings.Contains(out, " 200 "+to) {
					err = fmt.Errorf("%s got %q, and nothing of %s", from, out, to)
				}
			}
			return err
		})
		group.Go(func() error { return get(ctx, "http://"+ips[from]+":8080", from) })
	}
	return group.Wait()
}

// exclusive leaves pod writer on the second node, and pod reader, which waits for the
// same volume, on the third.
func (s *suite) exclusive(ctx context.Context) error {
	const write = "while true; do date +%s > /d/n; sync; sleep 1; done"
	if err := s.apply(ctx, podOn(s.node(2).Name(), "writer", "source", write)); err != nil {
		return err
	}
	if err := s.wait(ctx, "pod/writer", "condition=Ready"); err != nil {
		return err
	}
	err := apiclient.Wait(ctx, timeout, func(ctx context.Context) error {
		_, err := s.kubectl(ctx, "", "exec", "writer", "--", "test", "-s", "/d/n")
		return err
	})
	if err != nil {
		return err
	}
	if err := s.apply(ctx, snapshotObject+"---"+podOn(s.node(3).Name(), "restored", "restored", "test -s /d/n && date > /d/mine")+"---"+
		podOn(s.node(3).Name(), "reader", "source", "echo mine > /d/n; sleep 1000")); err != nil {
		return err
	}
	if err := s.wait(ctx, "pod/restored", "jsonpath={.status.phase}=Succeeded"); err != nil {
		return err
	}
	return apiclient.Wait(ctx, timeout, func(ctx context.Context) error {
		out, err := s.kubectl(ctx, "", "get", "events", "--field-selector=involvedObject.name=reader,reason=FailedAttachVolume", "-o", "name")
		if err == nil && out == "" {
			err = errors.New("the volume of a pod on another node was attached to a second one, or nothing is reported")
		}
		return err
	})
}

const outOfService = "node.kubernetes.io/out-of-service"

// fenced freezes the writer's node, declares it lost, and lets it go on.
func (s *suite) fenced(ctx context.Context) error {
	name := s.node(2).Name()
	if err := s.manager.ActOnNode(ctx, name, lifecycle.Freeze); err != nil {
		return err
	}
	if err := s.wait(ctx, "node/"+name, "condition=Ready=Unknown"); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "", "taint", "nodes", name, outOfService+"=nodeshutdown:NoExecute"); err != nil {
		return err
	}
	if err := s.wait(ctx, "pod/reader", "condition=Ready"); err != nil {
		return err
	}
	if err := s.manager.ActOnNode(ctx, name, lifecycle.Thaw); err != nil {
		return err
	}
	if err := s.wait(ctx, "node/"+name, "condition=Ready"); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, "", "taint", "nodes", name, outOfService+"-"); err != nil {
		return err
	}
	out, err := s.kubectl(ctx, "", "exec", "reader", "--", "cat", "/d/n")
	if err == nil && strings.TrimSpace(out) != "mine" {
		err = fmt.Errorf("the node that was lost wrote %q", out)
	}
	return err
}

const localClaim = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: local, namespace: selftest}
spec: {accessModes: [ReadWriteOnce], storageClassName: node-local, resources: {requests: {storage: 64Mi}}}
`

func (s *suite) local(ctx context.Context) error {
	first, other := s.node(3).Name(), s.node(2).Name()
	if err := s.apply(ctx, localClaim+"---"+podOn(first, "first", "local", "date > /d/n")); err != nil {
		return err
	}
	if err := s.wait(ctx, "pod/first", "jsonpath={.status.phase}=Succeeded"); err != nil {
		return err
	}
	if err := s.apply(ctx, podOn("", "second", "local", "test -s /d/n")+"---"+podOn(other, "third", "local", "true")); err != nil {
		return err
	}
	if err := s.wait(ctx, "pod/second", "jsonpath={.status.phase}=Succeeded"); err != nil {
		return err
	}
	if err := s.wait(ctx, "pod/third", "jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].reason}=Unschedulable"); err != nil {
		return err
	}
	node, err := s.kubectl(ctx, "", "get", "pod/second", "-o", "jsonpath={.spec.nodeName}")
	if err == nil && node != first {
		err = fmt.Errorf("a pod with a volume of node %s ran on node %s", first, node)
	}
	return err
}

// lost disconnects one node, and kills another.
func (s *suite) lost(ctx context.Context) error {
	apart, dead := s.node(2).Name(), s.node(3).Name()
	if err := s.each(ctx, map[string]lifecycle.NodeAction{apart: lifecycle.Partition, dead: lifecycle.Kill}, "condition=Ready=Unknown"); err != nil {
		return err
	}
	status, err := s.manager.Status(ctx)
	if err != nil {
		return err
	}
	if status.Usable || !status.Nodes[1].Partitioned || status.Nodes[2].Running {
		return fmt.Errorf("the status is %+v", status)
	}
	return s.each(ctx, map[string]lifecycle.NodeAction{apart: lifecycle.Heal, dead: lifecycle.Start}, "condition=Ready")
}

// each lets something happen to nodes, and waits for all.
func (s *suite) each(ctx context.Context, actions map[string]lifecycle.NodeAction, condition string) error {
	for name, action := range actions {
		if err := s.manager.ActOnNode(ctx, name, action); err != nil {
			return fmt.Errorf("%s %s: %w", action, name, err)
		}
	}
	for name := range actions {
		if err := s.wait(ctx, "node/"+name, condition); err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) repaired(ctx context.Context) error {
	for name, action := range map[string]lifecycle.NodeAction{
		s.node(1).Name(): lifecycle.Isolate, s.node(2).Name(): lifecycle.Freeze, s.node(3).Name(): lifecycle.Kill,
	} {
		if err := s.manager.ActOnNode(ctx, name, action); err != nil {
			return err
		}
	}
	if err := s.upAgain(ctx); err != nil {
		return err
	}
	if err := s.between(ctx); err != nil {
		return err
	}
	// What is frozen has to be removed as well.
	return s.manager.ActOnNode(ctx, s.node(2).Name(), lifecycle.Freeze)
}
