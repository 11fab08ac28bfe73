package integration

import (
	"os"
	"testing"

	"gocache.dev/operator/internal/testing/env"
)

var server *env.Env

func TestMain(m *testing.M) {
	os.Exit(env.Main(m, func(e *env.Env) { server = e }))
}
