// Command demo runs the whole story on a real cluster and tells it to a person.
//
//	demo up     start the cluster, deploy the operator, walk through the story
//	demo down   remove everything that up has made
//
// CLUSTER is local (the default: a cluster is started on this machine), kind or
// current.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"gocache.dev/operator/test/story"
)

const (
	// clusterName of the local cluster, unless CLUSTER_NAME says otherwise.
	clusterName = "gocache-demo"
	namespace   = "gocache-demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o := story.Options{Kind: os.Getenv("CLUSTER"), Name: clusterName}
	if name := os.Getenv("CLUSTER_NAME"); name != "" {
		o.Name = name
	}
	n := story.NewNarrator(os.Stdout)
	switch {
	case len(args) == 1 && args[0] == "up":
		return tell(ctx, o, n)
	case len(args) == 1 && args[0] == "down":
		return story.Remove(ctx, o, n, namespace)
	default:
		return errors.New("usage: demo up | demo down")
	}
}
