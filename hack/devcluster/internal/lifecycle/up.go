package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
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
		err := errors.Join(startStopped(ctx, record), m.usable(ctx, record))
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
	control := node.NewControl(record.Paths().Control())
	components, err := control.Components(ctx)
	for _, c := range components {
		// Also one that still runs: it may be on its way to being stopped.
		err = errors.Join(err, control.Act(ctx, c.Name, node.Start))
	}
	return err
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
	return errors.Join(
		client.Node(ctx, record.NodeName()),
		client.Driver(ctx, record.NodeName(), cluster.DriverName),
		client.Deployment(ctx, "kube-system", "coredns"),
		allRunning(ctx, record),
	)
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

// start writes the state directory and starts the node's first process.
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
	if record.Init, err = startInit(record); err != nil {
		return record, err
	}
	if err := record.Save(); err != nil {
		return record, err
	}
	return record, connect(spec, record.Init.PID)
}

func writeState(spec cluster.Spec) error {
	paths := spec.Paths()
	for _, dir := range []string{paths.Logs(), paths.Etcd(), paths.PodLogs()} {
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

// startInit starts process 1 of the node in namespaces of its own and in a
// session of its own, so that it outlives this command.
func startInit(record cluster.Record) (process cluster.Process, err error) {
	paths := record.Paths()
	log, err := os.Create(paths.Log("node"))
	if err != nil {
		return process, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	cmd := exec.Command(paths.Executable(), "node", "--state-dir", record.StateDir)
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

// connect joins the machine and the node with a pair of interfaces, and routes
// pods and Services to the node.
func connect(spec cluster.Spec, pid int) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = spec.Link()
	pair := &netlink.Veth{LinkAttrs: attributes, PeerName: node.Interface, PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("interface %s: %w", spec.Link(), err)
	}
	if err := node.AddAddress(spec.Link(), netip.PrefixFrom(spec.HostIP(), spec.NodeCIDR.Bits())); err != nil {
		return err
	}
	for _, network := range []netip.Prefix{spec.PodCIDR, spec.ServiceCIDR} {
		_, dst, err := parseCIDR(network)
		if err != nil {
			return err
		}
		if err := netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: spec.NodeIP().AsSlice()}); err != nil {
			return fmt.Errorf("route to %s: %w", network, err)
		}
	}
	return nil
}

// bootstrap waits for the components and gives them their first objects.
func (m *Manager) bootstrap(ctx context.Context, record cluster.Record, entry binaries.Entry, archives []string) error {
	client, err := apiclient.New(record.Spec)
	if err != nil {
		return err
	}
	wait := func(what string, check func(context.Context) error) error {
		err := apiclient.Wait(ctx, stageTimeout, func(ctx context.Context) error {
			if !record.Init.Alive() {
				return apiclient.Final(nodeEnded(record))
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
	group.Go(func() error { return m.importImages(ctx, record, archives, wait) })
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
		{"node is Ready", func(ctx context.Context) error { return client.Node(ctx, record.NodeName()) }},
		{"CSI driver is registered", func(ctx context.Context) error {
			return client.Driver(ctx, record.NodeName(), cluster.DriverName)
		}},
		{"CoreDNS is available", func(ctx context.Context) error {
			return client.Deployment(ctx, "kube-system", "coredns")
		}},
		{"all components run", func(ctx context.Context) error { return allRunning(ctx, record) }},
	} {
		if err := wait(stage.what, stage.check); err != nil {
			return err
		}
	}
	return nil
}

// nodeEnded shows the node's log, which is what a person needs.
func nodeEnded(record cluster.Record) error {
	log, err := os.ReadFile(record.Paths().Log("node"))
	if err != nil {
		return err
	}
	return fmt.Errorf("the node has ended: %s", bytes.TrimSpace(log))
}

func allRunning(ctx context.Context, record cluster.Record) error {
	components, err := node.NewControl(record.Paths().Control()).Components(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range components {
		if c.State != node.Running {
			errs = append(errs, fmt.Errorf("%s is %s: %s", c.Name, c.State, c.Detail))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) importImages(ctx context.Context, record cluster.Record, archives []string, wait func(string, func(context.Context) error) error) error {
	store := newContainerd(record)
	if err := wait("containerd is ready", store.ready); err != nil {
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
	m.Reporter.Stage("system images are loaded")
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
