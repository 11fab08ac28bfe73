package node

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"

	"gocache.dev/operator/hack/devcluster/internal/apiclient"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/config"
)

// Component is one program that the supervisor keeps running.
type Component struct {
	// Name is the component's name, and that of its log.
	Name string
	// Program is the file that is run.
	Program string
	// Args are its arguments.
	Args []string
	// kind is the name on the first node, if it runs on every node.
	kind string
	// Gate returns why it is too early to start it; nil means never.
	Gate func(context.Context) error
}

// log is the name of the component's log before the node's is added.
func (c Component) log() string {
	if c.kind != "" {
		return c.kind
	}
	return c.Name
}

// Components are the programs of a node, in the order in which people think of
// them.
func Components(record cluster.Record, n cluster.Node, client *apiclient.Client) []Component {
	if !n.First() {
		return agents(record, n, client)
	}
	control, node := controlPlane(record, client), agents(record, n, client)
	return slices.Concat(control.before, node, control.after)
}

// agents are what runs on every node.
func agents(record cluster.Record, n cluster.Node, client *apiclient.Client) []Component {
	paths, k8s := n.Paths(), filepath.Join(record.BinDir, "k8s")
	all := []Component{
		{
			Name: "containerd", Program: filepath.Join(record.BinDir, "containerd"),
			Args: []string{"--config", config.Containerd(paths)},
		},
		{
			Name: "kubelet", Program: k8s, Args: kubeletArgs(n),
			Gate: all(listens("unix", paths.ContainerdSocket()), client.Ready),
		},
		{
			Name: "kube-proxy", Program: k8s, Gate: client.Ready,
			Args: []string{"kube-proxy", "--config=" + config.KubeProxy(paths), "--hostname-override=" + n.Name()},
		},
		{Name: "csi-driver", Program: paths.Executable(), Args: driverArgs(n)},
	}
	for i := range all {
		all[i].kind, all[i].Name = all[i].Name, n.Named(all[i].Name)
	}
	return all
}

// controlPlane is what runs on the first node alone, before and after its agents.
func controlPlane(record cluster.Record, client *apiclient.Client) (c struct{ before, after []Component }) {
	spec, paths := record.Spec, record.Paths()
	k8s := filepath.Join(record.BinDir, "k8s")
	sidecar := func(name string, gate func(context.Context) error, args ...string) Component {
		args = append([]string{
			"--kubeconfig=" + paths.Kubeconfig("csi"), "--kube-api-qps=100", "--kube-api-burst=200", "-v=2",
		}, args...)
		return Component{Name: name, Program: filepath.Join(record.BinDir, name), Args: args, Gate: gate}
	}
	driver := "--csi-address=" + paths.CSISocket()
	snapshotAPI := client.Snapshots

	c.before = []Component{
		{Name: "etcd", Program: k8s, Args: etcdArgs(spec)},
		{Name: "kube-apiserver", Program: k8s, Args: apiserverArgs(spec), Gate: listens("tcp", etcdAddress)},
		// It ends when RBAC's own roles are not there yet, so it waits for readiness.
		{Name: "kube-controller-manager", Program: k8s, Args: controllerManagerArgs(spec), Gate: client.Ready},
		{Name: "kube-scheduler", Program: k8s, Args: schedulerArgs(spec), Gate: client.Ready},
	}
	c.after = []Component{
		// It looks once, at its start, whether there are VolumeSnapshots: without
		// them it would never take its finalizer from one whose clone was given up.
		sidecar("csi-provisioner", all(client.Ready, snapshotAPI), driver,
			"--feature-gates=Topology=true", "--strict-topology", "--extra-create-metadata", "--retry-interval-start=250ms",
			"--snapshot-orphan-sweep-interval=10s"),
		sidecar("csi-snapshotter", snapshotAPI, driver, "--extra-create-metadata", "--retry-interval-start=250ms"),
		sidecar("csi-resizer", client.Ready, driver, "--retry-interval-start=250ms"),
		sidecar("snapshot-controller", snapshotAPI, "--retry-interval-start=250ms"),
	}
	if spec.Shared() {
		c.after = append(c.after, sidecar("csi-attacher", client.Ready, driver, "--retry-interval-start=250ms"))
	}
	return c
}

