package hosts_test

import (
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/hosts"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		list  string
		match string // between spaces
		not   string
	}{
		{list: "", not: "git.example.com localhost"},
		{list: "git.example.com", match: "git.example.com GIT.example.com git.example.com. git.example.com:8443",
			not: "example.com a.git.example.com git.example.com.evil.test evilgit.example.com git.example.co git.example.com:0 git.example.com@evil.test"},
		{list: "*.corp.example", match: "a.corp.example a.b.corp.example:22", not: "corp.example acorp.example corp.example.evil.test .corp.example a..corp.example"},
		{list: " a.test,\n*.b.test ,, c.test:8443", match: "a.test x.b.test c.test:8443", not: "c.test c.test:443 c.test:84430"},
		{list: "127.0.0.1 [::1]:22 2001:db8::1", match: "127.0.0.1 127.0.0.1:80 [::1]:22 [2001:db8:0::1] [2001:DB8::1]:443 ::ffff:127.0.0.1", not: "127.0.0.2 [::1] [::1]:23 1.127.0.0.1"},
		{list: "LOCALHOST", match: "localhost localhost:1"},
	} {
		l, err := hosts.Parse(tt.list)
		if err != nil {
			t.Errorf("%q: %v", tt.list, err)
			continue
		}
		for _, host := range strings.Fields(tt.match) {
			if !l.Match(host) {
				t.Errorf("%q does not match %s", tt.list, host)
			}
		}
		for _, host := range append(strings.Fields(tt.not), "", "*", "*.corp.example", "a b") {
			if l.Match(host) {
				t.Errorf("%q matches %q", tt.list, host)
			}
		}
	}
}

// TestParse holds that a list with an invalid pattern is refused whole: the
// error names it.
func TestParse(t *testing.T) {
	for _, entry := range []string{
		"*", "*.*", "git.*.example", "**.example.com", "*git.example.com", "https://git.example.com", "git.example.com/group", "user@git.example.com",
		"git.example.com:", "git.example.com:http", "git.example.com:65536", "git.example.com:022", "*.127.0.0.1", ".example.com", "a..b", "*.", "[::1", "gït.example.com",
		strings.Repeat("a.", 130) + "a",
	} {
		if l, err := hosts.Parse("good.example.com," + entry); err == nil || !strings.Contains(err.Error(), entry) || !l.Empty() {
			t.Errorf("%q: %+v, %v", entry, l, err)
		}
	}
	if _, err := hosts.Parse(strings.Repeat("a,", hosts.MaxLength)); err == nil {
		t.Error("a list of any length is accepted")
	}
}

func TestExact(t *testing.T) {
	l, err := hosts.Parse("Git.example.com,*.corp.example, ssh.example.com:2222 10.0.0.1 [::1]:22")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(l.Exact(), " "), "git.example.com ssh.example.com:2222 10.0.0.1 [::1]:22"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, at := range [][2]string{{"git.example.com", "443"}, {"ssh.example.com", "2222"}, {"::1", "22"}} {
		if !l.MatchPort(at[0], at[1]) {
			t.Errorf("%s is not matched", at)
		}
	}
	if l.MatchPort("ssh.example.com", "22") {
		t.Error("another port is matched")
	}
}
