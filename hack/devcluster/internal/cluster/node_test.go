package cluster

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNodesHaveTheirOwn(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "ci", Index: 2, Nodes: MaxNodes}.WithDefaults()
	if err := spec.Validate(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var networks []netip.Prefix
	for _, n := range spec.AllNodes() {
		p := n.Paths()
		for _, own := range []string{
			n.Name(), n.IP().String(), n.Link(), n.Cgroup(), n.Named("kubelet"), p.Dir(), p.Kubelet(), p.Containerd(),
			p.ContainerdSocket(), p.Control(), p.Config(), p.PodLogs(), p.Log("kubelet"), p.CSISocket(),
		} {
			if seen[own] {
				t.Errorf("node %d: another node has %s", n.Number, own)
			}
			seen[own] = true
		}
		if len(n.Link()) > 15 {
			t.Errorf("node %d: link %q is too long", n.Number, n.Link())
		}
		if !strings.HasPrefix(n.Cgroup(), spec.Cgroup()+"/") || !strings.HasPrefix(p.Kubelet(), spec.StateDir+"/") {
			t.Errorf("node %d: %s and %s would not be removed with the cluster", n.Number, n.Cgroup(), p.Kubelet())
		}
		pods := n.PodCIDR()
		if !spec.PodCIDR.Overlaps(pods) || pods.Bits() <= spec.PodCIDR.Bits() || pods.Masked() != pods {
			t.Errorf("node %d: pods %s are not a part of %s", n.Number, pods, spec.PodCIDR)
		}
		for _, other := range networks {
			if other.Overlaps(pods) {
				t.Errorf("node %d: pods %s overlap %s", n.Number, pods, other)
			}
		}
		networks = append(networks, pods)
	}
	if got := spec.Node(3).PodCIDR().String(); got != "10.225.34.0/24" {
		t.Errorf("the third node's pods are %s", got)
	}
}

func TestOneNodeIsAsBefore(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "ci", Index: 2}.WithDefaults()
	n := spec.Node(1)
	if len(spec.AllNodes()) != 1 || spec.Shared() {
		t.Errorf("%d nodes, shared %t", len(spec.AllNodes()), spec.Shared())
	}
	for got, want := range map[string]string{
		n.Name(): "ci-node", n.Link(): spec.Link(), n.Cgroup(): spec.Cgroup(), n.PodCIDR().String(): "10.223.2.0/24",
		n.Named("kubelet"): "kubelet", n.Paths().Dir(): spec.StateDir,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestNodesAreBounded(t *testing.T) {
	t.Parallel()
	for _, nodes := range []int{-1, MaxNodes + 1} {
		if err := (Spec{Nodes: nodes}).WithDefaults().Validate(); err == nil {
			t.Errorf("%d nodes were accepted", nodes)
		}
	}
	small := Spec{Nodes: 2, PodCIDR: netip.MustParsePrefix("10.9.0.0/24")}.WithDefaults()
	if err := small.Validate(); err == nil {
		t.Error("a network too small to be split was accepted")
	}
}
