package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/request"
)

// verb is a command that creates one CacheRequest.
type verb struct {
	use, short, long string
	action           v1alpha1.RequestAction
	// kinds that the target may have; the first is that of a name alone.
	kinds []string
	// argument is required, optional or absent.
	argument presence
	// second proposes the argument.
	second following
	// flags of its own that fill the spec, and those of them that are required.
	flags    func(*pflag.FlagSet, *v1alpha1.CacheRequestSpec)
	required []string
}

type presence int

const (
	absent presence = iota
	optional
	required
)

var (
	caches  = []string{v1alpha1.GoCacheKind}
	proxies = []string{v1alpha1.ModProxyKind}
	both    = []string{v1alpha1.GoCacheKind, v1alpha1.ModProxyKind}
)

// requestCommands are the commands that request an action.
var requestCommands = []verb{
	{use: "warm-up CACHE", short: "Warm a cache now", action: v1alpha1.RequestWarmUp, kinds: caches},
	{use: "verify TARGET", short: "Check the content of a cache, or of the stores of a proxy, now", action: v1alpha1.RequestCheckIntegrity, kinds: both},
	{use: "snapshot TARGET", short: "Create a snapshot of a cache, or of the stores of a proxy, now", action: v1alpha1.RequestSnapshot, kinds: both},
	{
		use: "rollback CACHE [CACHESNAPSHOT]", short: "Replace the content of a cache by that of a verified snapshot",
		long:   "Replace the content of a cache by that of a snapshot: the newest verified one, unless another is named.",
		action: v1alpha1.RequestRollback, kinds: caches, argument: optional, second: snapshotsOf,
	},
	{use: "cleanup CACHE", short: "Plan a cleanup of a cache now", action: v1alpha1.RequestCleanup, kinds: caches},
	{
		use: "approve CACHE DIGEST", short: "Approve the cleanup plan of a cache",
		long:   "Approve the cleanup plan of a cache that has the digest. Without a digest the plan that waits is shown.",
		action: v1alpha1.RequestApproveCleanup, kinds: caches, argument: required, second: planOf,
	},
	{
		use: "report-failure CACHE", short: "Report that a build failed which used a cache",
		long:   "Report that a build failed which used a cache: the cache is checked, and rolled back only if it is corrupt.",
		action: v1alpha1.RequestReportFailure, kinds: caches,
	},
	{
		use: "report-build CACHE", short: "Report how much of a build came from a cache",
		long: `Report how much of a build came from the clone of a cache that it used. The numbers are
yours: they are shown by kubectl gocache status, exported as metrics, and decide nothing.`,
		action: v1alpha1.RequestReportBuild, kinds: caches, flags: buildFlags, required: []string{"hits", "misses"},
	},
	{use: "failover PROXY INSTANCE", short: "Move all clients of a proxy to one instance, until a failback", action: v1alpha1.RequestFailover, kinds: proxies, argument: required, second: instancesOf},
	{use: "failback PROXY", short: "End a failover, and skip the hold-down of recovered instances", action: v1alpha1.RequestFailback, kinds: proxies},
	{use: "reinstate PROXY INSTANCE", short: "Let a quarantined instance serve again, once it is proven intact", action: v1alpha1.RequestReinstate, kinds: proxies, argument: required, second: instancesOf},
}

// buildFlags fill the report of a build.
func buildFlags(f *pflag.FlagSet, spec *v1alpha1.CacheRequestSpec) {
	spec.Build = &v1alpha1.BuildReport{}
	f.StringVar(&spec.Build.Name, "build", "", "build of the warm-ups that it corresponds to, as why-cold names them, such as billing/test")
	f.Int64Var(&spec.Build.Hits, "hits", 0, "packages that came from the cache, or lookups that were hits")
	f.Int64Var(&spec.Build.Misses, "misses", 0, "packages that were compiled, or lookups that were misses")
}

// options of one request.
type requestOptions struct {
	wait    bool
	timeout time.Duration
	dryRun  string
	print   *genericclioptions.PrintFlags
}

