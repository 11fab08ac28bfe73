// Package measure measures what a program takes: time, processor time, and memory.
package measure

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// How often the memory of a program is read: in its first second, and later, since each
// read takes processor time. What it takes in the last interval before its end may be missed.
const firstInterval, interval = time.Millisecond, 20 * time.Millisecond

// Cost is what one run of a program took.
type Cost struct {
	Wall, CPU time.Duration
	Resident  int64 // bytes, at most; measured by Peak alone
}

// Run runs a program to its end.
func Run(cmd *exec.Cmd) (Cost, error) {
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return Cost{}, fmt.Errorf("%s: %w\n%.2000s", strings.Join(cmd.Args, " "), err, out)
	}
	return Cost{Wall: time.Since(start), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// Peak runs a program and returns the most memory that it had resident by itself, in
// bytes: VmHWM of its /proc/PID/status while it runs. The ru_maxrss of the exited child
// would be that of this process, too: a fork has the memory of its parent until it
// executes the program, and Linux counts that.
func Peak(cmd *exec.Cmd) (Cost, error) {
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	if err := cmd.Start(); err != nil { // returns when the program was executed
		return Cost{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var c Cost
	tick := time.NewTicker(firstInterval)
	defer tick.Stop()
	later := time.AfterFunc(time.Second, func() { tick.Reset(interval) })
	defer later.Stop()
	for {
		if n, err := residentPeak(cmd.Process.Pid); err == nil {
			c.Resident = max(c.Resident, n)
		}
		select {
		case <-tick.C:
		case err := <-ended:
			c.Wall, c.CPU = time.Since(start), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
			if err != nil {
				return c, fmt.Errorf("%s: %w\n%.2000s", strings.Join(cmd.Args, " "), err, output.String())
			}
			if c.Resident == 0 {
				return c, fmt.Errorf("%s: it ended before its memory was read", strings.Join(cmd.Args, " "))
			}
			return c, nil
		}
	}
}

// residentPeak is the most memory that a process has had resident since it executed its
// program, in bytes.
func residentPeak(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("a process that has ended has no memory")
}
