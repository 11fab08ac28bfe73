package untrusted_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/untrusted"
)

// TestFilter holds which addresses are refused, in all their spellings.
func TestFilter(t *testing.T) {
	apiServer := []netip.AddrPort{netip.MustParseAddrPort("10.96.0.1:0"), netip.MustParseAddrPort("192.0.2.7:6443")}
	for _, tt := range []struct {
		address                  string
		byDefault, strict, local bool // whether it is allowed
	}{
		{"127.0.0.1:80", false, false, true},
		{"127.9.9.9:80", false, false, true},
		{"[::1]:80", false, false, true},
		{"[::ffff:127.0.0.1]:80", false, false, true},
		{"[64:ff9b::7f00:1]:80", false, false, true},
		{"[2002:7f00:1::]:80", false, false, true},
		{"[64:ff9b:1::7f00:1]:80", false, false, true},
		{"[::7f00:1]:80", false, false, true},
		{"[::ffff:0:7f00:1]:80", false, false, true},
		{"0.0.0.0:80", false, false, false},
		{"0.1.2.3:80", false, false, false},
		{"[::]:80", false, false, false},
		{"169.254.169.254:80", false, false, false},
		{"[::ffff:169.254.169.254]:80", false, false, false},
		{"[64:ff9b::a9fe:a9fe]:80", false, false, false},
		{"[fe80::1%eth0]:80", false, false, false},
		{"[fd00:ec2::254]:80", false, false, false},
		{"100.100.100.200:80", false, false, false},
		{"168.63.129.16:80", false, false, false},
		{"224.0.0.1:80", false, false, false},
		{"255.255.255.255:80", false, false, false},
		{"[ff02::1]:80", false, false, false},
		{"10.96.0.1:443", false, false, false},
		{"[::ffff:10.96.0.1]:8443", false, false, false},
		{"192.0.2.7:6443", false, false, false},
		{"192.0.2.7:443", true, true, true},
		{"10.0.0.5:8080", true, false, true},
		{"172.16.0.1:8080", true, false, true},
		{"192.168.1.1:8080", true, false, true},
		{"100.64.0.1:8080", true, false, true},
		{"[fd12::1]:8080", true, false, true},
		{"[64:ff9b::a00:5]:8080", true, false, true},
		{"198.51.100.1:443", true, true, true},
		{"[2001:db8::1]:443", true, true, true},
	} {
		to := netip.MustParseAddrPort(tt.address)
		for name, f := range map[string]struct {
			filter  *untrusted.Filter
			allowed bool
		}{
			"by default": {&untrusted.Filter{Refused: apiServer}, tt.byDefault},
			"strict":     {&untrusted.Filter{Refused: apiServer, RefusePrivate: true}, tt.strict},
			"local":      {&untrusted.Filter{Refused: apiServer, AllowLoopback: true}, tt.local},
			"none":       {nil, true},
		} {
			if err := f.filter.Check(to); (err == nil) != f.allowed {
				t.Errorf("%s: %s: %v, want allowed: %v", name, tt.address, err, f.allowed)
			}
		}
	}
}

