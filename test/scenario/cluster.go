package scenario

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// The kinds of cluster.
const (
	// Local is the project's own cluster, started on this machine.
	Local = "local"
	// Kind is a kind cluster, which is there already.
	Kind = "kind"
	// Current is whatever the kubeconfig names.
	Current = "current"
)

// Options choose the cluster.
type Options struct {
	// Kind of cluster; empty is Local.
	Kind string
	// Name of a Local cluster, so that two live side by side.
	Name string
	// Nodes of a Local cluster; 0 is one.
	Nodes int
}

// Cluster is a real cluster with the operator on it.
type Cluster struct {
	Options
	// Config, Client and Set reach it as an administrator.
	Config *rest.Config
	Client client.Client
	Set    kubernetes.Interface
	// Kubeconfig and Kubectl are what a person would use; an empty Kubeconfig is kubectl's
	// default.
	Kubeconfig, Kubectl string
	// KubeCache is kubectl's cache of a Local cluster, which is removed with it:
	// the next cluster may have the same address. Empty is kubectl's default.
	KubeCache string
	// HostIP is where pods reach this machine; empty where they need not.
	HostIP string

	n        *Narrator
	stateDir string
	initPID  int // of a Local cluster's node
}

// localImage is what config/local deploys, built from this tree.
const localImage = "gocache.dev/operator:dev"

// image of the operator on a cluster that is there already: IMG, as for make.
func image() string {
	if img := os.Getenv("IMG"); img != "" {
		return img
	}
	return localImage
}

// upstreamPort of the proxy on this machine that the local cluster, which has
// no way out, fetches modules through.
const upstreamPort = "18480"

// Root is the top of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Prepare starts the cluster if it is a local one, puts the images on it and
// deploys the operator of this tree.
func Prepare(ctx context.Context, o Options, n *Narrator) (*Cluster, error) {
	c, err := Start(ctx, o, n)
	if err != nil {
		return c, err
	}
	return c, c.deploy(ctx)
}

// Start is Prepare without the operator: the caller installs it.
func Start(ctx context.Context, o Options, n *Narrator) (*Cluster, error) {
	c := &Cluster{Options: o, n: n}
	if c.Kind == "" {
		c.Kind = Local
	}
	var steps []func(context.Context) error
	switch c.Kind {
	case Local:
		steps = []func(context.Context) error{c.prerequisites, c.startLocal, c.loadImages, c.startUpstream, c.connect}
	case Kind:
		steps = []func(context.Context) error{c.publicKubectl, c.loadKind, c.findKind, c.connect}
	case Current:
		steps = []func(context.Context) error{c.pullableImage, c.publicKubectl, c.connect}
	default:
		return c, fmt.Errorf("CLUSTER=%s: want %s, %s or %s", c.Kind, Local, Kind, Current)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return c, err
		}
	}
	return c, nil
}

// Remove takes a local cluster away with all that is on it, and from another
// one the namespaces of the scenarios, and the operator if Prepare installed it
// and it is in no other use.
func Remove(ctx context.Context, o Options, n *Narrator, namespaces ...string) error {
	c := &Cluster{Options: o, n: n}
	if c.Kind == "" || c.Kind == Local {
		if err := c.make(ctx, "devcluster"); err != nil {
			return err
		}
		_ = c.readStatus(ctx) // one that came up half is removed too
		return errors.Join(c.stopUpstream(ctx), c.run(ctx, nil, c.devcluster(), "--name", c.Name, "down"))
	}
	steps := []func(context.Context) error{c.publicKubectl, c.connect}
	if c.Kind == Kind {
		steps = slices.Insert(steps, 1, c.findKind)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := c.kubectl(ctx, nil, append([]string{"delete", "namespace", "--ignore-not-found", "--wait"}, namespaces...)...); err != nil {
		return err
	}
	why, err := c.stays(ctx)
	if err != nil {
		return err
	}
	if why != "" {
		n.Print("The operator and its CRDs stay: %s. \"make undeploy\" removes them, with all objects of their kinds.", why)
		return nil
	}
	return c.kubectl(ctx, nil, "delete", "--ignore-not-found", "--wait", "-k", filepath.Join(Root(), "config", "default"))
}

// installedLabel on the operator's namespace marks it as one that Prepare installed.
const installedLabel = v1alpha1.GroupName + "/installed-by"

// stays returns why the operator must not be removed from a cluster that others
// use; empty: it may. With its CRDs all objects of their kinds would go too.
func (c *Cluster) stays(ctx context.Context) (why string, err error) {
	ns, err := c.system(ctx)
	if err != nil {
		return "", err
	}
	if ns == nil || ns.Labels[installedLabel] == "" {
		return "they were not installed from here", nil
	}
	others, err := c.objects(ctx)
	if err != nil || len(others) == 0 {
		return "", err
	}
	return fmt.Sprintf("%d objects of their kinds are left, such as %s", len(others), others[0]), nil
}

// system reads the operator's namespace; nil: there is none.
func (c *Cluster) system(ctx context.Context) (*corev1.Namespace, error) {
	var ns corev1.Namespace
	err := c.Client.Get(ctx, client.ObjectKey{Name: SystemNamespace}, &ns)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the operator: %w", err)
	}
	return &ns, nil
}

