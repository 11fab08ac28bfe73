package egress_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/domain/egress"
)

// TestFor holds which proxy is used for which URL, by the variables in either case.
func TestFor(t *testing.T) {
	env := map[string]string{"https_proxy": "http://s3cret:pw@out.example.com:3128", "HTTP_PROXY": "plain.example.com:3128", "NO_PROXY": ".corp.example,10.0.0.0/8"}
	p, err := egress.FromEnvironment(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"https://git.example.com/a": "out.example.com:3128", "http://git.example.com/a": "plain.example.com:3128",
		"https://git.corp.example/a": "", "https://10.1.2.3/a": "", "https://127.0.0.1/a": "", "https://localhost/a": "", "ssh://git.example.com/a": "",
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.For(u)
		if err != nil || (got == nil) != (want == "") || got != nil && got.Host != want {
			t.Errorf("%s: %v, %v, want %q", target, got, err, want)
		}
		if got, err := (egress.Proxies{}).For(u); got != nil || err != nil {
			t.Errorf("%s without proxies: %v, %v", target, got, err)
		}
	}
}

// TestEnv holds that pods get no credentials of the proxy, and reach the hosts of the
// cluster directly.
func TestEnv(t *testing.T) {
	p := egress.Proxies{HTTPS: "http://ci:s3cret@out.example.com:3128", HTTP: "plain.example.com:3128", NoProxy: ".svc"}
	want := map[string]string{"HTTPS_PROXY": "http://out.example.com:3128", "HTTP_PROXY": "http://plain.example.com:3128", "NO_PROXY": ".svc,goproxy.ci.svc"}
	if diff := cmp.Diff(want, p.Env("goproxy.ci.svc")); diff != "" {
		t.Error(diff)
	}
	p.NoProxy = ""
	if got, ok := p.Env()["NO_PROXY"]; ok {
		t.Errorf("NO_PROXY is %q", got)
	}
	if got := (egress.Proxies{NoProxy: ".svc"}).Env("x"); len(got) != 0 {
		t.Errorf("without a proxy: %v", got)
	}
}

// TestInvalid holds that an error names the variable, and none of its value.
func TestInvalid(t *testing.T) {
	for _, value := range []string{"ftp://s3cret@host:1", "http://", "http://a b:s3cret@", "http://[s3cret",
		// Characters of a password that end the host, so that the rest is no password.
		"http://ci:12#s3cret@host:3128", "ci:12#s3cret@host:3128", "http://ci:?s3cret@host", "http://ci:1/s3cret@host", "http://ci:1/?@s3cret",
		"http://host:3128/s3cret", "http:s3cret://host", "http://:s3cret@:3128"} {
		_, err := egress.FromEnvironment(func(name string) string {
			if name == "HTTPS_PROXY" {
				return value
			}
			return ""
		})
		if err == nil || !strings.Contains(err.Error(), "HTTPS_PROXY is not the URL of a proxy") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", value, err)
		}
		for name, text := range (egress.Proxies{HTTP: value, HTTPS: value}).Env() {
			if strings.Contains(text, "s3cret") {
				t.Errorf("%q: pods get %s=%s", value, name, text)
			}
		}
	}
	for _, value := range []string{"http://ci:pass@host:3128/", "host", "socks5://host:1080"} {
		p, err := egress.FromEnvironment(func(name string) string { return map[string]string{"HTTPS_PROXY": value}[name] })
		if env := p.Env(); err != nil || env["HTTPS_PROXY"] == "" || strings.Contains(env["HTTPS_PROXY"], "pass") {
			t.Errorf("%q: %v, %v", value, err, env)
		}
	}
}
