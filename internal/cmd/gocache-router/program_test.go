package main

import (
	"testing"

	"gocache.dev/operator/internal/domain/version"
	"gocache.dev/operator/internal/testing/program"
)

// TestMain runs the program itself where a test starts it.
func TestMain(m *testing.M) { program.Main(m, main) }

// TestProgram holds what the program prints, and its exit codes.
func TestProgram(t *testing.T) {
	program.PrintsErrorsOnce(t, "gocache-router", version.Get().String())
}
