package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/router/certificate"
)

// TestParseExternal holds what is asked of an external instance.
func TestParseExternal(t *testing.T) {
	for text, want := range map[string]external{
		"http://example.com":               {Host: "example.com", HostHeader: "example.com", HostPort: "example.com:80"},
		"http://10.0.0.1:8080/":            {Host: "10.0.0.1", HostHeader: "10.0.0.1:8080", HostPort: "10.0.0.1:8080"},
		"https://example.com/go//":         {Host: "example.com", HostHeader: "example.com", HostPort: "example.com:443", Prefix: "/go", TLS: true},
		"https://example.com:8443/a/b_c~d": {Host: "example.com", HostHeader: "example.com:8443", HostPort: "example.com:8443", Prefix: "/a/b_c~d", TLS: true},
	} {
		if got, err := parseExternal(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, reason := range map[string]string{
		"http://[":                 "external URL: ",
		"example.com":              "neither http nor https",
		"http://example.com?a=b":   "with credentials, a query or a fragment",
		"http://example.com#a":     "with credentials, a query or a fragment",
		"http://me@example.com":    "with credentials, a query or a fragment",
		"http://-a":                "is no host name",
		"http://":                  "is no host name",
		"https://10.0.0.1":         "needs a host name to verify",
		"http://example.com/a%20b": "is no plain URL path",
		"http://example.com:70000": "70000",
		"http://example.com:0":     "is no host:port",
	} {
		if got, err := parseExternal(text); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %+v, %v; want %q", text, got, err, reason)
		}
	}
}

// TestCheckURI holds that one path is asked for as it is, and several by the names of
// the servers; that of an external instance is asked for elsewhere.
func TestCheckURI(t *testing.T) {
	for name, tt := range map[string]struct {
		instances []Instance
		want      string
	}{
		"one for all": {[]Instance{{Name: "blue"}, {Name: "green", CheckPath: "/readyz"}, {Name: "red", External: "http://a", CheckPath: "/x"}}, "uri /readyz"},
		"one each":    {[]Instance{{Name: "blue", CheckPath: "/own"}, {Name: "green", CheckPath: "/other"}}, "uri-lf '%[srv_name,regsub(^blue$,/own),regsub(^green$,/other)]'"},
		"one of its own": {
			[]Instance{{Name: "blue"}, {Name: "green", CheckPath: "/own"}, {Name: "red", External: "http://a", CheckPath: "/x"}, {Name: "white", CheckPath: "/readyz"}},
			"uri-lf '%[srv_name,regsub(^green$,/own),regsub(^blue$,/readyz),regsub(^red$,/readyz),regsub(^white$,/readyz)]'",
		},
	} {
		c := Config{CheckPath: "/readyz", Instances: tt.instances}
		if got := c.checkURI(); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// TestExternals holds that an external instance is reached over a socket of the pod, and
// the others as they are.
func TestExternals(t *testing.T) {
	c := Config{RunDir: "/run", CheckPath: "/readyz", Instances: []Instance{{Name: "blue", Address: "10.0.0.1:80"}, {Name: "green", External: "http://a/b"}}}
	got, err := c.externals()
	want := []external{{Name: "green", Socket: "unix@/run/external-green.sock", CheckPath: "/readyz", Host: "a", HostPort: "a:80", HostHeader: "a", Prefix: "/b"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" || c.Instances[0].Address != "10.0.0.1:80" || c.Instances[1].Address != want[0].Socket {
		t.Errorf("%v, %+v (-want +got):\n%s", err, c.Instances, diff)
	}
	c.Instances[1].External = "ftp://a"
	if _, err := c.externals(); err == nil || !strings.HasPrefix(err.Error(), `instance "green": `) {
		t.Errorf("an URL that is none: %v", err)
	}
}

// TestConclude holds what a server does by what both backends report of it, also where
// they have different names for it.
func TestConclude(t *testing.T) {
	for _, tt := range []struct {
		instances, last string
		weight          int // in the last resort
		want            route.Observed
	}{
		{"NOLB", "UP", 100, route.Observed{State: route.Ready, Weight: 7, Healthy: true}},
		{"DOWN", "NOLB", 100, route.Observed{State: route.Ready, Weight: 7}},
		{"DOWN", "UP", 2, route.Observed{State: route.Ready, Weight: 7}},
		{"DOWN", "UP", 1, route.Observed{State: route.Drain}},
		{"DOWN", "UP", 0, route.Observed{State: route.Drain}},
		{"DOWN", "MAINT", 100, route.Observed{State: route.Down}},
		{"DRAIN", "DOWN", 1, route.Observed{State: route.Drain, Healthy: true}},
	} {
		if got := conclude(server{tt.instances, 7}, server{tt.last, tt.weight}); got != tt.want {
			t.Errorf("%s, %s with weight %d: %+v, want %+v", tt.instances, tt.last, tt.weight, got, tt.want)
		}
	}
}

// TestMetricsOfServers holds that only what is about servers is read, and how much of it.
func TestMetricsOfServers(t *testing.T) {
	const of = `{proxy="instances",server="blue"`
	text := "# HELP haproxy_process_x y\n# TYPE haproxy_server_status gauge\n" +
		statusMetric + of + `,state="UP"} 1` + "\n" + statusMetric + of + `,state="DOWN"} 0` + "\n" +
		statusMetric + strings.Replace(of, "instances", "last-resort", 1) + `,state="UP"} 1` + "\n" +
		statusMetric + strings.Replace(of, "instances", "other", 1) + `,state="UP"} 1` + "\n" +
		"# TYPE haproxy_server_weight gauge\n" + weightMetric + of + "} 7\n" + weightMetric + strings.Replace(of, "instances", "last-resort", 1) + "} 100\n" + "no metric at all\n"
	got, err := parseExporter(strings.NewReader(text))
	if diff := cmp.Diff(map[string]route.Observed{"blue": {State: route.Ready, Weight: 7, Healthy: true}}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	lacking := strings.Replace(text, `"last-resort",server="blue",state`, `"last-resort",server="green",state`, 1)
	if _, err := parseExporter(strings.NewReader(lacking)); err == nil || !strings.Contains(err.Error(), "lack the status of server blue") {
		t.Errorf("no status in the last resort: %v", err)
	}
	line := statusMetric + of + `,state="UP"} 1` + "\n"
	fits := (maxMetrics - 1) / len(line)
	if _, err := selected(strings.NewReader(strings.Repeat(line, fits))); err != nil {
		t.Errorf("%d lines: %v", fits, err)
	}
	if _, err := selected(strings.NewReader(strings.Repeat(line, fits+1))); err == nil || !strings.Contains(err.Error(), "more than 128 KiB") {
		t.Errorf("%d lines: %v", fits+1, err)
	}
	if _, err := selected(strings.NewReader(strings.Repeat("x", 1<<20))); err == nil {
		t.Error("a line without an end")
	}
}

// TestCertificates holds that all replicas are asked, that one without a certificate
// answers as well, and that what cannot be read is reported of its replica only.
func TestCertificates(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprint(w, `{"problem":"no Secret"}`)
		case "/error":
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = fmt.Fprint(w, `{"fingerprint":"AA"}`)
		case "/nonsense":
			_, _ = fmt.Fprint(w, "<html>")
		case "/large":
			_, _ = fmt.Fprintf(w, `{"problem":"%s"}`, strings.Repeat("x", 64<<10))
		case "/long":
			_, _ = fmt.Fprintf(w, `{"fingerprint":"AA"%s}`, strings.Repeat(" ", 63<<10))
		default:
			_, _ = fmt.Fprint(w, `{"fingerprint":"AA"}`)
		}
	}))
	defer s.Close()
	var replicas []Replica
	for _, path := range []string{"good", "long", "none", "error", "nonsense", "large"} {
		replicas = append(replicas, Replica{Name: path, Certificate: s.URL + "/" + path})
	}
	replicas = append(replicas, Replica{Name: "silent", Certificate: "http://127.0.0.1:1/"}, Replica{Name: "no URL", Certificate: "http://["})
	r := &Router{Starting: func(context.Context) ([]Replica, error) { return replicas, nil }}
	got, err := r.Certificates(t.Context())
	if err != nil || len(got) != len(replicas) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range []route.Certificate{
		{Report: certificate.Report{Fingerprint: "AA"}}, {Report: certificate.Report{Fingerprint: "AA"}}, {Report: certificate.Report{Problem: "no Secret"}},
		{Unreachable: "status 500"}, {Unreachable: "invalid character"}, {Unreachable: "unexpected EOF"}, {Unreachable: "refused"}, {Unreachable: "missing ']'"},
	} {
		if got[i].Replica != replicas[i].Name || got[i].Report != want.Report || !strings.Contains(got[i].Unreachable, want.Unreachable) || (got[i].Unreachable == "") != (want.Unreachable == "") {
			t.Errorf("%+v, want %+v", got[i], want)
		}
	}
	errBroken := errors.New("the API server is down")
	r.Starting = func(context.Context) ([]Replica, error) { return nil, errBroken }
	if _, err := r.Certificates(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("the replicas cannot be listed: %v", err)
	}
	r.Replicas = r.Starting
	if _, err := r.Observe(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("the replicas cannot be listed: %v", err)
	}
}

// TestAllPods holds that pods which start are among all, that those which have ended are
// not, and that there is a limit.
func TestAllPods(t *testing.T) {
	pod := func(name string, phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: Selector("p")}, Status: corev1.PodStatus{Phase: phase, PodIP: "10.0.0.1"}}
	}
	deleting := pod("deleting", corev1.PodRunning)
	deleting.DeletionTimestamp, deleting.Finalizers = &metav1.Time{Time: metav1.Now().Time}, []string{"a.test/b"}
	c := fake.NewClientBuilder().WithObjects(pod("a", corev1.PodPending), pod("evicted", corev1.PodFailed), pod("ended", corev1.PodSucceeded), deleting).Build()
	all := func() ([]Replica, error) {
		return Pods{Reader: c, Namespace: "n", Labels: Selector("p")}.All(t.Context())
	}
	add := func(name string) {
		if err := c.Create(t.Context(), pod(name, corev1.PodRunning)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := all()
	if err != nil || len(got) != 1 || got[0].Name != "a" {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range maxReplicas - 1 {
		add(fmt.Sprint("b", i))
	}
	if got, err := all(); err != nil || len(got) != maxReplicas {
		t.Errorf("%d replicas, %v", len(got), err)
	}
	add("c")
	if got, err := all(); err == nil || !strings.Contains(err.Error(), "more than 32 pods") {
		t.Errorf("%d replicas, %v", len(got), err)
	}
	without := pod("d", corev1.PodRunning)
	without.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
	if ready(without) {
		t.Error("a pod is ready that nothing is known of")
	}
}

// deadlines records how long each request may take.
type deadlines struct{ may []time.Duration }

// RoundTrip fails.
func (d *deadlines) RoundTrip(r *http.Request) (*http.Response, error) {
	if at, ok := r.Context().Deadline(); ok {
		d.may = append(d.may, time.Until(at))
	}
	return nil, errors.New("no connection")
}

// TestBoundsOfReplicas holds what a replica may cost, which may be a pod of another client: the
// time of an answer, its size, and how many are read at the same time.
func TestBoundsOfReplicas(t *testing.T) {
	d := &deadlines{}
	all := func(context.Context) ([]Replica, error) {
		return []Replica{{Name: "a", Metrics: "http://a.test/", Certificate: "http://a.test/"}}, nil
	}
	r := &Router{HTTP: &http.Client{Transport: d}, Replicas: all, Starting: all}
	_, observed := r.Observe(t.Context())
	_, certified := r.Certificates(t.Context())
	if err := errors.Join(observed, certified); err != nil || len(d.may) != 2 {
		t.Fatalf("%v, %v", err, d.may)
	}
	for _, may := range d.may {
		if may <= 0 || may > 2*time.Second {
			t.Errorf("an answer may take %s", may)
		}
	}

	usual := "# TYPE " + statusMetric + " gauge\n" + statusMetric + `{proxy="instances",server="blue",state="UP"} 1` + "\n" + statusMetric + `{proxy="last-resort",server="blue",state="UP"} 1` + "\n" +
		"# TYPE " + weightMetric + " gauge\n" + weightMetric + `{proxy="instances",server="blue"} 7` + "\n" + weightMetric + `{proxy="last-resort",server="blue"} 100` + "\n"
	var before atomic.Int32 // MiB of other metrics
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		line := []byte("haproxy_process_uptime_seconds 111111111111111111111111111111111\n")
		for range int(before.Load()) << 20 / len(line) {
			_, _ = w.Write(line)
		}
		_, _ = fmt.Fprint(w, usual)
	}))
	defer s.Close()
	for mib, read := range map[int32]bool{0: true, 7: true, 8: false} {
		before.Store(mib)
		var got map[string]route.Observed
		text, err := scrape(t.Context(), &http.Client{}, s.URL)
		if err == nil {
			got, err = parse(text)
		}
		if _, found := got["blue"]; err == nil && found != read || err != nil && read {
			t.Errorf("behind %d MiB of other metrics: %v, %v", mib, got, err)
		}
	}
	before.Store(0)
	r = &Router{Replicas: func(context.Context) ([]Replica, error) {
		return slices.Repeat([]Replica{{Name: "a", Metrics: s.URL}}, maxReplicas), nil
	}}
	if o, err := r.Observe(t.Context()); err != nil || len(o.Replicas) != maxReplicas || o.Replicas[maxReplicas-1].Servers["blue"].Weight != 7 {
		t.Errorf("%+v, %v", o, err)
	}
}

