package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/apiclient"
	"gocache.dev/operator/hack/devcluster/internal/binaries"
	"gocache.dev/operator/hack/devcluster/internal/cgroup"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/config"
	"gocache.dev/operator/hack/devcluster/internal/image"
	"gocache.dev/operator/hack/devcluster/internal/node"
	"gocache.dev/operator/hack/devcluster/internal/pki"
	"gocache.dev/operator/hack/devcluster/internal/prereq"
)

const (
	// stageTimeout bounds each stage; all of them together take seconds.
	stageTimeout = 2 * time.Minute
	// recoverTimeout is how long a running cluster may take to show that it works
	// before it is given up, and with it all that is in it.
	recoverTimeout = time.Minute
)

// Up makes the cluster usable. It returns what runs.
func (m *Manager) Up(ctx context.Context) (record cluster.Record, err error) {
	if err := prereq.This().Check(prereq.Cluster...); err != nil {
		return record, err
	}
	lock, err := m.lock(ctx)
	if err != nil {
		return record, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()

	record, found, err := m.reuse(ctx)
	if err != nil || found {
		return record, err
	}
	entry, err := m.Store.Ensure(ctx, binaries.All...)
	if err != nil {
		return record, err
	}
	archives, err := m.systemImages(ctx, entry)
	if err != nil {
		return record, err
	}
	m.Reporter.Stage("programs and images are there")
	record, err = m.start(ctx, entry)
	if err == nil {
		err = m.bootstrap(ctx, record, entry, archives)
	}
	if err != nil {
		return record, fmt.Errorf("%w\n(logs are in %s; devcluster down removes what is left)", err, record.Paths().Logs())
	}
	return record, nil
}

// reuse finds a usable cluster, and takes an unusable one down.
func (m *Manager) reuse(ctx context.Context) (cluster.Record, bool, error) {
	record, err := m.Record()
	if err == nil && record.Init.Alive() {
		if m.Spec.Nodes > 0 && m.Spec.Nodes != max(record.Nodes, 1) {
			return record, false, fmt.Errorf("cluster %s runs with another number of nodes (%d): run devcluster down first", record.Name, max(record.Nodes, 1))
		}
		err := m.repairNodes(ctx, &record)
		if err == nil {
			err = errors.Join(startStopped(ctx, record), m.usable(ctx, record))
		}
		if err == nil {
			m.Reporter.Print("cluster %s is already running", record.Name)
			return record, true, nil
		}
		if ctx.Err() != nil {
			return record, false, ctx.Err()
		}
		m.Reporter.Print("cluster %s does not recover (%v); starting it again", record.Name, err)
	}
	if _, err := os.Lstat(m.stateDir()); errors.Is(err, fs.ErrNotExist) {
		return cluster.Record{}, false, nil
	}
	m.Reporter.Print("removing what is left of cluster %s", m.Spec.WithDefaults().Name)
	return cluster.Record{}, false, m.remove()
}

// startStopped starts the components that were stopped: all components of a cluster that is up run.
func startStopped(ctx context.Context, record cluster.Record) error {
	var errs []error
	for _, n := range record.AllNodes() {
		control := node.NewControl(n.Paths().Control())
		components, err := control.Components(ctx)
		errs = append(errs, err)
		for _, c := range components {
			// Also one that still runs: it may be on its way to being stopped.
			errs = append(errs, control.Act(ctx, c.Name, node.Start))
		}
	}
	return errors.Join(errs...)
}

// usable waits for a running cluster to work, and returns what does not.
func (m *Manager) usable(ctx context.Context, record cluster.Record) error {
	client, err := apiclient.New(record.Spec)
	if err != nil {
		return err
	}
	reported := false
	return apiclient.Wait(ctx, recoverTimeout, func(ctx context.Context) error {
		err := usableNow(ctx, client, record)
		if err != nil && !reported {
			m.Reporter.Print("cluster %s runs but is not usable yet (%v); waiting up to %s", record.Name, err, recoverTimeout)
			reported = true
		}
		return err
	})
}

func usableNow(ctx context.Context, client *apiclient.Client, record cluster.Record) error {
	if err := client.Ready(ctx); err != nil {
		return err // and with it all the rest
	}
	return errors.Join(nodesReady(ctx, client, record), registered(ctx, client, record), namesFound(ctx, client, record), allRunning(ctx, record))
}

// nodesReady returns which nodes are not Ready, or nil.
func nodesReady(ctx context.Context, client *apiclient.Client, record cluster.Record) error {
	var errs []error
	for _, n := range record.AllNodes() {
		errs = append(errs, client.Node(ctx, n.Name()))
	}
	return errors.Join(errs...)
}

// registered returns on which nodes the CSI driver is not registered, or nil.
func registered(ctx context.Context, client *apiclient.Client, record cluster.Record) error {
	var errs []error
	for _, n := range record.AllNodes() {
		errs = append(errs, client.Driver(ctx, n.Name(), cluster.DriverName))
	}
	return errors.Join(errs...)
}

// namesFound returns why CoreDNS does not answer everywhere, or nil.
func namesFound(ctx context.Context, client *apiclient.Client, record cluster.Record) error {
	if record.Shared() {
		return client.DaemonSet(ctx, "kube-system", "coredns", record.Nodes)
	}
	return client.Deployment(ctx, "kube-system", "coredns")
}

// systemImages makes the images that the cluster itself needs.
func (m *Manager) systemImages(ctx context.Context, entry binaries.Entry) ([]string, error) {
	busybox, err := image.Busybox(ctx, entry.Bin())
	if err != nil {
		return nil, err
	}
	var files []string
	for _, recipe := range []image.Recipe{image.Pause(entry.Bin()), image.CoreDNS(entry.Bin()), busybox} {
		file, _, err := m.Images.Archive(recipe)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// start writes the state directory and starts the first process of each node.
func (m *Manager) start(ctx context.Context, entry binaries.Entry) (record cluster.Record, err error) {
	spec, networks, err := m.claimNetworks(ctx)
	if err != nil {
		return record, err
	}
	defer func() { err = errors.Join(err, networks.Unlock()) }()

	record = cluster.Record{Spec: spec, BinDir: entry.Bin()}
	// Before anything that would have to be removed: down goes by the record.
	if err := record.Save(); err != nil {
		return record, err
	}
	if err := writeState(spec); err != nil {
		return record, err
	}
	if err := cgroup.Create(spec.Cgroup()); err != nil {
		return record, err
	}
	if spec.Shared() {
		if err := createBridge(spec); err != nil {
			return record, err
		}
	}
	for _, n := range spec.AllNodes() {
		if err := startNode(&record, n); err != nil {
			return record, err
		}
	}
	return record, nil
}

// startNode starts the first process of a node, records it, and connects it.
func startNode(record *cluster.Record, n cluster.Node) error {
	if n.Spec.Shared() {
		if err := cgroup.Create(n.Cgroup()); err != nil {
			return err
		}
	}
	process, err := startInit(*record, n)
	if err != nil {
		return err
	}
	record.SetNodeInit(n, process)
	if err := record.Save(); err != nil {
		return err
	}
	if n.Spec.Shared() {
		// Before the link: the node waits for that, and starts nothing until then.
		if err := cgroup.Add(n.Cgroup(), process.PID); err != nil {
			return err
		}
	}
	return connect(n, process.PID)
}

func writeState(spec cluster.Spec) error {
	paths := spec.Paths()
	dirs := []string{paths.Logs(), paths.Etcd()}
	for _, n := range spec.AllNodes() {
		dirs = append(dirs, n.Paths().PodLogs())
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // for the machine's users to look at
			return err
		}
	}
	// A copy: the file that is running may be one of go run, which is gone soon.
	if err := copyExecutable(paths.Executable()); err != nil {
		return err
	}
	return errors.Join(pki.Write(spec), config.Write(spec))
}

func copyExecutable(to string) error {
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return cluster.WriteFile(to, b, 0o755)
}

// startInit starts process 1 of a node in namespaces of its own and in a session of
// its own, so that it outlives this command.
func startInit(record cluster.Record, n cluster.Node) (process cluster.Process, err error) {
	paths := n.Paths()
	log, err := os.Create(paths.Log("node"))
	if err != nil {
		return process, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	cmd := exec.Command(paths.Executable(), "init", "--state-dir", record.StateDir, "--node", strconv.Itoa(n.Number))
	cmd.Env = append(os.Environ(), "KUBECONFIG=")
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Setsid:     true,
	}
	if err := cmd.Start(); err != nil {
		return process, fmt.Errorf("start the node in new namespaces: %w", err)
	}
	if process, err = cluster.FindProcess(cmd.Process.Pid); err != nil {
		return process, err
	}
	// Reaped as long as this command runs, so that its early end is seen.
	go func() { _ = cmd.Wait() }()
	return process, nil
}

// connect joins the machine and a node with a pair of interfaces, and routes its pods
// to it; Services are routed to the first node.
func connect(n cluster.Node, pid int) error {
	spec := n.Spec
	attributes := netlink.NewLinkAttrs()
	attributes.Name = n.Link()
	pair := &netlink.Veth{LinkAttrs: attributes, PeerName: node.Interface, PeerNamespace: netlink.NsPid(pid)}
	if spec.Shared() {
		if err := removeLink(n.Link()); err != nil {
			return err
		}
		bridge, err := netlink.LinkByName(spec.Link())
		if err != nil {
			return fmt.Errorf("interface %s: %w", spec.Link(), err)
		}
		// The same each time that the node is started: others remember it.
		pair.MasterIndex, pair.PeerHardwareAddr = bridge.Attrs().Index, hardwareAddress(n.IP())
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("interface %s: %w", n.Link(), err)
	}
	if spec.Shared() {
		if err := netlink.LinkSetUp(pair); err != nil {
			return fmt.Errorf("interface %s up: %w", n.Link(), err)
		}
	} else if err := addHostAddress(spec); err != nil {
		return err
	}
	if err := node.RouteTo(n.PodCIDR(), n.IP()); err != nil || !n.First() {
		return err
	}
	return node.RouteTo(spec.ServiceCIDR, n.IP())
}

func addHostAddress(spec cluster.Spec) error {
	return node.AddAddress(spec.Link(), netip.PrefixFrom(spec.HostIP(), spec.NodeCIDR.Bits()))
}

// createBridge makes what several nodes and the machine are joined by.
func createBridge(spec cluster.Spec) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = spec.Link()
	// Otherwise it would be that of one of the nodes, and change with them.
	attributes.HardwareAddr = hardwareAddress(spec.HostIP())
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
		return fmt.Errorf("bridge %s: %w", spec.Link(), err)
	}
	return addHostAddress(spec)
}

