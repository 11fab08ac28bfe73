package gitserver

import (
	"io"
	"net"
	"net/http"
)

// Tunnel is a proxy for https, as HTTPS_PROXY names one, that leads host:port to
// an address of this machine: names of module paths have no port, and tests bind
// none that is known.
func Tunnel(addresses map[string]string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, ok := addresses[r.Host]
		if !ok || r.Method != http.MethodConnect {
			http.Error(w, "no way to "+r.Host, http.StatusBadGateway)
			return
		}
		to, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", address)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = to.Close()
			return
		}
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n") // a client that is gone sends nothing
		go func() {
			_, _ = io.Copy(to, buffered)
			_ = to.Close()
		}()
		_, _ = io.Copy(from, to)
		_ = from.Close()
	})
}
