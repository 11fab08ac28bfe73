package main

import (
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/offlinebuild"
	"gocache.dev/operator/internal/domain/exitcode"
	report "gocache.dev/operator/internal/domain/offlinebuild"
)

func newOfflineBuild() *cobra.Command {
	o := offlinebuild.Options{Clock: time.Now}
	cmd := &cobra.Command{
		Use:   "offline-build",
		Short: "Test whether a program can be built from caches alone, without a network",
		Long: `Offline-build runs go mod verify, go build and, if asked, go mod vendor on a copy of a
program with GOPROXY=off, and compares what was linked with what go.mod
resolves to. The caches are written to as any build does.

Exit codes: 0 it builds, 1 it does not, 2 wrong usage, 4 there is no result.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.ModCache == "" || o.BuildCache == "" || o.Program == "" {
				return usage(errors.New("offline-build needs --modcache, --buildcache and --program"))
			}
			o.Env, o.Stdout = os.Environ(), cmd.OutOrStdout()
			r, err := offlinebuild.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			code := map[string]int{report.Succeeded: exitcode.OK, report.Failed: exitcode.Failed, report.Inconclusive: exitcode.Inconclusive}[r.Outcome]
			return exit(code, r.Outcome+": "+r.Step)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.ModCache, "modcache", "", "module cache to build from (GOMODCACHE)")
	f.StringVar(&o.BuildCache, "buildcache", "", "build cache to build with (GOCACHE)")
	f.StringVar(&o.Program, "program", "", "directory with go.mod, go.sum and the files of a package main")
	f.BoolVar(&o.Vendor, "vendor", false, "also run go mod vendor")
	f.StringVar(&o.Go, "go", "go", "go command")
	f.BoolVar(&o.JSON, "json", false, "end with the result as a line of JSON")
	f.StringVar(&o.TerminationLog, "termination-log", "", "also write the result here, in at most 4096 bytes")
	return cmd
}
