package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// ErrReported is returned by a command whose output has the reason already: the
// program exits with an error and prints nothing more.
var ErrReported = errors.New("reported")

// app is what the commands share.
type app struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags
	color bool
	// interactive: a person sees the progress of what takes long.
	interactive bool
	now         func() time.Time
	// client and clientset reach the cluster of the flags; tests replace them.
	client    func() (client.Client, error)
	clientset func() (kubernetes.Interface, error)
	// logs opens the log of a container from its beginning until it ends.
	logs func(ctx context.Context, pod *corev1.Pod, options *corev1.PodLogOptions) (io.ReadCloser, error)
	// interval between reads of what is waited for, or watched.
	interval time.Duration
	// suffix makes names of temporary objects unique.
	suffix func() string
}

// scheme has the kinds that the commands read.
var scheme = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	utilruntime.Must(snapshotv1.AddToScheme(s))
	return s
})

// Options of the command.
type Options struct {
	// Version of the program.
	Version string
	// Now is the clock.
	Now func() time.Time
	// NoColor is set where output must not be colored. Only terminals get colors.
	NoColor bool
}

// New is the command kubectl gocache.
func New(streams genericiooptions.IOStreams, o Options) *cobra.Command {
	a := &app{
		IOStreams: streams, flags: genericclioptions.NewConfigFlags(true), now: o.Now, interval: time.Second,
		suffix: func() string { return rand.String(5) },
		color:  terminal(streams.Out) && !o.NoColor, interactive: terminal(streams.ErrOut),
	}
	a.client = func() (client.Client, error) {
		config, err := a.config()
		if err != nil {
			return nil, err
		}
		c, err := client.New(config, client.Options{Scheme: scheme()})
		if err != nil {
			return nil, fmt.Errorf("connect to the API server: %w", err)
		}
		return c, nil
	}
	a.clientset = func() (kubernetes.Interface, error) {
		config, err := a.config()
		if err != nil {
			return nil, err
		}
		return kubernetes.NewForConfig(config)
	}
	a.logs = func(ctx context.Context, pod *corev1.Pod, options *corev1.PodLogOptions) (io.ReadCloser, error) {
		clientset, err := a.clientset()
		if err != nil {
			return nil, err
		}
		return clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, options).Stream(ctx)
	}
	return a.root(o.Version)
}

// config reaches the cluster of the flags.
func (a *app) config() (*rest.Config, error) {
	config, err := a.flags.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "kubectl-gocache"
	// The limits of kubectl. With those of client-go, 5 and 10, a status of 200 PVCs takes 40 seconds.
	config.QPS, config.Burst = 50, 300
	return config, nil
}

func (a *app) root(version string) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-gocache",
		Short: "Inspect and operate Go caches and Go module proxies",
		Long: `Inspect and operate GoCaches, CacheSnapshots and ModProxies.

A TARGET is the name of a GoCache, or KIND/NAME: gocache/ci, modproxy/goproxy.`,
		Annotations:  map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl gocache"},
		Version:      version,
		SilenceUsage: true, SilenceErrors: true,
	}
	a.flags.AddFlags(root.PersistentFlags())
	root.SetOut(a.Out)
	root.SetErr(a.ErrOut)
	root.AddCommand(a.statusCommand(), a.doctorCommand(), a.envCommand(), a.logsCommand(), a.diffCommand(), a.csicheckCommand(), a.whyColdCommand())
	for _, r := range requestCommands {
		root.AddCommand(a.requestCommand(r))
	}
	return root
}

// namespace of the flags, or of the context of the kubeconfig.
func (a *app) namespace() (string, error) {
	namespace, _, err := a.flags.ToRawKubeConfigLoader().Namespace()
	return namespace, err
}

// connect returns a client and the namespace.
func (a *app) connect() (client.Client, string, error) {
	namespace, err := a.namespace()
	if err != nil {
		return nil, "", err
	}
	c, err := a.client()
	return c, namespace, err
}

// parseTarget reads NAME or KIND/NAME.
func parseTarget(text string, kinds ...string) (v1alpha1.RequestTarget, error) {
	kind, name, found := strings.Cut(text, "/")
	if !found {
		kind, name = kinds[0], text
	}
	for _, k := range kinds {
		for _, alias := range aliases[k] {
			if name != "" && (strings.EqualFold(kind, k) || strings.EqualFold(kind, alias)) {
				return v1alpha1.RequestTarget{Kind: k, Name: name}, nil
			}
		}
	}
	return v1alpha1.RequestTarget{}, fmt.Errorf("target %q: want NAME of a %s, or KIND/NAME with a kind of %s", text, kinds[0], strings.Join(kinds, ", "))
}

// aliases are the other names of the kinds in the API.
var aliases = map[string][]string{
	v1alpha1.GoCacheKind:       {"gocaches", "goc"},
	v1alpha1.ModProxyKind:      {"modproxies", "mproxy"},
	v1alpha1.CacheSnapshotKind: {"cachesnapshots", "csnap"},
}

// terminal reports whether a person reads the output.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor is small
}
