// Command gocache-router runs beside HAProxy in a router pod and reports to it,
// by agent-check, the state and weight that the operator has set for each
// server.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"gocache.dev/operator/internal/domain/version"
	"gocache.dev/operator/internal/router"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gocache-router:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o router.Options
	var kubeconfig string
	cmd := &cobra.Command{
		Use:     "gocache-router --weights-file FILE [--configmap NAME]",
		Short:   "Answer HAProxy's agent-check from the operator's weights",
		Version: version.Get().String(),
		Long: `Answer HAProxy's agent-check from the weights that the operator publishes.

The weights are read from a file at the start, so that a router starts without
an API server, and then from a watch on one ConfigMap. When neither has
anything good to offer, the last good weights stay in force.

With --certificate-dir it also brings the certificate to HAProxy, and replaces
it when the Secret changes; a pair that cannot serve never replaces one that can.

Pages: /healthz, /readyz (HAProxy has polled every server), /certificate, /metrics.`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Clients.Socket, o.Answers.Now = o.Certificate.Socket, time.Now
			return run(cmd.Context(), o, kubeconfig)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.Agent, "listen", "127.0.0.1:9777", "address that HAProxy asks")
	fs.StringVar(&o.Pages, "pages-listen", ":9778", "address of /healthz, /readyz and /metrics")
	fs.StringSliceVar(&o.Servers, "servers", nil, "server that HAProxy must have polled before the router is ready; repeated (default: all that the weights name)")
	fs.StringVar(&o.File, "weights-file", "/etc/gocache/weights/weights.json", "file that holds the weights, mounted from the ConfigMap")
	fs.DurationVar(&o.Interval, "weights-interval", 5*time.Second, "how often the file is read again")
	fs.StringVar(&o.Name, "configmap", "", "ConfigMap to watch (default: the file alone)")
	fs.StringVar(&o.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "namespace of the ConfigMap")
	fs.StringVar(&o.Answers.Listen, "answers-listen", "", "address to which HAProxy forwards requests whose answers must arrive complete and unaltered (default: it does not)")
	fs.StringSliceVar(&o.Answers.Attempts, "answers-attempt", nil, "URL under which HAProxy gives an instance's answer; repeated, in the order of the attempts")
	fs.StringSliceVar(&o.Answers.DatabaseUpstreams, "answers-database", nil, "URL of a GOPROXY server that is asked for what is of a checksum database, before the instances are; repeated (default: none)")
	fs.StringVar(&o.Answers.Private, "answers-private", "", "modules, in the syntax of GOPRIVATE, whose names the servers of --answers-database do not get")
	fs.StringVar(&o.Answers.Spool, "answers-spool", "", "directory for archives while they are checked (default: only those that fit into memory are)")
	fs.StringVar(&o.Certificate.Directory, "certificate-dir", "", "directory with tls.crt and tls.key, mounted from a Secret (default: plain HTTP)")
	fs.StringVar(&o.Certificate.File, "certificate-file", "/run/gocache/tls.pem", "where HAProxy finds chain and key in one")
	fs.StringVar(&o.Certificate.Socket, "haproxy-socket", "/run/gocache/admin.sock", "socket over which HAProxy takes a new certificate, and new credentials of clients")
	fs.StringVar(&o.Certificate.Host, "certificate-host", "", "name under which clients come, that the certificate must be valid for")
	fs.StringVar(&o.Clients.Directory, "clients-dir", "", "directory with the username and the password that clients need, mounted from a Secret (default: they need none)")
	fs.StringVar(&o.Clients.File, "clients-file", "/run/gocache/clients", "where HAProxy finds what to compare the credentials of requests with")
	fs.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig file (default: the pod's service account)")
	return cmd
}

func run(ctx context.Context, o router.Options, kubeconfig string) error {
	handler := slog.NewJSONHandler(os.Stderr, nil)
	klog.SetSlogLogger(slog.New(handler))
	o.Log, o.Now = logr.FromSlogHandler(handler), time.Now
	if o.Name != "" {
		client, err := newClient(kubeconfig)
		if err != nil {
			// Without a client the file still serves; a crash loop would not.
			o.Log.Error(err, "Following the file alone")
		} else {
			o.Client = client
		}
	}
	return router.Run(ctx, o)
}

func newClient(kubeconfig string) (kubernetes.Interface, error) {
	var config *rest.Config
	var err error
	if kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	} else {
		config, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	config.UserAgent = "gocache-router"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return client, nil
}
