package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/cleanup"
	report "gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/domain/exitcode"
)

func newCleanup() *cobra.Command {
	o := cleanup.Options{Clock: time.Now}
	var maxSize bytesValue
	var asOf string
	umask := "0002"
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Clean a volume that warm-ups fill, within bounds of size and age, by a plan that can be approved",
		Long: `Cleanup makes three checks of a volume that "warm" has filled, and reports what it would
go: what no warm-up used for --max-age, then what was used least recently until
both caches together fit into --max-size. What the last warm-up used stays.

With --apply DIGEST and --as-of from the plan, exactly that goes, or nothing if it
is the plan no more; then the last warm-up's builds are repeated offline and the
caches are checked. Meanwhile nothing else may use the volume; to trim a build
cache that builds are using, see "trim".`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			mask, err := strconv.ParseUint(umask, 8, 9)
			if err != nil {
				return usage(fmt.Errorf("--umask %q: must be octal, such as 0002", umask))
			}
			if o.ModCache == "" && o.BuildCache == "" {
				return usage(errors.New("cleanup needs --modcache or --buildcache"))
			}
			if maxSize <= 0 && o.MaxAge <= 0 {
				return usage(errors.New("cleanup needs --max-size or --max-age"))
			}
			if o.Approved != "" && asOf == "" {
				return usage(errors.New("--apply needs the plan's --as-of: ages are measured against it"))
			}
			if asOf != "" {
				if o.AsOf, err = time.Parse(time.RFC3339, asOf); err != nil {
					return usage(fmt.Errorf("--as-of: %w", err))
				}
			}
			if o.Root == "" {
				o.Root = filepath.Dir(filepath.Clean(cmp.Or(o.ModCache, o.BuildCache)))
			}
			o.MaxSize, o.Umask, o.Env, o.Stdout = int64(maxSize), int(mask), os.Environ(), cmd.OutOrStdout()
			r, err := cleanup.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			code := exitcode.Failed
			switch r.Outcome {
			case report.Planned, report.Applied:
				code = exitcode.OK
			case report.Corrupt:
				code = exitcode.Corrupt
			case report.Paused, report.Changed, report.Failed:
			}
			return exit(code, string(r.Outcome)+": "+r.Message)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Root, "root", "", "root of the volume (default: the directory above the cache that is given)")
	f.StringVar(&o.ModCache, "modcache", "", "module cache on the volume")
	f.StringVar(&o.BuildCache, "buildcache", "", "build cache on the volume")
	f.Var(&maxSize, "max-size", "size that both caches together are to fit into, such as 10Gi")
	f.DurationVar(&o.MaxAge, "max-age", 0, "remove what no warm-up used for so long")
	f.StringVar(&o.Approved, "apply", "", "apply the plan with this digest")
	f.StringVar(&asOf, "as-of", "", "the time that ages are measured against, from the plan")
	f.StringVar(&o.Go, "go", "go", "go command")
	f.BoolVar(&o.NeverSealed, "never-sealed", false, "with --apply: no writer has reported such a digest: nothing is removed")
	f.StringVar(&o.Sealed, "sealed-digest", "", "with --apply: digest of the manifest that the last writer reported: nothing is removed if the caches are not what it left")
	f.StringVar(&umask, "umask", umask, "umask for what is written, octal")
	f.BoolVar(&o.JSON, "json", false, "end with the result as a line of JSON")
	f.StringVar(&o.TerminationLog, "termination-log", "", "also write the result here, in at most 4096 bytes")
	return cmd
}
