package integration

import (
	"context"
	"fmt"
	"net/http"
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
	if url := os.Getenv(asHook); url != "" {
		if code, err := sendPush(context.Background(), url, os.Getenv(pushToken), os.Stdin); err != nil || code != http.StatusAccepted {
			_, _ = fmt.Fprintln(os.Stderr, "the push webhook:", code, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(asManager) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		cmd := manager.Command()
		cmd.SetArgs(os.Args[1:])
		if err := cmd.ExecuteContext(ctx); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "manager:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(env.Main(m, func(e *env.Env) { server = e }))
}
