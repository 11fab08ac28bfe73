package proxy

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

const netrcText = `# ours
machine proxy.example.com login me password secret
machine other.example.com
  login you account x
  password two

macdef init
machine evil.example.com login a password b

default login anybody password none
`

// TestCredentials holds which host gets which credentials, that no other gets any,
// and that new ones are used at once.
func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	upstream := &url.URL{Scheme: "https", Host: "up.example.com:8443"}
	var sent http.Header
	known, err := newCredentials(dir, "", []*url.URL{upstream})
	if err != nil {
		t.Fatal(err)
	}
	send := authorized{roundTrip(func(req *http.Request) { sent = req.Header }), known}
	given := func(target string) string {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := send.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		if req.Header.Get("Authorization") != "" {
			t.Error("the caller's request was changed")
		}
		user, password, ok := (&http.Request{Header: sent}).BasicAuth()
		if !ok {
			return ""
		}
		return user + ":" + password
	}
	check := func(when string, want map[string]string) {
		t.Helper()
		for target, user := range want {
			if got := given(target); got != user {
				t.Errorf("%s: %s got %q, want %q", when, target, got, user)
			}
		}
	}
	check("none", map[string]string{"https://up.example.com:8443/x": ""})
	write("username", "robot\n")
	write("password", "s p\n")
	check("user and password", map[string]string{
		"https://up.example.com:8443/x": "robot:s p", "http://up.example.com:8443/x": "",
		"https://up.example.com/x": "", "https://proxy.example.com/x": "",
	})
	write("netrc", netrcText)
	check("netrc", map[string]string{
		"https://proxy.example.com/x": "me:secret", "https://proxy.example.com:444/x": "me:secret", "http://proxy.example.com/x": "",
		"https://other.example.com/": "you:two", "https://evil.example.com/": "anybody:none", "https://up.example.com:8443/x": "anybody:none",
	})
	// Only hosts that the list allows get any, whatever netrc names.
	if known, err = newCredentials(dir, "proxy.example.com", []*url.URL{upstream}); err != nil {
		t.Fatal(err)
	}
	send.credentials = known
	write("netrc", netrcText)
	check("for one host", map[string]string{
		"https://proxy.example.com/x": "me:secret", "http://proxy.example.com/x": "",
		"https://other.example.com/": "", "https://evil.example.com/": "", "https://up.example.com:8443/x": "",
	})
	if _, err := newCredentials(dir, "https://proxy.example.com", nil); err == nil {
		t.Error("an invalid list of hosts is accepted")
	}
	if send.credentials, err = newCredentials(dir, "*.example.com", []*url.URL{upstream}); err != nil {
		t.Fatal(err)
	}
	write("netrc", "machine proxy.example.com login me password new")
	check("rotated", map[string]string{"https://proxy.example.com/x": "me:new", "https://up.example.com:8443/x": "robot:s p"})
}

type roundTrip func(*http.Request)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) {
	f(req)
	return &http.Response{StatusCode: http.StatusOK}, nil
}
