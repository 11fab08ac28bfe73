// Command devcluster runs a real single-node Kubernetes cluster on this machine.
package main

import (
	"os"

	"gocache.dev/operator/hack/devcluster/internal/cli"
)

func main() { os.Exit(cli.Main()) }
