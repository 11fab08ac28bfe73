package instances

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/policy"
)

func upstream(proxy string) *v1alpha1.ModProxy {
	p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}
	if proxy != "" {
		p.Spec.Upstream = &v1alpha1.ProxyUpstream{Proxy: proxy}
	}
	return p
}

// TestSendable holds that the Secret for private modules is used only where it allows
// the host that it is sent to, and never over http.
func TestSendable(t *testing.T) {
	for name, tt := range map[string]struct {
		proxy, hosts string
		netrc        bool
		want         string // in the error; empty: it may be sent
	}{
		"an allowed host":              {"https://proxy.test", "proxy.test", false, ""},
		"one of the upstreams":         {"https://other.test|https://proxy.test,direct", "proxy.test", false, ""},
		"no annotation":                {"https://proxy.test", "", false, "cache.gocache.dev/hosts=proxy.test"},
		"no annotation, no upstream":   {"", "", false, "cache.gocache.dev/hosts=proxy.example.com"},
		"another host":                 {"https://evil.test", "proxy.test", false, "may not be sent to evil.test"},
		"another host, and netrc":      {"https://evil.test", "proxy.test", true, ""}, // the server sends it to the hosts that it allows
		"over http":                    {"http://proxy.test", "proxy.test", false, "not sent over http"},
		"over http, beside https":      {"http://proxy.test,https://proxy.test", "proxy.test", false, ""},
		"the upstream is not known":    {"", "proxy.test", false, ""},
		"no upstream is asked by name": {"off", "proxy.test", false, ""},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "login"}, Data: map[string][]byte{passwordKey: []byte("x")}}
		if tt.hosts != "" {
			secret.Annotations = map[string]string{v1alpha1.HostsAnnotation: tt.hosts}
		}
		if tt.netrc {
			secret.Data[netrcKey] = []byte("machine x")
		}
		if err := sendable(upstream(tt.proxy), secret); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
}

func TestUpstreamHosts(t *testing.T) {
	for proxy, tt := range map[string]struct {
		hosts []string
		plain bool
	}{
		"":                                      {},
		"direct":                                {},
		"off":                                   {},
		"https://a.test/x, https://b.test:8443": {[]string{"a.test", "b.test:8443"}, false},
		"http://a.test|https://b.test|direct":   {[]string{"b.test"}, true},
		"https://%zz":                           {},
	} {
		if hosts, plain := upstreamHosts(upstream(proxy)); !slices.Equal(hosts, tt.hosts) || plain != tt.plain {
			t.Errorf("%q: %v, %v", proxy, hosts, plain)
		}
	}
}

