package config

import (
	"bytes"
	"embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"text/template"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/image"
	"gocache.dev/operator/hack/devcluster/internal/prereq"
)

//go:embed templates
var files embed.FS

var templates = template.Must(template.ParseFS(files, "templates/*"))

// values are what the templates may use.
type values struct {
	cluster.Spec
	Node    cluster.Node
	Paths   cluster.Paths
	Driver  string
	Domain  string
	Runc    string
	CNIDir  string
	RunDir  string
	Pause   string
	CoreDNS string
}

// RunDir is the folder on the node's own /run for what need not outlive it.
const RunDir = "/run/gocache-devcluster"

func valuesOf(n cluster.Node) (values, error) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		runc = "/usr/sbin/runc"
	}
	runc, err = filepath.Abs(runc)
	return values{
		Spec: n.Spec, Node: n, Paths: n.Paths(), Driver: cluster.DriverName, Domain: cluster.Domain,
		Runc: runc, CNIDir: prereq.CNIDir, RunDir: RunDir,
		Pause: image.PauseRef, CoreDNS: image.CoreDNSRef,
	}, err
}

// Write writes the files that the components of all nodes read.
func Write(spec cluster.Spec) error {
	for _, n := range spec.AllNodes() {
		if err := writeNode(n); err != nil {
			return err
		}
	}
	return nil
}

func writeNode(n cluster.Node) error {
	paths := n.Paths()
	for name, file := range map[string]string{
		"containerd.toml":    Containerd(paths),
		"kubelet.yaml":       Kubelet(paths),
		"kube-proxy.yaml":    KubeProxy(paths),
		"10-bridge.conflist": filepath.Join(paths.CNI(), "10-bridge.conflist"),
	} {
		b, err := render(n, name)
		if err != nil {
			return err
		}
		if err := cluster.WriteFile(file, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Containerd is containerd's configuration file.
func Containerd(p cluster.Paths) string { return filepath.Join(p.Config(), "containerd.toml") }

// Kubelet is the kubelet's configuration file.
func Kubelet(p cluster.Paths) string { return filepath.Join(p.Config(), "kubelet.yaml") }

// KubeProxy is kube-proxy's configuration file.
func KubeProxy(p cluster.Paths) string { return filepath.Join(p.Config(), "kube-proxy.yaml") }

// Manifests are the objects that a cluster starts with: CoreDNS, the CSI driver,
// and its classes.
func Manifests(spec cluster.Spec) ([]byte, error) {
	var all bytes.Buffer
	for _, name := range []string{"coredns.yaml", "storage.yaml"} {
		b, err := render(spec.Node(1), name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&all, "---\n%s", b)
	}
	return all.Bytes(), nil
}

func render(n cluster.Node, name string) ([]byte, error) {
	v, err := valuesOf(n)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, name, v); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", name, err)
	}
	return out.Bytes(), nil
}
