package cluster

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	// DefaultName is the cluster that every command uses by default.
	DefaultName = "gocache"
	// DefaultStateRoot is the folder that holds one state directory per cluster.
	// It is on disk, since container images and volumes live below it.
	DefaultStateRoot = "/var/tmp/gocache-devcluster"
	// DefaultPoolSize is the size of the sparse file that backs all CSI volumes.
	DefaultPoolSize = 20 << 30
	// DriverName is the CSI driver that every local cluster runs.
	DriverName = "reflink.csi.gocache.dev"
	// Domain is the cluster's DNS domain.
	Domain = "cluster.local"
	// MaxNodes is how many nodes a cluster may have.
	MaxNodes = 5
	// MaxIndex is the largest index whose default networks do not overlap another's.
	MaxIndex = 15

	maxNameLength = 30
	// maxStateDirLength leaves room for the longest socket path below it: the
	// kernel allows 107 bytes.
	maxStateDirLength = 60
)

// Spec is the configuration of a cluster. The zero value of a network means
// the one that Index stands for.
type Spec struct {
	// Name identifies the cluster on its machine: a DNS label of at most 30 characters.
	Name string `json:"name"`
	// StateDir holds every file of the cluster and is removed with it.
	StateDir string `json:"stateDir"`
	// Index chooses the default networks and the name of the network link.
	Index int `json:"index"`
	// NodeCIDR joins the machine (first address) and the nodes (from the second address on).
	NodeCIDR netip.Prefix `json:"nodeCIDR"`
	// PodCIDR is what pods get their addresses from.
	PodCIDR netip.Prefix `json:"podCIDR"`
	// ServiceCIDR is what Services get their ClusterIPs from.
	ServiceCIDR netip.Prefix `json:"serviceCIDR"`
	// PoolSize is the size in bytes of the sparse file behind all CSI volumes.
	PoolSize int64 `json:"poolSize"`
	// Nodes is how many nodes there are. The first runs the control plane too.
	Nodes int `json:"nodes,omitempty"`
	// APIServerArgs are further arguments of kube-apiserver.
	APIServerArgs []string `json:"apiServerArgs,omitempty"`
}

var nameRE = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// WithDefaults returns s with every unset field derived from its name and index.
func (s Spec) WithDefaults() Spec {
	if s.Name == "" {
		s.Name = DefaultName
	}
	if s.StateDir == "" {
		s.StateDir = filepath.Join(DefaultStateRoot, s.Name)
	}
	i := byte(s.Index) //nolint:gosec // Validate bounds it
	if !s.NodeCIDR.IsValid() {
		s.NodeCIDR = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 222, i, 0}), 24)
	}
	if s.Nodes == 0 {
		s.Nodes = 1
	}
	if !s.PodCIDR.IsValid() && s.Nodes > 1 {
		s.PodCIDR = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 225, 16 * i, 0}), 20)
	}
	if !s.PodCIDR.IsValid() {
		s.PodCIDR = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 223, i, 0}), 24)
	}
	if !s.ServiceCIDR.IsValid() {
		s.ServiceCIDR = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 224, 16 * i, 0}), 20)
	}
	if s.PoolSize == 0 {
		s.PoolSize = DefaultPoolSize
	}
	return s
}

// Validate returns all faults of a completed spec.
func (s Spec) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if len(s.Name) > maxNameLength || !nameRE.MatchString(s.Name) {
		bad("name %q: want lower case letters, digits and dashes, at most %d, starting with a letter", s.Name, maxNameLength)
	}
	if s.Index < 0 || s.Index > MaxIndex {
		bad("index %d: want 0 to %d", s.Index, MaxIndex)
	}
	if !filepath.IsAbs(s.StateDir) || filepath.Clean(s.StateDir) != s.StateDir {
		bad("state directory %q: want an absolute, clean path", s.StateDir)
	}
	if len(s.StateDir) > maxStateDirLength {
		bad("state directory %q: longer than %d bytes, so that sockets below it could not be bound", s.StateDir, maxStateDirLength)
	}
	for _, hidden := range hiddenDirs {
		if s.StateDir == hidden || strings.HasPrefix(s.StateDir, hidden+"/") {
			bad("state directory %q: %s is replaced inside the node; choose another place", s.StateDir, hidden)
		}
	}
	if s.Nodes < 1 || s.Nodes > MaxNodes {
		bad("%d nodes: want 1 to %d", s.Nodes, MaxNodes)
	}
	errs = append(errs, s.validateNetworks()...)
	if s.PoolSize < minPoolSize {
		bad("pool size %d: want at least %d bytes, the smallest XFS file system", s.PoolSize, int64(minPoolSize))
	}
	return errors.Join(errs...)
}

// minPoolSize is the smallest file system that mkfs.xfs agrees to make.
const minPoolSize = 512 << 20

// hiddenDirs are the folders that the node mounts its own file systems over.
var hiddenDirs = []string{"/run", "/var/run", "/var/lib", "/var/log", "/proc", "/sys", "/dev"}

func (s Spec) validateNetworks() []error {
	var errs []error
	networks := []struct {
		name    string
		prefix  netip.Prefix
		maxBits int
	}{
		{"node CIDR", s.NodeCIDR, 30},
		{"pod CIDR", s.PodCIDR, s.maxPodBits()},
		{"service CIDR", s.ServiceCIDR, 24},
	}
	for i, n := range networks {
		if !n.prefix.IsValid() || !n.prefix.Addr().Is4() || n.prefix.Masked() != n.prefix || n.prefix.Bits() > n.maxBits {
			errs = append(errs, fmt.Errorf("%s %s: want an IPv4 network of at most /%d with no host bits", n.name, n.prefix, n.maxBits))
			continue
		}
		for _, other := range networks[:i] {
			if n.prefix.Overlaps(other.prefix) {
				errs = append(errs, fmt.Errorf("%s %s overlaps %s %s", n.name, n.prefix, other.name, other.prefix))
			}
		}
	}
	return errs
}

// Networks are the three networks of the cluster.
func (s Spec) Networks() []netip.Prefix {
	return []netip.Prefix{s.NodeCIDR, s.PodCIDR, s.ServiceCIDR}
}

// HostIP is the machine's address as pods and the API server see it.
func (s Spec) HostIP() netip.Addr { return nth(s.NodeCIDR, 1) }

// NodeIP is the first node's address; the API server listens there on port 6443.
func (s Spec) NodeIP() netip.Addr { return s.Node(1).IP() }

// APIServiceIP is the ClusterIP of the kubernetes Service.
func (s Spec) APIServiceIP() netip.Addr { return nth(s.ServiceCIDR, 1) }

// DNSIP is the ClusterIP of CoreDNS.
func (s Spec) DNSIP() netip.Addr { return nth(s.ServiceCIDR, 10) }

// Server is the URL of the API server.
func (s Spec) Server() string { return fmt.Sprintf("https://%s:6443", s.NodeIP()) }

// NodeName is the name of the first Node object.
func (s Spec) NodeName() string { return s.Node(1).Name() }

// Link is the machine's end of the network link to the node; with several nodes it
// is the bridge that joins their links.
func (s Spec) Link() string { return fmt.Sprintf("gcdev%d", s.Index) }

// Cgroup is the name of the cluster's cgroup in every hierarchy.
func (s Spec) Cgroup() string { return "gocache-dev-" + s.Name }

func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}
