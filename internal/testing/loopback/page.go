package loopback

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// timeout is how long a program that was started has until it answers as it should.
const timeout = 30 * time.Second

// Page is the first answer of a program that fits; without any, the test ends. A
// program that has just been started refuses connections first.
func Page(tb testing.TB, c *http.Client, url string, fits func(code int, text string) bool) (code int, text string) {
	tb.Helper()
	last := ""
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := c.Get(url)
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			tb.Fatal(err)
		}
		if fits(resp.StatusCode, string(body)) {
			return resp.StatusCode, string(body)
		}
		last = fmt.Sprintf("%d %s", resp.StatusCode, body)
	}
	tb.Fatalf("%s did not answer as it should in %s, at last: %s", url, timeout, last)
	return 0, ""
}

// Any answer fits.
func Any(int, string) bool { return true }
