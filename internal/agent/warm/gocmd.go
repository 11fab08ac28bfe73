package warm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"gocache.dev/operator/internal/domain/integrity"
)

// goCommand runs the go command.
type goCommand struct {
	path string
	dir  string
	env  []string
	out  io.Writer
}

// run streams the command's output and keeps the end of it for the error.
func (g *goCommand) run(ctx context.Context, args ...string) error {
	var last tail
	cmd := g.command(ctx, args...)
	cmd.Stdout = io.MultiWriter(g.out, &last)
	cmd.Stderr = cmd.Stdout
	_, _ = fmt.Fprintf(g.out, "+ go %s\n", strings.Join(args, " "))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args[:min(2, len(args))], " "), err, last.lines())
	}
	return nil
}

func (g *goCommand) output(ctx context.Context, args ...string) (string, error) {
	cmd := g.command(ctx, args...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", fmt.Errorf("go %s: %w\n%s", args[0], err, exit.Stderr)
		}
		return "", fmt.Errorf("go %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

func (g *goCommand) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, g.path, args...) //nolint:gosec // the caller names the go command
	cmd.Dir, cmd.Env = g.dir, g.env
	return cmd
}

// identify determines the toolchain: its version, and the hashes of its
// programs.
func (g *goCommand) identify(ctx context.Context) (*integrity.Toolchain, error) {
	version, err := g.output(ctx, "version")
	if err != nil {
		return nil, err
	}
	text, err := g.output(ctx, "env", "-json", "GOROOT", "GOTOOLDIR", "GOOS", "GOARCH", "GOFLAGS", "CGO_ENABLED")
	if err != nil {
		return nil, err
	}
	var env map[string]string
	if err := json.Unmarshal([]byte(text), &env); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	t := &integrity.Toolchain{
		GoVersion: strings.TrimPrefix(version, "go version "),
		GOOS:      env["GOOS"], GOARCH: env["GOARCH"], GOFLAGS: env["GOFLAGS"], CGOEnabled: env["CGO_ENABLED"],
	}
	if t.GoSHA256, err = sum(filepath.Join(env["GOROOT"], "bin", "go")); err != nil {
		return nil, fmt.Errorf("identifying the go command: %w", err)
	}
	if t.CompileSHA256, err = sum(filepath.Join(env["GOTOOLDIR"], "compile")); err != nil {
		return nil, fmt.Errorf("identifying the compiler: %w", err)
	}
	return t, nil
}

func sum(name string) (string, error) {
	f, err := os.Open(name) //nolint:gosec // a path of the toolchain
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// tail keeps the end of what is written to it.
type tail struct{ buf []byte }

const (
	tailBytes = 3000
	tailLines = 25
)

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - 2*tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailBytes:]...)
	}
	return len(p), nil
}

// lines is the last lines, at most tailBytes of them.
func (t *tail) lines() string {
	b := bytes.TrimSpace(t.buf)
	if len(b) > tailBytes {
		b = b[len(b)-tailBytes:]
	}
	lines := bytes.Split(b, []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-tailLines):], []byte("\n")))
}