// objects of our kinds in the whole cluster; none if their CRDs are not installed.
func (c *Cluster) objects(ctx context.Context) (names []string, err error) {
	for _, kind := range []string{v1alpha1.GoCacheKind, v1alpha1.CacheSnapshotKind, v1alpha1.ModProxyKind, v1alpha1.CacheRequestKind} {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
		err := c.Client.List(ctx, list)
		if apimeta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for objects that others made: %w", err)
		}
		for _, o := range list.Items {
			names = append(names, fmt.Sprintf("%s %s/%s", kind, o.Namespace, o.Name))
		}
	}
	return names, nil
}

func (c *Cluster) devcluster() string { return filepath.Join(Root(), "bin", "devcluster") }

// localStatus is the output of devcluster status.
type localStatus struct {
	Kubeconfig string `json:"kubeconfig"`
	KubeCache  string `json:"kubeCache"`
	HostIP     string `json:"hostIP"`
	Assets     string `json:"assets"`
	StateDir   string `json:"stateDir"`
	InitPID    int    `json:"initPID"`
}

// prerequisites checks what all steps need before the first of them compiles
// for minutes. A test installs nothing: make does.
func (c *Cluster) prerequisites(ctx context.Context) error {
	return c.run(ctx, nil, "env", "CLUSTER="+Local, "INSTALL=no", filepath.Join(Root(), "hack", "prerequisites", "check.sh"), "demo")
}

func (c *Cluster) startLocal(ctx context.Context) error {
	c.n.Print("Starting a real Kubernetes on this machine (etcd, API server, kubelet, containerd, CSI with snapshots)")
	if err := c.make(ctx, "devcluster"); err != nil {
		return err
	}
	up := []string{"--name", c.Name, "up"}
	if c.Nodes > 0 {
		up = append(up, "--nodes", strconv.Itoa(c.Nodes))
	}
	if err := c.run(ctx, nil, c.devcluster(), up...); err != nil {
		return err
	}
	return c.readStatus(ctx)
}

func (c *Cluster) readStatus(ctx context.Context) error {
	var out bytes.Buffer
	unusable := c.run(ctx, &out, c.devcluster(), "--name", c.Name, "status", "-o", "json")
	var status localStatus
	if err := json.Unmarshal(out.Bytes(), &status); err != nil {
		return errors.Join(unusable, fmt.Errorf("read the cluster's status: %w", err))
	}
	c.Kubeconfig, c.HostIP, c.stateDir, c.initPID = status.Kubeconfig, status.HostIP, status.StateDir, status.InitPID
	c.Kubectl, c.KubeCache = filepath.Join(status.Assets, "kubectl"), status.KubeCache
	return unusable
}

func (c *Cluster) loadImages(ctx context.Context) error {
	c.n.Print("Building the images (operator, Go toolchain, HAProxy), which takes minutes the first time, and loading them: no registry is needed")
	if err := c.make(ctx, "image", "IMG="+localImage); err != nil {
		return err
	}
	archives := []string{filepath.Join(Root(), "dist", "operator.tar")}
	for _, image := range []string{"golang", "haproxy"} {
		var out bytes.Buffer
		if err := c.run(ctx, &out, c.devcluster(), "image", image); err != nil {
			return err
		}
		archives = append(archives, strings.TrimSpace(out.String()))
	}
	return c.Load(ctx, archives...)
}

