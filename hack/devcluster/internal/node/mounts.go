package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/config"
)

// mountAll gives the node its own view of the machine. The order matters: the
// machine must not see any of it, and the kubelet needs to see its children's.
func mountAll(spec cluster.Spec) error {
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
		{"mount /sys of the new network namespace", func() error { return mountSys(spec) }},
		{"replace folders whose paths are fixed", hideFolders},
		{"keep the kubelet's sysctls off the machine", shadowSysctls},
		{"mount the pool of volumes", func() error { return mountPool(spec) }},
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
func mountSys(spec cluster.Spec) error {
	aside := filepath.Join(spec.StateDir, "cgroup")
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

// mountPool makes the sparse file and mounts a file system that can reflink.
func mountPool(spec cluster.Spec) error {
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
	// mount(8) finds a free loop device, and gives it back with the mount.
	return run("mount", "-t", "xfs", "-o", "loop,noatime", paths.PoolImage(), paths.Pool())
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
