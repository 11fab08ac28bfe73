// Command kubectl-gocache is the plugin of kubectl: it shows the state of caches
// and proxies, and requests actions on them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"gocache.dev/operator/internal/cli"
	"gocache.dev/operator/internal/domain/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	command := cli.New(genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}, cli.Options{
		Version: version.Get().String(), Now: time.Now, NoColor: os.Getenv("NO_COLOR") != "",
	})
	command.SetArgs(cli.Args(os.Args))
	err := command.ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	if !errors.Is(err, cli.ErrReported) {
		fmt.Fprintln(os.Stderr, "kubectl gocache:", err)
	}
	os.Exit(1)
}