// all passes when every gate does.
func all(gates ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, g := range gates {
			if err := g(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// listens passes when something takes connections.
func listens(network, address string) func(context.Context) error {
	return func(ctx context.Context) error {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

const (
	etcdAddress = "127.0.0.1:2379"
	etcdURL     = "http://" + etcdAddress
	etcdPeerURL = "http://127.0.0.1:2380"
)

func etcdArgs(spec cluster.Spec) []string {
	return []string{
		"etcd", "--name=node", "--data-dir=" + spec.Paths().Etcd(),
		"--unsafe-no-fsync", // the data is worth no more than the machine's uptime
		"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
		"--listen-peer-urls=" + etcdPeerURL, "--initial-advertise-peer-urls=" + etcdPeerURL,
		"--initial-cluster=node=" + etcdPeerURL, "--log-level=warn",
	}
}

func apiserverArgs(spec cluster.Spec) []string {
	p := spec.Paths()
	args := []string{
		"kube-apiserver",
		"--etcd-servers=" + etcdURL,
		"--secure-port=6443", "--advertise-address=" + spec.NodeIP().String(),
		"--client-ca-file=" + p.Certificate("ca"),
		"--tls-cert-file=" + p.Certificate("kube-apiserver"), "--tls-private-key-file=" + p.Key("kube-apiserver"),
		"--service-account-issuer=https://kubernetes.default.svc." + cluster.Domain,
		"--service-account-key-file=" + p.Certificate("service-account"),
		"--service-account-signing-key-file=" + p.Key("service-account"),
		"--service-cluster-ip-range=" + spec.ServiceCIDR.String(),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--kubelet-client-certificate=" + p.Certificate("kubelet-client"), "--kubelet-client-key=" + p.Key("kubelet-client"),
		"--kubelet-certificate-authority=" + p.Certificate("ca"),
		// The node's name is in no name server.
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + p.Certificate("ca"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + p.Certificate("front-proxy-client"), "--proxy-client-key-file=" + p.Key("front-proxy-client"),
		"--allow-privileged=true",
	}
	if spec.Shared() {
		// A lost node's pods go after this, instead of five minutes.
		args = append(args, "--default-not-ready-toleration-seconds=30", "--default-unreachable-toleration-seconds=30")
	}
	return append(args, spec.APIServerArgs...)
}

// kubeconfigs are the three ways in which control plane programs take theirs.
func kubeconfigs(spec cluster.Spec, user string) []string {
	file := spec.Paths().Kubeconfig(user)
	return []string{"--kubeconfig=" + file, "--authentication-kubeconfig=" + file, "--authorization-kubeconfig=" + file}
}

func controllerManagerArgs(spec cluster.Spec) []string {
	p := spec.Paths()
	args := []string{
		"kube-controller-manager", "--leader-elect=false",
		// Starting its controllers takes 4 s at the default rate.
		"--kube-api-qps=500", "--kube-api-burst=1000",
		"--root-ca-file=" + p.Certificate("ca"), "--service-account-private-key-file=" + p.Key("service-account"),
		"--use-service-account-credentials",
		"--cluster-signing-cert-file=" + p.Certificate("ca"), "--cluster-signing-key-file=" + p.Key("ca"),
		"--service-cluster-ip-range=" + spec.ServiceCIDR.String(), "--cluster-cidr=" + spec.PodCIDR.String(),
	}
	if spec.Shared() {
		args = append(args, "--node-monitor-period=2s", "--node-monitor-grace-period=20s")
	}
	return append(args, kubeconfigs(spec, "kube-controller-manager")...)
}

func schedulerArgs(spec cluster.Spec) []string {
	return append([]string{"kube-scheduler", "--leader-elect=false"}, kubeconfigs(spec, "kube-scheduler")...)
}

func kubeletArgs(n cluster.Node) []string {
	p := n.Paths()
	args := []string{
		"kubelet", "--config=" + config.Kubelet(p), "--kubeconfig=" + p.Kubeconfig(n.Named("kubelet")),
		"--hostname-override=" + n.Name(), "--node-ip=" + n.IP().String(),
		"--root-dir=" + p.Kubelet(), "--cert-dir=" + filepath.Join(p.Kubelet(), "pki"), "-v=2",
	}
	if n.Spec.Shared() {
		args = append(args, "--node-labels=topology.kubernetes.io/zone="+n.Zone())
	}
	return args
}

func driverArgs(n cluster.Node) []string {
	p := n.Paths()
	args := []string{
		"csi-driver", "--driver-name=" + cluster.DriverName, "--node-name=" + n.Name(),
		"--pool=" + p.Pool(), "--devices=" + loopDir,
		"--socket=" + p.CSISocket(), "--registration=" + p.CSIRegistration(), "--faults=" + p.Faults(),
	}
	if n.Spec.Shared() {
		args = append(args, "--zone="+n.Zone())
	}
	return args
}

// environment is what components run in, whatever the caller's was.
func environment(record cluster.Record) []string {
	return []string{
		fmt.Sprintf("PATH=%s:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", record.BinDir),
		"HOME=" + record.StateDir,
		"KUBECACHEDIR=" + record.Paths().KubeCache(),
	}
}
