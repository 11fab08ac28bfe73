package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/binaries"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/image"
	"gocache.dev/operator/hack/devcluster/internal/lifecycle"
	"gocache.dev/operator/hack/devcluster/internal/prereq"
	"gocache.dev/operator/hack/devcluster/internal/progress"
)

// Main runs the command line and returns the exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := os.Setenv("PATH", prereq.SearchPath(os.Getenv("PATH"))); err != nil {
		fmt.Fprintln(os.Stderr, "devcluster:", err)
		return 1
	}
	if err := newRoot().ExecuteContext(ctx); err != nil {
		var code exitCode
		if errors.As(err, &code) {
			return int(code)
		}
		fmt.Fprintln(os.Stderr, "devcluster:", err)
		return 1
	}
	return 0
}

// exitCode passes on the exit code of a program that has printed its error.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// options are the flags that all commands have.
type options struct {
	spec     cluster.Spec
	index    int
	cacheDir string
	source   string
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "devcluster",
		Short: "A real Kubernetes cluster on this machine, built from Go modules",
		Long: "devcluster builds etcd, Kubernetes, containerd, CoreDNS and the CSI sidecars from Go modules and runs them\n" +
			"in namespaces of their own. It needs root on Linux, and no container registry, daemon or systemd.",
		SilenceUsage:     true,
		SilenceErrors:    true,
		TraverseChildren: true, // for kubectl, which gets flags of its own
	}
	flags := root.PersistentFlags()
	flags.StringVar(&o.spec.Name, "name", envOr("DEVCLUSTER_NAME", cluster.DefaultName), "name of the cluster (DEVCLUSTER_NAME)")
	flags.StringVar(&o.spec.StateDir, "state-dir", os.Getenv("DEVCLUSTER_STATE_DIR"),
		"folder for all files of the cluster (default "+cluster.DefaultStateRoot+"/NAME)")
	flags.StringVar(&o.cacheDir, "cache-dir", os.Getenv("DEVCLUSTER_CACHE_DIR"),
		"folder for built programs and images (default gocache-operator/devcluster in the user's cache folder)")
	flags.StringVar(&o.source, "source", os.Getenv("DEVCLUSTER_SOURCE"),
		"folder of the module that programs are built from (default hack/devcluster/binaries of this repository)")
	root.AddCommand(
		newUp(o), newDown(o), newStatus(o), newLoad(o), newLogs(o), newKubectl(o), newKubeconfig(o),
		newBuild(o), newAssets(o), newImage(o), newFault(o), newComponent(o), newNode(o), newSelftest(o),
		newInit(), newSupervise(), newDriver(), newLazyFile(),
	)
	return root
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// manager works on the cluster that the flags name.
func (o *options) manager(reporter *progress.Reporter) (*lifecycle.Manager, error) {
	spec := o.spec
	if spec.StateDir != "" {
		dir, err := filepath.Abs(spec.StateDir)
		if err != nil {
			return nil, err
		}
		spec.StateDir = dir
	}
	store, err := o.store(reporter)
	if err != nil {
		return nil, err
	}
	spec.Index = max(o.index, 0)
	if err := spec.WithDefaults().Validate(); err != nil {
		return nil, err
	}
	return &lifecycle.Manager{
		Spec: spec, Indexed: o.index >= 0, Store: store, Images: o.images(store), Reporter: reporter,
	}, nil
}

func (o *options) store(reporter *progress.Reporter) (*binaries.Store, error) {
	dir := o.cacheDir
	if dir == "" {
		var err error
		if dir, err = binaries.DefaultDir(); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &binaries.Store{Dir: dir, Source: o.sourceDir(), Reporter: reporter}, nil
}

func (o *options) images(store *binaries.Store) image.Cache {
	return image.Cache{Dir: filepath.Join(store.Dir, "images")}
}

// sourceDir finds the module of the programs: what was asked for, else the one
// of the repository that the working directory is in, else the one beside this
// file when it was compiled.
func (o *options) sourceDir() string {
	if o.source != "" {
		if dir, err := filepath.Abs(o.source); err == nil {
			return dir
		}
	}
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		for _, below := range []string{"hack/devcluster/binaries", "binaries"} {
			source := filepath.Join(dir, below)
			if _, err := os.Stat(filepath.Join(source, "k8s", "main.go")); err == nil {
				return source
			}
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "binaries")
}

// prefixFlag is a network on the command line.
type prefixFlag struct{ p *netip.Prefix }

func (f prefixFlag) String() string {
	if f.p == nil || !f.p.IsValid() {
		return ""
	}
	return f.p.String()
}

func (f prefixFlag) Set(s string) (err error) {
	*f.p, err = netip.ParsePrefix(s)
	return err
}

func (f prefixFlag) Type() string { return "network" }
