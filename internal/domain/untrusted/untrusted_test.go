package untrusted_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gocache.dev/operator/internal/domain/untrusted"
)

// inside is text that only the server has.
const inside = "internal-service-data"

// TestCause holds which causes are named, and that none repeats the server.
func TestCause(t *testing.T) {
	raw := func(answer string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = conn.Read(make([]byte, 4096))
					_, _ = io.WriteString(conn, answer)
					_ = conn.Close()
				}()
			}
		}()
		return "http://" + l.Addr().String()
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(host, ".invalid") { // no resolver is asked
			return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	t.Cleanup(client.CloseIdleConnections)
	const hidden = "not valid HTTP"
	for name, tt := range map[string]struct{ url, want string }{
		"another protocol": {raw("SSH-2.0-" + inside + "\r\n"), hidden},
		"a bad status":     {raw("HTTP/1.1 " + inside + "\r\n\r\n"), hidden},
		"a bad header":     {raw("HTTP/1.1 200 OK\r\n" + inside + "\r\n\r\n"), hidden},
		"a bad redirect":   {raw("HTTP/1.1 302 Found\r\nLocation: http://[" + inside + "\r\nContent-Length: 0\r\n\r\n"), hidden},

		"cut off":            {raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + inside), "unexpected EOF"},
		"nothing at all":     {raw(""), "EOF"},
		"no listener":        {"http://127.0.0.1:1", "connection refused"},
		"no such host":       {"http://" + inside + ".invalid", inside}, // the address itself is the user's
		"unknown authority":  {secure.URL, "unknown authority"},
		"HTTPS to HTTP":      {strings.Replace(slow.URL, "http", "https", 1), "HTTP response to HTTPS client"},
		"no answer in time":  {slow.URL, "deadline"},
		"another URL scheme": {"gopher://" + inside, hidden},
	} {
		t.Run(name, func(t *testing.T) {
			limit := time.Minute
			if name == "no answer in time" {
				limit = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, tt.url, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			if err == nil {
				t.Fatal("the request succeeded")
			}
			got := untrusted.Cause(err)
			if !strings.Contains(got, tt.want) || tt.want != inside && strings.Contains(got, inside) {
				t.Errorf("%q from %v, want %q", got, err, tt.want)
			}
		})
	}
	if got := untrusted.Cause(fmt.Errorf("read: %w", errors.New(inside))); strings.Contains(got, inside) {
		t.Errorf("an unknown error is repeated: %q", got)
	}
}

// TestBound holds that long texts are shortened to valid UTF-8 within the limit.
func TestBound(t *testing.T) {
	for name, text := range map[string]string{
		"short":         "short",
		"at the limit":  strings.Repeat("x", untrusted.MaxText),
		"above it":      strings.Repeat("x", untrusted.MaxText+1),
		"wide letters":  strings.Repeat("é", untrusted.MaxText),
		"wide and odd":  "x" + strings.Repeat("…", untrusted.MaxText),
		"invalid bytes": strings.Repeat("\xff\xfe", 1<<20),
	} {
		got := untrusted.Bound(text)
		if len(got) > untrusted.MaxText || !utf8.ValidString(got) || len(text) <= untrusted.MaxText && got != text {
			t.Errorf("%s: %d bytes, %.40q", name, len(got), got)
		}
	}
}
