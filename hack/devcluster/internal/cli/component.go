package cli

import (
	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/node"
)

func newComponent(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "component",
		Short: "Stop, start or restart a component, to see how the rest takes it",
	}
	for action, short := range map[node.Action]string{
		node.Stop:    "End a component and leave it ended",
		node.Start:   "Start a stopped component",
		node.Restart: "End a component, which is then started again",
	} {
		cmd.AddCommand(&cobra.Command{
			Use:   string(action) + " COMPONENT",
			Short: short,
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				m, err := o.manager(nil)
				if err != nil {
					return err
				}
				return m.Control(cmd.Context(), args[0], action)
			},
		})
	}
	return cmd
}
