package untrusted

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Filter decides which addresses may be connected to at the request of a user.
// It sees an address after its name was resolved, at every connection, so that a
// name which resolves to another address the second time gains nothing. Refused
// are loopback, link-local, multicast and unspecified addresses, the metadata
// services of clouds, and what Refused names. A nil Filter refuses nothing.
type Filter struct {
	// AllowLoopback allows loopback addresses, for development.
	AllowLoopback bool
	// RefusePrivate refuses private addresses too (RFC 1918, RFC 4193, RFC 6598):
	// nothing inside the cluster is then reached.
	RefusePrivate bool
	// Refused addresses, such as those of the API server. Port 0 is every port.
	Refused []netip.AddrPort
	// Lookup resolves names for CheckHost, as LookupNetIP of a net.Resolver does, the
	// default.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error) `json:"-"`
}

// metadata are services of clouds outside the link-local range: Amazon's by IPv6,
// Alibaba's, and Azure's wire server.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"),
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	shared      = netip.MustParsePrefix("100.64.0.0/10")
	broadcast   = netip.MustParseAddr("255.255.255.255")
	// Addresses that carry an IPv4 address from a byte on: NAT64, and 6to4.
	carriers = map[netip.Prefix]int{
		netip.MustParsePrefix("64:ff9b::/96"):    12,
		netip.MustParsePrefix("64:ff9b:1::/48"):  12,
		netip.MustParsePrefix("2002::/16"):       2,
		netip.MustParsePrefix("::/96"):           12,
		netip.MustParsePrefix("::ffff:0:0:0/96"): 12,
	}
)

// RefusedError is the error of an address that a Filter refuses.
type RefusedError struct {
	// Addr that was refused, or Host, and Kind of it.
	Addr netip.Addr
	Host string
	Kind string
}

// Error names the address, which the user who wrote the URL can look up too.
func (e *RefusedError) Error() string {
	host := e.Host
	if host == "" {
		host = e.Addr.String()
	}
	return fmt.Sprintf("the operator does not connect to %s (%s)", host, e.Kind)
}

// Dialer returns a dialer that connects only where the filter allows.
func (f *Filter) Dialer(timeout time.Duration) *net.Dialer {
	d := &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second}
	if f != nil {
		d.Control = f.control
	}
	return d
}

// control is called with the address of each connection before it is made.
func (f *Filter) control(network, address string, _ syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return fmt.Errorf("the operator does not connect by %s", network)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address of a connection: %w", err)
	}
	return f.Check(to)
}

// Check returns a [RefusedError] for an address that may not be connected to.
func (f *Filter) Check(to netip.AddrPort) error {
	if f == nil {
		return nil
	}
	addr := to.Addr().WithZone("").Unmap()
	for _, a := range append([]netip.Addr{addr}, carried(addr)...) {
		if kind := f.refuses(a, to.Port()); kind != "" {
			return &RefusedError{Addr: addr, Kind: kind}
		}
	}
	return nil
}

// lookupTimeout bounds the resolution of a name that is connected to elsewhere.
const lookupTimeout = 2 * time.Second

// metadataNames resolve where a cloud's own name server is asked, which is not
// necessarily here.
var metadataNames = []string{"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}

// CheckHost returns the host that a proxy may be asked to connect to, or a
// [RefusedError], as far as this can be decided here: the host is an address, the name
// of a metadata service, or a name one of whose addresses is refused. A name that does
// not resolve here is allowed, and the proxy may resolve any name to another address:
// what a proxy connects to, it has to refuse itself. The proxy is to be asked for the
// host as it is returned: this is the spelling that was checked.
func (f *Filter) CheckHost(ctx context.Context, host string, port uint16) (string, error) {
	if f == nil {
		return host, nil
	}
	name, ok := spelled(host)
	if !ok {
		return "", &RefusedError{Host: "this host", Kind: "neither a name nor an address in its usual spelling"} // a server that redirects may have sent it
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		return name, f.Check(netip.AddrPortFrom(addr, port))
	}
	if slices.Contains(metadataNames, name) {
		return "", &RefusedError{Host: name, Kind: "cloud metadata"}
	}
	lookup := f.Lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := lookup(ctx, "ip", name)
	if err != nil {
		return name, nil // not resolvable here: see above
	}
	for _, addr := range addrs {
		if err := f.Check(netip.AddrPortFrom(addr, port)); err != nil {
			return "", err
		}
	}
	return name, nil
}

// spelled is a host in the one spelling that all programs read alike: an address as
// package netip has it, or a name in ASCII, in lower case and without a dot at its end.
// It is false for what some programs take for an address and others do not, such as
// 2852039166, 0xa9fea9fe and 169.254.43518, which are 169.254.169.254 to many: the last
// label of a name is no number.
func spelled(host string) (name string, ok bool) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String(), true
	}
	if !utf8.ValidString(host) {
		return "", false
	}
	name = host
	if strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		var err error
		if name, err = idna.Lookup.ToASCII(name); err != nil {
			return "", false
		}
	}
	name = strings.TrimRight(strings.ToLower(name), ".")
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.String(), true
	}
	if name == "" || strings.Trim(name, hostCharacters) != "" {
		return "", false
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	if digits, hex := strings.CutPrefix(last, "0x"); hex {
		return name, strings.Trim(digits, "0123456789abcdef") != ""
	}
	return name, strings.Trim(last, "0123456789") != ""
}

// hostCharacters are those of names in lower case. The underscore is none in the rules,
// and in use.
const hostCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-_."

// refuses returns the kind of an address that is refused; empty: it is allowed.
func (f *Filter) refuses(a netip.Addr, port uint16) string {
	switch {
	case a.IsLoopback():
		if f.AllowLoopback {
			return ""
		}
		return "loopback"
	case slices.Contains(metadata, a):
		return "cloud metadata"
	case a.IsLinkLocalUnicast():
		return "link-local, or cloud metadata"
	case a.IsUnspecified(), a.IsMulticast(), a == broadcast, a.Is4() && thisNetwork.Contains(a):
		return "no address of one host"
	case slices.ContainsFunc(f.Refused, func(r netip.AddrPort) bool {
		return r.Addr().Unmap() == a && (r.Port() == 0 || r.Port() == port)
	}):
		return "refused by the configuration of the operator, such as the API server"
	case f.RefusePrivate && (a.IsPrivate() || a.Is4() && shared.Contains(a)):
		return "private, and --refuse-private-addresses is set"
	}
	return ""
}

// carried is the IPv4 address inside an IPv6 address of a translator or tunnel.
func carried(a netip.Addr) (inside []netip.Addr) {
	if !a.Is6() || a.IsUnspecified() || a.IsLoopback() {
		return nil
	}
	bytes := a.As16()
	for prefix, at := range carriers {
		if prefix.Contains(a) {
			inside = append(inside, netip.AddrFrom4([4]byte(bytes[at:at+4])))
		}
	}
	return inside
}
