package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/apiclient"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/config"
	"gocache.dev/operator/hack/devcluster/internal/reflinkcsi"
)

// mountAll gives the node its own view of the machine. The order matters: the
// machine must not see any of it, and the kubelet needs to see its children's.
func mountAll(n cluster.Node) error {
	steps := []struct {
		what string
		do   func() error
	}{
		{"keep mounts off the machine", func() error {
			return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}},
		{"mount /proc of the new process namespace", func() error {
			return unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		}},
		{"mount /sys of the new network namespace", func() error { return mountSys(n.Paths()) }},
		{"replace folders whose paths are fixed", hideFolders},
		{"keep the kubelet's sysctls off the machine", shadowSysctls},
		{"mount the pool of volumes", func() error { return mountPool(n) }},
		{"share mounts with containers", func() error {
			return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
		}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// mountSys mounts a sysfs that shows this network namespace, and carries the
// cgroup mounts over to it.
func mountSys(paths cluster.Paths) error {
	aside := filepath.Join(paths.Dir(), "cgroup")
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	const cgroups = "/sys/fs/cgroup"
	if err := unix.Mount(cgroups, aside, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	return unix.Mount(aside, cgroups, "", unix.MS_MOVE, "")
}

// hideFolders puts an empty file system where components insist on writing,
// whatever they are configured to: libcni's cache, the kubelet's device plugins,
// links to container logs, network namespaces, the containerd shims' sockets.
func hideFolders() error {
	for _, dir := range []string{"/run", "/var/log", "/var/lib"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	for _, dir := range []string{config.RunDir, "/run/netns", "/run/lock", "/var/lib/kubelet", "/var/lib/cni"} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as on any machine
			return err
		}
	}
	return nil
}

// sysctls are what the kubelet sets for the whole machine when they differ.
var sysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// shadowSysctls shows the kubelet files that already hold its values, so that it
// changes nothing; in particular a kernel oops does not reboot the machine.
func shadowSysctls() error {
	dir := filepath.Join(config.RunDir, "sysctl")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as /proc/sys
		return err
	}
	for name, value := range sysctls {
		target := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without it
		}
		shadow := filepath.Join(dir, strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(shadow, []byte(value+"\n"), 0o644); err != nil { //nolint:gosec // as /proc/sys
			return err
		}
		if err := unix.Mount(shadow, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
	}
	return nil
}

// poolTimeout is how long the first node may take to make the pool.
const poolTimeout = 20 * time.Second

// mountPool mounts the pool, which the first node makes. All nodes mount the same
// device: to the kernel it is one file system, as an array of disks would be.
func mountPool(n cluster.Node) error {
	paths := n.Paths()
	if n.First() {
		if _, err := os.Stat(paths.PoolImage()); errors.Is(err, fs.ErrNotExist) {
			return makePool(n.Spec)
		}
	}
	if err := os.MkdirAll(paths.Pool(), 0o700); err != nil {
		return err
	}
	return apiclient.Wait(context.Background(), poolTimeout, func(context.Context) error {
		device, err := reflinkcsi.Device(loopDir, paths.PoolImage())
		if err != nil {
			return err
		}
		if device != "" {
			return unix.Mount(device, paths.Pool(), "xfs", unix.MS_NOATIME, "")
		}
		if n.First() { // no other node lives
			return mountLoop(paths)
		}
		return errors.New("the first node has not mounted the pool yet")
	})
}

// loopDir has nodes of loop devices.
var loopDir = filepath.Join(config.RunDir, "loop")

// makePool makes the sparse file and mounts a file system that can reflink.
func makePool(spec cluster.Spec) error {
	paths := spec.Paths()
	f, err := os.OpenFile(paths.PoolImage(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(spec.PoolSize), f.Close(), os.MkdirAll(paths.Pool(), 0o700)); err != nil {
		return err
	}
	if err := run("mkfs.xfs", "-q", "-K", "-m", "reflink=1", paths.PoolImage()); err != nil {
		return err
	}
	return mountLoop(paths)
}

// mountLoop uses mount(8), which finds a free loop device, and gives it back with the
// mount.
func mountLoop(paths cluster.Paths) error {
	return run("mount", "-t", "xfs", "-o", "loop,noatime", paths.PoolImage(), paths.Pool())
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
