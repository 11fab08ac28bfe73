// Command mutation measures what the tests notice: it makes single changes to
// the code, runs the changed package's own tests for each, and prints how many
// of the changes made a test fail. For a package without tests, those of the
// nearest package above it are run. With -servers, what a part's own tests do not
// notice is tried with the tests of the nearest package above it that start an API
// server: those of its controller.
//
//	go run ./hack/mutation [-seed 1] [-n 100] [-each 0] [-servers] [-packages ./internal/plan/...]
//
// The changes are those of changes.go, sampled with a seed: the same seed and
// the same code give the same changes. No file of the work tree is written: the
// changed file is an overlay of the go command. A change that does not compile
// counts for nothing, and one that makes the tests hang counts as noticed.
//
// Not every change that is not noticed is a gap: some make no difference, or
// only one of wording or speed. They are listed to be read, and the score is
// there to be compared with an earlier one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	dir      string // of the module
	patterns []string
	seed     uint64
	n        int
	each     int           // of a package; 0: any number
	budget   time.Duration // 0: none
	timeout  time.Duration
	parallel int
	servers  bool // packages whose tests start an API server, too
}

func main() {
	o := options{dir: "."}
	packages := flag.String("packages", "./internal/domain/... ./internal/plan/...", "patterns of packages, separated by spaces")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the sample")
	flag.IntVar(&o.n, "n", 100, "how many changes to try; 0: all")
	flag.IntVar(&o.each, "each", 0, "how many changes of one package to try; 0: any number")
	flag.DurationVar(&o.budget, "budget", 0, "begin no change after this time; 0: no limit")
	flag.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long the tests of a changed package may take, or five times as long as without a change if that is more")
	flag.IntVar(&o.parallel, "parallel", 2, "how many changes to try at once")
	flag.BoolVar(&o.servers, "servers", false, "change the packages whose tests start an API server, too; KUBEBUILDER_ASSETS must be set")
	flag.Parse()
	o.patterns = strings.Fields(*packages)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

// run samples, tries and prints.
func run(ctx context.Context, out io.Writer, o options) error {
	packages, err := list(ctx, o.dir, o.patterns, o.servers)
	if err != nil {
		return err
	}
	var all []change
	for _, p := range packages {
		found, err := p.changes()
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	if len(all) == 0 {
		return errors.New("there is nothing to change in these packages")
	}
	shuffle(all, o.seed)
	t := &trial{options: o, out: out}
	defer t.close()
	if err := t.begin(); err != nil {
		return err
	}
	results := t.all(ctx, all)
	if _, err := io.WriteString(out, table(results, o.seed, len(all))); err != nil {
		return err
	}
	return errors.Join(ctx.Err(), t.failed)
}

// shuffle puts the changes in the order in which they are tried.
func shuffle(all []change, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a sample that can be repeated
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
}
