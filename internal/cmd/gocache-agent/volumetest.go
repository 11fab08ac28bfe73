package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/volumetest"
	"gocache.dev/operator/internal/domain/exitcode"
)

func newVolumeTest() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "volume-test",
		Short: "Write files of known content to a volume, and compare them on a clone of it",
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "write DIR", Short: "Write the files, and flush them to the device", Args: oneDir,
			RunE: func(_ *cobra.Command, args []string) error { return volumetest.Write(args[0]) },
		},
		newVolumeTestCheck(),
	)
	return cmd
}

func newVolumeTestCheck() *cobra.Command {
	var hold bool
	var terminationLog string
	cmd := &cobra.Command{
		Use: "check DIR", Short: "Compare the files with what was written", Args: oneDir,
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := volumetest.Check(args[0])
			text := ""
			if err == nil {
				var data []byte
				data, err = json.Marshal(report)
				text = string(data)
			}
			if err != nil {
				text = err.Error()
			}
			if terminationLog != "" {
				if err := os.WriteFile(terminationLog, []byte(text), 0o600); err != nil {
					return err
				}
			}
			if err != nil {
				return exit(exitcode.Corrupt, text)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			if hold {
				<-cmd.Context().Done()
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&hold, "hold", false, "keep the volume mounted until a signal comes")
	cmd.Flags().StringVar(&terminationLog, "termination-log", "", "also write the result here")
	return cmd
}

func oneDir(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(errors.New("volume-test needs one directory"))
	}
	return nil
}