func (a *app) requestCommand(v verb) *cobra.Command {
	o := requestOptions{print: genericclioptions.NewPrintFlags("created").WithTypeSetter(scheme())}
	name, _, _ := strings.Cut(v.use, " ")
	most := 1
	if v.argument != absent {
		most = 2
	}
	spec := v1alpha1.CacheRequestSpec{Action: v.action}
	cmd := &cobra.Command{
		Use: v.use, Short: v.short, Args: cobra.RangeArgs(1, most),
		Long:              strings.TrimSpace(v.long + "\n\nCreates a CacheRequest with action " + string(v.action) + "."),
		ValidArgsFunction: a.completeBoth(v.second, v.kinds...),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := parseTarget(args[0], v.kinds...)
			if err != nil {
				return err
			}
			spec.TargetRef = target
			if len(args) > 1 {
				spec.Argument = args[1]
			}
			return a.request(cmd.Context(), name, v, spec, o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.wait, "wait", false, "wait until the request is finished, and fail unless it succeeded")
	f.DurationVar(&o.timeout, "timeout", time.Hour, "how long to wait")
	f.StringVar(&o.dryRun, "dry-run", "none", `"none", "client" to print the object only, or "server" to have it validated`)
	o.print.AddFlags(cmd)
	if v.flags != nil {
		v.flags(f, &spec)
	}
	for _, flag := range v.required {
		_ = cmd.MarkFlagRequired(flag)
	}
	return cmd
}

func (a *app) request(ctx context.Context, name string, v verb, spec v1alpha1.CacheRequestSpec, o requestOptions) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	target := spec.TargetRef
	if spec.Argument == "" && v.argument == required {
		return missing(ctx, c, namespace, v, target)
	}
	r := &v1alpha1.CacheRequest{
		// The API server shortens a prefix that is too long.
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: target.Name + "-" + name + "-"},
		Spec:       spec,
	}
	switch o.dryRun {
	case "none":
		err = c.Create(ctx, r)
	case "server":
		err = c.Create(ctx, r, client.DryRunAll)
	case "client":
	default:
		return fmt.Errorf("--dry-run %q: want none, client or server", o.dryRun)
	}
	if err != nil {
		return err
	}
	if o.dryRun != "none" {
		if err := o.print.Complete("%s (dry run)"); err != nil {
			return err
		}
	}
	printer, err := o.print.ToPrinter()
	if err != nil {
		return err
	}
	if err := printer.PrintObj(r, a.Out); err != nil || !o.wait || o.dryRun != "none" {
		return err
	}
	return a.waitFor(ctx, c, client.ObjectKeyFromObject(r), o.timeout)
}

// waitFor waits for the outcome. It reads rather than watches: those who may only
// report failures may not list.
func (a *app) waitFor(ctx context.Context, c client.Reader, key client.ObjectKey, timeout time.Duration) error {
	r := &v1alpha1.CacheRequest{}
	reported := ""
	shown := a.activity(0, true)
	err := wait.PollUntilContextTimeout(ctx, a.interval, timeout, true, func(ctx context.Context) (bool, error) {
		if err := c.Get(ctx, key, r); err != nil {
			if retriable(err) {
				return false, nil
			}
			return false, err
		}
		line := "Waiting"
		if r.Status.Outcome != "" {
			line = string(r.Status.Outcome)
		}
		if r.Status.Message != "" {
			line += ": " + r.Status.Message
		}
		if line != reported {
			shown.begin(line)
			reported = line
		}
		return request.Finished(r), nil
	})
	if shown.end(); a.interactive {
		_, _ = fmt.Fprintln(a.ErrOut, reported)
	}
	switch {
	case wait.Interrupted(err) && ctx.Err() == nil:
		return fmt.Errorf("CacheRequest %s is not finished after %s; it is still worked on: see kubectl gocache status", key.Name, timeout)
	case err != nil:
		return fmt.Errorf("wait for CacheRequest %s: %w", key.Name, err)
	case r.Status.Outcome != v1alpha1.RequestSucceeded:
		return ErrReported
	}
	return nil
}

// retriable reports whether the API server may answer the next time.
func retriable(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
	}
	return apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || apierrors.IsTimeout(err)
}

// missing explains what the argument could be.
func missing(ctx context.Context, c client.Reader, namespace string, v verb, target v1alpha1.RequestTarget) error {
	key := client.ObjectKey{Namespace: namespace, Name: target.Name}
	if v.action != v1alpha1.RequestApproveCleanup {
		var proxy v1alpha1.ModProxy
		if err := c.Get(ctx, key, &proxy); err != nil {
			return err
		}
		var names []string
		for _, i := range proxy.Spec.Instances {
			names = append(names, i.Name)
		}
		return fmt.Errorf("INSTANCE is missing: choose one of %s", strings.Join(names, ", "))
	}
	var cache v1alpha1.GoCache
	if err := c.Get(ctx, key, &cache); err != nil {
		return err
	}
	if cache.Status.Cleanup == nil || cache.Status.Cleanup.LastPlan == nil || !cache.Status.Cleanup.LastPlan.Open {
		return fmt.Errorf("GoCache %s has no cleanup plan that waits for an approval", target.Name)
	}
	plan := cache.Status.Cleanup.LastPlan
	return fmt.Errorf("DIGEST is missing: the plan of %s removes %d entries with %d bytes; to approve it: kubectl gocache approve %s %s -n %s",
		plan.Time.UTC().Format(time.RFC3339), plan.Entries, plan.Bytes, target.Name, plan.Digest, namespace)
}
