package manager

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"
	_ "time/tzdata" // the image has no time zones, and schedules name them

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	ctrlmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"gocache.dev/operator/controllers"
	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/domain/version"
	"gocache.dev/operator/internal/kube/read"
)

// Command returns the manager's command line.
func Command() *cobra.Command {
	o := &options{}
	logging := zap.Options{}
	cmd := &cobra.Command{
		Use:           "manager",
		Short:         "Run the operator for Go caches and Go module proxies",
		Version:       version.Get().String(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := zap.New(zap.UseFlagOptions(&logging))
			ctrl.SetLogger(log)
			klog.SetLogger(log)
			build := version.Get()
			log.Info("Starting", "version", build.Version, "commit", build.Commit, "go", build.Go, "platform", build.Platform)
			return run(cmd.Context(), o)
		},
	}
	o.bind(cmd.Flags())
	// The loggers of controller-runtime and its kubeconfig lookup support only
	// the standard library's flags.
	std := flag.NewFlagSet("", flag.ContinueOnError)
	logging.BindFlags(std)
	ctrl.RegisterFlags(std)
	cmd.Flags().AddGoFlagSet(std)
	return cmd
}

// run starts the manager and blocks until ctx ends or a part of it fails.
func run(ctx context.Context, o *options) error {
	if err := o.images.Validate(); err != nil {
		return err
	}
	proxies, err := egress.FromEnvironment(os.Getenv)
	if err != nil {
		return err
	}
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find a cluster: run in one, or set --kubeconfig or KUBECONFIG: %w", err)
	}
	cfg.Wrap(read.Bound)
	mgr, apiServer, err := o.connect(ctx, cfg)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the process is to end, and waited
	}
	if err != nil {
		return err
	}
	if err := addChecks(mgr); err != nil {
		return err
	}
	if err := metrics.Registry.Register(buildInfo(version.Get())); err != nil {
		return fmt.Errorf("register the metric of the build: %w", err)
	}
	if o.namespace == "" {
		ctrl.Log.Info("No NetworkPolicies are created for ModProxies: they would exclude this process, whose namespace is unknown. Run it in the cluster, or set --manager-namespace")
	}
	filter := &untrusted.Filter{AllowLoopback: o.allowLoopback, RefusePrivate: o.refusePrivate, Refused: apiServer}
	receiver, err := o.push.AddTo(mgr, time.Now)
	if err != nil {
		return err
	}
	if err := controllers.Setup(mgr, controllers.Deps{
		Clock: time.Now, Images: o.images, Filter: filter, ManagerNamespace: o.namespace, MaxSnapshots: o.maxSnapshots, MaxVerifications: o.maxVerifications,
		Pushes: receiver, Proxies: proxies, Metrics: &o.exporter,
	}); err != nil {
		return fmt.Errorf("set up the controllers: %w", err)
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run the manager: %w", err)
	}
	return nil
}

// addChecks makes the process live while it answers and ready once its caches
// hold what the API server holds.
func addChecks(mgr ctrlmanager.Manager) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add the liveness check: %w", err)
	}
	synced := func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches are not in sync with the API server yet")
		}
		return nil
	}
	if err := mgr.AddReadyzCheck("caches", synced); err != nil {
		return fmt.Errorf("add the readiness check: %w", err)
	}
	return nil
}
