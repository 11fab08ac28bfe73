package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process names a process so that no other can be mistaken for it: numbers are
// reused, but not with the same start time since the same boot.
type Process struct {
	PID int `json:"pid"`
	// StartTicks is when it started, in clock ticks since the machine booted.
	StartTicks uint64 `json:"startTicks"`
	// BootID is the boot that StartTicks counts from.
	BootID string `json:"bootID"`
}

// FindProcess describes the process that has this number now.
func FindProcess(pid int) (Process, error) {
	ticks, _, err := readStat(pid)
	if err != nil {
		return Process{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Process{}, err
	}
	return Process{PID: pid, StartTicks: ticks, BootID: strings.TrimSpace(string(boot))}, nil
}

// Alive reports whether this very process still runs. A zombie does not.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, err := FindProcess(p.PID)
	if err != nil || now != p {
		return false
	}
	_, state, err := readStat(p.PID)
	return err == nil && state != 'Z' && state != 'X'
}

// Kill ends the process, if it is still this one, and waits until it is gone.
func (p Process) Kill(wait time.Duration) error {
	if !p.Alive() {
		return nil
	}
	// Through a descriptor: between the check and the signal the number cannot change hands.
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", p.PID, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written to it
	if !p.Alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	return waitForEnd(fd, p.PID, wait)
}

// waitForEnd waits on the descriptor, which becomes readable when the last thread has
// ended. The state of the process shows its first thread only, while another may
// still be taking the namespaces down.
func waitForEnd(fd, pid int, wait time.Duration) error {
	for deadline := time.Now().Add(wait); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return fmt.Errorf("process %d does not end %s after SIGKILL", pid, wait)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1) //nolint:gosec // a descriptor is small
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
		if n > 0 {
			return nil
		}
	}
}

// readStat returns the start time and the state of a process. The fields are
// counted from the last parenthesis: a process may put anything in its name.
func readStat(pid int) (ticks uint64, state byte, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const stateField, startField = 0, 19
	if len(fields) <= startField {
		return 0, 0, fmt.Errorf("/proc/%d/stat: %d fields, want more than %d", pid, len(fields), startField)
	}
	ticks, err = strconv.ParseUint(fields[startField], 10, 64)
	return ticks, fields[stateField][0], err
}
