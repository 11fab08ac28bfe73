package selftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"gocache.dev/operator/hack/devcluster/internal/apiclient"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/faults"
	"gocache.dev/operator/hack/devcluster/internal/lifecycle"
	"gocache.dev/operator/hack/devcluster/internal/node"
	"gocache.dev/operator/hack/devcluster/internal/progress"
)

// NewManager returns a manager for a cluster of this name.
type NewManager func(name string) (*lifecycle.Manager, error)

// names are of the test alone, so that it does not touch a cluster in use.
var names = []string{"selftest-a", "selftest-b", "selftest-c"}

// timeout bounds each wait.
const timeout = 90 * time.Second

// Part is a part of the test.
type Part string

// The parts.
const (
	AllParts     Part = ""
	OneNode      Part = "one"
	SeveralNodes Part = "nodes"
)

// Run runs the test, or a part of it, and removes its clusters, however it ends.
func Run(ctx context.Context, part Part, create NewManager, reporter *progress.Reporter) (err error) {
	var managers []*lifecycle.Manager
	for _, name := range names {
		m, err := create(name)
		if err != nil {
			return err
		}
		managers = append(managers, m)
	}
	down := func() error {
		var errs []error
		for _, m := range managers {
			_, err := m.Down(context.WithoutCancel(ctx))
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
	if err := down(); err != nil {
		return err
	}
	before, err := observe(names...)
	if err != nil {
		return err
	}
	if part != SeveralNodes {
		err = test(ctx, managers[:2], reporter)
		for _, m := range managers[:2] { // their processors are needed
			if err == nil {
				_, err = m.Down(ctx)
			}
		}
	}
	if err == nil && part != OneNode {
		err = testNodes(ctx, managers[2], reporter)
	}
	if err = errors.Join(err, down(), down()); err != nil {
		return err
	}
	reporter.Stage("down, and down again")
	if err := leftBehind(before, names...); err != nil {
		return err
	}
	reporter.Stage("nothing is left behind")
	return nil
}

func test(ctx context.Context, managers []*lifecycle.Manager, reporter *progress.Reporter) error {
	var group errgroup.Group
	suites := make([]*suite, len(managers))
	for i, m := range managers {
		group.Go(func() error {
			record, err := m.Up(ctx)
			if err != nil {
				return err
			}
			suites[i], err = newSuite(m, record)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	reporter.Stage("two clusters run side by side")

	// The two halves of the test run at the same time, one in each cluster.
	halves := [][]step{
		{
			{"up again changes nothing", (*suite).upAgain},
			{"PVC → Job → snapshot → restored PVC and clone → Jobs read the same", (*suite).dataPath},
			{"a mounted volume grows; a class without expansion refuses", (*suite).expansion},
			{"a full volume answers ENOSPC", (*suite).full},
			{"snapshots fail twice and are late, as asked", (*suite).faults},
		},
		{
			{"PodSecurity refuses a privileged pod", (*suite).podSecurity},
			{"machine → ClusterIP, pod → machine, pod → outside is refused at once", (*suite).network},
			{"a killed kubelet comes back", (*suite).killed},
			{"a stopped API server is missed, and up starts it", (*suite).stopped},
			{"a killed node is recovered by up", (*suite).recovered},
		},
	}
	for i, steps := range halves {
		group.Go(func() error {
			if err := suites[i].prepare(ctx); err != nil {
				return err
			}
			for _, s := range steps {
				if err := s.run(suites[i], ctx); err != nil {
					return fmt.Errorf("%s: %s: %w", suites[i].record.Name, s.what, err)
				}
				reporter.Stage("%s", s.what)
			}
			return nil
		})
	}
	return group.Wait()
}

type step struct {
	what string
	run  func(*suite, context.Context) error
}

// suite is one cluster under test.
type suite struct {
	manager *lifecycle.Manager
	record  cluster.Record
	client  *apiclient.Client
}

func newSuite(m *lifecycle.Manager, record cluster.Record) (*suite, error) {
	client, err := apiclient.New(record.Spec)
	return &suite{manager: m, record: record, client: client}, err
}

func (s *suite) prepare(ctx context.Context) error { return s.apply(ctx, objects) }

func (s *suite) upAgain(ctx context.Context) error {
	again, err := s.manager.Up(ctx)
	if err == nil && again.Init != s.record.Init {
		err = fmt.Errorf("the node was %d and is %d", s.record.Init.PID, again.Init.PID)
	}
	return err
}

func (s *suite) dataPath(ctx context.Context) error {
	const check = "cd /; sha256sum -c /d/sum; test $(cat /d/dir/file) = precious; test -p /d/pipe; touch /d/new"
	if err := s.runJob(ctx, "writer", "source",
		"mkdir /d/dir; echo precious > /d/dir/file; mkfifo /d/pipe; dd if=/dev/urandom of=/d/big bs=1M count=8; sha256sum /d/big > /d/sum"); err != nil {
		return err
	}
	if err := s.apply(ctx, snapshotObject); err != nil {
		return err
	}
	if err := s.runJob(ctx, "restored", "restored", check+"; test $(df -mP /d | tail -1 | awk '{print $2}') -gt 100"); err != nil {
		return err
	}
	return s.runJob(ctx, "cloned", "cloned", check)
}

func (s *suite) expansion(ctx context.Context) error {
	pod := strings.ReplaceAll(job("holder", "source", "sleep 1000"), "restartPolicy: Never", "restartPolicy: Never\n      terminationGracePeriodSeconds: 0")
	if err := s.apply(ctx, pod); err != nil {
		return err
	}
	if err := s.wait(ctx, "job/holder", "jsonpath={.status.ready}=1"); err != nil {
		return err
	}
	if err := s.grow(ctx, "source", "256Mi"); err != nil {
		return err
	}
	if err := s.wait(ctx, "pvc/source", "jsonpath={.status.capacity.storage}=256Mi"); err != nil {
		return err
	}
	size, err := s.kubectl(ctx, "", "exec", "job/holder", "--", "sh", "-c", "df -mP /d | tail -1 | awk '{print $2}'")
	if err != nil {
		return err
	}
	if size = strings.TrimSpace(size); len(size) != 3 || size < "200" {
		return fmt.Errorf("the pod sees %q MiB, want more than 200", size)
	}
	if _, err := s.kubectl(ctx, "", "delete", "job/holder", "--wait"); err != nil {
		return err
	}
	if err := s.grow(ctx, "fixed", "256Mi"); err == nil {
		return errors.New("a PVC of class fixed-size could be expanded")
	}
	return nil
}

func (s *suite) grow(ctx context.Context, claim, size string) error {
	_, err := s.kubectl(ctx, "", "patch", "pvc/"+claim, "-p", `{"spec":{"resources":{"requests":{"storage":"`+size+`"}}}}`)
	return err
}

func (s *suite) full(ctx context.Context) error {
	return s.runJob(ctx, "full", "fixed",
		"! dd if=/dev/zero of=/d/fill bs=1M count=100 2> /tmp/err; grep 'No space left' /tmp/err; test $(stat -c %s /d/fill) -gt 40000000")
}

func (s *suite) faults(ctx context.Context) error {
	const late = 3 * time.Second
	rules := `{"rules": [
		{"operation": "snapshot", "name": "faulty", "error": "no room in the array", "times": 2},
		{"operation": "snapshot", "name": "faulty", "readyAfter": "` + late.String() + `"}
	]}`
	if _, err := faults.Parse([]byte(rules)); err != nil {
		return err
	}
	if err := cluster.WriteFile(s.record.Paths().Faults(), []byte(rules), 0o644); err != nil {
		return err
	}
	start := time.Now()
	if err := s.apply(ctx, faultySnapshot); err != nil {
		return err
	}
	if err := s.wait(ctx, "volumesnapshot/faulty", "jsonpath={.status.error.message}"); err != nil {
		return err
	}
	if err := s.wait(ctx, "volumesnapshot/faulty", "jsonpath={.status.readyToUse}=true"); err != nil {
		return err
	}
	if took := time.Since(start); took < late {
		return fmt.Errorf("ready after %s, want at least %s", took, late)
	}
	return os.Remove(s.record.Paths().Faults())
}

func (s *suite) podSecurity(ctx context.Context) error {
	err := s.apply(ctx, privilegedPod)
	if err == nil || !strings.Contains(err.Error(), "violates PodSecurity") {
		return fmt.Errorf("creating it: %w", err)
	}
	return nil
}

func (s *suite) network(ctx context.Context) error {
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "machine") }),
		ReadHeaderTimeout: timeout,
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort(s.record.HostIP().String(), "0"))
	if err != nil {
		return err
	}
	defer server.Close()      //nolint:errcheck // the test is over
	go server.Serve(listener) //nolint:errcheck // ends with Close

	if err := s.apply(ctx, webPod); err != nil {
		return err
	}
	if err := s.wait(ctx, "pod/web", "condition=Ready"); err != nil {
		return err
	}
	ip, err := s.kubectl(ctx, "", "get", "service/web", "-o", "jsonpath={.spec.clusterIP}")
	if err != nil {
		return err
	}
	if err := apiclient.Wait(ctx, timeout, func(ctx context.Context) error { return get(ctx, "http://"+ip, "hello") }); err != nil {
		return err
	}
	return s.runJob(ctx, "network", "fixed", "probe http://"+listener.Addr().String()+
		" | grep machine; probe http://web.selftest.svc.cluster.local | grep hello; ! probe http://198.51.100.1")
}

func get(ctx context.Context, url, want string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: timeout, Transport: &http.Transport{}}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(body), want) {
		err = fmt.Errorf("GET %s: %q, want %q", url, body, want)
	}
	return err
}

