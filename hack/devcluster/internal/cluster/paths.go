package cluster

import (
	"path/filepath"
	"strconv"
)

// Paths are the files of a cluster, all below its state directory, as one of its
// nodes has them. Nodes share keys, logs, and the pool of volumes.
type Paths struct {
	// root is the state directory, dir the part of it that belongs to the node.
	root, dir string
	// named gives what all nodes have in one folder a name for each.
	named func(string) string
}

// Paths returns where the files of the cluster, and of its first node, are.
func (s Spec) Paths() Paths { return s.Node(1).Paths() }

// Paths returns where the files of the node are. The folder's name is short: see
// maxStateDirLength.
func (n Node) Paths() Paths {
	p := Paths{root: n.Spec.StateDir, dir: n.Spec.StateDir, named: n.Named}
	if !n.First() {
		p.dir = filepath.Join(p.root, "n"+strconv.Itoa(n.Number))
	}
	return p
}

// Record is what this cluster is and which process it hangs on.
func (p Paths) Record() string { return filepath.Join(p.root, "cluster.json") }

// PKI is the folder of keys, certificates, and kubeconfigs.
func (p Paths) PKI() string { return filepath.Join(p.root, "pki") }

// Certificate is a PEM certificate below PKI.
func (p Paths) Certificate(name string) string { return filepath.Join(p.PKI(), name+".crt") }

// Key is a PEM private key below PKI.
func (p Paths) Key(name string) string { return filepath.Join(p.PKI(), name+".key") }

// Kubeconfig is the credential of one component; "admin" is the one for people.
func (p Paths) Kubeconfig(user string) string { return filepath.Join(p.PKI(), user+".kubeconfig") }

// Config is the folder of generated configuration files.
func (p Paths) Config() string { return filepath.Join(p.dir, "conf") }

// CNI is the folder of the network configuration, which containerd watches.
func (p Paths) CNI() string { return filepath.Join(p.Config(), "cni") }

// Logs is the folder with one file per component.
func (p Paths) Logs() string { return filepath.Join(p.root, "log") }

// Log is the log file of a component.
func (p Paths) Log(component string) string {
	return filepath.Join(p.Logs(), p.named(component)+".log")
}

// PodLogs is where the kubelet keeps the logs of containers.
func (p Paths) PodLogs() string { return filepath.Join(p.dir, "pods") }

// Etcd is etcd's data directory.
func (p Paths) Etcd() string { return filepath.Join(p.root, "etcd") }

// Dir is the folder of the node, which for the first one is that of the cluster.
func (p Paths) Dir() string { return p.dir }

// Containerd is containerd's root: images, layers, containers.
func (p Paths) Containerd() string { return filepath.Join(p.dir, "containerd") }

// ContainerdSocket answers on the machine too, not only inside the node.
func (p Paths) ContainerdSocket() string { return filepath.Join(p.dir, "containerd.sock") }

// Control is the socket of the supervisor inside the node.
func (p Paths) Control() string { return filepath.Join(p.dir, "control.sock") }

// Executable is the copy of this program that runs as the node.
func (p Paths) Executable() string { return filepath.Join(p.root, "devcluster") }

// Kubelet is the kubelet's root directory.
func (p Paths) Kubelet() string { return filepath.Join(p.dir, "kubelet") }

// KubeCache keeps kubectl's discovery cache off the home directory.
func (p Paths) KubeCache() string { return filepath.Join(p.root, "kubecache") }

// PoolImage is the sparse file behind all CSI volumes.
func (p Paths) PoolImage() string { return filepath.Join(p.root, "pool.img") }

// Pool is where the file system in PoolImage is mounted, inside the node only.
func (p Paths) Pool() string { return filepath.Join(p.root, "pool") }

// Faults is the file with the faults that the CSI driver injects.
func (p Paths) Faults() string { return filepath.Join(p.root, "faults.json") }

// CSISocket is where the CSI driver listens. The names are short: see maxStateDirLength.
func (p Paths) CSISocket() string {
	return filepath.Join(p.Kubelet(), "plugins", "reflink", "csi.sock")
}

// CSIRegistration is where the kubelet finds the CSI driver.
func (p Paths) CSIRegistration() string {
	return filepath.Join(p.Kubelet(), "plugins_registry", "reflink.sock")
}
