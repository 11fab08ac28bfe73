package vcs

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/domain/hosts"
	"gocache.dev/operator/internal/domain/netrc"
)

// NetrcKey is the key of a Secret, beside those of package gitrepo, that holds a
// netrc file.
const NetrcKey = "netrc"

// httpsPort is where git servers are reached if their URL has no port.
const httpsPort = "443"

// Access is what git servers are accessed with.
type Access struct {
	// Secret is a directory with the keys netrc, username and password, identity and
	// known_hosts, of which all may be absent, and ca.crt, with the authorities that
	// are trusted beside the public ones. They are read for each use. Empty: there are
	// none.
	Secret string
	// Hosts that they may be sent to, in the format of package hosts; empty: none.
	Hosts string
}

// keys are the present keys of the Secret.
func (a Access) keys() (gitrepo.Credentials, error) {
	if a.Secret == "" {
		return nil, nil
	}
	return gitrepo.ReadKeys(a.Secret, append(gitrepo.Keys(), NetrcKey)...)
}

// of returns the user and password for a host that is asked over https. host may
// have a port.
func (a Access) of(host string) (user, password string, ok bool, err error) {
	name, port, err := splitHost(host, httpsPort)
	if err != nil {
		return "", "", false, err
	}
	list, err := hosts.Parse(a.Hosts)
	if err != nil || !list.MatchPort(name, port) {
		return "", "", false, err
	}
	keys, err := a.keys()
	if err != nil {
		return "", "", false, err
	}
	if user, password, ok = netrc.Lookup(string(keys[NetrcKey]), name); ok {
		return user, password, true, nil
	}
	if len(keys[gitrepo.PasswordKey]) == 0 {
		return "", "", false, nil
	}
	// A Secret that is created from a file may have a line break at its end.
	text := func(key string) string { return strings.TrimRight(string(keys[key]), "\r\n") }
	return text(gitrepo.UsernameKey), text(gitrepo.PasswordKey), true, nil
}

// known are the hosts by name that credentials for https are for.
func (a Access) known() []string {
	list, err := hosts.Parse(a.Hosts)
	if err != nil {
		return nil
	}
	var known []string
	for _, host := range list.Exact() { // the go command compares with URLs
		known = append(known, strings.TrimSuffix(host, ":"+httpsPort))
	}
	if keys, err := a.keys(); err == nil {
		for _, e := range netrc.Parse(string(keys[NetrcKey])) {
			if list.MatchPort(e.Machine, httpsPort) {
				known = append(known, e.Machine)
			}
		}
	}
	slices.Sort(known)
	return slices.Compact(known)
}

// sshHosts are the hosts by name that the identity is for, with their ports:
// those of the list, and those that known_hosts names and the list matches, as far
// as their keys are known.
func (a Access) sshHosts() []string {
	keys, err := a.keys()
	list, listErr := hosts.Parse(a.Hosts)
	if err != nil || listErr != nil || len(keys[gitrepo.IdentityKey]) == 0 {
		return nil
	}
	var found []string
	byName := map[string]bool{}
	for _, host := range append(knownHosts(string(keys[gitrepo.KnownHostsKey])), list.Exact()...) {
		name, port, err := splitHost(host, sshPort)
		if err != nil || byName[name] || !list.MatchPort(name, port) {
			continue
		}
		config, err := keys.SSHConfig("", net.JoinHostPort(name, port))
		if err == nil && len(config.HostKeyAlgorithms) > 0 {
			byName[name] = true
			found = append(found, net.JoinHostPort(name, port))
		}
	}
	return found
}

// knownHosts are the names in a file of known hosts. Many files have hashes of
// names instead.
func knownHosts(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 || strings.ContainsAny(fields[0][:1], "#@|") {
			continue
		}
		for name := range strings.SplitSeq(fields[0], ",") {
			host, port := name, sshPort
			if rest, ok := strings.CutPrefix(name, "["); ok {
				if host, port, ok = strings.Cut(rest, "]:"); !ok {
					continue
				}
			}
			names = append(names, net.JoinHostPort(host, port)) // those with wildcards are no hosts
		}
	}
	return names
}

// splitHost separates a port, which may be absent.
func splitHost(host, port string) (name, portOf string, err error) {
	u, err := url.Parse("//" + host)
	if err != nil || u.Host != host || u.Hostname() == "" {
		return "", "", fmt.Errorf("%q is not a host", host)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return strings.ToLower(u.Hostname()), port, nil
}

// bracket is a host name as a URL has it.
func bracket(name string) string {
	if strings.Contains(name, ":") {
		return "[" + name + "]"
	}
	return name
}
