// Package gocost measures go commands: how many packages they compile, and what that
// takes.
package gocost

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cost of go commands.
type Cost struct {
	// Compiled counts the packages that were compiled. The commands need -x.
	Compiled        int
	Wall, Processor time.Duration
}

// Add runs a go command and adds what it costs.
func (c *Cost) Add(cmd *exec.Cmd) error {
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%.300s: %w: %.3000s", strings.Join(cmd.Args, " "), err, text.String())
	}
	c.Wall += time.Since(began)
	c.Processor += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	c.Compiled += Compiled(text.String())
	return nil
}

// Compiled counts the packages that a go command with -x has compiled.
func Compiled(log string) (n int) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "/compile ") && strings.Contains(line, " -p ") {
			n++
		}
	}
	return n
}

// Print prints a line with the medians of some rounds.
func Print(name string, all ...Cost) {
	m := Median(all)
	fmt.Printf("%s: %d packages compiled, %.2f s wall, %.2f s processor (median of %d)\n", name, m.Compiled, m.Wall.Seconds(), m.Processor.Seconds(), len(all))
}

// Median of each part for itself. There must be one cost at least.
func Median(all []Cost) Cost {
	return Cost{
		Compiled:  median(all, func(c Cost) int { return c.Compiled }),
		Wall:      median(all, func(c Cost) time.Duration { return c.Wall }),
		Processor: median(all, func(c Cost) time.Duration { return c.Processor }),
	}
}

func median[T cmp.Ordered](all []Cost, of func(Cost) T) T {
	var values []T
	for _, c := range all {
		values = append(values, of(c))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// Rounds is BENCH_ROUNDS, or a default.
func Rounds(otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv("BENCH_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return otherwise
}
