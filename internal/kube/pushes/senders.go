package pushes

import (
	"net"
	"net/netip"
	"sync"
)

// senders is a listener that closes connections of an address which has
// maxPerAddress already, so that one sender leaves others their place. All that
// comes through an Ingress or Gateway has the address of its pod: the share is
// large enough for one, and what is bounded behind it are the requests of each
// namespace.
type senders struct {
	net.Listener

	mu   sync.Mutex
	open map[netip.Prefix]int
}

func newSenders(l net.Listener) *senders {
	return &senders{Listener: l, open: map[netip.Prefix]int{}}
}

// Accept returns the next connection of an address that may have one more.
func (s *senders) Accept() (net.Conn, error) {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := senderOf(conn.RemoteAddr())
		if s.begin(from) {
			return &sent{Conn: conn, end: sync.OnceFunc(func() { s.end(from) })}, nil
		}
		refused.Inc()
		_ = conn.Close()
	}
}

func (s *senders) begin(from netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[from] >= maxPerAddress {
		return false
	}
	s.open[from]++
	return true
}

func (s *senders) end(from netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[from]--; s.open[from] == 0 {
		delete(s.open, from)
	}
}

// senderOf is the address of a sender: a network of 64 bits with IPv6, in which a
// host may have any address.
func senderOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// sent is a connection that counts until it is closed.
type sent struct {
	net.Conn
	end func()
}

// Close closes the connection.
func (c *sent) Close() error {
	defer c.end()
	return c.Conn.Close()
}
