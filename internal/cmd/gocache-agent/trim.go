package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/restore"
	"gocache.dev/operator/internal/agent/trim"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/exitcode"
)

func newTrim() *cobra.Command {
	o := trim.Options{Clock: time.Now}
	var maxSize, maxModSize bytesValue
	var asOf string
	cmd := &cobra.Command{
		Use:   "trim",
		Short: "Bound the size and age of caches, safely beside builds for a build cache",
		Long: `Trim removes what was not used for --max-age, then the least recently used until
the build cache fits into --max-size. Builds may be running: action entries go
first, outputs only after --grace. On a clone or a restored cache the first run removes
nothing that came with it: the go command has not marked what builds used of that. The
run makes it do so from then on.

A module cache is trimmed to what --keep-gosum names and the newest Go toolchain in
it, of one platform. Other toolchains go first, then the largest modules. That needs
--exclusive: no build may be using it.

With --plan nothing is removed and the plan's digest is printed; --approved and
--as-of apply exactly that plan or nothing.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.MaxSize, o.MaxModSize = int64(maxSize), int64(maxModSize)
			if asOf != "" {
				t, err := time.Parse(time.RFC3339Nano, asOf)
				if err != nil {
					return usage(fmt.Errorf("--as-of: %w", err))
				}
				o.AsOf = t
			}
			r, err := trim.Run(cmd.Context(), o)
			if errors.Is(err, trim.ErrUsage) {
				return usage(err)
			}
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.BuildCache, "buildcache", "", "build cache to trim")
	f.Var(&maxSize, "max-size", "size that the build cache's outputs are to fit into, such as 10Gi")
	f.DurationVar(&o.MaxAge, "max-age", 0, "remove what was not used for so long")
	f.DurationVar(&o.MinAge, "min-age", buildcache.MinAge, "keep what was used within this time, whatever the bounds")
	f.DurationVar(&o.Grace, "grace", 10*time.Minute, "wait between removing entries and their outputs; 0 only when no build runs")
	f.StringVar(&o.ModCache, "modcache", "", "module cache to trim")
	f.StringArrayVar(&o.KeepGoSum, "keep-gosum", nil, "go.sum file whose modules stay; may be given several times")
	f.Var(&maxModSize, "max-mod-size", "stop when the module cache fits into this size (default: remove all that is not kept)")
	f.BoolVar(&o.Exclusive, "exclusive", false, "no build is using the module cache")
	f.BoolVar(&o.PlanOnly, "plan", false, "only print the plan")
	f.StringVar(&o.Approved, "approved", "", "apply only the plan with this digest")
	f.StringVar(&asOf, "as-of", "", "the time that ages are measured against, from the plan")
	f.Bool("json", true, "print JSON (always)")
	return cmd
}

func newRestore() *cobra.Command {
	o := restore.Options{Clock: time.Now}
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Copy a volume of caches to an empty directory, by reference where possible, and check it",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.From == "" || o.To == "" {
				return usage(errors.New("restore needs --from and --to"))
			}
			r, err := restore.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if err := json.NewEncoder(cmd.OutOrStdout()).Encode(r); err != nil {
				return err
			}
			if r.Verdict == nil {
				return nil
			}
			return exit(exitcode.OfVerdict(r.Verdict.Verdict), string(r.Verdict.Verdict)+": "+r.Verdict.Message)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.From, "from", "", "root of the volume to copy")
	f.StringVar(&o.To, "to", "", "empty directory to fill")
	f.StringVar(&o.ModDir, "mod-dir", "mod", "the module cache's directory below both")
	f.StringVar(&o.BuildDir, "build-dir", "build", "the build cache's directory below both")
	f.IntVar(&o.Workers, "workers", 0, "files to copy at once")
	f.BoolVar(&o.NoVerify, "no-verify", false, "do not check the copy")
	f.Bool("json", true, "print JSON (always)")
	return cmd
}
