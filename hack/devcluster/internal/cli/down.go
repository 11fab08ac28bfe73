package cli

import (
	"os"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/progress"
)

func newDown(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster and everything in it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			reporter := progress.New(os.Stderr)
			m, err := o.manager(reporter)
			if err != nil {
				return err
			}
			found, err := m.Down(cmd.Context())
			if err != nil {
				return err
			}
			if !found {
				reporter.Print("there is no cluster %s", o.spec.Name)
				return nil
			}
			reporter.Stage("cluster %s is gone", o.spec.Name)
			return nil
		},
	}
}
