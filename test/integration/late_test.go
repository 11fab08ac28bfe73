package integration

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/loopback"
)

// TestManagerStartsBeforeTheAPIServer: a manager that starts while the API server
// is away waits for it, alive and not ready, and logs each attempt. One that ended would be
// kept away by the kubelet for minutes after the API server is back.
func TestManagerStartsBeforeTheAPIServer(t *testing.T) {
	var environment *envtest.Environment
	own := env.Start(t, func(e *envtest.Environment) {
		environment = e
		e.ControlPlane.GetAPIServer().CertDir = t.TempDir() // it keeps its certificates while it is away
	})
	apiServer := environment.ControlPlane.GetAPIServer()
	if err := apiServer.Stop(); err != nil {
		t.Fatal(err)
	}
	probes := loopback.Address(t)
	m := startProcess(t, kubeconfigOf(t, own), probes)

	eventually(t, "two attempts are logged", func() error {
		if n := strings.Count(m.log.String(), "nextAttemptIn"); n < 2 {
			return errors.Join(fmt.Errorf("%d attempts are logged", n), m.gone())
		}
		return nil
	})
	if err := answers("http://"+probes+"/healthz", http.StatusOK); err != nil {
		t.Error("the manager waits and is not alive: ", err)
	}
	if err := answers("http://"+probes+"/readyz", http.StatusInternalServerError); err != nil {
		t.Error("the manager waits: ", err)
	}

	if err := apiServer.Start(); err != nil {
		t.Fatal("start the API server: ", err)
	}
	eventually(t, "the manager is ready", func() error {
		return errors.Join(answers("http://"+probes+"/readyz", http.StatusOK), m.gone())
	})
	if err := m.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := m.end(t); err != nil {
		t.Errorf("the manager ended with %v", err)
	}
}

// TestManagerEndsWhileItWaits: a manager that is to end while it waits for the API
// server ends at once and without an error.
func TestManagerEndsWhileItWaits(t *testing.T) {
	m := startProcess(t, kubeconfigWith(t, loopback.Address(t), &clientcmdapi.AuthInfo{}), loopback.Address(t))
	eventually(t, "an attempt is logged", func() error {
		if !strings.Contains(m.log.String(), "nextAttemptIn") {
			return errors.Join(errors.New("none is"), m.gone())
		}
		return nil
	})
	if err := m.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := m.end(t); err != nil {
		t.Errorf("the manager ended with %v", err)
	}
}

// TestManagerEndsWithRefusedCredentials: waiting does not cure credentials that
// the API server refuses. The manager ends, and its error names the cause.
func TestManagerEndsWithRefusedCredentials(t *testing.T) {
	address := strings.TrimPrefix(server.Config.Host, "https://")
	m := startProcess(t, kubeconfigWith(t, address, &clientcmdapi.AuthInfo{Token: "expired"}), loopback.Address(t))
	err := m.end(t)
	if err == nil {
		t.Error("the manager ended without an error")
	}
	if log := m.log.String(); !strings.Contains(log, "correct the credentials") || !strings.Contains(log, "has asked for the client to provide credentials") {
		t.Errorf("the cause is not in the log: %.2000s", log)
	}
}

// process is a manager in a process of its own.
type process struct {
	process *os.Process
	log     *safeBuffer
	ended   chan struct{}
	err     error
}

func startProcess(t *testing.T, kubeconfig, probes string) *process {
	t.Helper()
	m := &process{log: &safeBuffer{}, ended: make(chan struct{})}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe",
		"--kubeconfig", kubeconfig, "--metrics-bind-address", "0", "--health-probe-bind-address", probes, "--operator-image", "gocache.dev/operator:dev")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), asManager+"=yes"), m.log, m.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.process = cmd.Process
	go func() { defer close(m.ended); m.err = cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of the manager: %.8000s", m.log.String())
		}
	})
	return m
}

// gone is an error if the process has ended.
func (m *process) gone() error {
	select {
	case <-m.ended:
		return fmt.Errorf("the manager ended with %v", m.err)
	default:
		return nil
	}
}

// end waits until the process has ended.
func (m *process) end(t *testing.T) error {
	t.Helper()
	select {
	case <-m.ended:
		return m.err
	case <-time.After(2 * time.Minute):
		t.Fatal("the manager does not end")
		return nil
	}
}

// safeBuffer may be read while a process writes to it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// kubeconfigWith has an address of an API server, the CA of the tests' one, and
// the given credentials.
func kubeconfigWith(t *testing.T, address string, user *clientcmdapi.AuthInfo) string {
	t.Helper()
	config := clientcmdapi.Config{
		Clusters:  map[string]*clientcmdapi.Cluster{"c": {Server: "https://" + address, CertificateAuthorityData: server.Config.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"u": user}, Contexts: map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}}, CurrentContext: "x",
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(config, file); err != nil {
		t.Fatal(err)
	}
	return file
}
