package egress

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// Proxies are the proxies to use. The zero value is none.
type Proxies struct {
	// HTTP and HTTPS are the proxies for URLs of these schemes; empty: none.
	HTTP, HTTPS string
	// NoProxy are the hosts that are connected to directly, as in NO_PROXY.
	NoProxy string
}

// schemes of proxies that net/http and the go command support.
var schemes = []string{"http", "https", "socks5", "socks5h"}

// FromEnvironment reads the variables, each in upper case or else in lower case. The
// error names the variable that has no valid URL, and not its value, which may hold
// a password. In a password the characters /, ?, # and % are written as %2F, %3F, %23
// and %25.
func FromEnvironment(getenv func(string) string) (Proxies, error) {
	value := func(name string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return getenv(strings.ToLower(name))
	}
	p := Proxies{HTTP: value("HTTP_PROXY"), HTTPS: value("HTTPS_PROXY"), NoProxy: value("NO_PROXY")}
	for name, text := range map[string]string{"HTTP_PROXY": p.HTTP, "HTTPS_PROXY": p.HTTPS} {
		if text != "" && parse(text) == nil {
			return Proxies{}, fmt.Errorf("%s is not the URL of a proxy: write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT", name)
		}
	}
	return p, nil
}

// parse reads a URL without a scheme as one of http, as the variables are read
// elsewhere. It is nil for what is not the URL of a proxy. One with more than a scheme,
// credentials and a host is none either: a password with one of the characters /, ? and
// # ends the host early, and the rest of it would be read as something that is no secret.
func parse(text string) *url.URL {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Opaque != "", u.Hostname() == "", !slices.Contains(schemes, u.Scheme),
		u.Path != "" && u.Path != "/", strings.ContainsAny(text, "?#"):
		return nil
	}
	return u
}

// For returns the proxy for a URL; nil: it is connected to directly, as loopback
// addresses always are.
func (p Proxies) For(u *url.URL) (*url.URL, error) {
	if p.HTTP == "" && p.HTTPS == "" {
		return nil, nil //nolint:nilnil // as net/http has it
	}
	return (&httpproxy.Config{HTTPProxy: p.HTTP, HTTPSProxy: p.HTTPS, NoProxy: p.NoProxy}).ProxyFunc()(u)
}

// Env are the variables for a pod, whose spec its users can read: without credentials.
// The hosts in direct are connected to without a proxy. Without a proxy there are
// none.
func (p Proxies) Env(direct ...string) map[string]string {
	if p.HTTP == "" && p.HTTPS == "" {
		return nil
	}
	env := map[string]string{}
	for name, text := range map[string]string{"HTTP_PROXY": p.HTTP, "HTTPS_PROXY": p.HTTPS} {
		if u := parse(text); text != "" && u != nil {
			env[name] = (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() // nothing else, whatever it is
		}
	}
	hosts := direct
	if p.NoProxy != "" {
		hosts = append([]string{p.NoProxy}, direct...)
	}
	if len(hosts) > 0 {
		env["NO_PROXY"] = strings.Join(hosts, ",")
	}
	return env
}
