// Command gocache-agent checks, fills, trims, repairs and serves Go caches. It
// runs in pods and on laptops, and uses nothing of Kubernetes but the
// termination log.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"gocache.dev/operator/internal/agent/install"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/version"
)

// softLimit keeps the collector from trading memory for speed, in bytes.
const softLimit = 100 << 20

func main() {
	debug.SetMemoryLimit(softLimit)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !errors.Is(err, errReported) {
		fmt.Fprintln(os.Stderr, "gocache-agent:", err)
	}
	return exitcode.Of(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "gocache-agent",
		Short:         "Check, fill, trim, repair and serve Go module and build caches",
		Version:       version.Get().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(newVerify(), newRepair(), newManifest(), newDiff(), newTrim(), newCleanup(), newRestore(), newWarm(), newSkipTest(), newFetch(), newOfflineBuild(), newProg(), newStore(), newInstall(), newUsage(), newVolumeTest(), newVCS(), newVCSHelp())
	return root
}

// usage marks an error as a wrong use of the command.
func usage(err error) error { return &exitcode.Error{Code: exitcode.Usage, Err: err} }

// errReported stands for what a person has read already.
var errReported = errors.New("reported")

// exit ends a command after its report with a code, and with a last line that
// gives the cause.
func exit(code int, message string) error {
	if code == exitcode.OK {
		return nil
	}
	return &exitcode.Error{Code: code, Err: errors.New(message)}
}

// noArgs refuses arguments as wrong usage.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(fmt.Errorf("unexpected argument %q", args[0]))
	}
	return nil
}

func newInstall() *cobra.Command {
	return &cobra.Command{
		Use:   "install DIR",
		Short: "Copy this program into DIR, for a container with another image to run it",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(errors.New("install needs one directory"))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			return install.Run(self, args[0])
		},
	}
}
