package proxy

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/modcache"
)

// slow is an error as of a TLS handshake that takes too long.
type slow struct{}

func (slow) Error() string   { return "handshake timeout" }
func (slow) Timeout() bool   { return true }
func (slow) Temporary() bool { return true }

// Whatever a fetch ended with, the client gets the status of the one at fault, and may do something else only if the upstream has no such file.
func TestFailedFetchesAreExplained(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"refused":               {&statusError{code: http.StatusForbidden}, http.StatusForbidden},
		"refused by law":        {&statusError{code: http.StatusUnavailableForLegalReasons}, http.StatusUnavailableForLegalReasons},
		"not logged in":         {&statusError{code: http.StatusUnauthorized}, http.StatusForbidden},
		"in trouble":            {&statusError{code: http.StatusServiceUnavailable}, http.StatusBadGateway},
		"leads elsewhere":       {&statusError{code: http.StatusNotModified}, http.StatusBadGateway},
		"unknown name":          {&url.Error{Err: &unanswered{"a", &net.DNSError{}}}, http.StatusBadGateway},
		"unanswered in time":    {&url.Error{Err: &unanswered{"a", slow{}}}, http.StatusGatewayTimeout},
		"timeout":               {slow{}, http.StatusGatewayTimeout},
		"silence":               {errSilent, http.StatusGatewayTimeout},
		"no temporary files":    {&fs.PathError{Op: "open", Path: "/tmp/x", Err: os.ErrPermission}, http.StatusInternalServerError},
		"no temporary file":     {&localTrouble{fs.ErrNotExist}, http.StatusInternalServerError},
		"not there":             {&statusError{code: http.StatusNotFound}, http.StatusNotFound},
		"no longer there":       {&statusError{code: http.StatusGone}, http.StatusGone},
		"off":                   {off{}, http.StatusNotFound},
		"an answer that breaks": {&interrupted{io.ErrUnexpectedEOF}, http.StatusBadGateway},
		"a wrong answer":        {&badAnswer{errors.New("flipped")}, http.StatusBadGateway},
		"no turn":               {&busy{errors.New("full")}, http.StatusServiceUnavailable},
	} {
		if got, text := explain(tt.err); got != tt.want || text == "" {
			t.Errorf("%s: %d %q, want %d", name, got, text, tt.want)
		}
		o := &outcome{}
		o.fetched(tt.err)
		if got, _ := o.trouble(); got != tt.want || o.cause() == nil {
			t.Errorf("%s: %d, for the log: %v", name, got, o.cause())
		}
	}
}

// TestGoModOfManyLines holds that an upstream cannot make the server parse a go.mod file
// that takes several GiB of memory.
func TestGoModOfManyLines(t *testing.T) {
	if err := checkMod([]byte("module example.com/m\n" + strings.Repeat("a\n", 1<<18))); !errors.Is(err, modcache.ErrLimit) {
		t.Error(err)
	}
}
