package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
)

func newLogs(o *options) *cobra.Command {
	var follow bool
	var lines int
	cmd := &cobra.Command{
		Use:   "logs [COMPONENT]",
		Short: "Print the log of a component, or list the components that have one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := o.manager(nil)
			if err != nil {
				return err
			}
			paths := m.Spec.WithDefaults().Paths()
			names, err := logNames(paths)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(names, "\n"))
				return err
			}
			if !slices.Contains(names, args[0]) {
				return fmt.Errorf("no log of %q; there are: %s", args[0], strings.Join(names, ", "))
			}
			tailArgs := []string{"-n", "+1"}
			if lines > 0 {
				tailArgs[1] = strconv.Itoa(lines)
			}
			if follow {
				tailArgs = append(tailArgs, "-F")
			}
			return passThrough(exec.CommandContext(cmd.Context(), "tail", append(tailArgs, paths.Log(args[0]))...))
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on as it grows")
	cmd.Flags().IntVarP(&lines, "lines", "n", 0, "only the last lines")
	return cmd
}

func logNames(paths cluster.Paths) ([]string, error) {
	files, err := filepath.Glob(paths.Log("*"))
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".log")
	}
	return files, nil
}

// passThrough runs a program on our own input and output, with its exit code as ours.
func passThrough(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exitCode(exit.ExitCode())
	}
	return err
}
