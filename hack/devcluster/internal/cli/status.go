package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/lifecycle"
)

// notUsable is the exit code of status for anything but a usable cluster.
const notUsable exitCode = 3

func newStatus(o *options) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the cluster's addresses, files and components; exit 3 unless it is usable",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := o.manager(nil)
			if err != nil {
				return err
			}
			status, err := m.Status(cmd.Context())
			if errors.Is(err, fs.ErrNotExist) {
				status = lifecycle.Status{Name: o.spec.Name, Problem: "there is no such cluster"}
			} else if err != nil {
				return err
			}
			switch output {
			case "json":
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				err = encoder.Encode(status)
			case "":
				err = printStatus(cmd.OutOrStdout(), status)
			default:
				return fmt.Errorf("output %q: want json", output)
			}
			if err == nil && !status.Usable {
				return notUsable
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, for programs")
	return cmd
}

func printStatus(out io.Writer, s lifecycle.Status) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	state := "usable"
	if !s.Usable {
		state = "not usable: " + s.Problem
	}
	fmt.Fprintf(w, "cluster\t%s\t%s\n", s.Name, state)
	if s.StateDir != "" {
		for _, row := range [][2]string{
			{"kubeconfig", s.Kubeconfig}, {"kubectl cache", s.KubeCache}, {"server", s.Server}, {"node", s.Node},
			{"host IP", s.HostIP}, {"node IP", s.NodeIP}, {"pods", s.PodCIDR}, {"services", s.ServiceCIDR},
			{"assets", s.Assets}, {"driver", s.Driver}, {"faults", s.Faults}, {"logs", s.Logs},
		} {
			fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
		}
	}
	for _, n := range s.Nodes {
		if len(s.Nodes) > 1 {
			fmt.Fprintf(w, "node %s\t%s\t%s\tpods %s\n", n.Name, nodeState(n), n.IP, n.PodCIDR)
		}
	}
	for _, c := range s.Components {
		fmt.Fprintf(w, "  %s\t%s\tpid %d, %d restarts\t%s\n", c.Name, c.State, c.PID, c.Restarts, c.Detail)
	}
	return w.Flush()
}

func nodeState(n lifecycle.NodeStatus) string {
	switch {
	case !n.Running:
		return "has ended"
	case n.Frozen:
		return "is frozen"
	case n.Partitioned:
		return "is disconnected"
	}
	return "runs"
}
