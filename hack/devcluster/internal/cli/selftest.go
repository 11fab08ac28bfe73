package cli

import (
	"os"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/lifecycle"
	"gocache.dev/operator/hack/devcluster/internal/progress"
	"gocache.dev/operator/hack/devcluster/internal/selftest"
)

func newSelftest(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "selftest",
		Short: "Prove what the local cluster promises, with two clusters of its own",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reporter := progress.New(os.Stderr)
			return selftest.Run(cmd.Context(), func(name string) (*lifecycle.Manager, error) {
				own := *o
				own.spec.Name, own.spec.StateDir = name, ""
				return own.manager(reporter.For(name))
			}, reporter)
		},
	}
}
