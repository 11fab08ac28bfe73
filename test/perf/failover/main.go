package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"gocache.dev/operator/test/scenario"
)

// options of a run.
type options struct {
	cluster             string
	faults              string
	commands, baselines int
	parallel            int
	keep                bool
	flapFor             time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.cluster, "cluster", "gocache-failover", "name of the local cluster, which is started and removed")
	flag.StringVar(&o.faults, "faults", os.Getenv("FAULT"), "faults to try, separated by commas (default: all but flap)")
	flag.IntVar(&o.commands, "commands", 500, "go commands per fault with the published GOPROXY")
	flag.IntVar(&o.baselines, "baselines", 100, "go commands per fault with each of the other three")
	flag.IntVar(&o.parallel, "parallel", 24, "go commands at once with the published GOPROXY; the others share as many")
	flag.DurationVar(&o.flapFor, "flap-for", 10*time.Minute, "how long the fault flap lasts")
	flag.BoolVar(&o.keep, "keep", false, "leave the cluster")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	chosen, err := choose(o.faults)
	if err != nil {
		return err
	}
	n := scenario.NewNarrator(os.Stderr)
	s, err := newSite(ctx, o, n)
	if s != nil && !o.keep {
		defer func() { err = errors.Join(err, s.remove()) }()
	}
	if err != nil {
		return err
	}
	var rows []row
	for _, f := range chosen {
		n.Chapter("%s", f.name)
		r, tryErr := s.try(ctx, f)
		if tryErr != nil {
			n.Print("%s was not tried to its end: %v", f.name, tryErr)
			r.note = "not tried to its end: " + strings.ReplaceAll(tryErr.Error(), "\n", " ")
		}
		rows = append(rows, r)
		n.Print("%s", strings.TrimSpace(r.line()))
		if len(r.groups) > 0 {
			for _, e := range r.groups[0].examples[:min(len(r.groups[0].examples), 3)] {
				n.Print("for example: %s", e)
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	report(rows)
	return ctx.Err()
}

// row is what one fault led to.
type row struct {
	fault  string
	groups []clientGroup
	// last is how long after the fault the bad instance answered through the
	// router for the last time; negative: it is not reported.
	last time.Duration
	// quarantined is set if it was, and wrong is how many answers it gave through
	// the router after that had been read back.
	quarantined bool
	wrong       int64
	note        string
}

func (r row) line() string {
	cells := []string{r.fault}
	for _, c := range r.groups {
		cell := fmt.Sprintf("%d / %d", c.failed, c.commands)
		if c.slowest >= 30*time.Second {
			cell += fmt.Sprintf(" (slowest %d s)", int(c.slowest.Seconds()))
		}
		cells = append(cells, cell)
	}
	for len(cells) < 5 {
		cells = append(cells, "")
	}
	last := "–"
	if r.last >= 0 {
		last = fmt.Sprintf("%.1f s", r.last.Seconds())
	}
	wrong := "–"
	if r.quarantined {
		wrong = fmt.Sprint(r.wrong)
	}
	return "| " + strings.Join(append(cells, last, wrong, r.note), " | ") + " |\n"
}

func report(rows []row) {
	fmt.Printf("\n%s, %s, HAProxy and Kubernetes as `devcluster` has them, %d processors\n\n", time.Now().UTC().Format("2006-01-02"), runtime.Version(), runtime.NumCPU())
	fmt.Print("| fault of one of two instances | published `R\\|R/~2\\|R/~3` | `R` | plain Service | `A\\|B` | last answer | answers after quarantine | |\n|---|---|---|---|---|---|---|---|\n")
	failed, commands := 0, 0
	var examples []string
	for _, r := range rows {
		fmt.Print(r.line())
		if len(r.groups) > 0 {
			failed, commands = failed+r.groups[0].failed, commands+r.groups[0].commands
			examples = append(examples, r.groups[0].examples...)
		}
	}
	for _, e := range examples[:min(len(examples), 5)] {
		fmt.Printf("\nfor example: %s\n", e)
	}
	fmt.Printf("\nfailed client commands: %d of %d\n", failed, commands)
}

func choose(names string) ([]fault, error) {
	if names == "" {
		return slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.key == "flap" }), nil
	}
	var chosen []fault
	for key := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(faults, func(f fault) bool { return f.key == key })
		if i < 0 {
			var known []string
			for _, f := range faults {
				known = append(known, f.key)
			}
			return nil, fmt.Errorf("there is no fault %q; there are %s", key, strings.Join(known, ", "))
		}
		chosen = append(chosen, faults[i])
	}
	return chosen, nil
}
