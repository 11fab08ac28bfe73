package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/binaries"
	"gocache.dev/operator/hack/devcluster/internal/prereq"
	"gocache.dev/operator/hack/devcluster/internal/progress"
)

func newBuild(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "build",
		Short: "Build the programs of a cluster and print the folder they are in",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			entry, err := o.ensure(cmd, binaries.All...)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), entry.Bin())
			return err
		},
	}
}

func newAssets(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "assets",
		Short: "Build what envtest needs and print the folder for KUBEBUILDER_ASSETS",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			entry, err := o.ensure(cmd, binaries.Kubernetes)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), entry.Envtest())
			return err
		},
	}
}

func (o *options) ensure(cmd *cobra.Command, programs ...binaries.Program) (binaries.Entry, error) {
	if err := prereq.This().Tools(prereq.Go); err != nil {
		return binaries.Entry{}, err
	}
	store, err := o.store(progress.New(os.Stderr))
	if err != nil {
		return binaries.Entry{}, err
	}
	return store.Ensure(cmd.Context(), programs...)
}
