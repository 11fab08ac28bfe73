package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/exitcode"
	"gocache.dev/operator/internal/agent/verify"
)

func newVerify() *cobra.Command {
	o := verify.Options{Clock: time.Now}
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that caches hold exactly what the go command put there",
		Long: `Verify hashes everything in a module cache and a build cache that the go
command would use. It only reads.

Exit codes: 0 Intact, 3 Corrupt, 2 wrong usage, anything else Inconclusive.`,
		Example: `  gocache-agent verify --modcache $(go env GOMODCACHE) --buildcache $(go env GOCACHE)`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Stdout, o.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			v, err := verify.Run(cmd.Context(), o)
			var wrong *verify.UsageError
			if errors.As(err, &wrong) {
				return usage(err)
			}
			if err != nil {
				return &exitcode.Error{Code: exitcode.Inconclusive, Err: err}
			}
			return exit(exitcode.OfVerdict(v.Verdict), string(v.Verdict)+": "+v.Message)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.ModCache, "modcache", "", "module cache to check (GOMODCACHE)")
	f.StringVar(&o.BuildCache, "buildcache", "", "build cache to check (GOCACHE)")
	f.StringVar(&o.Root, "root", "", "root of the volume, where its writer left records (default: the directory above the caches)")
	f.StringArrayVar(&o.GoSum, "gosum", nil, "go.sum file to trust; may be given several times")
	f.StringVar(&o.Manifest, "manifest", "", "write the canonical manifest to this file, compressed")
	f.StringVar(&o.Baseline, "baseline", "", "manifest of an earlier full check: zips with the same raw sha256 are not inflated again")
	f.StringVar(&o.BaselineDigest, "baseline-digest", "", "digest that the baseline must have")
	f.IntVar(&o.Workers, "workers", 0, "files to read at once (default: twice the processors)")
	f.StringVar(&o.FailOn, "fail-on", "wrong", "least severity that convicts: torn or wrong")
	f.BoolVar(&o.JSON, "json", false, "print the verdict as JSON")
	f.StringVar(&o.TerminationLog, "termination-log", "", "also write the verdict here, in at most 4096 bytes")
	return cmd
}
