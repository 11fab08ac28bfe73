package main

import (
	"time"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/prog"
)

func newProg() *cobra.Command {
	o := prog.Options{Clock: time.Now}
	cmd := &cobra.Command{
		Use:     "prog",
		Short:   "Serve a go command as GOCACHEPROG: a shared read-only cache below a private one",
		Example: `  GOCACHEPROG="gocache-agent prog --lower /snapshot/build --upper /tmp/cache" go build ./...`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Stdin, o.Stdout, o.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			_, err := prog.Run(o)
			return err
		},
	}
	cmd.Flags().StringVar(&o.Lower, "lower", "", "build cache that is only read; the content of each hit is hashed")
	cmd.Flags().StringVar(&o.Upper, "upper", "", "build cache for everything else")
	cmd.Flags().StringVar(&o.UpperOf, "upper-of", "", "what the upper cache is of, such as a repository and branch; one of something else is refused")
	cmd.Flags().Int64Var(&o.UpperBytes, "upper-bytes", 0, "size of the upper cache at the end of a go command, in bytes: the entries that were used least recently are removed (default: no limit)")
	cmd.Flags().BoolVar(&o.Stats, "stats", false, "write one line with the counts of hits and misses to standard error at the end")
	return cmd
}
