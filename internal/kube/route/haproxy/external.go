package haproxy

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"gocache.dev/operator/internal/domain/redact"
)

// external is an instance's URL, taken apart for haproxy.cfg.
type external struct {
	Name string
	// Socket inside of the pod that leads to it.
	Socket string
	// CheckPath under which Socket answers the health checks.
	CheckPath      string
	Host, HostPort string
	// HostHeader is the host, with the port where it is not the scheme's own.
	HostHeader string
	// Prefix of all paths, without the last slash.
	Prefix string
	TLS    bool
}

func (i Instance) isExternal() bool { return i.External != "" }

// externals are the external instances.
func (c *Config) externals() ([]external, error) {
	var all []external
	for i := range c.Instances {
		instance := &c.Instances[i]
		if !instance.isExternal() {
			continue
		}
		e, err := parseExternal(instance.External)
		if err != nil {
			return nil, fmt.Errorf("instance %q: %w", instance.Name, err)
		}
		e.Name, e.CheckPath = instance.Name, c.CheckPath
		e.Socket = "unix@" + c.RunDir + "/external-" + instance.Name + ".sock"
		instance.Address = e.Socket
		all = append(all, e)
	}
	return all, nil
}

// dnsName is what a certificate can be verified against, and nothing that
// HAProxy would read as more than one word.
var dnsName = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$`)

func parseExternal(text string) (external, error) {
	u, err := url.Parse(text)
	if err != nil {
		return external{}, errors.New("external URL: it cannot be parsed") // it may have a password
	}
	e := external{Host: u.Hostname(), HostHeader: u.Host, Prefix: strings.TrimRight(u.Path, "/"), TLS: u.Scheme == "https"}
	port := u.Port()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return external{}, fmt.Errorf("external URL %q: the scheme is neither http nor https", redact.URL(text))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return external{}, errors.New("an external URL with credentials, a query or a fragment is not supported")
	case !dnsName.MatchString(e.Host):
		return external{}, fmt.Errorf("external URL %q: %q is no host name", text, e.Host)
	case e.TLS && net.ParseIP(e.Host) != nil:
		return external{}, fmt.Errorf("external URL %q: https needs a host name to verify, not an address", text)
	case e.Prefix != "" && !urlPath.MatchString(e.Prefix):
		return external{}, fmt.Errorf("external URL %q: %q is no plain URL path", text, e.Prefix)
	case port == "" && e.TLS:
		port = "443"
	case port == "":
		port = "80"
	}
	e.HostPort = net.JoinHostPort(e.Host, port)
	if err := checkAddress(e.HostPort); err != nil {
		return external{}, fmt.Errorf("external URL %q: %w", text, err)
	}
	return e, nil
}

// checkURI is what the health checks ask for: one path for all, or one for
// each server.
func (c *Config) checkURI() string {
	var own strings.Builder
	for _, i := range c.Instances {
		if i.CheckPath != "" && !i.isExternal() && i.CheckPath != c.CheckPath {
			fmt.Fprintf(&own, ",regsub(^%s$,%s)", i.Name, i.CheckPath)
		}
	}
	if own.Len() == 0 {
		return "uri " + c.CheckPath
	}
	for _, i := range c.Instances {
		if i.CheckPath == "" || i.isExternal() || i.CheckPath == c.CheckPath {
			fmt.Fprintf(&own, ",regsub(^%s$,%s)", i.Name, c.CheckPath)
		}
	}
	// Single quotes: HAProxy reads no variable in what they hold.
	return "uri-lf '%[srv_name" + own.String() + "]'"
}
