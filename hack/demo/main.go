// Command demo runs the scenario of the end-to-end tests on a real cluster and explains each step.
//
//	demo up     start the cluster, deploy the operator, walk through the scenario
//	demo down   remove the local cluster, or from another one what up has made there
//	demo record FREEZE   up, and draw what the commands of the documentation print then
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

	"gocache.dev/operator/test/scenario"
)

const (
	// clusterName of the local cluster, if CLUSTER_NAME is not set. A kind cluster
	// has the default name of kind then.
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
	o := scenario.Options{Kind: os.Getenv("CLUSTER"), Name: os.Getenv("CLUSTER_NAME")}
	if o.Name == "" && o.Kind != scenario.Kind { // kind has a default of its own
		o.Name = clusterName
	}
	n := scenario.NewNarrator(os.Stdout)
	switch {
	case len(args) == 1 && args[0] == "up":
		return present(ctx, o, n, func(*scenario.Cluster) error { return nil })
	case len(args) == 1 && args[0] == "down":
		return scenario.Remove(ctx, o, n, namespace, scenario.MonitoringNamespace)
	case len(args) == 2 && args[0] == "record":
		return record(ctx, o, n, args[1])
	default:
		return errors.New("usage: demo up | demo down | demo record FREEZE")
	}
}
