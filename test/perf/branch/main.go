// Command branch measures the pushes of a branch with the real go command: on a
// clone of a cache alone, and with a private layer of the branch above it, in
// turn. It prints a line for each push:
//
//	push, what the build has, packages compiled, wall time, processor time
//
// The program is generated: 200 packages in layers. The cache is warm for its main
// branch. The first push of the branch changes what a package exports that many
// others import, the second one a package near the top. Each is built and vetted.
//
// BENCH_ROUNDS sets the number of rounds, of which the medians are printed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"gocache.dev/operator/test/perf/gocost"
)

const (
	packages = 200
	// deep is what the first push changes, and high what the second one changes.
	deep, high = 30, 190
	// limit of the private layer, in bytes.
	limit = 256 << 20
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "branch:", err)
		os.Exit(1)
	}
}

// bench is where the program and its caches are.
type bench struct{ dir, agent, program, lower string }

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "branch-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &bench{dir: dir, agent: filepath.Join(dir, "gocache-agent"), program: filepath.Join(dir, "program"), lower: filepath.Join(dir, "lower")}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.agent, "./internal/cmd/gocache-agent").CombinedOutput(); err != nil { //nolint:gosec // our own program
		return fmt.Errorf("build the agent: %w: %s", err, out)
	}
	if err := b.generate(); err != nil {
		return err
	}
	cold, err := b.push(ctx, "GOCACHE="+b.lower)
	if err != nil {
		return err
	}
	gocost.Print("main, cold", cold)
	costs := map[string][]gocost.Cost{}
	for round := range gocost.Rounds(5) {
		if err := b.round(ctx, round, costs); err != nil {
			return err
		}
	}
	for _, name := range []string{"first push, clone alone", "first push, clone and branch", "second push, clone alone", "second push, clone and branch"} {
		gocost.Print(name, costs[name]...)
	}
	return nil
}

// round makes both pushes with and without a private layer.
func (b *bench) round(ctx context.Context, round int, costs map[string][]gocost.Cost) error {
	own := filepath.Join(b.dir, fmt.Sprint("branch-", round))
	for i, change := range []int{deep, high} {
		if err := b.write(change, fmt.Sprint("round ", round)); err != nil {
			return err
		}
		push := []string{"first", "second"}[i]
		clone := filepath.Join(b.dir, "clone")
		if out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", b.lower, clone).CombinedOutput(); err != nil { //nolint:gosec // of this program
			return fmt.Errorf("clone: %w: %s", err, out)
		}
		c, err := b.push(ctx, "GOCACHE="+clone)
		if err != nil {
			return err
		}
		costs[push+" push, clone alone"] = append(costs[push+" push, clone alone"], c)
		if err := os.RemoveAll(clone); err != nil {
			return err
		}
		prog := fmt.Sprintf("GOCACHEPROG=%s prog --lower %s --upper %s --upper-of program/feature --upper-bytes %d", b.agent, b.lower, own, limit)
		if c, err = b.push(ctx, "GOCACHE="+filepath.Join(b.dir, "unused"), prog); err != nil {
			return err
		}
		costs[push+" push, clone and branch"] = append(costs[push+" push, clone and branch"], c)
	}
	// main again, of which the cache is warm.
	for _, change := range []int{deep, high} {
		if err := b.write(change, ""); err != nil {
			return err
		}
	}
	return os.RemoveAll(own)
}

// push builds and vets the program as a CI job does.
func (b *bench) push(ctx context.Context, env ...string) (c gocost.Cost, err error) {
	for _, args := range [][]string{{"build", "-x", "./..."}, {"vet", "./..."}} {
		cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // of this program
		cmd.Dir, cmd.Env = b.program, append(os.Environ(), append(env, "GOFLAGS=-mod=mod", "GOPROXY=off", "CGO_ENABLED=0")...)
		if err := c.Add(cmd); err != nil {
			return c, err
		}
	}
	return c, nil
}

// generate writes the program: package n imports some packages below it.
func (b *bench) generate() error {
	if err := os.MkdirAll(b.program, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.program, "go.mod"), []byte("module example.com/program\n\ngo 1.26\n"), 0o600); err != nil {
		return err
	}
	for n := range packages {
		if err := b.write(n, ""); err != nil {
			return err
		}
	}
	return nil
}

// write writes package n, with a constant of which a change reaches the packages
// that import it, and through them others, as that of an exported type would.
func (b *bench) write(n int, change string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "// Package p%03d is generated.\npackage p%03d\n\nimport (\n\t\"encoding/json\"\n\t\"fmt\"\n\t\"sort\"\n\t\"strings\"\n", n, n)
	below := imports(n)
	for _, m := range below {
		fmt.Fprintf(&text, "\n\t\"example.com/program/p%03d\"", m)
	}
	fmt.Fprintf(&text, "\n)\n\n// Change is of this package, and of the first one that it imports.\nconst Change = %q", change)
	if len(below) > 0 {
		fmt.Fprintf(&text, " + p%03d.Change", below[0])
	}
	text.WriteString("\n\n// Names of what is below.\nfunc Names() []string {\n\tnames := []string{Change}\n")
	for _, m := range below {
		fmt.Fprintf(&text, "\tnames = append(names, p%03d.Names()...)\n", m)
	}
	text.WriteString("\tsort.Strings(names)\n\treturn names\n}\n")
	for f := range 8 {
		fmt.Fprintf(&text, `
// T%[1]d is a type with methods.
type T%[1]d struct {
	Name   string            %[2]sjson:"name"%[2]s
	Values map[string][]int  %[2]sjson:"values"%[2]s
}

// String describes it.
func (t T%[1]d) String() string {
	var all []string
	for k, v := range t.Values {
		all = append(all, fmt.Sprintf("%%s=%%v", strings.ToUpper(k), v))
	}
	sort.Strings(all)
	return t.Name + strings.Join(all, ",")
}

// Parse%[1]d reads one.
func Parse%[1]d(data []byte) (t T%[1]d, err error) {
	if err = json.Unmarshal(data, &t); err != nil {
		return t, fmt.Errorf("parse %%d bytes: %%w", len(data), err)
	}
	return t, nil
}
`, f, "`")
	}
	dir := filepath.Join(b.program, fmt.Sprintf("p%03d", n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "p.go"), []byte(text.String()), 0o600)
}

// imports are the packages that package n imports.
func imports(n int) []int {
	var all []int
	for _, back := range []int{7, 23, 61} {
		if m := n - back; m >= 0 {
			all = append(all, m)
		}
	}
	return all
}
