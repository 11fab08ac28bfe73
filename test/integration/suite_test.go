package integration

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"gocache.dev/operator/internal/cmd/manager"
	"gocache.dev/operator/internal/testing/env"
)

var server *env.Env

// asManager is set in the environment of a process that is to be the operator:
// one process has room for one manager.
const asManager = "TEST_AS_MANAGER"

func TestMain(m *testing.M) {
	if os.Getenv(asManager) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		cmd := manager.Command()
		cmd.SetArgs(os.Args[1:])
		if err := cmd.ExecuteContext(ctx); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(env.Main(m, func(e *env.Env) { server = e }))
}
