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
