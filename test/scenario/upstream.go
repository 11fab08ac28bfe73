package scenario

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// guard becomes the program that it is given, and leaves a process behind that
// ends it when the cluster's node has ended: however the cluster goes, the proxy
// goes with it.
const guard = `
node=$0
while kill -0 $node && kill -0 $$ && sleep 1; do :; done 2>/dev/null && kill $$ 2>/dev/null &
exec "$@"
`

// startUpstream runs a proxy on this machine, at the address that pods reach:
// it fetches through whatever this machine's go command is set up with. It
// stays until the cluster is removed, so that a person can go on with it.
func (c *Cluster) startUpstream(ctx context.Context) error {
	if err := c.stopUpstream(ctx); err != nil { // of an earlier start
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("find the user's cache directory: %w", err)
	}
	store := filepath.Join(cache, "gocache-operator", "upstream")
	if err := os.MkdirAll(store, 0o755); err != nil { //nolint:gosec // public modules
		return fmt.Errorf("make the upstream proxy's store: %w", err)
	}
	log, err := os.Create(filepath.Join(c.stateDir, "upstream.log"))
	if err != nil {
		return fmt.Errorf("open the upstream proxy's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	// Not bound to ctx: it outlives the program that starts it.
	cmd := exec.Command("sh", "-c", guard, strconv.Itoa(c.initPID), //nolint:gosec,noctx // our own program
		c.proxyProgram(), "--store", store, "--listen", net.JoinHostPort(c.HostIP, upstreamPort))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the upstream proxy: %w", err)
	}
	if err := os.WriteFile(c.pidFile(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return errors.Join(fmt.Errorf("note the upstream proxy's pid: %w", err), cmd.Process.Kill())
	}
	go func() { _ = cmd.Wait() }() // reaped, if it ends while we are there
	return Until(ctx, 30*time.Second, "the upstream proxy to answer (its log: "+log.Name()+")", func(ctx context.Context) (bool, string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.UpstreamURL()+"/readyz", nil)
		if err != nil {
			return false, "", err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, err.Error(), nil //nolint:nilerr // not yet
		}
		return resp.StatusCode == http.StatusOK, resp.Status, resp.Body.Close()
	})
}

// stopUpstream ends the proxy that an earlier run has started, by its pid, if
// that still is our program.
func (c *Cluster) stopUpstream(ctx context.Context) error {
	if c.stateDir == "" { // there is no cluster
		return nil
	}
	text, err := os.ReadFile(c.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the upstream proxy: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || !c.isUpstream(pid) {
		return os.Remove(c.pidFile())
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end the upstream proxy, pid %d: %w", pid, err)
	}
	err = Until(ctx, 20*time.Second, "the upstream proxy to end", func(context.Context) (bool, string, error) {
		return !c.isUpstream(pid), fmt.Sprintf("pid %d runs", pid), nil
	})
	return errors.Join(err, os.Remove(c.pidFile()))
}

func (c *Cluster) isUpstream(pid int) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.HasPrefix(string(cmdline), c.proxyProgram()+"\x00")
}

func (c *Cluster) pidFile() string      { return filepath.Join(c.stateDir, "upstream.pid") }
func (c *Cluster) proxyProgram() string { return filepath.Join(Root(), "bin", "gocache-proxy") }
