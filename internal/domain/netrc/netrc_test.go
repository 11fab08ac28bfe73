package netrc_test

import (
	"testing"

	"gocache.dev/operator/internal/domain/netrc"
)

func TestLookup(t *testing.T) {
	const text = `machine git.example.com login a password b
machine other.example.com
	login c account x
	password d
macdef init
	machine git.macro.example login m password m

machine git.example.com login second password second
default login e password f
machine late.example.com login g password h
`
	for host, want := range map[string][2]string{
		"git.example.com":   {"a", "b"},
		"other.example.com": {"c", "d"},
		"git.macro.example": {"e", "f"},
		"late.example.com":  {"e", "f"},
	} {
		login, password, found := netrc.Lookup(text, host)
		if !found || login != want[0] || password != want[1] {
			t.Errorf("%s: %q %q %v, want %q", host, login, password, found, want)
		}
	}
	for _, text := range []string{"", "login a password b", "machine git.example.comx login a", "machine", "machine a login"} {
		if login, password, found := netrc.Lookup(text, "git.example.com"); found {
			t.Errorf("%q: found %q %q", text, login, password)
		}
	}
}