// TestReplicasThatHang holds that they take no longer together than one of them: other proxies
// wait for their turn meanwhile.
func TestReplicasThatHang(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // which accepts nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	url := "http://" + listener.Addr().String()
	all := func(context.Context) ([]Replica, error) {
		return slices.Repeat([]Replica{{Name: "a", Metrics: url, Certificate: url}}, maxReplicas), nil
	}
	r := &Router{Replicas: all, Starting: all}
	began := time.Now()
	o, observed := r.Observe(t.Context())
	certificates, certified := r.Certificates(t.Context())
	if took := time.Since(began); took > 2*observeTimeout+2*time.Second {
		t.Errorf("%d replicas took %s", maxReplicas, took)
	}
	if err := errors.Join(observed, certified); err != nil || o.Replicas[maxReplicas-1].Problem == "" || certificates[maxReplicas-1].Unreachable == "" {
		t.Errorf("%+v, %+v, %v", o, certificates, err)
	}
}

// TestReplicaThatIsAnotherPod holds that one which sends the manager elsewhere gains nothing:
// no redirect is followed, and nothing that was sent is in what users read.
func TestReplicaThatIsAnotherPod(t *testing.T) {
	var asked atomic.Int32
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer internal.Close()
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/banner" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "SSH-2.0-secret\r\n\r\n")
				_ = conn.Close()
			}
			return
		}
		http.Redirect(w, r, internal.URL, http.StatusFound)
	}))
	defer pod.Close()
	for _, path := range []string{"/", "/banner"} {
		all := func(context.Context) ([]Replica, error) {
			return []Replica{{Name: "a", Metrics: pod.URL + path, Certificate: pod.URL + path}}, nil
		}
		r := &Router{Replicas: all, Starting: all}
		o, observed := r.Observe(t.Context())
		certificates, certified := r.Certificates(t.Context())
		if err := errors.Join(observed, certified); err != nil {
			t.Fatal(err)
		}
		for _, problem := range []string{o.Replicas[0].Problem, certificates[0].Unreachable} {
			if problem == "" || strings.Contains(problem, "secret") {
				t.Errorf("%s: reported as %q", path, problem)
			}
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("another server was asked %d times", n)
	}
}

// parseExporter reads the text of an exporter.
func parseExporter(text io.Reader) (map[string]route.Observed, error) {
	text, err := selected(text)
	if err != nil {
		return nil, err
	}
	return parse(text)
}
