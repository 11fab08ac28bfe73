package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"

	"gocache.dev/operator/hack/devcluster/internal/cluster"
	"gocache.dev/operator/hack/devcluster/internal/filelock"
)

// claimNetworks picks the index, and with it the networks, that the cluster gets:
// the one that was asked for, else the first whose link does not exist and whose
// networks nothing on the machine uses. The lock is to be held until the link
// stands, so that a second cluster does not pick the same.
func (m *Manager) claimNetworks(ctx context.Context) (cluster.Spec, *filelock.Lock, error) {
	lock, err := filelock.Exclusive(ctx, filepath.Join(lockDir, "networks.lock"), nil)
	if err != nil {
		return cluster.Spec{}, nil, err
	}
	spec, err := m.pickIndex()
	if err != nil {
		return cluster.Spec{}, nil, errors.Join(err, lock.Unlock())
	}
	return spec, lock, nil
}

func (m *Manager) pickIndex() (cluster.Spec, error) {
	used, err := usedNetworks()
	if err != nil {
		return cluster.Spec{}, err
	}
	indexes := []int{m.Spec.Index}
	if !m.Indexed {
		indexes = indexes[:0]
		for i := range cluster.MaxIndex + 1 {
			indexes = append(indexes, i)
		}
	}
	return pick(m.Spec, indexes, used, linkExists)
}

// pick returns the first completed spec that collides with nothing.
func pick(desired cluster.Spec, indexes []int, used []netip.Prefix, inUse func(link string) bool) (cluster.Spec, error) {
	var reasons []error
	for _, i := range indexes {
		spec := desired
		spec.Index = i
		spec = spec.WithDefaults()
		if err := spec.Validate(); err != nil {
			return cluster.Spec{}, err
		}
		if err := collision(spec, used, inUse); err != nil {
			reasons = append(reasons, fmt.Errorf("index %d: %w", i, err))
			continue
		}
		return spec, nil
	}
	return cluster.Spec{}, fmt.Errorf("no free networks; give others with --node-cidr, --pod-cidr and --service-cidr:\n%w",
		errors.Join(reasons...))
}

func collision(spec cluster.Spec, used []netip.Prefix, inUse func(link string) bool) error {
	if inUse(spec.Link()) {
		return fmt.Errorf("interface %s exists", spec.Link())
	}
	for _, want := range spec.Networks() {
		for _, have := range used {
			if want.Overlaps(have) {
				return fmt.Errorf("network %s overlaps %s, which this machine has a route to", want, have)
			}
		}
	}
	return nil
}

// usedNetworks are the destinations of the machine's routes, except the default
// route, which overlaps everything.
func usedNetworks() ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var used []netip.Prefix
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		address, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		bits, _ := r.Dst.Mask.Size()
		if ok && bits > 0 {
			used = append(used, netip.PrefixFrom(address, bits))
		}
	}
	return used, nil
}

func linkExists(name string) bool {
	_, err := os.Stat(filepath.Join("/sys/class/net", name))
	return err == nil
}
