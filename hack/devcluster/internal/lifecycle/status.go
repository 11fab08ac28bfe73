package lifecycle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gocache.dev/operator/hack/devcluster/internal/apiclient"
	"gocache.dev/operator/hack/devcluster/internal/binaries"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/node"
)

// Status is the state of a cluster.
type Status struct {
	Name string `json:"name"`
	// Running is set if the node lives; Usable if pods and volumes work.
	Running bool `json:"running"`
	Usable  bool `json:"usable"`
	// Problem is why it is not usable.
	Problem    string `json:"problem,omitempty"`
	Kubeconfig string `json:"kubeconfig"`
	// KubeCache is what KUBECACHEDIR is to be set to: another cluster may have
	// had the same address, and kubectl caches by address what a server offers.
	KubeCache   string `json:"kubeCache"`
	Server      string `json:"server"`
	StateDir    string `json:"stateDir"`
	Logs        string `json:"logs"`
	Node        string `json:"node"`
	HostIP      string `json:"hostIP"`
	NodeIP      string `json:"nodeIP"`
	PodCIDR     string `json:"podCIDR"`
	ServiceCIDR string `json:"serviceCIDR"`
	// Assets is what KUBEBUILDER_ASSETS is to be set to.
	Assets string `json:"assets"`
	// Driver is the CSI driver; Faults the file that makes it fail.
	Driver string `json:"driver"`
	Faults string `json:"faults"`
	// InitPID is the process that everything else dies with.
	InitPID    int           `json:"initPID"`
	Components []node.Status `json:"components"`
	Nodes      []NodeStatus  `json:"nodes"`
}

// NodeStatus is the state of one node.
type NodeStatus struct {
	// Name is that of the Node object.
	Name    string `json:"name"`
	IP      string `json:"ip"`
	PodCIDR string `json:"podCIDR"`
	Zone    string `json:"zone,omitempty"`
	// InitPID is the process that the node dies with; Running is set if it lives.
	InitPID int  `json:"initPID"`
	Running bool `json:"running"`
	// Frozen and Partitioned are what devcluster node has done to it.
	Frozen      bool `json:"frozen,omitempty"`
	Partitioned bool `json:"partitioned,omitempty"`
}

// Status describes the cluster; fs.ErrNotExist means that there is none.
func (m *Manager) Status(ctx context.Context) (Status, error) {
	record, err := m.Record()
	if err != nil {
		return Status{}, err
	}
	s := describe(record)
	if !s.Running {
		s.Problem = "the node has ended"
		return s, nil
	}
	// A problem is part of the answer, and no failure to give one.
	if problem := problemOf(ctx, record, &s); problem != nil {
		s.Problem = problem.Error()
	}
	s.Usable = s.Problem == ""
	return s, nil
}

// problemOf fills in the components and returns why the cluster is not usable.
func problemOf(ctx context.Context, record cluster.Record, s *Status) (err error) {
	if s.Components, err = components(ctx, record); err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if !n.Running || n.Frozen || n.Partitioned {
			return fmt.Errorf("node %s: running %t, frozen %t, partitioned %t", n.Name, n.Running, n.Frozen, n.Partitioned)
		}
	}
	client, err := apiclient.New(record.Spec)
	if err != nil {
		return err
	}
	return usableNow(ctx, client, record)
}

func describe(record cluster.Record) Status {
	paths := record.Paths()
	var nodes []NodeStatus
	for _, n := range record.AllNodes() {
		nodes = append(nodes, describeNode(record, n))
	}
	return Status{
		Name: record.Name, Running: record.Init.Alive(),
		Kubeconfig: paths.Kubeconfig("admin"), KubeCache: paths.KubeCache(), Server: record.Server(), StateDir: record.StateDir, Logs: paths.Logs(),
		Node: record.NodeName(), HostIP: record.HostIP().String(), NodeIP: record.NodeIP().String(),
		PodCIDR: record.PodCIDR.String(), ServiceCIDR: record.ServiceCIDR.String(),
		Assets: binaries.EntryOf(record.BinDir).Envtest(),
		Driver: cluster.DriverName, Faults: paths.Faults(), InitPID: record.Init.PID,
		Nodes: nodes,
	}
}

func describeNode(record cluster.Record, n cluster.Node) NodeStatus {
	init := record.NodeInit(n)
	s := NodeStatus{
		Name: n.Name(), IP: n.IP().String(), PodCIDR: n.PodCIDR().String(), InitPID: init.PID, Running: init.Alive(),
	}
	if n.Spec.Shared() {
		s.Zone = n.Zone()
		s.Frozen = isFrozen(n)
		s.Partitioned = s.Running && isPartitioned(init.PID)
	}
	return s
}

// components asks the supervisors, and translates process numbers to the machine's.
// A node that is lost has none that could be asked.
func components(ctx context.Context, record cluster.Record) (all []node.Status, err error) {
	for _, n := range record.AllNodes() {
		if !record.NodeInit(n).Alive() || isFrozen(n) {
			continue
		}
		own, err := componentsOf(ctx, record, n)
		if err != nil {
			return all, err
		}
		all = append(all, own...)
	}
	return all, nil
}

func componentsOf(ctx context.Context, record cluster.Record, n cluster.Node) ([]node.Status, error) {
	all, err := node.NewControl(n.Paths().Control()).Components(ctx)
	if err != nil {
		return nil, err
	}
	pids, err := pidsInside(record.NodeInit(n).PID)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].PID = pids[all[i].PID]
	}
	return all, nil
}

// Control starts, stops, or restarts a component.
func (m *Manager) Control(ctx context.Context, component string, action node.Action) error {
	record, err := m.running()
	if err != nil {
		return err
	}
	n := record.Node(1)
	// Components of other nodes have the node's number at their end.
	if i := strings.LastIndexByte(component, '-'); i >= 0 {
		if number, err := strconv.Atoi(component[i+1:]); err == nil && number > 1 && number <= record.Nodes {
			n = record.Node(number)
		}
	}
	return node.NewControl(n.Paths().Control()).Act(ctx, component, action)
}

// pidsInside maps process numbers in the namespace of a process to the machine's.
func pidsInside(init int) (map[int]int, error) {
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", init))
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	pids := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		if ns, err := os.Readlink(filepath.Join(dir, "ns/pid")); err != nil || ns != namespace {
			continue
		}
		if inside, ok := innermostPID(filepath.Join(dir, "status")); ok {
			pids[inside] = pid
		}
	}
	return pids, nil
}

// innermostPID reads the last number of the NSpid line: the process's own view.
func innermostPID(file string) (int, bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false // ended since
	}
	for line := range strings.Lines(string(b)) {
		numbers, ok := strings.CutPrefix(line, "NSpid:")
		if !ok {
			continue
		}
		fields := strings.Fields(numbers)
		pid, err := strconv.Atoi(fields[len(fields)-1])
		return pid, err == nil
	}
	return 0, false
}
