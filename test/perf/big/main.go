// Command big measures caches that are larger than most: for each number of build
// entries (BIG_ENTRIES, a million and three by default) it makes a volume with a
// build cache of so many files and a module cache of BIG_MODULES_GIB gibibytes (20
// by default), and prints what each operation on it takes: time, processor time, and
// the most memory that the program had resident by itself.
//
// The content is synthetic, but the go command accepts it: the first build of a
// program that requires one of the modules, on a clone of the volume, compiles
// nothing. The volume is an XFS image that is cloned by reference and mounted, as the
// CSI driver of the local cluster does it; before each operation it is mounted again,
// so that nothing of its file system is in memory.
//
// It needs root, for mounts, mkfs.xfs, and free disk space of twice the modules, and
// 5 GiB for each million of entries. BIG_DIR is where that is (default: TMPDIR).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"gocache.dev/operator/internal/testing/imagepool"
	"gocache.dev/operator/internal/testing/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := imagepool.Apart
	if len(os.Args) > 1 && os.Args[1] == imagepool.ApartCommand {
		run = all
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "big:", err)
		os.Exit(1)
	}
}

// size is what one volume holds.
type size struct {
	entries int   // files of the build cache
	modules int64 // bytes of the module cache: downloads and extracted files
}

func all(ctx context.Context) (err error) {
	modules, err := number("BIG_MODULES_GIB", 20)
	if err != nil {
		return err
	}
	var sizes []size
	for _, text := range strings.FieldsFunc(envOr("BIG_ENTRIES", "1000000,3000000"), func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 2 {
			return fmt.Errorf("BIG_ENTRIES: %q is no number of files", text)
		}
		sizes = append(sizes, size{n, int64(modules) << 30})
	}
	dir, err := os.MkdirTemp(os.Getenv("BIG_DIR"), "big-")
	if err != nil {
		return err
	}
	b := &bench{dir: dir, agent: filepath.Join(dir, "gocache-agent")}
	b.Pool = &imagepool.Pool{Image: b.path("pool.img"), Bytes: 1 << 40, Dir: b.path("pool"), Mount: b.path("volume")}
	defer func() {
		if closed := b.Close(context.WithoutCancel(ctx)); closed != nil {
			err = errors.Join(err, closed)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	build := exec.CommandContext(ctx, "go", "build", "-o", b.agent, "./internal/cmd/gocache-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := measure.Run(build); err != nil {
		return err
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("# %s, %d processors, load %s", runtime.Version(), runtime.NumCPU(), load)
	for _, s := range sizes {
		if err := b.volume(ctx, s); err != nil {
			return fmt.Errorf("%d entries: %w", s.entries, err)
		}
	}
	b.table()
	return nil
}

func envOr(name, value string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return value
}

func number(name string, value int) (int, error) {
	n, err := strconv.Atoi(envOr(name, strconv.Itoa(value)))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s: %q is no positive number", name, os.Getenv(name))
	}
	return n, nil
}
