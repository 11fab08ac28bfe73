// Command builds measures how a real program of about 250 packages builds: the
// checks of caches of this repository, with what they import, their vet and their
// tests. It prints a line for each case:
//
//	case, packages compiled, wall time, processor time
//
// First without any cache, and again with what that left. Then the agent warms a
// cache with each declared build, as a warm-up does, and each is made on a copy of
// it, where nothing may be compiled: the command fails otherwise. The checkout is
// where the warm-up had it, or elsewhere. Last a branch is pushed to twice, with the
// copy alone, and with a private layer of the branch above it.
//
// Modules come from the module cache of this machine, and what it lacks from its
// GOPROXY. BENCH_ROUNDS sets how often each build is made, of which the medians are
// printed.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/test/perf/gocost"
)

// packages of the program, the command first.
var packages = []string{"./test/perf/integrity", "./internal/domain/integrity"}

// variants are the declared builds. The race detector needs a C compiler.
func variants() []warmup.Build {
	all := []warmup.Build{
		{Name: "plain", Vet: true, Tests: true},
		{Name: "-trimpath", Flags: []string{"-trimpath"}, Vet: true, Tests: true},
		{Name: "-tags=netgo,osusergo", Flags: []string{"-tags=netgo,osusergo"}, Vet: true, Tests: true},
		{Name: "-cover", Flags: []string{"-cover"}, Tests: true},
		{Name: "GOARCH=arm64", Flags: []string{"-trimpath"}, Env: map[string]string{"GOARCH": "arm64", "CGO_ENABLED": "0"}},
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		fmt.Println("-race is left out: there is no gcc")
		return all
	}
	return append(all, warmup.Build{Name: "-race", Flags: []string{"-race"}, Env: map[string]string{"CGO_ENABLED": "1"}, Vet: true, Tests: true})
}

// What the pushes of the branch change: an exported type far below, and a function
// near the top.
var pushes = []struct{ file, text string }{
	{"internal/domain/modcache/pushed.go", "package modcache\n\n// Pushed is new.\ntype Pushed struct{ Round int }\n"},
	{"internal/domain/integrity/pushed.go", "package integrity\n\n// Pushed is new.\nfunc Pushed() int { return 1 }\n"},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "builds:", err)
		os.Exit(1)
	}
}

// bench is where things are.
type bench struct {
	agent string
	// cache is where all builds have their caches, as pods have them at one path.
	cache string
	// snapshot of the warmed cache.
	snapshot string
	// checkout of the program where the warm-up has it, and another one.
	checkout, elsewhere string
	env                 []string
	rounds              int
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "builds-")
	if err != nil {
		return err
	}
	defer func() { _ = remove(context.WithoutCancel(ctx), dir) }()
	b := &bench{
		agent: filepath.Join(dir, "gocache-agent"), cache: filepath.Join(dir, "gocache"), snapshot: filepath.Join(dir, "snapshot"),
		checkout: filepath.Join(dir, "sources", "0"), elsewhere: filepath.Join(dir, "src"), rounds: gocost.Rounds(3),
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	declared := variants()
	if err := b.withoutClone(ctx, declared[0]); err != nil {
		return err
	}
	if err := b.warm(ctx, declared); err != nil {
		return err
	}
	for _, v := range declared {
		if err := b.onClone(ctx, v); err != nil {
			return err
		}
	}
	return b.branch(ctx, declared[0])
}

// prepare builds the agent and checks the program out, twice.
func (b *bench) prepare(ctx context.Context) error {
	if _, err := output(ctx, ".", nil, "go", "build", "-o", b.agent, "./internal/cmd/gocache-agent"); err != nil {
		return err
	}
	archive := b.agent + ".tar"
	if _, err := output(ctx, ".", nil, "git", "archive", "-o", archive, "HEAD"); err != nil {
		return err
	}
	for _, to := range []string{b.checkout, b.elsewhere} {
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		if _, err := output(ctx, to, nil, "tar", "-xf", archive); err != nil {
			return err
		}
	}
	settings, err := output(ctx, ".", nil, "go", "env", "GOMODCACHE", "GOPROXY")
	if err != nil {
		return err
	}
	modules, upstream, _ := strings.Cut(strings.TrimSpace(settings), "\n")
	b.env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GO") || strings.HasPrefix(v, "CGO_")
	}),
		"GOPROXY=file://"+modules+"/cache/download,"+upstream, "GONOSUMDB=*", "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local",
		"GOMODCACHE="+filepath.Join(b.cache, "mod"), "GOCACHE="+filepath.Join(b.cache, "build"))
	list, err := output(ctx, b.checkout, b.env, "go", append([]string{"list", "-deps", "-test"}, packages...)...)
	if err != nil {
		return err
	}
	fmt.Printf("the program: %d packages with those of its tests\n", len(strings.Fields(list)))
	return b.reset(ctx, "")
}

// reset makes the cache a copy of another one, or empty.
func (b *bench) reset(ctx context.Context, from string) error {
	if err := remove(ctx, b.cache); err != nil {
		return err
	}
	if from == "" {
		return nil
	}
	_, err := output(ctx, ".", nil, "cp", "-a", "--reflink=auto", from, b.cache)
	return err
}

