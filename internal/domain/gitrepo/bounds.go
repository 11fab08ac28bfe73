package gitrepo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/client"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/net/proxy"
	"golang.org/x/sync/semaphore"

	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/untrusted"
)

// A user's URL may name any server, and that server may send nothing, or too
// much. The library heeds the context over HTTP only, and over SSH not before
// keys are exchanged, and it bounds no answer; so connections are bounded here.

// maxRefs is how many bytes a list of refs may take: about 60,000 refs.
const maxRefs = 4 << 20

// errTooManyRefs is the error of a longer list.
var errTooManyRefs = fmt.Errorf("the server sends more than %d MiB of refs", maxRefs>>20)

// boundedScheme is the kind of proxy under which our dialer is known: to name a
// proxy is the one way to have the library dial with it.
const boundedScheme = "gocache-bounded"

// plain is the transport of requests that go to the server itself, and proxied of
// those that go through the proxy in their context: what it connects to, users do
// not choose.
var plain, proxied = http.DefaultTransport.(*http.Transport).Clone(), http.DefaultTransport.(*http.Transport).Clone()

func init() {
	direct := plain.DialContext
	plain.Proxy = nil
	plain.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if f, ok := ctx.Value(filterKey{}).(*untrusted.Filter); ok {
			return f.Dialer(dialTimeout).DialContext(ctx, network, address)
		}
		return direct(ctx, network, address)
	}
	proxied.Proxy = func(r *http.Request) (*url.URL, error) { return proxiesOf(r.Context()).For(r.URL) }
	proxied.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
		if answer.StatusCode != http.StatusOK {
			return &proxyError{answer.StatusCode} // the library's would repeat the text of the proxy
		}
		return nil
	}
	for _, t := range []*http.Transport{plain, proxied} {
		t.DisableCompression = true // a bound on what is sent must be one on what is read
		t.MaxResponseHeaderBytes = 64 << 10
	}
	bounded := githttp.NewClient(&http.Client{Transport: boundedTransport{}})
	client.InstallProtocol("http", bounded)
	client.InstallProtocol("https", bounded)
	proxy.RegisterDialerType(boundedScheme, newBoundedDialer)
	gitssh.DefaultSSHConfig = nil // the surroundings' own
}

// dialTimeout bounds the making of a connection where the context does not.
const dialTimeout = 30 * time.Second

type filterKey struct{}

// filtered carries a filter to the connections over HTTP.
func filtered(ctx context.Context, f *untrusted.Filter) context.Context {
	if f == nil {
		return ctx
	}
	return context.WithValue(ctx, filterKey{}, f)
}

type proxiesKey struct{}

// through carries proxies to the connections over HTTP.
func through(ctx context.Context, p egress.Proxies) context.Context {
	return context.WithValue(ctx, proxiesKey{}, p)
}

func proxiesOf(ctx context.Context) egress.Proxies {
	p, _ := ctx.Value(proxiesKey{}).(egress.Proxies)
	return p
}

// proxyError is the refusal of a proxy.
type proxyError struct{ status int }

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy of HTTPS_PROXY answered with status %d", e.status)
}

type trustedKey struct{}

// transports are a pair as plain and proxied.
type transports struct{ direct, proxied *http.Transport }

// trusting carries certificates to the connections over HTTPS. The returned
// function closes those that are idle.
func trusting(ctx context.Context, ca []byte) (context.Context, func(), error) {
	if len(ca) == 0 {
		return ctx, func() {}, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(ca) {
		return nil, nil, errors.New("the trusted CA holds no certificate in PEM format")
	}
	t := transports{plain.Clone(), proxied.Clone()}
	for _, one := range []*http.Transport{t.direct, t.proxied} {
		one.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return context.WithValue(ctx, trustedKey{}, t), func() {
		t.direct.CloseIdleConnections()
		t.proxied.CloseIdleConnections()
	}, nil
}

type listingKey struct{}

// listing marks the request for a list of refs, of which one ref is needed:
// over HTTP no more than maxRefs bytes of it are read.
func listing(ctx context.Context, ref string) context.Context {
	return context.WithValue(ctx, listingKey{}, ref)
}

// boundedTransport bounds the bodies of answers, and removes those of errors:
// the library would keep them in its error, whatever their size.
type boundedTransport struct{}

// RoundTrip bounds the answer to a request for a list of refs.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && r.Header.Get("Authorization") != "" {
		return nil, errPlain // where a redirect leads
	}
	resp, err := t.send(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		_ = resp.Body.Close() // only the status is used
		resp.Body = http.NoBody
		return resp, nil
	}
	if ref, ok := r.Context().Value(listingKey{}).(string); ok {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{newRefFilter(&boundedReader{ReadCloser: resp.Body, left: maxRefs}, ref), resp.Body}
	}
	return resp, nil
}

// send sends a request to its server, or to the proxy that leads there.
func (boundedTransport) send(r *http.Request) (*http.Response, error) {
	by, ok := r.Context().Value(trustedKey{}).(transports)
	if !ok {
		by = transports{plain, proxied}
	}
	proxy, err := proxiesOf(r.Context()).For(r.URL)
	switch {
	case err != nil:
		return nil, err
	case proxy == nil:
		return by.direct.RoundTrip(r)
	}
	f, _ := r.Context().Value(filterKey{}).(*untrusted.Filter)
	host, err := f.CheckHost(r.Context(), r.URL.Hostname(), port(r.URL))
	if err != nil {
		return nil, err
	}
	resp, err := by.proxied.RoundTrip(withHost(r, host))
	if err != nil {
		return nil, err
	}
	resp.Request = r // as it was asked for: another host would be a redirect, which gets no credentials
	return resp, nil
}

