// Command release makes what users install, from this work tree alone.
//
//	release chart --out DIR     the Helm chart, as a folder
//	release build --out DIR     all files of a release
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/release/internal/chart"
	"gocache.dev/operator/hack/release/internal/release"
)

func main() {
	root := &cobra.Command{Use: "release", Short: "Make what users install", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(newChart(), newBuild())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
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

func newBuild() *cobra.Command {
	var o release.Options
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build all files of a release, without a network",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return release.Make(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.Out, "out", "", "folder to write, which must not exist")
	f.StringVar(&o.Root, "root", "../..", "top of the repository")
	f.StringVar(&o.Version, "version", "", "tag of the release, such as v0.1.0")
	f.StringVar(&o.Repository, "repository", "gocache.dev/operator", "image of the operator, without tag")
	f.StringVar(&o.URL, "url", "", "address under which the files will be published, for krew")
	f.StringVar(&o.Key, "key", "", "file with an Ed25519 key in PEM that signs (default: nothing is signed)")
	f.StringVar(&o.Certificates, "ca-certificates", "/etc/ssl/certs/ca-certificates.crt", "CA certificates of the image")
	f.BoolVar(&o.Untagged, "allow-dirty", false, "try a release from a commit without the tag, or from a changed work tree")
	f.StringVar(&o.Platform, "platform", "", "with --allow-dirty: build for this platform alone, such as linux/amd64")
	for _, name := range []string{"out", "version"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined above
		}
	}
	return cmd
}
