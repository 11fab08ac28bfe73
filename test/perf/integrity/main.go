// Command integrity measures the agent's checks against what there is to
// compare them with, in the same run and on the same trees, and prints a line
// for each:
//
//	name ours rival ratio
//
// Only ratios mean anything: other programs may be using the machine. So each
// is the median of several rounds in which ours and the baseline take turns, for
// wall time and for processor time.
//
// BENCH=name picks one of: full, incremental, gocache, workers, growth, memory.
// BENCH_ENTRIES sets how many entries memory is measured with.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gocache.dev/operator/internal/testing/measure"
)

type bench struct {
	agent  string
	dir    string
	rounds int
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	b := &bench{agent: filepath.Join(dir, "gocache-agent"), dir: dir, rounds: 5}
	defer b.remove()
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stopped
		b.remove()
		os.Exit(130)
	}()
	if n, err := strconv.Atoi(os.Getenv("BENCH_ROUNDS")); err == nil && n > 0 {
		b.rounds = n
	}
	if out, err := exec.Command("go", "build", "-o", b.agent, "./internal/cmd/gocache-agent").CombinedOutput(); err != nil { //nolint:gosec // our own program
		return fmt.Errorf("building the agent: %w\n%s", err, out)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("# %s, %d processors, load %s, medians of %d rounds\n", runtime.Version(), runtime.NumCPU(), strings.TrimSpace(string(load)), b.rounds)
	only := os.Getenv("BENCH")
	for _, one := range []struct {
		name string
		run  func() error
	}{
		{"full", b.full}, {"incremental", b.incremental}, {"gocache", b.gocache}, {"workers", b.workers}, {"growth", b.growth}, {"memory", b.memory},
	} {
		if only != "" && only != one.name {
			continue
		}
		if err := one.run(); err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return nil
}

// remove removes everything, also the read-only directories of modules.
func (b *bench) remove() {
	_ = exec.Command("chmod", "-R", "u+w", b.dir).Run() //nolint:gosec // a directory of ours
	_ = os.RemoveAll(b.dir)
}

// versus runs two programs in turn and prints the medians.
func (b *bench) versus(name string, ours, baseline func() *exec.Cmd) error {
	var mine, theirs []measure.Cost
	for range b.rounds {
		m, err := measure.Run(ours())
		if err != nil {
			return err
		}
		t, err := measure.Run(baseline())
		if err != nil {
			return err
		}
		mine, theirs = append(mine, m), append(theirs, t)
	}
	wall := func(c measure.Cost) time.Duration { return c.Wall }
	cpu := func(c measure.Cost) time.Duration { return c.CPU }
	line(name+"/wall", median(mine, wall), median(theirs, wall))
	line(name+"/cpu", median(mine, cpu), median(theirs, cpu))
	return nil
}

func line(name string, ours, baseline time.Duration) {
	fmt.Printf("%-24s %8.3fs %8.3fs %6.2f\n", name, ours.Seconds(), baseline.Seconds(), baseline.Seconds()/ours.Seconds())
}

func median(costs []measure.Cost, of func(measure.Cost) time.Duration) time.Duration {
	var values []time.Duration
	for _, c := range costs {
		values = append(values, of(c))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// modules makes a module cache of this project's modules and a main module to
// verify them from.
func (b *bench) modules() (modcache, main string, err error) {
	modcache, main = filepath.Join(b.dir, "mod"), filepath.Join(b.dir, "main")
	if _, err := os.Stat(main); err == nil {
		return modcache, main, nil
	}
	if err := os.MkdirAll(main, 0o700); err != nil {
		return "", "", err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(name) //nolint:gosec // of this project
		if err != nil {
			return "", "", err
		}
		if err := os.WriteFile(filepath.Join(main, name), data, 0o600); err != nil { //nolint:gosec // a copy
			return "", "", err
		}
	}
	cmd := b.goCommand(modcache, main, "mod", "download")
	// From the machine's own cache what it has.
	own, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		return "", "", err
	}
	have, proxy, _ := strings.Cut(strings.TrimSpace(string(own)), "\n")
	cmd.Env = append(cmd.Env, "GOPROXY=file://"+filepath.ToSlash(have)+"/cache/download,"+proxy)
	_, err = measure.Run(cmd)
	return modcache, main, err
}

func (b *bench) goCommand(modcache, main string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), "go", args...) //nolint:gosec // the go command
	cmd.Dir = main
	cmd.Env = append(os.Environ(), "GOMODCACHE="+modcache, "GOFLAGS=-mod=mod", "GOWORK=off")
	return cmd
}

func (b *bench) verify(args ...string) *exec.Cmd {
	return exec.Command(b.agent, append([]string{"verify", "--json"}, args...)...) //nolint:gosec // our own program
}

// full inflates every zip and hashes every extracted file, as go mod verify
// does.
func (b *bench) full() error {
	modcache, main, err := b.modules()
	if err != nil {
		return err
	}
	return b.versus("full", func() *exec.Cmd { return b.verify("--modcache", modcache) },
		func() *exec.Cmd { return b.goCommand(modcache, main, "mod", "verify") })
}

// incremental hashes zips as they are, against the manifest of a full check.
func (b *bench) incremental() error {
	modcache, main, err := b.modules()
	if err != nil {
		return err
	}
	manifest := filepath.Join(b.dir, "manifest.zst")
	if _, err := measure.Run(b.verify("--modcache", modcache, "--manifest", manifest)); err != nil {
		return err
	}
	return b.versus("incremental", func() *exec.Cmd { return b.verify("--modcache", modcache, "--baseline", manifest) },
		func() *exec.Cmd { return b.goCommand(modcache, main, "mod", "verify") })
}

// gocache is the rate of one core on a real build cache: a copy of the machine's own.
func (b *bench) gocache() error {
	own, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return err
	}
	dir, size, err := b.sample(strings.TrimSpace(string(own)), 1<<30)
	if err != nil {
		return err
	}
	var costs []measure.Cost
	for range b.rounds {
		cmd := b.verify("--buildcache", dir, "--workers", "1")
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		c, err := measure.Run(cmd)
		if err != nil {
			return err
		}
		costs = append(costs, c)
	}
	bare := hashRate()
	rate := float64(size) / median(costs, func(c measure.Cost) time.Duration { return c.CPU }).Seconds()
	fmt.Printf("%-24s %6.2fGB/s %6.2fGB/s %6.2f  (of %.1f GB, per core; the baseline is SHA-256 of memory)\n", "gocache/rate", rate/1e9, bare/1e9, rate/bare, float64(size)/1e9)
	return nil
}

func (b *bench) workers() error {
	modcache, _, err := b.modules()
	if err != nil {
		return err
	}
	return b.versus("workers/2-against-1", func() *exec.Cmd { return b.verify("--modcache", modcache, "--workers", "2") },
		func() *exec.Cmd { return b.verify("--modcache", modcache, "--workers", "1") })
}
