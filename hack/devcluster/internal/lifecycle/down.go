package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/cgroup"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/prereq"
)

// killTimeout is how long the kernel may take to tear the namespaces down.
const killTimeout = 30 * time.Second

// Down removes the cluster and reports whether there was one.
func (m *Manager) Down(ctx context.Context) (found bool, err error) {
	if err := prereq.This().Root(); err != nil {
		return false, err
	}
	lock, err := m.lock(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	spec := m.Spec.WithDefaults()
	dirs, err := cgroup.Find(spec.Cgroup())
	if err != nil {
		return false, err
	}
	_, statErr := os.Lstat(spec.StateDir)
	found = statErr == nil || len(dirs) > 0
	return found, m.remove()
}

// remove takes apart what start put together, in the opposite order. Every part
// may be missing.
func (m *Manager) remove() error {
	record, err := m.Record()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		record = cluster.Record{Spec: m.Spec.WithDefaults()}
		// Without a record the folder may be anyone's.
		if err := foreign(record.StateDir); err != nil {
			return err
		}
	case err != nil:
		// An unreadable record must not make a cluster that cannot be removed, but
		// no record names its processes either.
		return fmt.Errorf("%w\nremove %s by hand when no process of it runs", err, m.stateDir())
	}
	for _, n := range record.AllNodes() {
		if err := end(record, n); err != nil {
			return err
		}
	}
	if record.BinDir != "" { // the link's name is known only from a record
		if err := disconnect(record.Spec); err != nil {
			return err
		}
	}
	if err := cgroup.Remove(record.Cgroup()); err != nil {
		return err
	}
	if err := unmountBelow(record.StateDir); err != nil {
		return err
	}
	return os.RemoveAll(record.StateDir)
}

// end ends a node. SIGKILL does not reach processes that are frozen.
func end(record cluster.Record, n cluster.Node) error {
	if n.Spec.Shared() {
		if err := cgroup.Thaw(n.Cgroup()); err != nil {
			return err
		}
	}
	return record.NodeInit(n).Kill(killTimeout)
}

// foreign refuses to remove a folder that has no record but has content.
func foreign(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not the state directory of a cluster: it has no cluster.json", dir)
	}
	return nil
}

// disconnect removes the link, which went with the node unless it never got so
// far, or joins several, and with it the routes.
func disconnect(spec cluster.Spec) error {
	link, err := netlink.LinkByName(spec.Link())
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", spec.Link(), err)
	}
	owned, err := hasAddress(link, spec.HostIP())
	if err != nil || !owned {
		return err // another cluster's by now
	}
	if spec.Shared() {
		for _, n := range spec.AllNodes() {
			if err := removeLink(n.Link()); err != nil {
				return err
			}
		}
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", spec.Link(), err)
	}
	return nil
}

// removeLink removes the link to a node that has ended: the kernel does it, and takes its
// time. That there is none is no error.
func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if errors.As(err, new(netlink.LinkNotFoundError)) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

func hasAddress(link netlink.Link, address netip.Addr) (bool, error) {
	addresses, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, a := range addresses {
		if a.IP.Equal(address.AsSlice()) {
			return true, nil
		}
	}
	return len(addresses) == 0, nil
}

// unmountBelow unmounts what a person may have mounted there; the node's own
// mounts went with it.
func unmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var errs []error
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			errs = append(errs, unix.Unmount(fields[4], unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
		}
	}
	return errors.Join(errs...)
}
