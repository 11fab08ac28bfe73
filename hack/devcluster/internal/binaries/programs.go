package binaries

// Program is one file that is built.
type Program struct {
	// Name is the file's name below bin.
	Name string
	// Package is what go build is given.
	Package string
}

// Kubernetes is etcd, the control plane, the node agents, and kubectl in one file.
var Kubernetes = Program{"k8s", "./k8s"}

// All are the programs of a cluster.
var All = []Program{
	Kubernetes,
	{"coredns", "./coredns"},
	{"pause", "./pause"},
	{"probe", "./probe"},
	{"containerd", "github.com/containerd/containerd/v2/cmd/containerd"},
	{"containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"},
	{"ctr", "github.com/containerd/containerd/v2/cmd/ctr"},
	{"csi-provisioner", "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"},
	{"csi-snapshotter", "github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter"},
	{"snapshot-controller", "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller"},
	{"csi-attacher", "github.com/kubernetes-csi/external-attacher/v4/cmd/csi-attacher"},
	{"csi-resizer", "github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer"},
}

const (
	// KubernetesVersion is the version that the programs report; it is the version of
	// k8s.io/kubernetes in go.mod (a test holds them together).
	KubernetesVersion = "v1.36.3"

	kubernetesMajor, kubernetesMinor = "1", "36"

	// snapshotCRDs is the module whose config/crd folder holds the VolumeSnapshot CRDs.
	snapshotCRDs = "github.com/kubernetes-csi/external-snapshotter/client/v8"
)

// crdFiles are the CRDs that snapshot-controller needs.
var crdFiles = []string{
	"snapshot.storage.k8s.io_volumesnapshotclasses.yaml",
	"snapshot.storage.k8s.io_volumesnapshotcontents.yaml",
	"snapshot.storage.k8s.io_volumesnapshots.yaml",
}

// envtestLinks are the names that envtest looks for.
var envtestLinks = []string{"etcd", "kube-apiserver", "kubectl"}

// buildFlags are part of the hash: a program is what its flags make it.
func buildFlags() []string {
	const version = "k8s.io/component-base/version."
	return []string{
		"-trimpath",
		"-buildvcs=false",
		"-ldflags=-s -w" +
			" -X " + version + "gitVersion=" + KubernetesVersion +
			" -X " + version + "gitMajor=" + kubernetesMajor +
			" -X " + version + "gitMinor=" + kubernetesMinor +
			" -X " + version + "gitTreeState=clean",
	}
}
