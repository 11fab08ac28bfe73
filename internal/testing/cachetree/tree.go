package cachetree

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// generation changes when what a good tree holds changes.
const generation = "4"

// Tree is a pair of caches and what filled them.
type Tree struct {
	Root       string
	ModCache   string
	BuildCache string
	Proxy      string // directory in GOPROXY layout, undamaged
	Main       string // the main module
	GoCmd      string
	Offline    bool // no proxy either
	toolchain  string
}

func at(root string) *Tree {
	return &Tree{
		Root: root, ModCache: filepath.Join(root, "mod"), BuildCache: filepath.Join(root, "build"),
		Proxy: filepath.Join(root, "proxy"), Main: filepath.Join(root, "main"), GoCmd: "go", toolchain: "local",
	}
}

// GoSum is the main module's go.sum file.
func (t *Tree) GoSum() string { return filepath.Join(t.Main, "go.sum") }

// New is a fresh copy of a good tree, removed after the test.
func New(tb testing.TB) *Tree {
	tb.Helper()
	return NewFor(tb, "local")
}

// NewFor is the same as another Go release makes it, such as go1.25.4. The
// release is fetched as a module if it is not there; without a network the test
// is skipped.
func NewFor(tb testing.TB, toolchain string) *Tree {
	tb.Helper()
	good, err := good(toolchain)
	if errors.Is(err, errNoToolchain) {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatalf("making a cache: %v", err)
	}
	root, err := os.MkdirTemp("", "cachetree-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { RemoveAll(tb, root) })
	if err := Copy(good, root); err != nil {
		tb.Fatalf("copying a cache: %v", err)
	}
	t := at(root)
	t.toolchain = toolchain
	return t
}

// RemoveAll removes a tree, also of read-only directories.
func RemoveAll(tb testing.TB, root string) {
	tb.Helper()
	if dir, err := os.OpenRoot(root); err == nil { // names may be longer than a path
		_ = fs.WalkDir(dir.FS(), ".", func(path string, d fs.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				return dir.Chmod(path, 0o700)
			}
			return nil // RemoveAll reports what cannot be removed
		})
		_ = dir.Close() // only read
	}
	if err := os.RemoveAll(root); err != nil {
		tb.Errorf("removing %s: %.300v", root, err)
	}
}

var (
	errNoToolchain = errors.New("this Go release cannot be had here")
	made           sync.Map // toolchain → func() (string, error)
)

// good is where the good tree of a toolchain lies.
func good(toolchain string) (string, error) {
	f, _ := made.LoadOrStore(toolchain, sync.OnceValues(func() (string, error) { return make1(toolchain) }))
	return f.(func() (string, error))()
}

func make1(toolchain string) (string, error) {
	probe := at(os.TempDir())
	probe.toolchain = toolchain
	probe.Main = os.TempDir()
	version, err := probe.version()
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", errNoToolchain, toolchain, err)
	}
	sum := sha256.Sum256([]byte(generation + version + fmt.Sprint(sources, mainFiles)))
	return once(hex.EncodeToString(sum[:8]), func(root string) error {
		t := at(root)
		t.toolchain = toolchain
		return t.fill()
	})
}

// version asks the toolchain that tests are to use, which may have to be
// fetched first into the caches of the machine.
func (t *Tree) version() (string, error) {
	cmd := exec.Command(t.GoCmd, "version") //nolint:gosec // a test's go command
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+t.toolchain)
	cmd.Dir = t.Main
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// fill makes a good tree.
func (t *Tree) fill() error {
	for _, dir := range []string{t.ModCache, t.BuildCache, t.Proxy, t.Main} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := writeProxy(t.Proxy); err != nil {
		return err
	}
	for name, content := range mainFiles {
		if err := os.WriteFile(filepath.Join(t.Main, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	for _, args := range [][]string{{"mod", "tidy"}, {"mod", "download"}, {"build", "-o", os.DevNull, "."}, {"run", "."}} {
		if out, err := t.Go(args...); err != nil {
			return fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
	}
	return nil
}

// Env is the environment in which the go command uses the tree and nothing
// else.
func (t *Tree) Env() []string {
	goos, goarch := os.Getenv("GOOS"), os.Getenv("GOARCH")
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.Root, "GOPATH=" + filepath.Join(t.Root, "gopath"),
		"GOMODCACHE=" + t.ModCache, "GOCACHE=" + t.BuildCache, "GOPROXY=file://" + t.Proxy, "GOSUMDB=off",
		"GOFLAGS=-trimpath", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOTELEMETRY=off",
		"GOOS=" + goos, "GOARCH=" + goarch, "TMPDIR=" + os.TempDir(),
	}
	if t.Offline {
		env = append(env, "GOPROXY=off")
	}
	return env
}

// Go runs the go command in the main module.
func (t *Tree) Go(args ...string) (output string, err error) {
	cmd, err := t.Command(args...)
	if err != nil {
		return "", err
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Command is a go command in the main module, not yet started.
func (t *Tree) Command(args ...string) (*exec.Cmd, error) {
	name, err := t.goCommand()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(name, args...) //nolint:gosec // a test's go command
	cmd.Dir, cmd.Env = t.Main, t.Env()
	return cmd, nil
}

var roots sync.Map // toolchain → GOROOT

// goCommand is the go command of the tree's release itself: switching through
// GOTOOLCHAIN would put the release into the tree's module cache.
func (t *Tree) goCommand() (string, error) {
	if t.toolchain == "local" {
		return t.GoCmd, nil
	}
	if root, ok := roots.Load(t.toolchain); ok {
		return filepath.Join(root.(string), "bin", "go"), nil
	}
	cmd := exec.Command(t.GoCmd, "env", "GOROOT") //nolint:gosec // a test's go command
	cmd.Env, cmd.Dir = append(os.Environ(), "GOTOOLCHAIN="+t.toolchain), os.TempDir()
	out, err := cmd.Output()
	if err != nil {
		return "", err
	}
	root := strings.TrimSpace(string(out))
	roots.Store(t.toolchain, root)
	return filepath.Join(root, "bin", "go"), nil
}

// Build builds the main module and returns the sha256 of the binary.
func (t *Tree) Build() (sum string, output string, err error) {
	name := filepath.Join(t.Root, "main.bin")
	out, err := t.Go("build", "-o", name, ".")
	if err != nil {
		return "", out, err
	}
	data, err := os.ReadFile(name) //nolint:gosec // just built
	if err != nil {
		return "", out, err
	}
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:]), out, os.Remove(name)
}

// Copy copies a tree, with modes and without times.
func Copy(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		return copyFile(path, target, info.Mode().Perm())
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	src, err := os.Open(from) //nolint:gosec // a file of the tree
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // likewise
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Chmod(mode), dst.Close())
}