func (s *suite) killed(ctx context.Context) error {
	before, err := s.component(ctx, "kubelet")
	if err != nil {
		return err
	}
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		return err
	}
	return apiclient.Wait(ctx, timeout, func(ctx context.Context) error {
		now, err := s.component(ctx, "kubelet")
		if err == nil && (now.State != node.Running || now.PID == before.PID || now.Restarts == 0) {
			err = fmt.Errorf("kubelet is %+v", now)
		}
		return err
	})
}

func (s *suite) component(ctx context.Context, name string) (node.Status, error) {
	status, err := s.manager.Status(ctx)
	if err != nil {
		return node.Status{}, err
	}
	for _, c := range status.Components {
		if c.Name == name {
			return c, nil
		}
	}
	return node.Status{}, fmt.Errorf("no component %s", name)
}

func (s *suite) stopped(ctx context.Context) error {
	if err := s.manager.Control(ctx, "kube-apiserver", node.Stop); err != nil {
		return err
	}
	err := apiclient.Wait(ctx, timeout, func(ctx context.Context) error {
		status, err := s.manager.Status(ctx)
		if err == nil && status.Usable {
			err = errors.New("the cluster is usable without its API server")
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.upAgain(ctx)
}

func (s *suite) recovered(ctx context.Context) error {
	if err := s.record.Init.Kill(timeout); err != nil {
		return err
	}
	record, err := s.manager.Up(ctx)
	if err == nil && record.Init == s.record.Init {
		err = errors.New("it is still the dead node")
	}
	return err
}

func (s *suite) runJob(ctx context.Context, name, claim, script string) error {
	if err := s.apply(ctx, job(name, claim, script)); err != nil {
		return err
	}
	err := s.waitJob(ctx, name)
	if err != nil {
		logs, logErr := s.kubectl(ctx, "", "logs", "job/"+name)
		describe, describeErr := s.kubectl(ctx, "", "describe", "pods", "-l", "job-name="+name)
		err = errors.Join(fmt.Errorf("job %s: %w\n%s\n%s", name, err, logs, describe), logErr, describeErr)
	}
	return err
}

func (s *suite) waitJob(ctx context.Context, name string) error {
	return apiclient.Wait(ctx, timeout, func(ctx context.Context) error {
		var j struct {
			Status struct{ Succeeded, Failed int }
		}
		if err := s.client.Get(ctx, "/apis/batch/v1/namespaces/"+namespace+"/jobs/"+name, &j); err != nil {
			return err
		}
		if j.Status.Failed > 0 {
			return apiclient.Final(errors.New("failed"))
		}
		if j.Status.Succeeded == 0 {
			return errors.New("not finished")
		}
		return nil
	})
}

func (s *suite) apply(ctx context.Context, manifest string) error {
	_, err := s.kubectl(ctx, manifest, "apply", "-f", "-")
	return err
}

func (s *suite) wait(ctx context.Context, object, condition string) error {
	_, err := s.kubectl(ctx, "", "wait", object, "--for="+condition, "--timeout="+timeout.String())
	return err
}

func (s *suite) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := lifecycle.Kubectl(ctx, s.record, append([]string{"--namespace", namespace}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out), err
}