// remove removes a directory, module caches in it, too: they are not writable.
func remove(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return nil //nolint:nilerr // there is none
	}
	if _, err := output(ctx, ".", nil, "chmod", "-R", "u+w", dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// withoutClone builds with an empty cache, and again with what that left.
func (b *bench) withoutClone(ctx context.Context, v warmup.Build) error {
	cold, err := b.build(ctx, b.checkout, v)
	if err != nil {
		return err
	}
	gocost.Print("cold", cold)
	var warm []gocost.Cost
	for range b.rounds {
		c, err := b.build(ctx, b.checkout, v)
		if err != nil {
			return err
		}
		warm = append(warm, c)
	}
	gocost.Print("again, with the cache of the cold build", warm...)
	return b.reset(ctx, "")
}

// warm fills the cache with all variants as a warm-up does.
func (b *bench) warm(ctx context.Context, declared []warmup.Build) error {
	source := warmup.Source{Name: "program", Dir: b.checkout, Repository: true, Packages: packages, Builds: declared}
	out, err := output(ctx, ".", b.env, b.agent, "warm", "--never-sealed", "--json", "--modcache", filepath.Join(b.cache, "mod"),
		"--buildcache", filepath.Join(b.cache, "build"), "--source", source.Flag())
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var r warmup.Report
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		return fmt.Errorf("the report of the warm-up: %w", err)
	}
	if r.Outcome != warmup.Succeeded || len(r.FailedSources()) > 0 {
		return fmt.Errorf("the warm-up: %s %s", r.Outcome, r.Summary())
	}
	fmt.Printf("warm-up: %.1f s, %d modules, %d entries, %d MiB\n", r.DurationSeconds, r.Modules, r.BuildEntries, r.TreeBytes>>20)
	for _, one := range r.Sources[0].Builds {
		fmt.Printf("warm-up of %s: %.1f s, %d entries\n", one.Name, one.Seconds, one.Entries)
	}
	return os.Rename(b.cache, b.snapshot)
}

// onClone makes a declared build on copies of the warmed cache. What it compiles is
// an error, except for packages of the checkout that are elsewhere.
func (b *bench) onClone(ctx context.Context, v warmup.Build) error {
	places := map[string]string{"": b.checkout}
	if v.Name == "plain" || v.Name == "-trimpath" {
		places[", checkout elsewhere"] = b.elsewhere
	}
	for _, place := range []string{"", ", checkout elsewhere"} {
		dir, ok := places[place]
		if !ok {
			continue
		}
		var all []gocost.Cost
		for range b.rounds {
			if err := b.reset(ctx, b.snapshot); err != nil {
				return err
			}
			c, err := b.build(ctx, dir, v)
			if err != nil {
				return err
			}
			all = append(all, c)
		}
		gocost.Print("clone: "+v.Name+place, all...)
		if n := gocost.Median(all).Compiled; n > 0 && (place == "" || slices.Contains(v.Flags, "-trimpath")) {
			return fmt.Errorf("%d packages were compiled on a clone that was warmed with %s", n, v.Name)
		}
	}
	return nil
}

// branch pushes twice to a branch, whose private layer has what it has built.
func (b *bench) branch(ctx context.Context, v warmup.Build) error {
	costs := map[string][]gocost.Cost{}
	names := []string{}
	for round := range b.rounds {
		own := fmt.Sprintf("%s-branch-%d", b.snapshot, round)
		for i, push := range pushes {
			text := push.text + fmt.Sprintf("\nconst pushedRound = %d\n", round)
			if err := os.WriteFile(filepath.Join(b.checkout, push.file), []byte(text), 0o600); err != nil {
				return err
			}
			for _, layered := range []bool{false, true} {
				if err := b.reset(ctx, b.snapshot); err != nil {
					return err
				}
				name := []string{"first", "second"}[i] + " push of a branch: a clone"
				var env []string
				if layered {
					name += ", and the layer of the branch"
					env = []string{
						"GOCACHE=" + b.snapshot + "-unused",
						fmt.Sprintf("GOCACHEPROG=%s prog --lower %s --upper %s --upper-of program/feature --upper-bytes %d", b.agent, filepath.Join(b.cache, "build"), own, 1<<30),
					}
				}
				c, err := b.build(ctx, b.checkout, v, env...)
				if err != nil {
					return err
				}
				costs[name] = append(costs[name], c)
				if round == 0 {
					names = append(names, name)
				}
			}
		}
		for _, push := range pushes {
			if err := os.Remove(filepath.Join(b.checkout, push.file)); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		gocost.Print(name, costs[name]...)
	}
	return nil
}

// build makes a declared build, its vet and its tests, as CI does.
func (b *bench) build(ctx context.Context, dir string, v warmup.Build, env ...string) (c gocost.Cost, err error) {
	commands := [][]string{{"build", "-x", "-o", os.DevNull, packages[0]}}
	if v.Vet {
		commands = append(commands, []string{"vet", "-x"})
	}
	if v.Tests {
		commands = append(commands, []string{"test", "-x", "-count=1", "-run", "^$"})
	}
	for _, args := range commands {
		flags := v.Flags
		if args[0] == "vet" {
			flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return strings.HasPrefix(f, "-cover") })
		}
		args = slices.Concat(args[:2], flags, args[2:])
		if args[0] != "build" {
			args = append(args, packages...)
		}
		if err := c.Add(command(ctx, dir, slices.Concat(b.env, v.Environ(), env), "go", args...)); err != nil {
			return c, err
		}
	}
	return c, nil
}

// command is a command that ends with the context; env is nil for that of this process.
func command(ctx context.Context, dir string, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // of this program
	cmd.Dir, cmd.Env = dir, env
	cmd.WaitDelay = 5 * time.Second // a compiler that the go command has left may keep the output open
	return cmd
}

// output runs a command, and returns its output.
func output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := command(ctx, dir, env, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", errors.Join(fmt.Errorf("%s %.200s: %w", name, strings.Join(args, " "), err), errors.New(stderr.String()))
	}
	return string(out), nil
}
