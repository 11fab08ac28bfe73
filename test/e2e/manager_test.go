package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/test/scenario"
)

// managers runs the manager on this machine, in place of the one in the
// cluster, so that it can be killed at a point.
type managers struct {
	*choke
	environment []string
	config, log string
}

// takeOver ends the manager in the cluster until the test ends.
func (s *fixture) takeOver() *managers {
	s.Helper()
	dir := s.TempDir()
	m := &managers{choke: s.newChoke(), config: filepath.Join(dir, "kubeconfig"), log: filepath.Join(dir, "manager.log")}
	s.must(m.kubeconfig(m.config))
	var deployment appsv1.Deployment
	s.must(s.Client.Get(s.ctx, client.ObjectKey{Namespace: scenario.SystemNamespace, Name: scenario.ManagerDeployment}, &deployment))
	for _, e := range deployment.Spec.Template.Spec.Containers[0].Env {
		m.environment = append(m.environment, e.Name+"="+e.Value)
	}
	s.Cleanup(func() { s.must(s.scaleManager(context.WithoutCancel(s.ctx), 1)) })
	s.must(s.scaleManager(s.ctx, 0))
	s.managerLog = m.log
	return m
}

// scaleManager sets how many managers run in the cluster, and waits for them.
func (s *fixture) scaleManager(ctx context.Context, replicas int32) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	deployment := &appsv1.Deployment{}
	deployment.Namespace, deployment.Name = scenario.SystemNamespace, scenario.ManagerDeployment
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	if err := s.Client.Patch(ctx, deployment, patch); err != nil {
		return fmt.Errorf("scale the manager: %w", err)
	}
	return scenario.Until(ctx, 90*time.Second, fmt.Sprintf("%d managers in the cluster", replicas), func(ctx context.Context) (bool, string, error) {
		var pods corev1.PodList
		err := s.Client.List(ctx, &pods, client.InNamespace(scenario.SystemNamespace), client.MatchingLabels(deployment.Spec.Selector.MatchLabels))
		ready := 0
		for i := range pods.Items {
			for _, c := range pods.Items[i].Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		return len(pods.Items) == int(replicas) && ready == int(replicas), fmt.Sprintf("%d pods, %d ready", len(pods.Items), ready), err
	})
}

// process is one manager.
type process struct {
	pid  int
	done chan struct{} // closed when it has ended
	once sync.Once
}

// kill ends it as a node that loses power does, and waits until it is gone.
func (p *process) kill() {
	p.once.Do(func() {
		select {
		case <-p.done: // its pid may be another's by now
		default:
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // gone in between
		}
	})
	<-p.done
}

// start starts a manager. It ends with the test at the latest.
func (s *fixture) start(m *managers) *process {
	s.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.must(err)
	_, _ = fmt.Fprintln(log, "---- a manager starts")
	cmd := exec.Command(filepath.Join(scenario.Root(), "bin", "manager"),
		"--kubeconfig", m.config, "--metrics-bind-address", "0", "--health-probe-bind-address", "0", "--zap-log-level", "debug")
	cmd.Env = append(m.environment, "PATH="+os.Getenv("PATH"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the signal above when this thread ends, not when the
		// process does: the thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // it was killed
		}
		_ = log.Close()
		close(p.done)
	}()
	s.must(<-started)
	s.Cleanup(p.kill)
	return p
}

// killAt runs a manager until it is killed at a point.
func (s *fixture) killAt(m *managers, p point) {
	s.Helper()
	var manager *process
	ready := make(chan struct{})
	struck := m.arm(p, func() { <-ready; manager.kill() })
	manager = s.start(m)
	close(ready)
	select {
	case <-manager.done:
		select {
		case <-struck:
		default:
			s.Fatalf("the manager ended by itself before it could be killed %s", p)
		}
	case <-time.After(2 * time.Minute):
		s.Fatalf("the manager did not come to be killed %s within 2 minutes", p)
	case <-s.ctx.Done():
		s.Fatal("the tests are being stopped")
	}
}
