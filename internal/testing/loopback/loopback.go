package loopback

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// first and count are the ports that are given: above those of common services,
// below the range that Linux uses for connections and below Kubernetes' node ports.
const first, count = 10000, 20000

var (
	mu    sync.Mutex
	given = map[int]bool{} // in this process
)

// Address returns one, in the form host:port.
func Address(tb testing.TB) string {
	tb.Helper()
	mu.Lock()
	defer mu.Unlock()
	for range 1000 {
		port := first + rand.IntN(count) //nolint:gosec // any port will do
		if given[port] {
			continue
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		var lc net.ListenConfig
		l, err := lc.Listen(tb.Context(), "tcp", address)
		if err != nil {
			continue // another program has it
		}
		given[port] = true
		if err := l.Close(); err != nil {
			tb.Fatal(err)
		}
		return address
	}
	tb.Fatal("no free port was found")
	return ""
}
