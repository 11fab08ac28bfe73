package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/apiclient"
	"gocache.dev/operator/hack/devcluster/internal/cgroup"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/node"
	"gocache.dev/operator/hack/devcluster/internal/reflinkcsi"
)

// NodeAction is something that happens to a node of a cluster with several.
type NodeAction string

// What can happen to a node.
const (
	// Freeze stops all its processes where they are, and Thaw lets them go on.
	Freeze NodeAction = "freeze"
	Thaw   NodeAction = "thaw"
	// Kill is a power failure: what its volumes have not written is lost. Start boots it.
	Kill  NodeAction = "kill"
	Start NodeAction = "start"
	// Partition disconnects it from the API server, and Isolate from everything. Heal undoes both.
	Partition NodeAction = "partition"
	Isolate   NodeAction = "isolate"
	Heal      NodeAction = "heal"
)

// NodeActions are all of them.
var NodeActions = []NodeAction{Freeze, Thaw, Kill, Start, Partition, Isolate, Heal}

// ActOnNode lets something happen to a node, by the name of its Node object, or by what
// that has after the cluster's name, such as node2.
func (m *Manager) ActOnNode(ctx context.Context, name string, action NodeAction) (err error) {
	lock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	record, err := m.Record()
	if err != nil {
		return fmt.Errorf("there is no cluster %q: run devcluster up --nodes 3: %w", m.Spec.WithDefaults().Name, err)
	}
	if !record.Shared() {
		return errors.New("the cluster has one node: run devcluster up --nodes 3")
	}
	n, err := find(record, name)
	if err != nil {
		return err
	}
	init := record.NodeInit(n)
	if !init.Alive() && action != Start && action != Kill {
		return fmt.Errorf("node %s does not run: run devcluster node %s start", n.Name(), name)
	}
	switch action {
	case Start:
		if init.Alive() {
			return nil
		}
		return m.boot(ctx, &record, n)
	case Kill:
		return m.failPower(record, n)
	case Freeze:
		return cgroup.Freeze(n.Cgroup())
	case Thaw:
		return cgroup.Thaw(n.Cgroup())
	case Partition:
		return filter(ctx, init.PID, partitionRules(n))
	case Isolate:
		return filter(ctx, init.PID, isolationRules)
	case Heal:
		return filter(ctx, init.PID, "")
	}
	return fmt.Errorf("no action %q", action)
}

func find(record cluster.Record, name string) (cluster.Node, error) {
	var names []string
	for _, n := range record.AllNodes() {
		if name == n.Name() || record.Name+"-"+name == n.Name() {
			return n, nil
		}
		names = append(names, n.Name())
	}
	return cluster.Node{}, fmt.Errorf("no node %q; there are %s", name, strings.Join(names, ", "))
}

// failPower ends a node at once. Without it the kernel would write what is in memory to
// the volumes as it unmounts them.
func (m *Manager) failPower(record cluster.Record, n cluster.Node) error {
	init := record.NodeInit(n)
	if !init.Alive() {
		return nil
	}
	if err := cgroup.Freeze(n.Cgroup()); err != nil {
		return err
	}
	return errors.Join(reflinkcsi.Disconnect(init.PID, n.Paths().Kubelet()), end(record, n))
}

// boot starts a node that has ended and waits until it is Ready.
func (m *Manager) boot(ctx context.Context, record *cluster.Record, n cluster.Node) error {
	if err := startNode(record, n); err != nil {
		return err
	}
	client, err := apiclient.New(record.Spec)
	if err != nil {
		return err
	}
	return apiclient.Wait(ctx, stageTimeout, func(ctx context.Context) error {
		if !record.NodeInit(n).Alive() {
			return apiclient.Final(nodeEnded(n))
		}
		return errors.Join(client.Node(ctx, n.Name()), running(ctx, n))
	})
}

