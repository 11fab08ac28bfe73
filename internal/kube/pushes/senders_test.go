package pushes

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// TestSenderOf holds which connections count as one sender: an address with IPv4, however it is
// written, and a network of 64 bits with IPv6.
func TestSenderOf(t *testing.T) {
	for from, want := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.1": "10.0.0.1/32",
		"2001:db8:0:1:2::3": "2001:db8:0:1::/64", "2001:db8:0:1::": "2001:db8:0:1::/64", "2001:db8:0:2::": "2001:db8:0:2::/64",
	} {
		if got := senderOf(&net.TCPAddr{IP: net.ParseIP(from)}); got.String() != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
	if got := senderOf(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}); got.String() != "fe80::/64" {
		t.Errorf("with a zone: %s", got)
	}
	for _, a := range []net.Addr{&net.UnixAddr{Name: "/socket"}, &net.TCPAddr{}} {
		if got := senderOf(a); got != (netip.Prefix{}) {
			t.Errorf("%v: %s", a, got)
		}
	}
}

// TestShareOfASender holds how many connections one sender may have, and that nothing is
// left of one that has closed its last.
func TestShareOfASender(t *testing.T) {
	s := newSenders(nil)
	one, other := netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.0.0.2/32")
	for i := range 64 {
		if !s.begin(one) {
			t.Fatalf("connection %d is refused", i+1)
		}
	}
	if s.begin(one) || !s.begin(other) {
		t.Error("one more is accepted, or another sender has no place")
	}
	s.end(one)
	if !s.begin(one) || s.begin(one) {
		t.Error("a connection that was closed leaves no place, or several")
	}
	for range maxPerAddress {
		s.end(one)
	}
	s.end(other)
	if len(s.open) != 0 {
		t.Errorf("left: %v", s.open)
	}
}

// TestSharesOfNamespaces holds that a namespace has its share as long as one of its
// objects has hooks, and the same one all that time.
func TestSharesOfNamespaces(t *testing.T) {
	r := New(time.Now)
	a, b := types.NamespacedName{Namespace: "n", Name: "a"}, types.NamespacedName{Namespace: "n", Name: "b"}
	hooks := []Hook{{Path: "/1"}, {Path: "/2"}}
	r.Set(a, hooks)
	first := r.shares["n"]
	r.Set(b, []Hook{{Path: "/3"}})
	r.Set(a, hooks[:1])
	if s := r.shares["n"]; s != first || s.objects != 2 || len(r.byPath) != 2 {
		t.Errorf("two objects: %+v, paths %v", s, r.byPath)
	}
	r.Set(a, nil)
	r.Set(a, nil)
	if s := r.shares["n"]; s != first || s.objects != 1 {
		t.Errorf("one object: %+v", s)
	}
	r.Set(b, nil)
	if len(r.shares) != 0 || len(r.byPath) != 0 || len(r.paths) != 0 {
		t.Errorf("left: %v, %v, %v", r.shares, r.byPath, r.paths)
	}
}

// adding is a manager to which something is added.
type adding struct {
	manager.Manager
	added []manager.Runnable
}

func (a *adding) Add(r manager.Runnable) error { a.added = append(a.added, r); return nil }

// TestAddTo holds that a server is added with its receiver, and none unless an address
// is given: the flags give none.
func TestAddTo(t *testing.T) {
	var s Server
	s.Bind(pflag.NewFlagSet("", pflag.ContinueOnError))
	for _, address := range []string{s.Address, "", "0"} {
		mgr := &adding{}
		if r, err := (&Server{Address: address}).AddTo(mgr, time.Now); r != nil || err != nil || len(mgr.added) > 0 {
			t.Errorf("address %q: %v, %v, added %v", address, r, err, mgr.added)
		}
	}
	mgr := &adding{}
	s.Address = ":9445"
	r, err := s.AddTo(mgr, time.Now)
	if err != nil || r == nil || s.Receiver != http.Handler(r) || len(mgr.added) != 1 || mgr.added[0] != manager.Runnable(&s) {
		t.Errorf("%v, %v, added %v", r, err, mgr.added)
	}
	if s.CertDir != "" {
		t.Errorf("certificates in %q without a flag", s.CertDir)
	}
}

// TestServerThatCannotStart holds that an address or a certificate which is not there is
// an error, and that the port is free after it.
func TestServerThatCannotStart(t *testing.T) {
	used, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := used.Addr().String()
	if err := (&Server{Address: address}).Start(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "receive push webhooks: ") {
		t.Errorf("an address in use: %v", err)
	}
	_ = used.Close()
	if err := (&Server{Address: address, CertDir: t.TempDir()}).Start(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "read the certificate for push webhooks: ") {
		t.Errorf("no certificate: %v", err)
	}
	again, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	_ = again.Close()
}

// refusing accepts a connection of one address each time, and then none.
type refusing struct {
	net.Listener
	left []net.Conn
}

func (r *refusing) Accept() (net.Conn, error) {
	if len(r.left) == 0 {
		return nil, net.ErrClosed
	}
	c := r.left[0]
	r.left = r.left[1:]
	return c, nil
}

// fromAddress is a connection that records whether it was closed.
type fromAddress struct {
	net.Conn
	closed int
}

func (*fromAddress) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9)} }
func (f *fromAddress) Close() error       { f.closed++; return nil }

// TestRefusedConnection holds that a connection too many is closed and counted, that the
// next one is looked at, and that closing twice frees one place.
func TestRefusedConnection(t *testing.T) {
	tooMany, next := &fromAddress{}, &fromAddress{}
	s := newSenders(&refusing{left: []net.Conn{tooMany}})
	from := senderOf(next.RemoteAddr())
	for range maxPerAddress {
		s.begin(from)
	}
	before := testutil.ToFloat64(refused)
	if c, err := s.Accept(); c != nil || err == nil || tooMany.closed != 1 || testutil.ToFloat64(refused) != before+1 {
		t.Errorf("%v, %v, closed %d times", c, err, tooMany.closed)
	}
	s.end(from)
	s.Listener = &refusing{left: []net.Conn{next}}
	c, err := s.Accept()
	if err != nil || s.begin(from) {
		t.Fatalf("%v, or it does not count", err)
	}
	_, _ = c.Close(), c.Close()
	if s.open[from] != maxPerAddress-1 || next.closed != 2 {
		t.Errorf("%d open, closed %d times", s.open[from], next.closed)
	}
}

// TestOutcomesAreCounted holds that each answer is counted by its outcome, and that all
// outcomes have a series before the first request.
func TestOutcomesAreCounted(t *testing.T) {
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		series[f.GetName()] = len(f.GetMetric())
	}
	if series["gocache_push_webhook_requests_total"] != 8 || series["gocache_push_webhook_refused_connections_total"] != 1 {
		t.Errorf("series: %v", series)
	}
	before := testutil.ToFloat64(requests.WithLabelValues("UnknownPath"))
	New(time.Now).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/push/none", nil))
	if got := testutil.ToFloat64(requests.WithLabelValues("UnknownPath")); got != before+1 {
		t.Errorf("%v requests of unknown paths, want %v", got, before+1)
	}
}
