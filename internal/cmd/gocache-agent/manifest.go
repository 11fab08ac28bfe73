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
	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
)

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
	var terminationLog string
	cmd := &cobra.Command{
		Use:   "diff FROM TO",
		Short: "Compare two manifests: added, removed, and changed content under the same name",
		Long: `Diff compares two manifests. Changed content under the same name is the alarming
kind: names of module versions and of outputs stand for one content for ever.

Exit codes: 0 nothing changed under its name, 3 something did.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(errors.New("diff needs two manifests"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			compared, err := diff(cmd.OutOrStdout(), args[0], args[1], asJSON)
			if err != nil {
				return err
			}
			if terminationLog != "" {
				text, err := json.Marshal(compared)
				if err := errors.Join(err, os.WriteFile(terminationLog, text, 0o600)); err != nil {
					return err
				}
			}
			counts := compared.Counts
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%d added, %d removed, %d changed, %d repacked, %d with other parts, %d rebuilt\n",
				counts[manifest.Added], counts[manifest.Removed], counts[manifest.Changed], counts[manifest.Repacked], counts[manifest.Parts], counts[manifest.Rebuilt])
			if counts[manifest.Changed] > 0 {
				return exit(exitcode.Corrupt, "content changed under the same name")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each difference as a line of JSON")
	cmd.Flags().StringVar(&terminationLog, "termination-log", "", "also write the digests and the numbers of differences here, as JSON")
	return cmd
}

func diff(w io.Writer, from, to string, asJSON bool) (manifest.Comparison, error) {
	none := manifest.Comparison{}
	a, closeA, err := manifest.Open(from)
	if err != nil {
		return none, err
	}
	defer func() { _ = closeA.Close() }()
	b, closeB, err := manifest.Open(to)
	if err != nil {
		return none, err
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
	if err != nil {
		return none, err
	}
	return manifest.Comparison{From: a.Digest(), To: b.Digest(), Counts: counts}, nil
}
