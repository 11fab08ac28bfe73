package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"gocache.dev/operator/hack/devcluster/internal/apiclient"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
)

// State is what a component does.
type State string

// The states of a component.
const (
	// Waiting means that what it needs is not there yet.
	Waiting State = "Waiting"
	// Running means that its process runs.
	Running State = "Running"
	// Restarting means that it ended by itself and will be started again.
	Restarting State = "Restarting"
	// Stopped means that a stop was requested.
	Stopped State = "Stopped"
)

// Status is what is known about a component.
type Status struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// PID is its process, 0 if there is none. On the control socket it is the
	// number inside the node.
	PID int `json:"pid,omitempty"`
	// Restarts is how often it was started after the first time.
	Restarts int `json:"restarts"`
	// Detail is what it waits for or how it ended.
	Detail string `json:"detail,omitempty"`
}

const (
	gateInterval = 50 * time.Millisecond
	minBackoff   = 200 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// settled is how long a component must have run for its next end to count as
	// the first again.
	settled = 10 * time.Second
	// stopGrace is how long a component may take to end by itself.
	stopGrace = 2 * time.Second
)

// Supervise runs the components of a node until the context is done.
func Supervise(ctx context.Context, stateDir string, number int) error {
	record, err := cluster.Load(stateDir)
	if err != nil {
		return err
	}
	client, err := apiclient.New(record.Spec)
	if err != nil {
		return err
	}
	workers := map[string]*worker{}
	var order []*worker
	n := record.Node(number)
	for _, c := range Components(record, n, client) {
		w := newWorker(c, record, n)
		workers[c.Name] = w
		order = append(order, w)
		go w.run(ctx)
	}
	return serveControl(ctx, n.Paths().Control(), workers, order)
}

// worker keeps one component running.
type worker struct {
	component Component
	log       string
	env       []string

	// wake ends a wait when the desired state has changed.
	wake chan struct{}

	mu      sync.Mutex
	status  Status
	desired bool
	kill    context.CancelFunc // ends the running process; nil when none runs
}

func newWorker(c Component, record cluster.Record, n cluster.Node) *worker {
	return &worker{
		component: c, log: n.Paths().Log(c.log()), env: environment(record), desired: true,
		wake: make(chan struct{}, 1), status: Status{Name: c.Name, State: Waiting},
	}
}

func (w *worker) run(ctx context.Context) {
	backoff := minBackoff
	for started := false; ctx.Err() == nil; {
		if !w.isDesired() {
			w.set(Stopped, 0, "")
			w.sleep(ctx, time.Hour)
			continue
		}
		if err := w.passGate(ctx); err != nil {
			w.set(Waiting, 0, err.Error())
			w.sleep(ctx, gateInterval)
			continue
		}
		if started {
			w.countRestart()
		}
		started = true
		begin := time.Now()
		err := w.runOnce(ctx)
		if !w.isDesired() {
			continue
		}
		if time.Since(begin) > settled {
			backoff = minBackoff
		}
		w.set(Restarting, 0, fmt.Sprintf("ended after %s: %v", time.Since(begin).Round(time.Millisecond), err))
		w.sleep(ctx, backoff)
		backoff = min(2*backoff, maxBackoff)
	}
}

func (w *worker) passGate(ctx context.Context) error {
	if w.component.Gate == nil {
		return nil
	}
	return w.component.Gate(ctx)
}

// runOnce starts the process and waits for its end.
func (w *worker) runOnce(ctx context.Context) (err error) {
	log, err := os.OpenFile(w.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644) //nolint:gosec // logs are for everyone
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.component.Program, w.component.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = w.env, log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	if err := cmd.Start(); err != nil {
		return err
	}
	w.setRunning(cmd.Process.Pid, cancel)
	err = cmd.Wait()
	w.setRunning(0, nil)
	return err
}

// sleep waits, but not longer than until the desired state changes.
func (w *worker) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.wake:
	case <-timer.C:
	}
}

// setDesired starts or stops the component.
func (w *worker) setDesired(run bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.desired = run
	if !run && w.kill != nil {
		w.kill()
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// restart ends the process; it is started again as after any other end.
func (w *worker) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kill != nil {
		w.kill()
	}
}

func (w *worker) isDesired() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.desired
}

func (w *worker) set(s State, pid int, detail string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.State, w.status.PID, w.status.Detail = s, pid, detail
}

func (w *worker) setRunning(pid int, kill context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kill = kill
	w.status.PID = pid
	if pid == 0 {
		return
	}
	w.status.State, w.status.Detail = Running, ""
	if !w.desired {
		kill() // the desired state changed while it was being started
	}
}

func (w *worker) countRestart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.Restarts++
}

func (w *worker) get() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}
