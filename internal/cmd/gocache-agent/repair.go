package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/repair"
	"gocache.dev/operator/internal/agent/verify"
	"gocache.dev/operator/internal/agent/volume"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
)

func newRepair() *cobra.Command {
	var c caches.Flags
	var may repair.Policy
	var asJSON bool
	var terminationLog string
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Remove the entries that a check finds corrupt, so that the go command creates them again",
		Long: `Repair checks, removes corrupt and recoverable entries, and checks again. No build may be
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
			r, err := repair.Run(cmd.Context(), o, may)
			stop()
			if err := errors.Join(flush(may, &c), reportRepair(terminationLog, r, err)); err != nil {
				return err
			}
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
	cmd.Flags().BoolVar(&may.DryRun, "dry-run", false, "only report what would be removed")
	cmd.Flags().BoolVar(&may.SpareMismatches, "spare-mismatches", false, "remove nothing at all if anything contradicts trust data")
	cmd.Flags().StringVar(&terminationLog, "termination-log", "", "also write the result here, in at most 4096 bytes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

// flush writes the removals to the device: a snapshot of the volume may be
// created as soon as this process has ended.
func flush(may repair.Policy, c *caches.Flags) error {
	var errs []error
	for _, dir := range []string{c.ModCache, c.BuildCache, c.Store, c.Volume} {
		if dir != "" && !may.DryRun {
			errs = append(errs, volume.Sync(dir))
		}
	}
	return errors.Join(errs...)
}

// reportRepair leaves the report of a repair that could do its work, or decided
// against it.
func reportRepair(name string, r repair.Result, failed error) error {
	m := integrity.Repaired{Removed: len(r.Removed), Before: r.Before.Message, After: r.After}
	switch {
	case name == "":
		return nil
	case errors.Is(failed, repair.ErrMismatch), errors.Is(failed, repair.ErrHopeless):
		m.Refused = failed.Error()
	case failed != nil:
		return os.WriteFile(name, []byte(failed.Error()), 0o644) //nolint:gosec // the kubelet reads it
	}
	return os.WriteFile(name, m.Fit(integrity.TerminationLimit), 0o644) //nolint:gosec // the kubelet reads it
}

// maxPrinted is how much of a path is printed, in bytes: all of one that exists.
const maxPrinted = 4096

func printRepair(w io.Writer, r repair.Result, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	verb := "removed"
	if r.DryRun {
		verb = "would remove"
	}
	for _, p := range r.Removed {
		if _, err := fmt.Fprintf(w, "%s from %s: %s (%s: %s)\n", verb, p.Cache, integrity.Printable(p.Path, maxPrinted), p.Why, p.Why.Meaning()); err != nil {
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
