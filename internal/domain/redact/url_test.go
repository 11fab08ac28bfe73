package redact_test

import (
	"net/url"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/redact"
)

// TestURL holds that of an address only what names the server and the file is left.
func TestURL(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://proxy.test":                           "https://proxy.test",
		"https://proxy.test:8443/a%2Fb/@v/list":        "https://proxy.test:8443/a%2Fb/@v/list",
		"https://user:s3cret@proxy.test/a":             "https://proxy.test/a",
		"https://s3cret@proxy.test/a":                  "https://proxy.test/a",
		"https://proxy.test/a?token=s3cret":            "https://proxy.test/a",
		"https://proxy.test?s3cret":                    "https://proxy.test",
		"https://proxy.test/a#s3cret":                  "https://proxy.test/a",
		"https://s3cret:s3cret@proxy.test/?s3cret#s3c": "https://proxy.test/",
		"ssh://git@git.test/a.git":                     "ssh://git.test/a.git",
		"//s3cret@proxy.test/a":                        "//proxy.test/a",
		"file:///modules?s3cret":                       "file:///modules",
		" https://s3cret@proxy.test ":                  "https://proxy.test",
		"direct":                                       "direct",
		"":                                             "",
		"proxy.test/a":                                 "proxy.test/a",
		"user:s3cret@proxy.test/a":                     redact.Unreadable,
		"s3cret@proxy.test/a":                          redact.Unreadable,
		"https://user:s3cret@proxy.test:port/":         redact.Unreadable,
		"https://proxy.test/%s3cret":                   redact.Unreadable,
		"https://user:s3\x7fcret@proxy.test":           redact.Unreadable,
		"://s3cret":                                    redact.Unreadable,
	} {
		got := redact.URL(address)
		if got != want || strings.Contains(got, "s3c") {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
		if u, err := url.Parse(strings.TrimSpace(address)); err == nil && want != redact.Unreadable && redact.Of(u) != want {
			t.Errorf("%q, read: %q, want %q", address, redact.Of(u), want)
		}
	}
}

// TestList holds the same for lists, and that the separators stay.
func TestList(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"": "", "off": "off",
		"https://proxy.test|https://other.test,direct":                              "https://proxy.test|https://other.test,direct",
		"https://s3cret@proxy.test|https://u:s3cret@other.test/x?s3cret#s3cret,off": "https://proxy.test|https://other.test/x,off",
		"https://proxy.test?token=s3cret,":                                          "https://proxy.test,",
		"https://proxy.test,user:s3cret@other.test":                                 "a list with " + redact.Unreadable,
		"https://user:443,s3cret@proxy.test":                                        "a list with " + redact.Unreadable,
		"https://user:s3cret|s3cret@proxy.test,direct":                              "a list with " + redact.Unreadable,
	} {
		if got := redact.List(list); got != want || strings.Contains(got, "s3c") {
			t.Errorf("%q: %q, want %q", list, got, want)
		}
	}
}
