package loopback_test

import (
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"gocache.dev/operator/internal/testing/loopback"
)

// TestAddress holds that addresses differ, can be listened at, and are no ports that
// this machine gives to connections.
func TestAddress(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	lowest, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 50 {
		address := loopback.Address(t)
		if seen[address] {
			t.Errorf("%s was given twice", address)
		}
		seen[address] = true
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := strconv.Atoi(port); err != nil || n >= lowest {
			t.Errorf("%s may be taken by a connection: those begin at %d", address, lowest)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
	}
}
