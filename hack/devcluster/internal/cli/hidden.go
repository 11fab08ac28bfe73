package cli

import (
	"log/slog"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/lazyfile"
	"gocache.dev/operator/hack/devcluster/internal/node"
	"gocache.dev/operator/hack/devcluster/internal/reflinkcsi"
)

// newInit is process 1 of a node.
func newInit() *cobra.Command {
	var number int
	cmd := &cobra.Command{
		Use: "init", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return node.Init(cmd.Flag("state-dir").Value.String(), number)
		},
	}
	cmd.Flags().IntVar(&number, "node", 1, "number of the node")
	return cmd
}

// newSupervise starts the components inside the node.
func newSupervise() *cobra.Command {
	var number int
	cmd := &cobra.Command{
		Use: "supervise", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return node.Supervise(cmd.Context(), cmd.Flag("state-dir").Value.String(), number)
		},
	}
	cmd.Flags().IntVar(&number, "node", 1, "number of the node")
	return cmd
}

// newLazyFile serves the image of a volume that is loaded when it is first read.
func newLazyFile() *cobra.Command {
	return &cobra.Command{
		Use: lazyfile.Command, Hidden: true, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return lazyfile.Run(cmd.Context(), args, os.Stdin, os.Stdout)
		},
	}
}

// newDriver is the CSI driver.
func newDriver() *cobra.Command {
	var o reflinkcsi.Options
	cmd := &cobra.Command{
		Use: "csi-driver", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Modes of folders are what the kubelet and pods are to see.
			syscall.Umask(0o022)
			o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
			driver, err := reflinkcsi.New(o)
			if err != nil {
				return err
			}
			return driver.Run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Name, "driver-name", "", "name of the driver")
	flags.StringVar(&o.Node, "node-name", "", "name of the node")
	flags.StringVar(&o.Zone, "zone", "", "zone of the node; set if there are several nodes")
	flags.StringVar(&o.Pool, "pool", "", "folder for images")
	flags.StringVar(&o.Devices, "devices", "", "folder for loop device nodes")
	flags.StringVar(&o.Socket, "socket", "", "CSI socket")
	flags.StringVar(&o.Registration, "registration", "", "registration socket for the kubelet")
	flags.StringVar(&o.Faults, "faults", "", "file with the faults to inject")
	return cmd
}
