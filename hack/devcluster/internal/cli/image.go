package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gocache.dev/operator/hack/devcluster/internal/binaries"
	"gocache.dev/operator/hack/devcluster/internal/image"
	"gocache.dev/operator/hack/devcluster/internal/prereq"
	"gocache.dev/operator/hack/devcluster/internal/progress"
)

func newImage(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Write image archives from files of this machine, without a registry or daemon",
		Long: "Each subcommand prints the path of an archive that devcluster load, ctr images import and docker load take.\n" +
			"An archive is cached by its sources; -o writes it to a given place.",
	}
	var output string
	cmd.PersistentFlags().StringVarP(&output, "output", "o", "", "file to write")

	var ref, entrypoint string
	fromFiles := o.imageCommand(&output, "binaries FILE[=/PATH]...", "An image of statically linked programs, run as a user without privileges", nil,
		func(_ context.Context, programs []string) (image.Recipe, error) {
			for i, p := range programs {
				var err error
				if programs[i], err = filepath.Abs(p); err != nil {
					return image.Recipe{}, err
				}
			}
			return image.Binaries(ref, entrypoint, programs...), nil
		})
	fromFiles.Args = cobra.MinimumNArgs(1)
	fromFiles.Flags().StringVar(&ref, "ref", "", "name and tag of the image, such as gocache.dev/operator:dev")
	fromFiles.Flags().StringVar(&entrypoint, "entrypoint", "", "what runs; a file without a PATH is in /")
	if err := fromFiles.MarkFlagRequired("ref"); err != nil {
		panic(err) // the flag is defined above
	}
	cmd.AddCommand(fromFiles,
		o.imageCommand(&output, "haproxy", "The machine's HAProxy", []prereq.Tool{prereq.HAProxy},
			func(ctx context.Context, _ []string) (image.Recipe, error) { return image.HAProxy(ctx) }),
		o.imageCommand(&output, "golang", "The machine's Go toolchain, with a shell and git", []prereq.Tool{prereq.Go, prereq.Busybox},
			func(ctx context.Context, _ []string) (image.Recipe, error) { return image.Golang(ctx) }),
		o.imageCommand(&output, "golang-c", "The same with the machine's C compiler, for cgo and -race, from its Debian packages", []prereq.Tool{prereq.Go, prereq.Busybox, prereq.Compiler, prereq.Headers},
			func(ctx context.Context, _ []string) (image.Recipe, error) { return image.GolangC(ctx) }),
		o.imageCommand(&output, "busybox", "A shell and tools for debugging (up loads it)", []prereq.Tool{prereq.Busybox},
			func(ctx context.Context, _ []string) (image.Recipe, error) {
				entry, err := o.ensure(fromFiles, binaries.All...)
				if err != nil {
					return image.Recipe{}, err
				}
				return image.Busybox(ctx, entry.Bin())
			}),
	)
	return cmd
}

func (o *options) imageCommand(output *string, use, short string, tools []prereq.Tool, recipe func(context.Context, []string) (image.Recipe, error)) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := prereq.This().Tools(tools...); err != nil {
				return err
			}
			reporter := progress.New(os.Stderr)
			store, err := o.store(reporter)
			if err != nil {
				return err
			}
			r, err := recipe(cmd.Context(), args)
			if err != nil {
				return err
			}
			file, made, err := o.images(store).Archive(r)
			if err != nil {
				return err
			}
			verb := "cached"
			if made {
				verb = "written"
			}
			reporter.Stage("%s %s", r.Config.Ref, verb)
			if *output != "" {
				if err := image.CopyTo(file, *output); err != nil {
					return err
				}
				file = *output
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), file)
			return err
		},
	}
}
