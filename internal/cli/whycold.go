package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli/status"
	"gocache.dev/operator/internal/domain/buildinputs"
	"gocache.dev/operator/internal/domain/goenv"
)

// maxGoEnv bounds what is read of a go command's output.
const maxGoEnv = 1 << 20

func (a *app) whyColdCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "why-cold CACHE --go-env FILE [-- FLAG...]",
		Short: "Compare how a pod builds with how a cache was warmed",
		Long: `Compare how a pod builds with how a cache was warmed: for each build that the
warm-ups made, which flags and variables differ, and what is compiled again because
of them. FILE is the output of go env -json in the pod, - standard input; flags of
its go build or go test follow after --.

It exits with 1 unless the pod builds as one of the builds that were warmed. It
compares inputs only: packages that were not warmed are compiled in any case.`,
		Example: `  kubectl exec builder-0 -- go env -json | kubectl gocache why-cold ci --go-env -
  kubectl gocache why-cold ci --go-env env.json -- -race -tags=integration`,
		Args: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash >= 0 {
				args = args[:dash]
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		ValidArgsFunction: a.complete(v1alpha1.GoCacheKind),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := parseTarget(args[0], v1alpha1.GoCacheKind)
			if err != nil {
				return err
			}
			output, err := a.goEnv(file)
			if err != nil {
				return err
			}
			b, err := buildinputs.FromGoEnv(output, args[1:]...)
			if err != nil {
				return err
			}
			c, namespace, err := a.connect()
			if err != nil {
				return err
			}
			w, err := warmedBy(cmd.Context(), c, client.ObjectKey{Namespace: namespace, Name: target.Name})
			if err != nil {
				return err
			}
			return a.compare(b, w)
		},
	}
	cmd.Flags().StringVar(&file, "go-env", "", "file with the output of go env -json in the pod that builds; - is standard input")
	_ = cmd.MarkFlagRequired("go-env")
	return cmd
}

// goEnv reads the output of a go command.
func (a *app) goEnv(file string) ([]byte, error) {
	in := a.In
	if file != "-" {
		f, err := os.Open(file) //nolint:gosec // the user names it
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, maxGoEnv))
}

// warmth is how a cache was warmed.
type warmth struct {
	cache, snapshot string
	base            buildinputs.Build
	builds          []variant
}

// variant is one build of a warm-up.
type variant struct {
	name string
	buildinputs.Build
	// failed: the last warm-up could not make it.
	failed bool
}

// warmedBy reads how the content was made that PVCs get now: by the record of the
// snapshot that they are populated from, or else by that of the cache PVC.
func warmedBy(ctx context.Context, c client.Client, key client.ObjectKey) (warmth, error) {
	var cache v1alpha1.GoCache
	if err := c.Get(ctx, key, &cache); err != nil {
		return warmth{}, err
	}
	w := warmth{cache: key.Name, snapshot: cache.Status.LatestVerifiedSnapshot}
	record := cache.Status.Toolchain
	if s := cache.Status.Source; cache.Spec.Source != nil {
		source := client.ObjectKey{Namespace: cache.Spec.Source.Namespace, Name: cache.Spec.Source.Name}
		if s == nil || s.Toolchain == nil {
			return w, fmt.Errorf("GoCache %s has no content yet: see kubectl gocache status %s", key.Name, key.Name)
		}
		record, w.cache, w.snapshot = s.Toolchain, source.String(), s.Snapshot
		// The builds are in the spec of the source, which the user may not be allowed to read.
		if err := c.Get(ctx, source, &cache); err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
			return w, err
		}
	} else if w.snapshot != "" {
		var s v1alpha1.CacheSnapshot
		err := c.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: w.snapshot}, &s)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return w, err
		}
		if s.Status.Source != nil && s.Status.Source.Toolchain != nil {
			record = s.Status.Source.Toolchain
		}
	}
	if record == nil {
		return w, fmt.Errorf("GoCache %s has not been warmed yet: see kubectl gocache status %s", key.Name, key.Name)
	}
	w.base = recorded(record)
	w.builds = variants(&cache, w.base)
	return w, nil
}

// recorded is the build that a warm-up makes where nothing else is declared.
func recorded(t *v1alpha1.ToolchainRecord) buildinputs.Build {
	b := buildinputs.Build{Release: t.Version}
	if t.MountPath != "" {
		b.ModuleCache = goenv.ModuleCache(t.MountPath)
	}
	goos, goarch, _ := strings.Cut(t.Platform, "/")
	return b.With(map[string]string{"GOOS": goos, "GOARCH": goarch, "CGO_ENABLED": t.CGOEnabled, "GOFLAGS": t.GoFlags})
}

// variants are the builds of all sources. A source without builds is built without
// flags, and so is a cache without sources.
func variants(cache *v1alpha1.GoCache, base buildinputs.Build) []variant {
	failed := map[string]bool{}
	for _, s := range cache.Status.WarmUp.Sources {
		for _, b := range s.Builds {
			failed[s.Name+"/"+b.Name] = b.Outcome != v1alpha1.RunSucceeded
		}
	}
	var all []variant
	if cache.Spec.WarmUp != nil {
		for i, s := range cache.Spec.WarmUp.Sources {
			name := sourceName(cache, i)
			for _, b := range s.Builds {
				env := map[string]string{}
				for _, v := range b.Env {
					env[v.Name] = v.Value
				}
				full := name + "/" + b.Name
				all = append(all, variant{full, base.With(env, b.Flags...), failed[full]})
			}
			if len(s.Builds) == 0 {
				all = append(all, variant{name, base, false})
			}
		}
	}
	if len(all) == 0 {
		return []variant{{"default", base, false}}
	}
	return all
}

// sourceName is the name of a source in the status, which is in the order of the
// spec, or what the source is read from while there is none.
func sourceName(cache *v1alpha1.GoCache, i int) string {
	s := cache.Spec.WarmUp.Sources[i]
	switch {
	case s.Name != "":
		return s.Name
	case len(cache.Status.WarmUp.Sources) == len(cache.Spec.WarmUp.Sources):
		return cache.Status.WarmUp.Sources[i].Name
	case s.ConfigMapRef != nil:
		return s.ConfigMapRef.Name
	default:
		return strings.TrimSuffix(path.Base(s.Git.URL), ".git")
	}
}

// compare prints what differs from each build.
func (a *app) compare(b buildinputs.Build, w warmth) error {
	what := "GoCache " + w.cache
	if w.snapshot != "" {
		what += ", CacheSnapshot " + w.snapshot
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s, warmed by %s for %s/%s\n", what, w.base.Release, w.base.Inputs["GOOS"], w.base.Inputs["GOARCH"])
	warm := false
	for _, v := range w.builds {
		var differences []string
		for _, d := range buildinputs.Differences(b, v.Build) {
			differences = append(differences, fmt.Sprintf("%s is %s, and was %s: %s", d.Input, d.Is, d.Was, d.Effect))
		}
		switch {
		case len(differences) > 0:
			a.finding(&out, "", status.LevelFailure, "build "+v.name, differences...)
		case v.failed:
			a.finding(&out, "", status.LevelWarning, "build "+v.name+": the same, but the last warm-up could not make it")
		default:
			warm = true
			a.finding(&out, "", status.LevelOK, "build "+v.name+": the same")
		}
	}
	if b.Inputs["CGO_ENABLED"] == "1" {
		out.WriteString("Not compared: the C compiler and its flags, which packages that use cgo depend on\n")
	}
	_, err := io.WriteString(a.Out, out.String())
	if err == nil && !warm {
		err = ErrReported
	}
	return err
}