// hardwareAddress is a locally administered one, derived from an address.
func hardwareAddress(ip netip.Addr) net.HardwareAddr {
	return append(net.HardwareAddr{0x0a, 0x58}, ip.AsSlice()...)
}

// bootstrap waits for the components and gives them their first objects.
func (m *Manager) bootstrap(ctx context.Context, record cluster.Record, entry binaries.Entry, archives []string) error {
	client, err := apiclient.New(record.Spec)
	if err != nil {
		return err
	}
	wait := func(what string, check func(context.Context) error) error {
		err := apiclient.Wait(ctx, stageTimeout, func(ctx context.Context) error {
			for _, n := range record.AllNodes() {
				if !record.NodeInit(n).Alive() {
					return apiclient.Final(nodeEnded(n))
				}
			}
			return check(ctx)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		m.Reporter.Stage("%s", what)
		return nil
	}
	var group errgroup.Group
	for _, n := range record.AllNodes() {
		group.Go(func() error { return m.importImages(ctx, record, n, archives, wait) })
	}
	group.Go(func() error {
		if err := wait("API server is ready", client.Ready); err != nil {
			return err
		}
		return m.apply(ctx, client, record.Spec, entry)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	for _, stage := range []struct {
		what  string
		check func(context.Context) error
	}{
		{"node is Ready", func(ctx context.Context) error { return nodesReady(ctx, client, record) }},
		{"CSI driver is registered", func(ctx context.Context) error { return registered(ctx, client, record) }},
		{"CoreDNS is available", func(ctx context.Context) error { return namesFound(ctx, client, record) }},
		{"all components run", func(ctx context.Context) error { return allRunning(ctx, record) }},
	} {
		if err := wait(stage.what, stage.check); err != nil {
			return err
		}
	}
	return nil
}

// nodeEnded shows the node's log, which is what a person needs.
func nodeEnded(n cluster.Node) error {
	log, err := os.ReadFile(n.Paths().Log("node"))
	if err != nil {
		return err
	}
	return fmt.Errorf("node %s has ended: %s", n.Name(), bytes.TrimSpace(log))
}

func allRunning(ctx context.Context, record cluster.Record) error {
	var errs []error
	var components []node.Status
	for _, n := range record.AllNodes() {
		own, err := node.NewControl(n.Paths().Control()).Components(ctx)
		errs = append(errs, err)
		components = append(components, own...)
	}
	for _, c := range components {
		if c.State != node.Running {
			errs = append(errs, fmt.Errorf("%s is %s: %s", c.Name, c.State, c.Detail))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) importImages(ctx context.Context, record cluster.Record, n cluster.Node, archives []string, wait func(string, func(context.Context) error) error) error {
	store := newContainerd(record, n)
	if err := wait(n.Named("containerd")+" is ready", store.ready); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, a := range archives {
		group.Go(func() error {
			_, err := store.load(ctx, a)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	m.Reporter.Stage("system images are loaded on %s", n.Name())
	return nil
}

// apply creates the CRDs first: what is of their kinds is tried again until they
// are served.
func (m *Manager) apply(ctx context.Context, client *apiclient.Client, spec cluster.Spec, entry binaries.Entry) error {
	manifests, err := entry.Manifests()
	if err != nil {
		return err
	}
	own, err := config.Manifests(spec)
	if err != nil {
		return err
	}
	if err := client.Apply(ctx, stageTimeout, append(manifests, own...)); err != nil {
		return err
	}
	m.Reporter.Stage("CRDs, CoreDNS and storage classes are created")
	return nil
}

// Kubectl is a kubectl command against a cluster.
func Kubectl(ctx context.Context, record cluster.Record, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(record.BinDir, "k8s"), append([]string{"kubectl"}, args...)...)
	cmd.Env = append(os.Environ(),
		"KUBECONFIG="+record.Paths().Kubeconfig("admin"), "KUBECACHEDIR="+record.Paths().KubeCache())
	return cmd
}
