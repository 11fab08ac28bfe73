package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/exitcode"
	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/repair"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
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
			r, err := repair.Run(cmd.Context(), o, dryRun)
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
		if _, err := fmt.Fprintf(w, "%s %s (%s: %s)\n", verb, p.Path, p.Cache, p.Why); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d paths; before: %s; after: %s\n", len(r.Removed), r.Before.Verdict, r.After.Verdict)
	return err
}

func newManifest() *cobra.Command {
	var c caches.Flags
	var output string
	cmd := &cobra.Command{
		Use:   "manifest",
		Short: "Print the canonical manifest of caches, after checking them",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.Options(cmd.Context(), time.Now())
			if err != nil {
				return checkFailed(err)
			}
			var v integrity.Verdict
			write := func(w io.Writer) (err error) {
				o.Manifest = w
				v, err = integrity.Check(cmd.Context(), o)
				return err
			}
			if output == "" {
				err = write(cmd.OutOrStdout())
			} else {
				err = record.WriteManifest(output, write)
			}
			if err != nil {
				return checkFailed(err)
			}
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), v.Digest)
			return exit(exitcode.OfVerdict(v.Verdict), string(v.Verdict)+": "+v.Message)
		},
	}
	cacheFlags(cmd.Flags(), &c)
	cmd.Flags().StringVar(&output, "output", "", "write it to this file, compressed")
	return cmd
}

func newDiff() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "diff FROM TO",
		Short: "Compare two manifests: added, removed, and changed content under the same name",
		Long: `Diff compares two manifests. Changed content under the same name is the alarming
kind: names of module versions and of outputs stand for one content for ever.

Exit codes: 0 nothing changed under its name, 3 something did.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(fmt.Errorf("diff needs two manifests"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			counts, err := diff(cmd.OutOrStdout(), args[0], args[1], asJSON)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%d added, %d removed, %d changed, %d repacked, %d with other parts, %d rebuilt\n",
				counts[manifest.Added], counts[manifest.Removed], counts[manifest.Changed], counts[manifest.Repacked], counts[manifest.Parts], counts[manifest.Rebuilt])
			if counts[manifest.Changed] > 0 {
				return exit(exitcode.Corrupt, "content changed under the same name")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each difference as a line of JSON")
	return cmd
}

func diff(w io.Writer, from, to string, asJSON bool) (map[manifest.ChangeKind]int, error) {
	a, closeA, err := manifest.Open(from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = closeA.Close() }()
	b, closeB, err := manifest.Open(to)
	if err != nil {
		return nil, err
	}
	defer func() { _ = closeB.Close() }()
	counts := map[manifest.ChangeKind]int{}
	enc := json.NewEncoder(w)
	err = manifest.Diff(a, b, func(c manifest.Change) error {
		counts[c.Kind]++
		if asJSON {
			return enc.Encode(c)
		}
		_, err := fmt.Fprintf(w, "%-8s %s\n", c.Kind, c.Key)
		return err
	})
	return counts, err
}
