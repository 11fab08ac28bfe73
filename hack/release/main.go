// Command release makes what users install, from this work tree alone.
//
//	release chart --out DIR     the Helm chart, as a folder
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/release/internal/chart"
)

func main() {
	root := &cobra.Command{Use: "release", Short: "Make what users install", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(newChart())
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func newChart() *cobra.Command {
	var o chart.Options
	var out string
	cmd := &cobra.Command{
		Use:   "chart",
		Short: "Generate the Helm chart from the kustomizations in config",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return chart.Write(out, o) },
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "folder to write, which must not exist")
	f.StringVar(&o.Root, "root", "../..", "top of the repository")
	f.StringVar(&o.Version, "version", "dev", "version of the operator")
	f.StringVar(&o.Repository, "repository", "gocache.dev/operator", "image of the operator, without tag")
	f.StringVar(&o.Digest, "digest", "", "digest of the image")
	if err := cmd.MarkFlagRequired("out"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}
