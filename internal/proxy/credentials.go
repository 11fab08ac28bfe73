package proxy

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"gocache.dev/operator/internal/domain/hosts"
	"gocache.dev/operator/internal/domain/netrc"
)

// credentials are files in a directory, as a Secret is mounted: netrc, or
// username and password for the upstream proxies. They are read for each
// request, so that new ones need no restart, and are sent over https only, as
// the go command does. What they hold is never in an error or a log.
type credentials struct {
	dir string
	// allowed are the hosts that any of them may be sent to; nil: all hosts.
	allowed *hosts.List
	// upstreams are the hosts that username and password are for.
	upstreams map[string]bool
}

// newCredentials reads credentials from a directory, for a list of hosts; an
// empty list is all hosts.
func newCredentials(dir, allowed string, upstreams []*url.URL) (*credentials, error) {
	c := &credentials{dir: dir, upstreams: map[string]bool{}}
	if allowed != "" {
		list, err := hosts.Parse(allowed)
		if err != nil {
			return nil, fmt.Errorf("hosts of the credentials: %w", err)
		}
		c.allowed = &list
	}
	for _, u := range upstreams {
		c.upstreams[u.Host] = true
	}
	return c, nil
}

// names of the files.
const (
	netrcName    = "netrc"
	usernameName = "username"
	passwordName = "password"
)

// of finds the user for a URL.
func (c *credentials) of(u *url.URL) (user, password string, ok bool, err error) {
	if c.dir == "" || u.Scheme != "https" || c.allowed != nil && !c.allowed.Match(u.Host) {
		return "", "", false, nil
	}
	text, err := c.read(netrcName)
	if err != nil {
		return "", "", false, err
	}
	if user, password, ok = netrc.Lookup(text, u.Hostname()); ok || !c.upstreams[u.Host] {
		return user, password, ok, nil
	}
	user, userErr := c.read(usernameName)
	password, err = c.read(passwordName)
	user, password = strings.TrimRight(user, "\r\n"), strings.TrimRight(password, "\r\n")
	return user, password, user != "" || password != "", errors.Join(userErr, err)
}

// read returns a file; one that does not exist is empty.
func (c *credentials) read(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(c.dir, name)) //nolint:gosec // a key of the mounted Secret, by a name of our own
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the credentials: %w", err)
	}
	return string(text), nil
}

// authorized adds credentials to what goes to the hosts that they are for.
type authorized struct {
	http.RoundTripper
	credentials *credentials
}

// RoundTrip implements http.RoundTripper.
func (a authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	user, password, ok, err := a.credentials.of(req.URL)
	if err != nil {
		return nil, err
	}
	if ok && req.Header.Get("Authorization") == "" {
		req = req.Clone(req.Context())
		req.SetBasicAuth(user, password)
	}
	return a.RoundTripper.RoundTrip(req)
}