// running returns why not all components of a node run, or nil.
func running(ctx context.Context, n cluster.Node) error {
	components, err := node.NewControl(n.Paths().Control()).Components(ctx)
	if err != nil {
		return err
	}
	for _, c := range components {
		if c.State != node.Running {
			return fmt.Errorf("%s is %s: %s", c.Name, c.State, c.Detail)
		}
	}
	return nil
}

// repairNodes undoes what was done to nodes: all nodes of a cluster that is up run.
func (m *Manager) repairNodes(ctx context.Context, record *cluster.Record) error {
	if !record.Shared() {
		return nil
	}
	var errs []error
	for _, n := range record.AllNodes() {
		if init := record.NodeInit(n); init.Alive() {
			errs = append(errs, cgroup.Thaw(n.Cgroup()), filter(ctx, init.PID, ""))
			continue
		}
		m.Reporter.Print("node %s has ended; starting it again", n.Name())
		errs = append(errs, startNode(record, n), answers(ctx, *record, n))
	}
	return errors.Join(errs...)
}

// answers waits until the supervisor of a node that was started can be asked.
func answers(ctx context.Context, record cluster.Record, n cluster.Node) error {
	return apiclient.Wait(ctx, stageTimeout, func(ctx context.Context) error {
		if !record.NodeInit(n).Alive() {
			return apiclient.Final(nodeEnded(n))
		}
		_, err := node.NewControl(n.Paths().Control()).Components(ctx)
		return err
	})
}

// table has what disconnects a node, in its own network.
const table = "devcluster_node"

// partitionRules drop packets between a node, its pods included, and the API server, in
// both directions. That of the first node can be reached from there all the same.
func partitionRules(n cluster.Node) string {
	server := n.Spec.NodeIP()
	var rules []string
	for _, hook := range []string{"input", "output", "forward"} {
		rules = append(rules, fmt.Sprintf(`chain %[1]s {
	type filter hook %[1]s priority -10; policy accept;
	iifname lo accept
	oifname lo accept
	ip daddr %[2]s tcp dport 6443 drop
	ip saddr %[2]s tcp sport 6443 drop
	ip daddr %[2]s tcp sport 10250 drop
	ip saddr %[2]s tcp dport 10250 drop
}`, hook, server))
	}
	return strings.Join(rules, "\n")
}

// isolationRules drop all packets that enter or leave a node.
var isolationRules = fmt.Sprintf(`chain input {
	type filter hook input priority -10; policy accept;
	iifname %[1]s drop
}
chain output {
	type filter hook output priority -10; policy accept;
	oifname %[1]s drop
}
chain forward {
	type filter hook forward priority -10; policy accept;
	iifname %[1]s drop
	oifname %[1]s drop
}`, node.Interface)

// filter replaces the rules that disconnect a node; without rules there are none.
func filter(ctx context.Context, pid int, rules string) error {
	script := "add table inet " + table + "\ndelete table inet " + table + "\n"
	if rules != "" {
		script += "table inet " + table + " {\n" + rules + "\n}\n"
	}
	return inNetworkOf(pid, func() error {
		cmd := exec.CommandContext(ctx, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
}

func isPartitioned(pid int) bool {
	return inNetworkOf(pid, func() error {
		return exec.Command("nft", "list", "table", "inet", table).Run()
	}) == nil
}

func isFrozen(n cluster.Node) bool {
	frozen, err := cgroup.Frozen(n.Cgroup())
	return err == nil && frozen && n.Spec.Shared()
}

// inNetworkOf runs something in the network of another process.
func inNetworkOf(pid int, do func() error) error {
	result := make(chan error)
	go func() {
		// Not unlocked: the thread is of no other use, and ends with this.
		runtime.LockOSThread()
		result <- func() error {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return fmt.Errorf("process %d: %w", pid, err)
			}
			defer unix.Close(fd) //nolint:errcheck // nothing was written to it
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter the network of process %d: %w", pid, err)
			}
			return do()
		}()
	}()
	return <-result
}

// ValidNodeAction reports whether there is such an action.
func ValidNodeAction(a NodeAction) bool { return slices.Contains(NodeActions, a) }
