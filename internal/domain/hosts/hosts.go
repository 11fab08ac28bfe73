package hosts

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// MaxLength bounds the text of a list, in bytes.
const MaxLength = 16 << 10

// List is a list of patterns. The zero value matches no host.
type List struct{ patterns []pattern }

// pattern is one entry of a list.
type pattern struct {
	host string // in lower case, without a dot at the end
	sub  bool   // any subdomain of host, and not host itself
	port string // empty: any
}

var label = regexp.MustCompile(`^[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?$`)

// Parse parses a list: patterns between commas or white space. A pattern is a
// host name, which matches itself; "*." and a domain, which matches all
// subdomains at any depth and not the domain; or an IP address. Each may end
// with a port; without one it matches every port. The error names the first
// pattern that is invalid.
func Parse(text string) (List, error) {
	if len(text) > MaxLength {
		return List{}, fmt.Errorf("the list of hosts has %d bytes, of %d that are allowed", len(text), MaxLength)
	}
	var l List
	for _, entry := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' }) {
		host, port, err := split(entry)
		p := pattern{host: host, port: port}
		if domain, ok := strings.CutPrefix(p.host, "*."); ok {
			p.host, p.sub = domain, true
		}
		if err != nil || !valid(p.host) || p.sub && isAddress(p.host) {
			return List{}, fmt.Errorf("%q is not a host: write a name such as git.example.com, or *.example.com for all subdomains, without a scheme and a path", entry)
		}
		l.patterns = append(l.patterns, p)
	}
	return l, nil
}

// Match reports whether a pattern matches a host, which may have a port.
func (l List) Match(hostPort string) bool {
	host, port, err := split(hostPort)
	if err != nil || !valid(host) {
		return false
	}
	for _, p := range l.patterns {
		if p.port != "" && p.port != port {
			continue
		}
		if !p.sub && p.host == host || p.sub && !isAddress(host) && strings.HasSuffix(host, "."+p.host) {
			return true
		}
	}
	return false
}

// MatchPort is Match for a host and the port that it is reached at.
func (l List) MatchPort(host, port string) bool { return l.Match(net.JoinHostPort(host, port)) }

// Exact returns the hosts that are named without a wildcard, each with its port
// if it has one.
func (l List) Exact() []string {
	var exact []string
	for _, p := range l.patterns {
		switch {
		case p.sub:
		case p.port != "":
			exact = append(exact, net.JoinHostPort(p.host, p.port))
		default:
			exact = append(exact, p.host)
		}
	}
	return exact
}

// Empty reports whether the list has no pattern.
func (l List) Empty() bool { return len(l.patterns) == 0 }

// split separates the port, and writes the host in one form.
func split(entry string) (host, port string, err error) {
	host = entry
	if strings.Count(entry, ":") == 1 || strings.Contains(entry, "]:") {
		if host, port, err = net.SplitHostPort(entry); err != nil {
			return "", "", err
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port != strconv.FormatUint(n, 10) {
			return "", "", fmt.Errorf("%q is not a port", port)
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]")
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().String(), port, nil
	}
	return strings.TrimSuffix(strings.ToLower(host), "."), port, nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// valid reports whether a host is a name or an address.
func valid(host string) bool {
	if isAddress(host) {
		return true
	}
	for l := range strings.SplitSeq(host, ".") {
		if !label.MatchString(l) {
			return false
		}
	}
	return len(host) <= 253
}