// TestRebinding plays a name server that resolves a name to another address when
// the connection is made: the address that counts is the one that is dialled.
func TestRebinding(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	get := func(f *untrusted.Filter) error {
		client := &http.Client{Transport: &http.Transport{DialContext: f.Dialer(10 * time.Second).DialContext}}
		// localhost stands for a name of the user: no address is in the URL.
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost:"+port, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	err = get(&untrusted.Filter{})
	if _, refused := errors.AsType[*untrusted.RefusedError](err); !refused || asked.Load() != 0 {
		t.Errorf("%v, and %d requests arrived", err, asked.Load())
	}
	if text := untrusted.Cause(err); !strings.Contains(text, "does not connect to") || !strings.Contains(text, "loopback") {
		t.Errorf("the cause is %q", text)
	}
	if err := get(&untrusted.Filter{AllowLoopback: true}); err != nil || asked.Load() != 1 {
		t.Errorf("%v, and %d requests arrived", err, asked.Load())
	}
}

// TestCheckHost holds how hosts are asked of a proxy: in one spelling, and only if none of
// the addresses is refused that a name has here; a name without any is for the proxy.
func TestCheckHost(t *testing.T) {
	t.Parallel()
	lookup := func(_ context.Context, network, host string) ([]netip.Addr, error) {
		known := map[string][]string{
			"one.example.com": {"198.51.100.1"}, "none.example.com": {},
			"second.example.com": {"198.51.100.1", "10.96.0.1"}, "first.example.com": {"::ffff:10.96.0.1", "198.51.100.1"},
		}
		if _, ok := known[host]; !ok || network != "ip" {
			return nil, errors.New("no such host")
		}
		var all []netip.Addr
		for _, text := range known[host] {
			all = append(all, netip.MustParseAddr(text))
		}
		return all, nil
	}
	f := &untrusted.Filter{Refused: []netip.AddrPort{netip.MustParseAddrPort("10.96.0.1:443")}, Lookup: lookup}
	for host, want := range map[string]string{ // empty: refused
		"one.example.com": "one.example.com", "ONE.Example.com..": "one.example.com", "ｏｎｅ。example．com": "one.example.com", "none.example.com": "none.example.com",
		"first.example.com": "", "second.example.com": "", "SECOND.example.com.": "",
		"unknown.example.com": "unknown.example.com", "git_server.corp": "git_server.corp", "bücher.example.com": "xn--bcher-kva.example.com", "xn--bcher-kva.example.com": "xn--bcher-kva.example.com",
		"198.51.100.1": "198.51.100.1", "198.51.100.1.": "198.51.100.1", "2001:DB8:0::1": "2001:db8::1", "10.96.0.1": "", "::ffff:10.96.0.1": "", "64:ff9b::a60:1": "",
		"１０．９６．０．１": "", "10。96。0。1": "", "10.96.0.1...": "", "173015041": "", "0x0a600001": "", "0XA600001": "", "10.96.1": "", "012.0140.0.1": "", "10.96.0.0x1": "", "0x": "", "1.2.3.4.5": "", "a.1": "", "08": "",
		"4.example.com": "4.example.com", "0x1.example.com": "0x1.example.com", "0xy": "0xy", "1a": "1a", "a.0xfg": "a.0xfg",
		"metadata": "", "METADATA.": "", "metadata。google。internal": "", "Metadata.Google.Internal": "", "instance-data.ec2.internal": "",
		"": "", ".": "", "。": "", "a b": "", "a,b": "", "a%b": "", "a\x00.example.com": "", "a/b": "", "[::1]": "", "１：１": "", "\xff.example.com": "", "xn--0.example。com": "",
	} {
		got, err := f.CheckHost(t.Context(), host, 443)
		refused, ok := errors.AsType[*untrusted.RefusedError](err)
		if got != want && (want != "" || err == nil) || (err != nil) != (want == "") || ok != (want == "") {
			t.Errorf("%q: %q, %v, want %q", host, got, err, want)
		}
		if ok && host != "" && strings.Contains(refused.Error(), host) && strings.ContainsAny(host, " ,%/[") {
			t.Errorf("%q is repeated: %v", host, err)
		}
	}
	if got, err := f.CheckHost(t.Context(), "second.example.com", 8443); got != "second.example.com" || err != nil {
		t.Errorf("another port: %q, %v", got, err)
	}
	if got, err := (*untrusted.Filter)(nil).CheckHost(t.Context(), "２.", 1); got != "２." || err != nil {
		t.Errorf("without a filter: %q, %v", got, err)
	}
	hangs := &untrusted.Filter{Lookup: func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a lookup is not bounded in time")
		}
		return nil, context.DeadlineExceeded
	}}
	if got, err := hangs.CheckHost(t.Context(), "slow.example.com", 443); got != "slow.example.com" || err != nil {
		t.Errorf("a name server that does not answer: %q, %v", got, err)
	}
}
