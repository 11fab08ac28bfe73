// Command manager is the operator: it runs every controller of this project
// against one cluster. See internal/cmd/manager for its flags.
package main

import (
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"

	"gocache.dev/operator/internal/cmd/manager"
)

func main() {
	if err := manager.Command().ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}
