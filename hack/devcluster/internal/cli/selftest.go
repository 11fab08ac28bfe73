package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

func newSelftest(_ *options) *cobra.Command {
	return &cobra.Command{Use: "selftest", RunE: func(*cobra.Command, []string) error { return errors.New("not yet") }}
}
