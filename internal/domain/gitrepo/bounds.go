package gitrepo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/client"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/net/proxy"
)

// A server is whoever a URL names, and may say nothing, or too much. The library
// heeds the context over HTTP only, and over SSH not before keys are exchanged,
// and it bounds no answer; so connections are bounded here.

// maxRefs is how many bytes a list of refs may take: some hundred thousand refs.
const maxRefs = 32 << 20

// boundedScheme is the kind of proxy under which our dialer is known: to name a
// proxy is the one way to have the library dial with it.
const boundedScheme = "gocache-bounded"

func init() {
	plain := http.DefaultTransport.(*http.Transport).Clone()
	bounded := githttp.NewClient(&http.Client{Transport: boundedTransport{plain}})
	client.InstallProtocol("http", bounded)
	client.InstallProtocol("https", bounded)
	proxy.RegisterDialerType(boundedScheme, newBoundedDialer)
	gitssh.DefaultSSHConfig = nil // the surroundings' own
}

type limitKey struct{}

// limited bounds what a server may answer over HTTP, in bytes.
func limited(ctx context.Context, most int64) context.Context {
	return context.WithValue(ctx, limitKey{}, most)
}

// boundedTransport bounds the bodies of answers.
type boundedTransport struct{ http.RoundTripper }

// RoundTrip bounds the answer to a request whose context says so.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if most, ok := r.Context().Value(limitKey{}).(int64); ok && err == nil {
		resp.Body = &boundedReader{ReadCloser: resp.Body, left: most}
	}
	return resp, err
}

// boundedReader fails where too much is said.
type boundedReader struct {
	io.ReadCloser
	left int64
}

func (r *boundedReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, fmt.Errorf("the server sends more than %d MiB of refs", maxRefs>>20)
	}
	n, err := r.ReadCloser.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}

// dialing bounds connections over SSH: to the deadline of a context, and to what
// a server may send.
func dialing(ctx context.Context, repository string, most int64) transport.ProxyOptions {
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
	bound := url.URL{Scheme: boundedScheme, Host: "ssh", RawQuery: query.Encode()}
	return transport.ProxyOptions{URL: bound.String()}
}

// boundedDialer makes connections that end at a deadline.
type boundedDialer struct {
	deadline time.Time // zero: none
	most     int64     // 0: any
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
	conn, err := proxy.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(d.deadline); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if d.most > 0 {
		return &boundedConn{Conn: conn, boundedReader: boundedReader{conn, d.most}}, nil
	}
	return conn, nil
}

// boundedConn is a connection that takes only so much.
type boundedConn struct {
	net.Conn
	boundedReader
}

// Read reads within the bound.
func (c *boundedConn) Read(p []byte) (int, error) { return c.boundedReader.Read(p) }

// Close closes the connection.
func (c *boundedConn) Close() error { return c.Conn.Close() }
