package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/lifecycle"
)

func newLoad(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "load ARCHIVE...",
		Short: "Import image archives; an image that is there already is skipped",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, archives []string) error {
			m, err := o.manager(nil)
			if err != nil {
				return err
			}
			return m.Load(cmd.Context(), archives, func(l lifecycle.Loaded) {
				verb := "loaded"
				if l.Skipped {
					verb = "already there:"
				}
				fmt.Fprintln(cmd.ErrOrStderr(), verb, filepath.Base(l.Archive))
			})
		},
	}
}
