package gitrepo_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/gitrepo"
	"gocache.dev/operator/internal/domain/untrusted"
	"gocache.dev/operator/internal/testing/gitserver"
)

// forward is a forward proxy, and the hosts that it was asked for.
type forward struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

// newForward leads host:port to addresses of this machine.
func newForward(t *testing.T, addresses map[string]string) *forward {
	t.Helper()
	f := &forward{}
	tunnel := gitserver.Tunnel(addresses)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked = append(f.asked, r.Method+" "+r.Host)
		f.mu.Unlock()
		if r.Method != http.MethodConnect { // plain http
			to, ok := addresses[r.Host]
			if !ok {
				http.Error(w, inside, http.StatusForbidden)
				return
			}
			r.URL.Host = to
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer func() { _ = answer.Body.Close() }()
			for key := range answer.Header {
				w.Header().Set(key, answer.Header.Get(key))
			}
			w.WriteHeader(answer.StatusCode)
			_, _ = io.Copy(w, answer.Body)
			return
		}
		tunnel.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *forward) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

// TestProxies holds that a repository is read and checked out through the proxies, over
// https with credentials that the proxy does not see, and over http; that hosts of
// NO_PROXY are connected to directly; and that addresses of the filter do not apply to
// the proxy, which users do not choose.
func TestProxies(t *testing.T) {
	t.Parallel()
	r, _, second := repository(t)
	handler, err := r.Handler(t.Context(), "ci", "s3cret")
	must(t, err)
	certificate, ca, err := gitserver.Certificate("git.example.com")
	must(t, err)
	secure := httptest.NewUnstartedServer(handler)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := served(t, r, "", "")
	f := newForward(t, map[string]string{
		"git.example.com:443": secure.Listener.Addr().String(),
		"git.example.com:80":  strings.TrimSuffix(strings.TrimPrefix(plain, "http://"), "/program.git"),
		"git.example.com":     strings.TrimSuffix(strings.TrimPrefix(plain, "http://"), "/program.git"),
	})
	proxies := egress.Proxies{HTTP: f.URL, HTTPS: f.URL}
	keys := gitrepo.Credentials{"username": []byte("ci"), "password": []byte("s3cret")}
	strict := &untrusted.Filter{RefusePrivate: true}
	for name, remote := range map[string]gitrepo.Remote{
		"https": {URL: "https://git.example.com/program.git", Credentials: keys, CA: ca, Proxies: proxies, Filter: strict},
		"http":  {URL: "http://git.example.com/program.git", Proxies: proxies, Filter: strict},
		// The proxy is asked for the host as it was checked.
		"another spelling":       {URL: "https://ＧＩＴ.example。com./program.git", Credentials: keys, CA: ca, Proxies: proxies, Filter: strict},
		"another spelling, http": {URL: "http://ＧＩＴ.example.com.:80/program.git", Proxies: proxies, Filter: strict},
	} {
		if got, err := remote.Resolve(t.Context()); err != nil || got != second {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if content, commit := checkout(t, remote); content != "2" || commit != second {
			t.Errorf("%s: checked out %q of %s", name, content, commit)
		}
	}
	if all := strings.Join(f.requests(), "\n"); !strings.Contains(all, "CONNECT git.example.com:443") || !strings.Contains(all, "GET git.example.com") || strings.Contains(all, "s3cret") {
		t.Errorf("the proxy was asked for\n%s", all)
	}
	before := len(f.requests())
	direct := gitrepo.Remote{URL: "https://git.example.com/program.git", Proxies: egress.Proxies{HTTPS: f.URL, NoProxy: "git.example.com"}}
	if _, err := direct.Resolve(t.Context()); err == nil || len(f.requests()) != before { // the name does not resolve
		t.Errorf("a host of NO_PROXY: %v, and the proxy had %d requests more", err, len(f.requests())-before)
	}
}

// TestRefusedAddressesBehindProxies holds that a proxy is asked for no address that is
// refused, as far as it can be seen from here: by address, by a name that resolves here,
// by the name of a metadata service, and where a server redirects.
func TestRefusedAddressesBehindProxies(t *testing.T) {
	t.Parallel()
	redirects := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := "http://169.254.169.254"
		if strings.HasPrefix(r.URL.Path, "/number") {
			to = "http://" + inside + ".0x7f"
		}
		http.Redirect(w, r, to+r.URL.RequestURI(), http.StatusFound)
	}))
	t.Cleanup(redirects.Close)
	f := newForward(t, map[string]string{"git.example.com": redirects.Listener.Addr().String()})
	proxies := egress.Proxies{HTTP: f.URL, HTTPS: f.URL}
	filter := &untrusted.Filter{RefusePrivate: true, Lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
		if host != "own.example.com" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("10.1.2.3")}, nil
	}}
	for _, url := range []string{
		"https://169.254.169.254/a", "https://[::ffff:169.254.169.254]/a", "http://10.96.0.1:443/a", "https://10.1.2.3/a",
		"https://metadata.google.internal/a", "http://METADATA.google.internal./a", "https://own.example.com/a", "https://ｏｗｎ。example.com./a",
		"http://git.example.com/a", "http://git.example.com/number",
		// The same addresses and names, as others write them.
		"https://１０．９６．０．１/", "https://169。254。169。254/", "https://①⑥⑨.254.169.254/", "https://metadata。google。internal/", "https://ＭＥＴＡＤＡＴＡ.google.internal/",
		"http://2852039166/", "http://0xa9fea9fe/", "http://0XA9FEA9FE/", "http://0251.0376.0251.0376/", "http://169.254.43518/", "http://169.254.0xa9.0xfe/",
		"http://169.254.169.254./", "https://169.254.169.254../", "https://10.96.0.1。/", "http://0x/", "http://169.254.169,254/",
	} {
		_, err := gitrepo.Remote{URL: url, Ref: "main", Proxies: proxies, Filter: filter}.Resolve(t.Context())
		if err == nil || !strings.Contains(err.Error(), "the operator does not connect to") || strings.Contains(err.Error(), inside) {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, asked := range f.requests() {
		if asked != "GET git.example.com" {
			t.Errorf("the proxy was asked: %s", asked)
		}
	}
}

// TestProxyThatRefuses holds that the refusal of a proxy is reported by its status, and
// that nothing that it sends is repeated.
func TestProxyThatRefuses(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"403 " + inside, "407 Proxy Authentication Required", "502 Bad Gateway"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")
				_ = conn.Close()
			}
		}()
		_, err = gitrepo.Remote{URL: "https://git.example.com/a", Proxies: egress.Proxies{HTTPS: "http://" + l.Addr().String()}}.Resolve(t.Context())
		if err == nil || strings.Contains(err.Error(), inside) || !strings.Contains(err.Error(), "the proxy of HTTPS_PROXY answered with status "+status[:3]) {
			t.Errorf("%s: %v", status, err)
		}
	}
}
