package env

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"gocache.dev/operator/api/v1alpha1"
)

// Driver is the CSI driver that the server has a default VolumeSnapshotClass of.
const Driver = "test.csi.gocache.dev"

// Env is a running API server.
type Env struct {
	// Config reaches the API server as an administrator.
	Config *rest.Config
	// Client reads and writes without a cache.
	Client client.WithWatch
	// Scheme has every kind that the operator uses.
	Scheme *apiruntime.Scheme
}

// Option changes the API server before it starts.
type Option func(*envtest.Environment)

// WatchCache lets the API server answer lists from its watch cache, as it does
// in clusters, and stream them.
func WatchCache(e *envtest.Environment) {
	e.ControlPlane.GetAPIServer().Configure().Set("watch-cache", "true")
}

// Main runs the tests of a package beside an API server and returns the code
// to exit with. It is called from TestMain; ready is given the server before
// the first test begins.
func Main(m *testing.M, ready func(*Env), options ...Option) int {
	ctrl.SetLogger(logr.Discard()) // a test reports by itself what went wrong
	e, stop, err := start(options)
	if err != nil {
		fmt.Fprintln(os.Stderr, "env:", err)
		return 1
	}
	ready(e)
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "env: stop:", err)
		return 1
	}
	return code
}

// lookAtCRDs looks at the files of the CRDs once. They are read before the tests
// begin, and what is read then is unknown to the cache of test results, which would
// repeat an old answer.
var lookAtCRDs = sync.OnceValue(func() error {
	dir := filepath.Join(Root(), crdDir)
	files, err := os.ReadDir(dir)
	for _, f := range files {
		_, statErr := os.Stat(filepath.Join(dir, f.Name()))
		err = errors.Join(err, statErr)
	}
	return err
})

// crdDir has the CRDs of this repository.
const crdDir = "config/crd/bases"

// Namespace makes a namespace of its own for a test and removes it with the test.
func (e *Env) Namespace(t *testing.T) string {
	t.Helper()
	if err := lookAtCRDs(); err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	if err := e.Client.Create(t.Context(), ns); err != nil {
		t.Fatalf("create a namespace: %v", err)
	}
	return ns.Name
}

// WithoutSnapshots is an API server that does not serve CSI snapshots, until
// [Env.ServeSnapshots].
func WithoutSnapshots(e *envtest.Environment) {
	e.CRDDirectoryPaths = e.CRDDirectoryPaths[:1]
}

// Start starts an API server for one test.
func Start(t *testing.T, options ...Option) *Env {
	t.Helper()
	e, stop, err := start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop the API server: %v", err)
		}
	})
	return e
}

// ServeSnapshots installs the CRDs of CSI snapshots.
func (e *Env) ServeSnapshots(t *testing.T) {
	t.Helper()
	dir, err := snapshotCRDDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envtest.InstallCRDs(e.Config, envtest.CRDInstallOptions{Paths: []string{dir}, ErrorIfPathMissing: true}); err != nil {
		t.Fatal(err)
	}
}

func start(options []Option) (*Env, func() error, error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return nil, nil, fmt.Errorf("KUBEBUILDER_ASSETS is not set: run these tests with 'make test-integration', or set it to what 'make kubebuilder-assets' prints")
	}
	snapshotCRDs, err := snapshotCRDDir()
	if err != nil {
		return nil, nil, err
	}
	scheme := apiruntime.NewScheme()
	for _, add := range []func(*apiruntime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, snapshotv1.AddToScheme, gatewayv1.Install} {
		if err := add(scheme); err != nil {
			return nil, nil, fmt.Errorf("build the scheme: %w", err)
		}
	}
	server := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join(Root(), crdDir), snapshotCRDs},
		ErrorIfCRDPathMissing: true,
		// A machine that has much else to do starts them all the same.
		ControlPlaneStartTimeout: 2 * time.Minute,
		ControlPlaneStopTimeout:  time.Minute,
	}
	// The default range has 254 addresses: few for many worlds side by side.
	server.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.96.0.0/16")
	// A list is answered by etcd itself. The watch cache would first wait, up to
	// 100 ms, until it has seen all earlier writes.
	server.ControlPlane.GetAPIServer().Configure().Set("watch-cache", "false")
	for _, option := range options {
		option(server)
	}
	// Both live for minutes: that they collect garbage less often saves a tenth
	// of their time. The test itself has read the variable already.
	if os.Getenv("GOGC") == "" {
		if err := os.Setenv("GOGC", "400"); err != nil {
			return nil, nil, fmt.Errorf("set GOGC for kube-apiserver and etcd: %w", err)
		}
	}
	cfg, err := server.Start()
	if err != nil { // one of the two may run already
		return nil, nil, errors.Join(fmt.Errorf("start kube-apiserver and etcd: %w", err), server.Stop())
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make a client: %w", err), server.Stop())
	}
	class := &snapshotv1.VolumeSnapshotClass{
		ObjectMeta: metav1.ObjectMeta{Name: "test", Annotations: map[string]string{"snapshot.storage.kubernetes.io/is-default-class": "true"}},
		Driver:     Driver, DeletionPolicy: snapshotv1.VolumeSnapshotContentDelete,
	}
	if len(server.CRDDirectoryPaths) == 1 {
		return &Env{Config: cfg, Client: c, Scheme: scheme}, server.Stop, nil
	}
	if err := c.Create(context.Background(), class); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make the VolumeSnapshotClass: %w", err), server.Stop())
	}
	return &Env{Config: cfg, Client: c, Scheme: scheme}, server.Stop, nil
}

// Root is the top of the repository: the nearest directory with a go.mod at or
// above the one that the test runs in. The path that the compiler recorded would
// not do, because -trimpath removes it.
func Root() string {
	wd, err := os.Getwd()
	if err != nil {
		panic(fmt.Sprintf("find the top of the repository: %v", err))
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			panic("find the top of the repository: no go.mod at or above " + wd)
		}
	}
}

// snapshotCRDDir is where the module that defines VolumeSnapshot keeps its CRDs.
func snapshotCRDDir() (string, error) {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/kubernetes-csi/external-snapshotter/client/v6")
	cmd.Dir = Root()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find the CRDs of VolumeSnapshot: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "config", "crd"), nil
}
