package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/repair"
	"gocache.dev/operator/internal/agent/verify"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
)

func newRepair() *cobra.Command {
	var c caches.Flags
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Remove exactly what a check finds broken, so that the go command makes it anew",
		Long: `Repair checks, removes what is torn or wrong, and checks again. No build may be
using a module cache meanwhile.

Exit codes: those of verify, for the caches as they are afterwards.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.Options(cmd.Context(), time.Now())
			if err != nil {
				return checkFailed(err)
			}
			stop := func() {}
			if !asJSON && isTerminal(os.Stderr) {
				o.Progress = &integrity.Progress{}
				stop = verify.Show(cmd.ErrOrStderr(), o.Progress, time.Now)
			}
			r, err := repair.Run(cmd.Context(), o, dryRun)
			stop()
			if err != nil {
				return checkFailed(err)
			}
			if err := printRepair(cmd.OutOrStdout(), r, asJSON); err != nil {
				return err
			}
			return exit(exitcode.OfVerdict(r.After.Verdict), string(r.After.Verdict)+": "+r.After.Message)
		},
	}
	cacheFlags(cmd.Flags(), &c)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be removed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func printRepair(w io.Writer, r repair.Result, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	verb := "removed"
	if r.DryRun {
		verb = "would remove"
	}
	for _, p := range r.Removed {
		if _, err := fmt.Fprintf(w, "%s from %s: %s (%s: %s)\n", verb, p.Cache, p.Path, p.Why, p.Why.Meaning()); err != nil {
			return err
		}
	}
	if len(r.Removed) == 0 {
		_, err := fmt.Fprintf(w, "nothing to remove. %s: %s\n", r.After.Verdict, r.After.Message)
		return err
	}
	_, err := fmt.Fprintf(w, "%s %d paths.\nbefore  %s: %s\nnow     %s: %s\n",
		verb, len(r.Removed), r.Before.Verdict, r.Before.Message, r.After.Verdict, r.After.Message)
	return err
}
