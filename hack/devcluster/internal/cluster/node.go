package cluster

import (
	"fmt"
	"net/netip"
	"path"
)

// podBits is the size of a node's share of the pods' network, if that has room for it.
const podBits = 24

// nodeBits are the bits that number the nodes in the pods' network.
const nodeBits = 3

// Node is one node of a cluster. Everything of the first one is named and placed as
// in a cluster that has no other.
type Node struct {
	// Spec is the cluster that it belongs to.
	Spec Spec
	// Number counts from 1. The first runs the control plane.
	Number int
}

// Node returns a node by its number.
func (s Spec) Node(number int) Node { return Node{Spec: s, Number: number} }

// AllNodes returns all nodes, the first one first.
func (s Spec) AllNodes() []Node {
	nodes := make([]Node, 0, s.Nodes)
	for number := 1; number <= max(s.Nodes, 1); number++ {
		nodes = append(nodes, s.Node(number))
	}
	return nodes
}

// Shared reports whether volumes are attached to one of several nodes.
func (s Spec) Shared() bool { return s.Nodes > 1 }

// First reports whether the control plane runs on it.
func (n Node) First() bool { return n.Number == 1 }

// Name is the name of the Node object.
func (n Node) Name() string {
	if n.First() {
		return n.Spec.Name + "-node"
	}
	return fmt.Sprintf("%s-node%d", n.Spec.Name, n.Number)
}

// Named is the name of something that each node has its own of, such as a component.
func (n Node) Named(what string) string {
	if n.First() {
		return what
	}
	return fmt.Sprintf("%s-%d", what, n.Number)
}

// IP is the node's address.
func (n Node) IP() netip.Addr { return nth(n.Spec.NodeCIDR, 1+n.Number) }

// PodCIDR is what its pods get their addresses from.
func (n Node) PodCIDR() netip.Prefix {
	all := n.Spec.PodCIDR
	if !n.Spec.Shared() {
		return all
	}
	bits := max(podBits, all.Bits()+nodeBits)
	address := all.Masked().Addr().As4()
	value := uint32(address[0])<<24 | uint32(address[1])<<16 | uint32(address[2])<<8 | uint32(address[3])
	value += uint32(n.Number-1) << (32 - bits) //nolint:gosec // Validate bounds both
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), bits)
}

// maxPodBits leaves each node a network that Kubernetes can work with.
func (s Spec) maxPodBits() int {
	const smallest = 26
	if s.Nodes > 1 {
		return smallest - nodeBits
	}
	return smallest
}

// Zone is the zone of the node: there are two.
func (n Node) Zone() string {
	if n.Number%2 == 1 {
		return "zone-a"
	}
	return "zone-b"
}

// Link is the machine's end of the network link to the node.
func (n Node) Link() string {
	if !n.Spec.Shared() {
		return n.Spec.Link()
	}
	return fmt.Sprintf("%sn%d", n.Spec.Link(), n.Number)
}

// Cgroup is the name of the node's cgroup in every hierarchy.
func (n Node) Cgroup() string {
	if !n.Spec.Shared() {
		return n.Spec.Cgroup()
	}
	return path.Join(n.Spec.Cgroup(), fmt.Sprintf("n%d", n.Number))
}