// LoadCompiler puts a Go toolchain with a C compiler on a Local cluster, made from the
// packages of this machine, and returns the image.
func (c *Cluster) LoadCompiler(ctx context.Context, version string) (image string, err error) {
	var out bytes.Buffer
	if err := c.run(ctx, &out, c.devcluster(), "image", "golang-c"); err != nil {
		return "", err
	}
	return "gocache.dev/golang-c:" + version, c.Load(ctx, strings.TrimSpace(out.String()))
}

// Load puts image archives on a Local cluster.
func (c *Cluster) Load(ctx context.Context, archives ...string) error {
	return c.run(ctx, nil, c.devcluster(), append([]string{"--name", c.Name, "load"}, archives...)...)
}

// UpstreamURL is where the proxies under test fetch modules; empty leaves them
// the toolchain's own default.
func (c *Cluster) UpstreamURL() string {
	if c.HostIP == "" {
		return ""
	}
	return "http://" + net.JoinHostPort(c.HostIP, upstreamPort)
}

// loadKind builds the operator's image with Docker and puts it on a kind
// cluster; the others are public.
func (c *Cluster) loadKind(ctx context.Context) error {
	if err := c.make(ctx, "docker-build", "IMG="+image()); err != nil {
		return err
	}
	return c.run(ctx, nil, "kind", "load", "docker-image", image(), "--name", c.kindName())
}

// kindName is the name of a kind cluster; its default is that of kind.
func (c *Cluster) kindName() string { return cmp.Or(c.Name, os.Getenv("KIND_CLUSTER_NAME"), "kind") }

// findKind has all that follows work on the kind cluster: the current context of the
// user may be of another one.
func (c *Cluster) findKind(ctx context.Context) error {
	c.Kubeconfig = filepath.Join(Root(), "dist", "kind-"+c.kindName()+".kubeconfig")
	if err := os.MkdirAll(filepath.Dir(c.Kubeconfig), 0o750); err != nil {
		return fmt.Errorf("make the directory of the kubeconfig: %w", err)
	}
	return c.run(ctx, nil, "kind", "export", "kubeconfig", "--name", c.kindName(), "--kubeconfig", c.Kubeconfig)
}

// pullableImage requires an image to be given: this machine's own is in no registry
// that a cluster elsewhere could pull it from.
func (c *Cluster) pullableImage(context.Context) error {
	if os.Getenv("IMG") == "" {
		return errors.New("CLUSTER=" + c.Kind + " needs IMG, an image of the operator that the cluster can pull: " +
			"build and push it with \"make docker-buildx IMG=...\"")
	}
	return nil
}

func (c *Cluster) publicKubectl(context.Context) (err error) {
	if c.Kubectl, err = exec.LookPath("kubectl"); err != nil {
		return errors.New("CLUSTER=" + c.Kind + " needs kubectl in PATH")
	}
	return nil
}

func (c *Cluster) connect(context.Context) error {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if c.Kubeconfig != "" {
		rules.ExplicitPath = c.Kubeconfig
	}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return fmt.Errorf("find the cluster: %w", err)
	}
	cfg.QPS, cfg.Burst = 100, 200
	ctrl.SetLogger(logr.Discard()) // the narrator prints the progress
	scheme := apiruntime.NewScheme()
	for _, add := range []func(*apiruntime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, snapshotv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("build the scheme: %w", err)
		}
	}
	if c.Client, err = client.New(cfg, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	if c.Set, err = kubernetes.NewForConfig(cfg); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	c.Config = cfg
	return nil
}

func (c *Cluster) deploy(ctx context.Context) error {
	c.n.Print("Deploying the operator: CRDs, RBAC, manager")
	if err := c.Install(ctx); err != nil {
		return err
	}
	// A tree that was built again has the same image name: end the old pod.
	if err := c.kubectl(ctx, nil, "-n", SystemNamespace, "rollout", "restart", "deployment/"+ManagerDeployment); err != nil {
		return err
	}
	return c.kubectl(ctx, nil, "-n", SystemNamespace, "rollout", "status", "deployment/"+ManagerDeployment, "--timeout=120s")
}

