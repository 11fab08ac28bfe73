package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"gocache.dev/operator/internal/testing/imagepool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == childCommand:
		err = child(ctx, os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == imagepool.ApartCommand:
		err = run(ctx)
	default:
		err = imagepool.Apart(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rivals:", err)
		os.Exit(1)
	}
}

// childCommand makes this program a GOCACHEPROG child.
const childCommand = "prog"

func child(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(childCommand, flag.ContinueOnError)
	url, dir := flags.String("url", "", "address of the object store"), flags.String("dir", "", "directory for the outputs of this go command")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return serveCache(ctx, os.Stdin, os.Stdout, *url, *dir)
}

func run(ctx context.Context) error {
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("BENCH_ROUNDS")); err == nil && n > 0 {
		rounds = n
	}
	b, err := newBench(ctx)
	if err != nil {
		return err
	}
	defer b.close(ctx)
	if err := b.prepare(ctx); err != nil {
		return err
	}
	var results []result
	if results, err = readResults(b.path("results.jsonl")); err != nil {
		return err
	}
	ways, err := chosen(b.ways(), os.Getenv("BENCH_ONLY"))
	if err != nil {
		return err
	}
	if slices.ContainsFunc(ways, func(w way) bool { return w.lazy }) {
		if b.devcluster, err = b.program(ctx, filepath.Join("hack", "devcluster"), "."); err != nil {
			return err
		}
	}
	for round := range rounds {
		for i := range ways {
			w := ways[(i+round)%len(ways)]
			if slices.ContainsFunc(results, func(r result) bool { return r.Round == round && r.Way == w.name }) {
				continue // an interrupted run has measured it
			}
			r, err := b.measure(ctx, round, w)
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", round, w.name, err)
			}
			if results = append(results, r...); appendResults(b.path("results.jsonl"), r) != nil {
				return fmt.Errorf("keep the results of round %d, %s", round, w.name)
			}
			fmt.Fprintf(os.Stderr, "round %d, %s: first result after %.2f s (load %.1f)\n", round, w.name, r[0].First.Seconds(), r[0].Load)
		}
	}
	fmt.Printf("%s\n%s", b.report.String(), table(results))
	return nil
}

// chosen are the ways of the given names, or all of them. Names have commas, so
// semicolons are between them.
func chosen(ways []way, only string) ([]way, error) {
	names := strings.FieldsFunc(only, func(r rune) bool { return r == ';' })
	for _, name := range names {
		if !slices.ContainsFunc(ways, func(w way) bool { return w.name == name }) {
			return nil, fmt.Errorf("BENCH_ONLY: no way has the name %q", name)
		}
	}
	return slices.DeleteFunc(ways, func(w way) bool { return len(names) > 0 && !slices.Contains(names, w.name) }), nil
}

// program builds one of this repository's programs, of the module in a directory.
func (b *bench) program(ctx context.Context, module, pkg string) (string, error) {
	to := b.path(filepath.Base(filepath.Join(module, pkg)))
	cmd := exec.CommandContext(ctx, "go", "build", "-C", module, "-o", to, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", pkg, err, out)
	}
	return to, nil
}
