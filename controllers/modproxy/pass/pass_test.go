package pass_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/store"
	"gocache.dev/operator/internal/kube/event"
)

// TestWake holds that of several wake-ups the earliest wins, and that none is sooner
// than what was published can be read back.
func TestWake(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		ask  func(*pass.Result)
		want time.Duration
	}{
		"none":                     {func(*pass.Result) {}, 0},
		"at a time":                {func(r *pass.Result) { r.WakeAt(now, now.Add(time.Hour)) }, time.Hour},
		"at no time":               {func(r *pass.Result) { r.WakeAt(now, time.Time{}) }, 0},
		"at a time before":         {func(r *pass.Result) { r.WakeAt(now, now.Add(-time.Hour)) }, 500 * time.Millisecond},
		"the earlier":              {func(r *pass.Result) { r.WakeIn(time.Hour); r.WakeIn(time.Minute) }, time.Minute},
		"not the later":            {func(r *pass.Result) { r.WakeIn(time.Minute); r.WakeIn(time.Hour) }, time.Minute},
		"of another part":          {func(r *pass.Result) { r.WakeIn(time.Hour); r.Add(pass.Result{Wake: time.Minute}) }, time.Minute},
		"of one that does not ask": {func(r *pass.Result) { r.WakeIn(time.Hour); r.Add(pass.Result{}) }, time.Hour},
	} {
		var r pass.Result
		if tt.ask(&r); r.Wake != tt.want {
			t.Errorf("%s: %s, want %s", name, r.Wake, tt.want)
		}
	}
	a, b := event.Normal("A", "Do", "a"), event.Normal("B", "Do", "b")
	r := pass.Result{Events: []event.Event{a}}
	if r.Add(pass.Result{Events: []event.Event{b}}); len(r.Events) != 2 || r.Events[0] != a || r.Events[1] != b {
		t.Errorf("%+v", r.Events)
	}
}

// TestServersAndStores holds which server an instance runs, and whether an agent can
// check its store.
func TestServersAndStores(t *testing.T) {
	server := func(t v1alpha1.ServerType) *v1alpha1.ProxyServer { return &v1alpha1.ProxyServer{Type: t, Image: "i"} }
	for name, tt := range map[string]struct {
		proxy    *v1alpha1.ProxyServer
		instance v1alpha1.ProxyInstance
		want     v1alpha1.ServerType
		layout   store.Layout
	}{
		"by default":           {nil, v1alpha1.ProxyInstance{}, v1alpha1.ServerGoproxy, store.Goproxy},
		"without a type":       {&v1alpha1.ProxyServer{Image: "i"}, v1alpha1.ProxyInstance{}, v1alpha1.ServerGoproxy, store.Goproxy},
		"of the proxy":         {server(v1alpha1.ServerAthens), v1alpha1.ProxyInstance{}, v1alpha1.ServerAthens, store.Athens},
		"of the instance":      {server(v1alpha1.ServerAthens), v1alpha1.ProxyInstance{Server: server(v1alpha1.ServerGoproxy)}, v1alpha1.ServerGoproxy, store.Goproxy},
		"custom":               {nil, v1alpha1.ProxyInstance{Server: server(v1alpha1.ServerCustom)}, v1alpha1.ServerCustom, ""},
		"not run by operators": {nil, v1alpha1.ProxyInstance{External: &v1alpha1.ExternalInstance{}}, v1alpha1.ServerGoproxy, ""},
	} {
		tt.instance.Name = "blue"
		p := &v1alpha1.ModProxy{Spec: v1alpha1.ModProxySpec{Server: tt.proxy, Instances: []v1alpha1.ProxyInstance{tt.instance}}}
		if got := pass.ServerOf(p, &p.Spec.Instances[0]); got.Type != tt.want {
			t.Errorf("%s: %s, want %s", name, got.Type, tt.want)
		}
		if got := pass.Layout(p, "blue"); got != tt.layout || pass.Checked(p, "blue") != (tt.layout != "") || pass.Checked(p, "other") {
			t.Errorf("%s: layout %q, want %q", name, got, tt.layout)
		}
	}
}

