package node

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/binaries"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
)

// Init is process 1 of a node. It returns only on failure: its end is the
// node's end.
func Init(stateDir string, number int) error {
	if os.Getpid() != 1 {
		return errors.New("the init command is run by devcluster up, as process 1 of new namespaces")
	}
	record, err := cluster.Load(stateDir)
	if err != nil {
		return err
	}
	if err := binaries.EntryOf(record.BinDir).Use(); err != nil {
		return err
	}
	n := record.Node(number)
	if err := unix.Sethostname([]byte(n.Name())); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := mountAll(n); err != nil {
		return err
	}
	if err := configureNetwork(n); err != nil {
		return err
	}
	supervisor, err := os.StartProcess("/proc/self/exe",
		[]string{record.Paths().Executable(), "supervise", "--state-dir", stateDir, "--node", strconv.Itoa(number)},
		&os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	return reap(supervisor.Pid)
}

// reap waits for whatever ends: shims and what they leave behind become
// children of process 1.
func reap(supervisor int) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for children: %w", err)
		}
		if pid == supervisor {
			return fmt.Errorf("the supervisor ended with status %d, signal %d", status.ExitStatus(), status.Signal())
		}
	}
}