// Install applies the operator, and on a cluster that was there already notes
// whether it is new to it. Afterwards kubectl finds the operator's kinds.
func (c *Cluster) Install(ctx context.Context) error {
	if c.Kind == Local {
		if err := c.kubectl(ctx, nil, "apply", "--server-side", "-k", filepath.Join(Root(), "config", "local")); err != nil {
			return err
		}
		return c.RefreshDiscovery(ctx)
	}
	before, err := c.system(ctx)
	if err != nil {
		return err
	}
	variables := []string{"IMG=" + image(), "KUBECTL=" + c.Kubectl}
	if c.Kubeconfig != "" {
		variables = append(variables, "KUBECONFIG="+c.Kubeconfig) // make exports it
	}
	if err := c.make(ctx, "deploy", variables...); err != nil {
		return err
	}
	if before == nil {
		if err := c.kubectl(ctx, nil, "label", "namespace", SystemNamespace, installedLabel+"=scenario"); err != nil {
			return err
		}
	}
	return c.RefreshDiscovery(ctx)
}

// RefreshDiscovery waits until the API server offers the operator's kinds, and
// replaces what kubectl has cached of this server before: kubectl keeps that for
// hours, and does not ask again for a category (gocaching) that it lacks.
func (c *Cluster) RefreshDiscovery(ctx context.Context) error {
	return Until(ctx, time.Minute, "kubectl to list the kinds of "+v1alpha1.GroupName, func(ctx context.Context) (bool, string, error) {
		// Unlike all other commands, this one begins by dropping the cache. It fails
		// when any API of the cluster is down, and lists the others all the same.
		out, err := c.KubectlOutput(ctx, "api-resources", "--categories="+category, "-o", "name")
		listed := strings.Fields(out)
		for _, resource := range []string{"gocaches", "cachesnapshots", "modproxies", "cacherequests"} {
			if !slices.Contains(listed, resource+"."+v1alpha1.GroupName) {
				return false, fmt.Sprintf("%q, error %v", listed, err), nil
			}
		}
		return true, "", nil
	})
}

// Where the operator runs.
const (
	SystemNamespace   = "gocache-system"
	ManagerDeployment = "gocache-manager"
)

func (c *Cluster) kubectl(ctx context.Context, out *bytes.Buffer, args ...string) error {
	if c.Kubeconfig != "" {
		args = append([]string{"--kubeconfig", c.Kubeconfig}, args...)
	}
	if c.KubeCache != "" {
		args = append([]string{"--cache-dir", c.KubeCache}, args...)
	}
	return c.run(ctx, out, c.Kubectl, args...)
}

// KubectlOutput is the output of kubectl.
func (c *Cluster) KubectlOutput(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	err := c.kubectl(ctx, &out, args...)
	return out.String(), err
}

// Fault has a Local cluster's CSI driver get something wrong, or clears that:
// the arguments of devcluster fault.
func (c *Cluster) Fault(ctx context.Context, args ...string) error {
	return c.run(ctx, nil, c.devcluster(), append([]string{"--name", c.Name, "fault"}, args...)...)
}

func (c *Cluster) make(ctx context.Context, target string, variables ...string) error {
	return c.run(ctx, nil, "make", append([]string{"-s", "-C", Root(), target}, variables...)...)
}

// Node lets something happen to a node of a Local cluster with several, such as a power
// failure: the actions are those of devcluster node.
func (c *Cluster) Node(ctx context.Context, node, action string) error {
	return c.run(ctx, nil, c.devcluster(), "--name", c.Name, "node", node, action)
}

// Component stops, starts or restarts a component of a Local cluster.
func (c *Cluster) Component(ctx context.Context, action, name string) error {
	return c.run(ctx, nil, c.devcluster(), "--name", c.Name, "component", action, name)
}

// run runs a tool. Its output goes to the given buffer, or is shown when it
// fails; the progress of slow ones (on standard error) is always shown.
func (c *Cluster) run(ctx context.Context, out *bytes.Buffer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // tools of this project
	var quiet bytes.Buffer
	cmd.Stdout, cmd.Stderr = &quiet, &quiet
	if out != nil {
		cmd.Stdout = out
	}
	if strings.HasSuffix(name, "devcluster") || name == "make" {
		cmd.Stderr = c.n
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, quiet.String())
	}
	return nil
}

// busy is how many times longer than an idle machine one may take that does other work.
const busy = 4

// Until polls until something holds, and returns the last observation if it never
// does. limit is what an idle machine needs at most: it ends a test that would wait for
// ever, and measures nothing.
func Until(ctx context.Context, limit time.Duration, what string, holds func(context.Context) (ok bool, saw string, err error)) error {
	limit *= busy
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last := "nothing"
	for {
		ok, saw, err := holds(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("waiting for %s: %w", what, err)
		case err == nil && ok:
			return nil
		case err == nil:
			last = saw
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s; last seen: %s", limit, what, last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