func TestStorage(t *testing.T) {
	p := &v1alpha1.ModProxy{Spec: v1alpha1.ModProxySpec{
		Upstream:  &v1alpha1.ProxyUpstream{Proxy: "off"},
		Instances: []v1alpha1.ProxyInstance{{Name: "blue", Storage: &v1alpha1.InstanceStorage{}}, {Name: "green"}},
	}}
	if !pass.HasStore(p, "blue") || pass.HasStore(p, "green") || pass.HasStore(p, "other") {
		t.Error("the stores are others")
	}
	if !pass.Offline(p) {
		t.Error("an upstream that is off fills a store")
	}
	if p.Spec.Upstream.Proxy = "https://example.com"; pass.Offline(p) {
		t.Error("an upstream fills no store")
	}
	if p.Spec.Upstream = nil; pass.Offline(p) {
		t.Error("the default upstream fills no store")
	}
}

// TestReplacing holds that a store is not used while its volume is replaced by what was
// read, or by what is about to be written.
func TestReplacing(t *testing.T) {
	status := func(replaced ...string) *v1alpha1.ModProxy {
		p := &v1alpha1.ModProxy{}
		for _, name := range []string{"blue", "green"} {
			s := v1alpha1.InstanceStatus{Name: name}
			for _, r := range replaced {
				if r == name {
					s.VolumeReplacement, s.Quarantined = &v1alpha1.VolumeReplacementStatus{}, &v1alpha1.Quarantine{}
				}
			}
			p.Status.Instances = append(p.Status.Instances, s)
		}
		return p
	}
	for name, tt := range map[string]struct {
		now, stored *v1alpha1.ModProxy
		want        bool
	}{
		"no":                  {status(), status(), false},
		"another one":         {status("green"), status("green"), false},
		"about to be written": {status("blue"), status(), true},
		"by what was read":    {status(), status("blue"), true},
	} {
		if got := (pass.Observed{Stored: tt.stored}).Replacing(tt.now, "blue"); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	p := status("blue")
	if !pass.Quarantined(p, "blue") || pass.Quarantined(p, "green") || pass.Quarantined(p, "other") {
		t.Error("others are quarantined")
	}
	if s := pass.Instance(p, "other"); s.Name != "other" || pass.InstanceStatus(p, "other") != nil || pass.InstanceStatus(p, "blue") != &p.Status.Instances[0] {
		t.Errorf("%+v", s)
	}
}

func TestAgentURL(t *testing.T) {
	for address, want := range map[string]string{"10.0.0.1:8080": "http://10.0.0.1:9103", "[fd00::1]:8080": "http://[fd00::1]:9103", "10.0.0.1": "", "": ""} {
		if got := pass.AgentURL(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
	if got := pass.PagesURL("10.0.0.1:8080"); got != "http://10.0.0.1:9104" {
		t.Errorf("the pages of the server are at %q", got)
	}
}

// TestRequestedTime holds that a probe of the second in which a request was accepted
// is not taken for one after it.
func TestRequestedTime(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	p := &v1alpha1.ModProxy{Status: v1alpha1.ModProxyStatus{Request: &v1alpha1.RequestStatus{Time: metav1.NewTime(at)}}}
	if got := pass.RequestedTime(p); got.Before(at.Add(999 * time.Millisecond)) {
		t.Errorf("%s", got)
	}
}

// TestEvidence holds that a person gets an example of what is wrong, and no note.
func TestEvidence(t *testing.T) {
	note, wrong := integrity.Example{Severity: "note", Path: "n", Detail: "d"}, integrity.Example{Severity: "corrupt", Path: "p", Detail: "other checksum"}
	withdrawn := integrity.Example{Class: integrity.Malformed, Path: "w", Detail: "cut short"}
	for name, tt := range map[string]struct {
		verdict integrity.Verdict
		want    string
	}{
		"a message":    {integrity.Verdict{Message: "m"}, "m"},
		"notes only":   {integrity.Verdict{Message: "m", Examples: []integrity.Example{note}}, "m"},
		"an example":   {integrity.Verdict{Message: "m", Examples: []integrity.Example{note, wrong}, WithdrawnExamples: []integrity.Example{withdrawn}}, "m; such as p: other checksum"},
		"a withdrawal": {integrity.Verdict{Message: "m", Examples: []integrity.Example{note}, WithdrawnExamples: []integrity.Example{withdrawn}}, "m; such as w: " + integrity.Malformed.Meaning() + ": cut short"},
	} {
		if got := pass.Evidence(&tt.verdict); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if err := pass.Invalid("spec.%s", "x"); !strings.Contains(err.Error(), "spec.x") {
		t.Error(err)
	}
}
