package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gocache.dev/operator/hack/devcluster/internal/apiclient"
	"gocache.dev/operator/hack/devcluster/internal/cluster"
)

// Interface is the node's end of the link to the machine.
const Interface = "eth0"

// linkTimeout is how long the machine may take to put the link into the node.
const linkTimeout = 20 * time.Second

// configureNetwork gives the node its address and makes it a router for pods.
func configureNetwork(n cluster.Node) error {
	if err := up("lo"); err != nil {
		return err
	}
	err := apiclient.Wait(context.Background(), linkTimeout, func(context.Context) error {
		_, err := netlink.LinkByName(Interface)
		return err
	})
	if err != nil {
		return fmt.Errorf("interface %s, which the machine moves here: %w", Interface, err)
	}
	if err := AddAddress(Interface, netip.PrefixFrom(n.IP(), n.Spec.NodeCIDR.Bits())); err != nil {
		return err
	}
	if err := routeToOthers(n); err != nil {
		return err
	}
	if err := refuseOutside(); err != nil {
		return err
	}
	return setNetworkSysctls()
}

// routeToOthers sends packets for pods of other nodes to these.
func routeToOthers(n cluster.Node) error {
	for _, other := range n.Spec.AllNodes() {
		if other.Number == n.Number {
			continue
		}
		if err := RouteTo(other.PodCIDR(), other.IP()); err != nil {
			return err
		}
	}
	return nil
}

// RouteTo sends packets for a network to a node.
func RouteTo(network netip.Prefix, gateway netip.Addr) error {
	_, dst, err := net.ParseCIDR(network.String())
	if err != nil {
		return err
	}
	if err := netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: gateway.AsSlice()}); err != nil {
		return fmt.Errorf("route to %s: %w", network, err)
	}
	return nil
}

// refuseOutside answers at once that there is no way to anywhere but the machine.
// With a default route packets would go nowhere, and their sender would
// wait for minutes.
func refuseOutside() error {
	everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	if err := netlink.RouteAdd(&netlink.Route{Dst: everywhere, Type: unix.RTN_UNREACHABLE}); err != nil {
		return fmt.Errorf("default route: %w", err)
	}
	return nil
}

// AddAddress gives an interface an address and brings it up.
func AddAddress(name string, address netip.Prefix) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	ipNet := &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), address.Addr().BitLen())}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet}); err != nil {
		return fmt.Errorf("interface %s: address %s: %w", name, address, err)
	}
	return up(name)
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("interface %s up: %w", name, err)
	}
	return nil
}

// setNetworkSysctls sets what belongs to this network namespace alone.
func setNetworkSysctls() error {
	for name, required := range map[string]bool{
		"net/ipv4/ip_forward":              true,
		"net/ipv4/conf/all/route_localnet": true,
		// Only there when bridges filter at all, which may be a module.
		"net/bridge/bridge-nf-call-iptables": false,
	} {
		file := filepath.Join("/proc/sys", name)
		err := os.WriteFile(file, []byte("1"), 0)
		if errors.Is(err, fs.ErrNotExist) && !required {
			if exec.Command("modprobe", "br_netfilter").Run() == nil {
				err = os.WriteFile(file, []byte("1"), 0)
			} else {
				fmt.Fprintf(os.Stderr, "%s: not there; a pod may not reach itself through a Service\n", file)
				err = nil
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
