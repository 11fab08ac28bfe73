// Command gocache-proxy serves Go modules from a directory in GOPROXY layout
// and fetches what is missing there from an upstream proxy.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"gocache.dev/operator/internal/domain/version"
	"gocache.dev/operator/internal/proxy"
)

type flags struct {
	options         proxy.Options
	listen          string
	metricsListen   string
	upstream        string
	defaults        string
	peers           string
	tlsCert, tlsKey string
	shutdownTimeout time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gocache-proxy:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:     "gocache-proxy --store DIR",
		Short:   "Serve Go modules from a verified store, filled from an upstream proxy",
		Version: version.Get().String(),
		Long: `Serve the GOPROXY protocol from a directory, and fetch what it lacks from an upstream.

Where modules come from and how they are checked follows the go command's own
variables: GOPROXY (or --upstream), GONOPROXY, GOPRIVATE, GOSUMDB, GONOSUMDB.
Their defaults are asked from a go command in PATH, or else read from
--toolchain-defaults. Modules are not fetched from version control here, but by
the server that --version-control names.

Pages: /healthz (the process lives), /readyz (the store is there, is readable
and has room). Only at the address of --metrics-listen, which clients should not
reach: /metrics (Prometheus), /moved (private versions whose tag was moved).`,
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.options.Store, "store", "", "directory of the modules (required)")
	fs.StringVar(&f.listen, "listen", ":8080", "address to serve on")
	fs.StringVar(&f.metricsListen, "metrics-listen", os.Getenv("GOCACHE_PROXY_METRICS_LISTEN"), "address that serves /metrics and /moved, and no module; empty: they are not served (default: GOCACHE_PROXY_METRICS_LISTEN)")
	fs.StringVar(&f.upstream, "upstream", "", "GOPROXY list to fetch from; \"off\" serves the store alone (default: the toolchain's GOPROXY)")
	fs.StringVar(&f.options.Credentials, "credentials", "", "directory with netrc, or with username and password for the upstreams; read again for each request, sent over https only")
	fs.StringVar(&f.options.CredentialsHosts, "credentials-hosts", "", "hosts that credentials may be sent to, such as proxy.example.com,*.corp.example (default: all that they are for)")
	fs.StringVar(&f.options.VersionControl, "version-control", "", "URL of a server, such as gocache-agent vcs, that alone is asked for the modules of --private-modules; no upstream and no checksum database is")
	fs.StringVar(&f.options.PrivateModules, "private-modules", "", "patterns of module paths, in the syntax of GOPRIVATE, that come from --version-control")
	fs.StringVar(&f.peers, "peers", os.Getenv("GOCACHE_PROXY_PEERS"), "URLs of the other instances of the proxy, separated by commas, which are asked for what they have stored (default: GOCACHE_PROXY_PEERS)")
	fs.StringVar(&f.options.QuarantinedPeers, "quarantined-peers", os.Getenv("GOCACHE_PROXY_QUARANTINED_PEERS"), "file with the URLs of those of --peers that are not asked, one a line; read again when it changes (default: GOCACHE_PROXY_QUARANTINED_PEERS)")
	fs.StringVar(&f.options.Policy, "policy", "", "file with which versions are served, as JSON; read again when it changes (default: all are)")
	fs.StringVar(&f.defaults, "toolchain-defaults", filepath.Join(goroot(), "go.env"), "a Go distribution's go.env, read where no go command is")
	fs.StringVar(&f.options.Name, "name", hostname(), "name of this instance in answers and logs")
	fs.StringVar(&f.options.TempDir, "temp-dir", os.TempDir(), "directory for fetches under way")
	fs.DurationVar(&f.options.FetchTimeout, "fetch-timeout", 10*time.Minute, "how long an upstream may take to begin an answer; an archive may then take six times as long")
	fs.IntVar(&f.options.MaxFetches, "max-fetches", 32, "archives of up to 8 MiB fetched at once; of other files four times as many")
	fs.Int64Var(&f.options.MaxFetchBytes, "max-fetch-bytes", 2<<30, "sum of the sizes of larger archives fetched at once")
	fs.IntVar(&f.options.MaxRequests, "max-requests", 1024, "requests served at once")
	fs.IntVar(&f.options.MaxUsedPercent, "max-used-percent", proxy.Percent(os.Getenv("GOCACHE_PROXY_MAX_USED_PERCENT")), "share of the volume beyond which archives are removed that were not served for the longest time; 0: none are (default: GOCACHE_PROXY_MAX_USED_PERCENT)")
	fs.Int64Var(&f.options.VolumeSize, "volume-size", proxy.Bytes(os.Getenv("GOCACHE_PROXY_VOLUME_SIZE")), "size of the store's volume in bytes: where its file system is larger, others share it, and only the volume's own files count; 0: not known (default: GOCACHE_PROXY_VOLUME_SIZE)")
	fs.Uint64Var(&f.options.MinFree, "min-free", 64<<20, "bytes the volume must have free to be ready")
	fs.DurationVar(&f.options.ReadyTimeout, "ready-timeout", time.Second, "limit of a look at the store for /readyz")
	fs.StringVar(&f.tlsCert, "tls-cert", "", "certificate file; with --tls-key serves HTTPS")
	fs.StringVar(&f.tlsKey, "tls-key", "", "key file of --tls-cert")
	fs.DurationVar(&f.shutdownTimeout, "shutdown-timeout", 5*time.Minute, "how long requests under way may take when stopping")
	_ = cmd.MarkFlagRequired("store") // it is defined above
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	cmd.MarkFlagsRequiredTogether("version-control", "private-modules")
	return cmd
}

func run(ctx context.Context, f flags) error {
	log := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, nil))
	env, err := proxy.ToolchainEnvironment(ctx, os.Getenv, f.defaults)
	if err != nil {
		return err
	}
	if f.upstream != "" {
		env.GOPROXY = f.upstream
	}
	f.options.Peers = proxy.SplitPeers(f.peers)
	f.options.Environment, f.options.Now, f.options.Log = env, time.Now, log
	server, err := proxy.New(f.options)
	if err != nil {
		return err
	}
	tlsConfig, err := loadTLS(f.tlsCert, f.tlsKey)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, f.listen)
	if err != nil {
		return err
	}
	// Metrics are served until the last request has been answered.
	metrics, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	if f.metricsListen != "" {
		page, err := listen(ctx, f.metricsListen)
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		group.Go(func() error { return server.ServePages(metrics, page) })
	}
	log.Info("Serving", "address", listener.Addr().String(), "tls", tlsConfig != nil, "metrics", f.metricsListen)
	group.Go(func() error {
		defer stop()
		return server.Serve(ctx, listener, tlsConfig, f.shutdownTimeout)
	})
	return group.Wait()
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener, nil
}