// withHost is a request to a host as it was checked, where it is written otherwise.
func withHost(r *http.Request, host string) *http.Request {
	if host == r.URL.Hostname() {
		return r
	}
	number := r.URL.Port()
	r = r.Clone(r.Context())
	switch {
	case number != "":
		r.URL.Host = net.JoinHostPort(host, number)
	case strings.Contains(host, ":"):
		r.URL.Host = "[" + host + "]"
	default:
		r.URL.Host = host
	}
	r.Host = r.URL.Host
	return r
}

// port of a URL of http or https.
func port(u *url.URL) uint16 {
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint16(n)
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

// boundedReader fails where too much is sent.
type boundedReader struct {
	io.ReadCloser
	left int64
}

func (r *boundedReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errTooManyRefs
	}
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}

// dialing bounds connections over SSH: to the deadline of a context, and to what
// a server may send.
func dialing(ctx context.Context, repository string, most int64, f *untrusted.Filter) transport.ProxyOptions {
	u, err := url.Parse(repository)
	if err != nil || u.Scheme != "ssh" {
		return transport.ProxyOptions{}
	}
	query := url.Values{}
	if deadline, ok := ctx.Deadline(); ok {
		query.Set("deadline", strconv.FormatInt(deadline.UnixMilli(), 10))
	}
	if most > 0 {
		query.Set("most", strconv.FormatInt(most, 10))
	}
	if f != nil {
		text, err := json.Marshal(f)
		if err != nil { // booleans and addresses: cannot fail
			panic("filter: " + err.Error())
		}
		query.Set("filter", string(text))
	}
	bound := url.URL{Scheme: boundedScheme, Host: "ssh", RawQuery: query.Encode()}
	return transport.ProxyOptions{URL: bound.String()}
}

// boundedDialer makes connections that end at a deadline.
type boundedDialer struct {
	deadline time.Time // zero: none
	most     int64     // 0: any
	filter   *untrusted.Filter
}

func newBoundedDialer(u *url.URL, _ proxy.Dialer) (proxy.Dialer, error) {
	var d boundedDialer
	query := u.Query()
	for name, set := range map[string]func(int64){
		"deadline": func(n int64) { d.deadline = time.UnixMilli(n) },
		"most":     func(n int64) { d.most = n },
	} {
		if text := query.Get(name); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s of a connection: %w", name, err)
			}
			set(n)
		}
	}
	if text := query.Get("filter"); text != "" {
		if err := json.Unmarshal([]byte(text), &d.filter); err != nil {
			return nil, fmt.Errorf("filter of a connection: %w", err)
		}
	}
	return d, nil
}

// Dial is DialContext without one.
func (d boundedDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects, through the proxy of the environment if it names one.
func (d boundedDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if !d.deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, d.deadline)
		defer cancel()
	}
	var conn net.Conn
	direct := d.filter.Dialer(dialTimeout)
	dialer := proxy.FromEnvironmentUsing(direct)
	if dialer != proxy.Dialer(direct) { // the proxy connects to the host: what the filter refuses is refused before
		host, text, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		number, _ := strconv.ParseUint(text, 10, 16) // 0 is no port that is refused
		if host, err = d.filter.CheckHost(ctx, host, uint16(number)); err != nil {
			return nil, err
		}
		address = net.JoinHostPort(host, text)
	}
	var err error
	if through, ok := dialer.(proxy.ContextDialer); ok {
		conn, err = through.DialContext(ctx, network, address)
	} else {
		err = errors.New("the proxy that ALL_PROXY names cannot be bounded in time")
	}
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(d.deadline); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if d.most == 0 {
		return conn, nil
	}
	c := &boundedConn{Conn: conn, boundedReader: boundedReader{conn, d.most}, most: d.most}
	// The place of a long list is given back at the deadline at the latest. The
	// context of the dialing ends before.
	lifetime := context.WithoutCancel(ctx)
	if c.ctx, c.done = context.WithCancel(lifetime); !d.deadline.IsZero() {
		c.done()
		c.ctx, c.done = context.WithDeadline(lifetime, d.deadline)
	}
	return c, nil
}

// An answer over SSH is encrypted, so refs cannot be left out before the library
// reads them: it takes about fifteen times the memory of the list.
const (
	// shortList is how many bytes of a list over SSH are read at any time.
	shortList = 512 << 10
	// maxLongLists bounds how many lists that are longer are read at once.
	maxLongLists = 2
)

var longLists = semaphore.NewWeighted(maxLongLists)

// boundedConn is a connection on which a bounded list is read.
type boundedConn struct {
	net.Conn
	boundedReader
	most int64
	long bool
	ctx  context.Context
	done context.CancelFunc
}

// Read reads within the bound. What is longer than a short list waits for a
// place.
func (c *boundedConn) Read(p []byte) (int, error) {
	if !c.long && c.most-c.left >= shortList {
		if err := longLists.Acquire(c.ctx, 1); err != nil {
			return 0, err
		}
		c.long = true
		context.AfterFunc(c.ctx, func() { longLists.Release(1) })
	}
	return c.boundedReader.Read(p)
}

// Close closes the connection.
func (c *boundedConn) Close() error {
	c.done()
	return c.Conn.Close()
}
