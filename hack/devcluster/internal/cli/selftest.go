package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/lifecycle"
	"gocache.dev/operator/hack/devcluster/internal/progress"
	"gocache.dev/operator/hack/devcluster/internal/selftest"
)

func newSelftest(o *options) *cobra.Command {
	var part string
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Prove what the local cluster promises, with clusters of its own",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reporter := progress.New(os.Stderr)
			switch selftest.Part(part) {
			case selftest.AllParts, selftest.OneNode, selftest.SeveralNodes:
			default:
				return fmt.Errorf("part %q: want one or nodes", part)
			}
			return selftest.Run(cmd.Context(), selftest.Part(part), func(name string) (*lifecycle.Manager, error) {
				own := *o
				own.spec.Name, own.spec.StateDir = name, ""
				return own.manager(reporter.For(name))
			}, reporter)
		},
	}
	cmd.Flags().StringVar(&part, "part", "", "one: only clusters of one node; nodes: only the one of several (default: all)")
	return cmd
}
