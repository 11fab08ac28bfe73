package store

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"os"
	"strings"

	"golang.org/x/time/rate"
)

// maxOrders is how many checks may be asked for in a second, after orderBurst at
// once: further orders before it began are rejected.
const (
	maxOrders  rate.Limit = 1
	orderBurst int        = 20
)

// authorized reports whether a request brings the token. The file is read each
// time: it may be replaced, and be late. Without one no request is authorized.
func (w *Watch) authorized(r *http.Request) bool {
	if w.TokenFile == "" {
		return false
	}
	text, err := os.ReadFile(w.TokenFile)
	want := strings.TrimSpace(string(text))
	if err != nil || want == "" {
		return false
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	// Equal lengths, so that the time reveals nothing of them either.
	is, must := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return ok && subtle.ConstantTimeCompare(is[:], must[:]) == 1
}