// TestChosenByUser holds that whatever lets a user decide where credentials go needs
// the consent of the Secret for its image.
func TestChosenByUser(t *testing.T) {
	for want, server := range map[string]v1alpha1.ProxyServer{
		"":                              {Type: v1alpha1.ServerGoproxy, Env: []v1alpha1.EnvVar{{Name: "GOFLAGS"}}},
		"server.type is Athens":         {Type: v1alpha1.ServerAthens},
		"server.type is Custom":         {Type: v1alpha1.ServerCustom, Image: "i"},
		"server.image is set":           {Type: v1alpha1.ServerGoproxy, Image: "i"},
		"server.args is set":            {Type: v1alpha1.ServerGoproxy, Args: []string{"-x"}},
		"server.env sets SSL_CERT_FILE": {Type: v1alpha1.ServerGoproxy, Env: []v1alpha1.EnvVar{{Name: "X"}, {Name: "SSL_CERT_FILE"}}},
		"server.env sets SSL_CERT_DIR":  {Type: v1alpha1.ServerGoproxy, Env: []v1alpha1.EnvVar{{Name: "SSL_CERT_DIR"}}},
		"server.env sets GODEBUG":       {Type: v1alpha1.ServerGoproxy, Env: []v1alpha1.EnvVar{{Name: "GODEBUG"}}},
	} {
		if got := chosenByUser(server); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSumDBURL(t *testing.T) {
	for value, want := range map[string]string{
		"": "", "off": "", "sum.test": "https://sum.test", "sum.test+1+key": "https://sum.test", "sum.test+1+key https://mirror.test/x": "https://mirror.test/x",
	} {
		if got := sumDBURL(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// TestPeers holds that only instances which run the operator's own server are asked
// for what they have, and none asks itself.
func TestPeers(t *testing.T) {
	p := upstream("")
	p.Spec.Instances = []v1alpha1.ProxyInstance{
		{Name: "blue"}, {Name: "green"}, {Name: "red"},
		{Name: "athens", Server: &v1alpha1.ProxyServer{Type: v1alpha1.ServerAthens}}, {Name: "external", External: &v1alpha1.ExternalInstance{}},
	}
	if got, want := peers(p, &p.Spec.Instances[0]), "http://p-green.n.svc:8080,http://p-red.n.svc:8080"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestReplicas holds that nothing runs on a volume which is being replaced.
func TestReplicas(t *testing.T) {
	p := upstream("")
	p.Status.Instances = []v1alpha1.InstanceStatus{{Name: "blue", VolumeReplacement: &v1alpha1.VolumeReplacementStatus{}}, {Name: "green"}}
	for instance, want := range map[string]int32{"blue": 0, "green": 1, "new": 1} {
		if got := replicas(p, pass.Observed{Stored: upstream("")}, instance); got != want {
			t.Errorf("%s: %d replicas, want %d", instance, got, want)
		}
	}
}

// TestChecks holds how often an agent checks by itself: not at all where the operator
// requests each check by a schedule.
func TestChecks(t *testing.T) {
	p := upstream("")
	if interval, rate := checks(p); interval != checkInterval || rate.Cmp(bytesPerSecond) != 0 {
		t.Errorf("by default: %s, %s", interval, rate.String())
	}
	p.Spec.Integrity.Schedule.Schedule = "@daily"
	p.Spec.Integrity.BytesPerSecond = ptr.To(bytesPerSecond.DeepCopy())
	p.Spec.Integrity.BytesPerSecond.Add(bytesPerSecond)
	if interval, rate := checks(p); interval != 0 || rate.Cmp(bytesPerSecond) <= 0 {
		t.Errorf("with a schedule: %s, %s", interval, rate.String())
	}
}

// TestWithdraws holds that nothing is removed from a store that could not fetch it
// again, and nothing where it is only to be reported.
func TestWithdraws(t *testing.T) {
	for _, tt := range []struct {
		proxy     string
		onCorrupt v1alpha1.StoreCorruptPolicy
		want      bool
	}{{"", "", true}, {"https://a.test", v1alpha1.StoreRollback, true}, {"off", "", false}, {"https://a.test", v1alpha1.StoreReport, false}} {
		p := upstream(tt.proxy)
		p.Spec.Integrity.OnCorrupt = tt.onCorrupt
		if got := withdraws(p); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// TestRules holds what of the spec the instances enforce, and that a policy which would
// let every probe fail is refused.
func TestRules(t *testing.T) {
	p := upstream("")
	p.Spec.Policy = &v1alpha1.ProxyPolicy{
		Deny:       []v1alpha1.PolicyRule{{Name: "cve", Modules: []string{"example.com/bad"}, Reason: "r"}},
		MinimumAge: &metav1.Duration{Duration: 48 * time.Hour}, MinimumAgeExempt: []string{"example.com/own"},
	}
	p.Spec.PrivateModules = &v1alpha1.ProxyPrivateModules{PrivateModules: v1alpha1.PrivateModules{Patterns: []string{"git.test/*"}}}
	p.Spec.Probes.ReferenceModules = []v1alpha1.ReferenceModule{{Module: "example.com/c", Version: "v1.0.0"}}
	rules, err := rulesOf(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	if rules.Mode != policy.Enforce || rules.MinimumAge != "48h0m0s" || !slices.Equal(rules.MinimumAgeExempt, []string{"example.com/own", "git.test/*"}) ||
		!slices.Equal(rules.Vetted, []string{"example.com/c@v1.0.0"}) || len(rules.Deny) != 1 || rules.Deny[0].Name != "cve" {
		t.Errorf("%+v", rules)
	}
	p.Spec.Probes.ReferenceModules[0].Module = "example.com/bad"
	if _, err := rulesOf(p, nil); err == nil || !strings.Contains(err.Error(), "example.com/bad@v1.0.0") {
		t.Errorf("a reference module that is denied: %v", err)
	}
	p.Spec.Policy.Mode = v1alpha1.PolicyMode(policy.DryRun)
	if _, err := rulesOf(p, nil); err != nil {
		t.Errorf("a dry run refuses nothing: %v", err)
	}
	p.Spec.Policy.Deny[0].Modules = []string{"["}
	if _, err := rulesOf(p, nil); err == nil || !strings.Contains(err.Error(), "Correct it") {
		t.Errorf("a pattern that cannot be read: %v", err)
	}
}
