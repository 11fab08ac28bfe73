package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/lifecycle"
)

func newNode(o *options) *cobra.Command {
	names := make([]string, 0, len(lifecycle.NodeActions))
	for _, a := range lifecycle.NodeActions {
		names = append(names, string(a))
	}
	return &cobra.Command{
		Use:   "node NAME " + strings.Join(names, "|"),
		Short: "Lose a node of a cluster with several, disconnect it, or bring it back",
		Long: "freeze stops all processes of a node where they are, thaw lets them go on.\n" +
			"kill is a power failure: what its volumes have not written is lost; start boots it.\n" +
			"partition disconnects it from the API server, isolate from everything; heal undoes both.",
		Example: "  devcluster up --nodes 3\n  devcluster node node2 kill\n  devcluster node node2 start",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			action := lifecycle.NodeAction(args[1])
			if !lifecycle.ValidNodeAction(action) {
				return fmt.Errorf("no action %q; there are %s", action, strings.Join(names, ", "))
			}
			m, err := o.manager(nil)
			if err != nil {
				return err
			}
			return m.ActOnNode(cmd.Context(), args[0], action)
		},
	}
}
