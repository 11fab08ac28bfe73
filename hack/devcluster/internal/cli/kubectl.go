package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/lifecycle"
)

func newKubectl(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kubectl ARGUMENT...",
		Short: "Run the cluster's own kubectl as its administrator",
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := o.manager(nil)
			if err != nil {
				return err
			}
			record, err := m.Record()
			if err != nil {
				return fmt.Errorf("no cluster %s: %w", o.spec.Name, err)
			}
			if len(args) > 0 && args[0] == "--" {
				args = args[1:]
			}
			return passThrough(lifecycle.Kubectl(cmd.Context(), record, args...))
		},
	}
	// Flags that follow are kubectl's; ours come before the command's name.
	cmd.DisableFlagParsing = true
	return cmd
}

func newKubeconfig(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the path of the administrator's kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := o.manager(nil)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), m.Spec.WithDefaults().Paths().Kubeconfig("admin"))
			return err
		},
	}
}
