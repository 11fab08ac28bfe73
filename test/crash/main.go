// Crash runs the crash suites and adds up what they report.
//
//	go run ./test/crash [-timeout 30m] [-parallel 8] PACKAGE...
//
// A crash point is a write of a flow's undisturbed run: it counts as run when
// the process was killed both before and after it. The last line is
//
//	crash points: N run, M failed
//
// and the program fails unless N is the number of recorded writes, M is 0,
// every package reported, and so did every flow that it declared.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gocache.dev/operator/internal/testing/crash"
)

func main() {
	timeout := flag.Duration("timeout", 30*time.Minute, "how long the suites of one package may take")
	parallel := flag.Int("parallel", 8, "how many runs of one package there are at once")
	flag.Parse()
	args := []string{"test", "-count=1", "-timeout", timeout.String(), "-parallel", strconv.Itoa(*parallel), "-run", "^TestCrash"}
	if err := run(os.Stdout, args, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "crash points:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, args, packages []string) error {
	if len(packages) == 0 {
		return errors.New("no packages were named: which hold crash suites?")
	}
	dir, err := os.MkdirTemp("", "crash-points")
	if err != nil {
		return fmt.Errorf("make a place for the report: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a rest of it does no harm
	report := filepath.Join(dir, "report.jsonl")

	tests := exec.Command("go", slices.Concat(args, packages)...) //nolint:gosec // the packages that its user names
	tests.Stdout, tests.Stderr = out, os.Stderr
	tests.Env = append(os.Environ(), crash.Report+"="+report)
	tested := tests.Run()

	f, err := os.Open(report) //nolint:gosec // made above
	if err != nil {
		return errors.Join(tested, fmt.Errorf("no suite reported: %w", err))
	}
	defer func() { _ = f.Close() }() // only read
	lines, err := read(f)
	if err != nil {
		return errors.Join(tested, err)
	}
	return errors.Join(tested, summarize(out, lines, len(packages)))
}

// read understands a report.
func read(r io.Reader) (lines []crash.Reported, err error) {
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		var line crash.Reported
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		lines = append(lines, line)
	}
	return lines, scanner.Err()
}

// summarize prints a line for each flow, and the sums. It fails when anything
// that was declared is missing.
func summarize(out io.Writer, lines []crash.Reported, packages int) error {
	declared := map[string]bool{}
	suites := map[string]bool{}
	var flows []crash.Reported
	for _, line := range lines {
		suites[line.Suite] = true
		for _, flow := range line.Declared {
			declared[line.Suite+"/"+flow] = true
		}
		if line.Flow != "" {
			flows = append(flows, line)
		}
	}
	slices.SortFunc(flows, func(a, b crash.Reported) int { return cmp.Compare(a.Name(), b.Name()) })

	var errs []error
	writes, points, failed := 0, 0, 0
	for _, flow := range flows {
		_, _ = fmt.Fprintln(out, flow) // to a terminal, as all below
		delete(declared, flow.Name())
		writes, points, failed = writes+flow.Writes, points+min(flow.Before, flow.After), failed+flow.Failed
		if flow.Before != flow.Writes || flow.After != flow.Writes {
			errs = append(errs, fmt.Errorf("%s: %d writes were recorded, but it was killed before %d and after %d of them", flow.Name(), flow.Writes, flow.Before, flow.After))
		}
	}
	for flow := range declared {
		errs = append(errs, fmt.Errorf("%s was declared, and did not end", flow))
	}
	if len(suites) != packages {
		errs = append(errs, fmt.Errorf("%d suites reported, of %d packages", len(suites), packages))
	}
	if failed > 0 {
		errs = append(errs, fmt.Errorf("%d crash points failed", failed))
	}
	_, _ = fmt.Fprintf(out, "writes recorded in undisturbed runs of %d flows: %d\n", len(flows), writes)
	_, _ = fmt.Fprintf(out, "crash points: %d run, %d failed\n", points, failed)
	return errors.Join(errs...)
}
