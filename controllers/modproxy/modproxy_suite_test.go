package modproxy

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/probe"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/kube/route"
	"gocache.dev/operator/internal/kube/route/backend"
	"gocache.dev/operator/internal/kube/route/direct"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/prober"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/faults"
	"gocache.dev/operator/internal/testing/requests"
)

var server *env.Env

func TestMain(m *testing.M) {
	os.Exit(env.Main(m, func(e *env.Env) { server = e }))
}

// interval of the probes, by the API's default.
const interval = 10 * time.Second

// instance is what the test plays in place of a GOPROXY server, and of the
// agent beside its store.
type instance struct {
	down, unready, wrong bool
	// full: its store has no room.
	full bool
	// moved are the versions that it has found moved.
	moved []probe.MovedVersion
	// broken: it answers 500 to every module.
	broken bool
	// noDatabase: the checksum database is not reached through it; ownWay: it
	// reports that it does not proxy it.
	noDatabase, ownWay bool
	// sample is what its store names; fetches counts the requests that would have
	// made it fetch what it does not have.
	sample  []probe.Sampled
	fetches int
	// databaseAsked counts the pages of the database.
	databaseAsked int
	// rotten is what a check of the store would find.
	rotten bool
	// vague: its check is inconclusive.
	vague bool
	// began is when the last check did, checks how many there were, and
	// unhurried how the last was asked for.
	began     time.Time
	checks    int
	unhurried bool
	verdict   *integrity.Verdict
	// volume that it runs on, where volumes are played; stillWrong: also a new
	// one holds corrupt content.
	volume     string
	stillWrong bool
	// token that its agent has mounted.
	token func() string
	// withdrawn: the next check removes something.
	withdrawn bool
	// contained: what is rotten is not served.
	contained bool
}

// check is made in no time.
func (i *instance) check(now time.Time) {
	i.began, i.checks = now, i.checks+1
	switch {
	case i.rotten:
		i.verdict = &integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Corrupt: 1, Contained: i.contained, Message: "1 corrupt: Corrupt 1", Examples: []integrity.Example{
			{Class: integrity.Corrupt, Severity: "corrupt", Path: "example.com/c/@v/v1.0.0.zip", Detail: "contents differ"},
		}}
	case i.withdrawn:
		i.withdrawn = false
		i.verdict = &integrity.Verdict{Verdict: integrity.Intact, Digest: "sha256:aa", Counts: integrity.Counts{Modules: 2}, Withdrawn: 1, Message: "withdrew 1",
			WithdrawnExamples: []integrity.Example{{Class: integrity.ChecksumMismatch, Severity: "corrupt", Path: "example.com/c/@v/v1.0.0.zip", Detail: "contents are h1:evil but trust data says h1:good"}}}
	case i.vague:
		i.verdict = &integrity.Verdict{Verdict: integrity.Inconclusive, Message: "cannot read"}
	default:
		i.verdict = &integrity.Verdict{Verdict: integrity.Intact, Digest: "sha256:aa", Counts: integrity.Counts{Modules: 3}}
	}
}

// serveAgent answers for the agent.
func (i *instance) serveAgent(w http.ResponseWriter, req *http.Request, now time.Time) {
	switch req.Method + " " + req.URL.Path {
	case "GET /readyz":
		if i.unready {
			http.Error(w, "the disk is full", http.StatusServiceUnavailable)
		}
	case "GET /report":
		_ = json.NewEncoder(w).Encode(probe.StoreReport{Verdict: i.verdict, Began: now.Sub(i.began), Ended: now.Sub(i.began), Sample: i.sample})
	case "POST /check":
		if token := i.token(); token == "" || req.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		i.unhurried = req.URL.Query().Get(probe.UnhurriedParameter) != "false"
		i.check(now)
	default:
		http.NotFound(w, req)
	}
}

// world is a namespace with the ModProxy goproxy, its reconciler, and the test
// in the part of the instances, of the router's replicas, and of time.
type world struct {
	t          *testing.T
	namespace  string
	now        time.Time
	requests   *requests.Requests
	reconciler *Reconciler
	mortal     *faults.Mortal // counts the writes, and may die
	events     *events.FakeRecorder
	last       ctrl.Result

	blue, green *instance
	// addresses of the instances' Services, as far as they were used.
	mu        sync.Mutex
	addresses map[string]*instance
	// stuck keeps the router's replicas from following.
	stuck bool
	// unready keeps the router's pods from being ready.
	unready  bool
	observed map[string]route.Observed
	// certificates are what the router's replicas report of theirs.
	certificates []route.Certificate
	// unasked is why the replicas cannot be asked for them; nil: they can.
	unasked error
	// cluster plays volumes, Jobs and StatefulSets; nil: they are not played.
	cluster *cluster.Cluster
	// onDeath is what happens when the process dies.
	onDeath func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, namespace: server.Namespace(t), events: events.NewFakeRecorder(1000),
		now:  time.Now().Truncate(time.Second).Add(123456789), // what is stored has whole seconds only
		blue: &instance{}, green: &instance{}, addresses: map[string]*instance{},
	}
	for _, i := range []*instance{w.blue, w.green} {
		i.token = w.token
		i.check(w.now)
	}
	w.requests = &requests.Requests{
		Client: server.Client, Namespace: w.namespace, Now: func() time.Time { return w.now },
		Target: v1alpha1.RequestTarget{Kind: v1alpha1.ModProxyKind, Name: "goproxy"},
	}
	w.restart(faults.Point{})
	return w
}

// token is what the Secret of the agents holds.
func (w *world) token() string {
	var secret corev1.Secret
	if err := server.Client.Get(context.Background(), client.ObjectKey{Namespace: w.namespace, Name: "goproxy-agent"}, &secret); err != nil {
		return ""
	}
	return string(secret.Data["token"])
}

// restart begins a process that remembers nothing and dies at a point.
func (w *world) restart(point faults.Point) {
	w.mortal = &faults.Mortal{Point: point}
	c := w.mortal.Client(server.Client)
	clock := func() time.Time { return w.now }
	network := &http.Client{Transport: w}
	w.reconciler = &Reconciler{
		Client: c, Live: c, Events: w.events, Clock: clock, HTTP: network, prober: prober.New(clock, network),
		ManagerNamespace: managerNamespace,
		Images:           images.Images{Operator: "operator:test", Toolchain: "go:{version}", HAProxy: "haproxy:test"},
	}
	w.reconciler.Router = func(p *v1alpha1.ModProxy, instances []route.Instance, withheld bool) *backend.Router {
		b := w.reconciler.backend(p, instances, withheld)
		if real, ok := b.Router.(*haproxy.Router); ok {
			b.Router = played{real, w}
		}
		return b
	}
}

// RoundTrip is the network: the address of an instance's Service leads to it.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	i := w.at(req.URL.Hostname())
	if i == nil || i.down {
		return nil, errors.New("connection refused")
	}
	answer := httptest.NewRecorder()
	switch req.URL.Port() {
	case strconv.Itoa(pass.AgentPort):
		i.serveAgent(answer, req, w.now)
	case strconv.Itoa(pass.MetricsPort):
		i.servePages(answer, req)
	default:
		i.serve(answer, req)
	}
	return answer.Result(), nil
}

func (w *world) at(ip string) *instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, known := w.addresses[ip]; known {
		return i
	}
	var services corev1.ServiceList
	if err := server.Client.List(context.Background(), &services, client.InNamespace(w.namespace)); err != nil {
		return nil
	}
	for _, s := range services.Items {
		w.addresses[s.Spec.ClusterIP] = map[string]*instance{"goproxy-blue": w.blue, "goproxy-green": w.green}[s.Name]
	}
	return w.addresses[ip]
}

// testModule is the module that the instances are probed for.
var testModule = func() (c struct {
	v1alpha1.ReferenceModule
	zip, wrong []byte
}) {
	c.Module, c.Version = "example.com/c", "v1.0.0"
	pack := func(source string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for name, text := range map[string]string{"go.mod": "module example.com/c\n", "c.go": source} {
			f, err := z.Create("example.com/c@v1.0.0/" + name)
			if err == nil {
				_, err = f.Write([]byte(text))
			}
			if err != nil {
				panic(err)
			}
		}
		if err := z.Close(); err != nil {
			panic(err)
		}
		return b.Bytes()
	}
	c.zip, c.wrong = pack("package c\n"), pack("package c // evil\n")
	var err error
	if c.Sum, err = goproxy.SumZip(bytes.NewReader(c.zip), int64(len(c.zip)), 1<<20); err != nil {
		panic(err)
	}
	return c
}()

// servePages is the port that clients do not reach.
func (i *instance) servePages(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/metrics":
		_, _ = fmt.Fprintf(w, "# TYPE gocache_proxy_checksum_database gauge\ngocache_proxy_checksum_database{name=\"db.test\"} 1\n"+
			"# TYPE gocache_proxy_store_full gauge\ngocache_proxy_store_full %d\n"+
			"# TYPE gocache_proxy_moved_versions gauge\ngocache_proxy_moved_versions %d\n", map[bool]int{true: 1}[i.full], len(i.moved))
	case "/moved":
		_ = json.NewEncoder(w).Encode(i.moved)
	default:
		http.NotFound(w, req)
	}
}

func (i *instance) serve(w http.ResponseWriter, req *http.Request) {
	answer := func(b []byte) { _, _ = w.Write(b) }
	if strings.HasPrefix(req.URL.Path, "/example.com/") && req.Header.Get("Disable-Module-Fetch") == "" {
		i.fetches++
	}
	switch path := req.URL.Path; {
	case path == "/readyz" && i.unready:
		http.Error(w, "the disk is full", http.StatusServiceUnavailable)
	case path == "/readyz":
		answer([]byte("ok"))
	case path == "/sumdb/db.test/supported" && !i.ownWay:
	case path == "/sumdb/db.test/latest" && i.noDatabase:
		i.databaseAsked++
		http.Error(w, "the database does not answer", http.StatusBadGateway)
	case path == "/sumdb/db.test/latest" && !i.ownWay:
		i.databaseAsked++
		answer(tlog.FormatTree(tlog.Tree{N: 7}))
	case i.broken:
		http.Error(w, "oh", http.StatusInternalServerError)
	case strings.HasSuffix(path, ".info"):
		answer([]byte(`{"Version":"v1.0.0"}`))
	case strings.HasSuffix(path, ".mod"):
		answer([]byte("module example.com/c\n"))
	case strings.HasSuffix(path, ".zip") && i.wrong:
		answer(testModule.wrong)
	case strings.HasSuffix(path, ".zip"):
		answer(testModule.zip)
	default:
		http.NotFound(w, req)
	}
}

// played publishes as HAProxy's router does; the test plays its two replicas.
type played struct {
	*haproxy.Router
	w *world
}

// Certificates of the two replicas.
func (p played) Certificates(context.Context) ([]route.Certificate, error) {
	if p.w.unasked != nil {
		return nil, p.w.unasked
	}
	return p.w.certificates, nil
}

// Observe reads back what was published last, unless the replicas are stuck.
func (p played) Observe(ctx context.Context) (route.Observation, error) {
	var d appsv1.Deployment
	if err := server.Client.Get(ctx, client.ObjectKey{Namespace: p.w.namespace, Name: haproxy.RouterName("goproxy")}, &d); err != nil || d.Status.ReadyReplicas == 0 {
		return route.Observation{}, client.IgnoreNotFound(err)
	}
	published, ok, err := p.Publisher.Current(ctx)
	if err != nil {
		return route.Observation{}, err
	}
	if ok && !p.w.stuck {
		p.w.observed = map[string]route.Observed{}
		for name, s := range published.Servers {
			p.w.observed[name] = route.Observed{State: route.State(s.State), Weight: s.Weight, Healthy: true}
		}
	}
	return route.Observation{Replicas: []route.Replica{
		{Name: "router-0", Servers: p.w.observed}, {Name: "router-1", Servers: p.w.observed},
	}}, nil
}

// proxy makes the ModProxy goproxy with the instances blue and green.
func (w *world) proxy(change ...func(*v1alpha1.ModProxySpec)) {
	w.t.Helper()
	p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "goproxy"}}
	for _, name := range []string{"blue", "green"} {
		p.Spec.Instances = append(p.Spec.Instances, v1alpha1.ProxyInstance{Name: name, Storage: &v1alpha1.InstanceStorage{Size: resource.MustParse("1Gi")}})
	}
	p.Spec.Probes.ReferenceModules = []v1alpha1.ReferenceModule{testModule.ReferenceModule}
	for _, f := range change {
		f(&p.Spec)
	}
	w.must(server.Client.Create(w.t.Context(), p))
}

// serving makes a proxy that serves from both instances.
func (w *world) serving(change ...func(*v1alpha1.ModProxySpec)) {
	w.t.Helper()
	w.proxy(change...)
	w.settle()
	w.tick(2)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue and green serve")
	w.recorded()
}

func (w *world) get() *v1alpha1.ModProxy {
	w.t.Helper()
	var p v1alpha1.ModProxy
	w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "goproxy"}, &p))
	return &p
}

// edit changes the ModProxy as its user does.
func (w *world) edit(change func(*v1alpha1.ModProxy)) {
	w.t.Helper()
	p := w.get()
	change(p)
	w.must(server.Client.Update(w.t.Context(), p))
}

// request creates a CacheRequest for the ModProxy, and lets it be taken up.
func (w *world) request(name string, action v1alpha1.RequestAction, argument ...string) {
	w.t.Helper()
	w.requests.Create(w.t, name, action, argument...)
	w.settle()
}

// answered checks the outcome of a request.
func (w *world) answered(name string, outcome v1alpha1.RequestOutcome, message string) {
	w.t.Helper()
	w.requests.Answered(w.t, name, outcome, message)
}

func (w *world) pass() (err error) {
	w.last, err = w.reconciler.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: w.key()})
	return err
}

func (w *world) key() types.NamespacedName {
	return types.NamespacedName{Namespace: w.namespace, Name: "goproxy"}
}

// settle makes passes until none writes any more. A process that was killed is
// followed by a fresh one.
func (w *world) settle() {
	w.t.Helper()
	for range 60 {
		wrote := len(w.mortal.Writes)
		err := w.pass()
		died := errors.Is(err, faults.ErrDead)
		if died {
			w.restart(faults.Point{})
			if w.onDeath != nil {
				w.onDeath()
			}
		} else {
			w.must(err)
		}
		followed, err := w.requests.Step(w.t.Context())
		w.must(err)
		if !w.play() && !w.roll() && !followed && !died && len(w.mortal.Writes) == wrote {
			return
		}
	}
	w.t.Fatalf("no end after the writes %q: %+v", w.mortal.Writes, w.get().Status)
}

// roll plays the Deployment controller: all replicas are there and ready.
func (w *world) roll() (acted bool) {
	w.t.Helper()
	var d appsv1.Deployment
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: haproxy.RouterName("goproxy")}, &d)
	if apierrors.IsNotFound(err) || w.unready {
		return false
	}
	w.must(err)
	n := *d.Spec.Replicas
	want := appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
	if d.Status.ObservedGeneration == d.Generation && d.Status.ReadyReplicas == n {
		return false
	}
	d.Status = want
	w.must(server.Client.Status().Update(w.t.Context(), &d))
	return true
}

// tick lets time pass by intervals, with a round of probes at the end of each.
func (w *world) tick(n int) {
	w.t.Helper()
	for range n {
		w.now = w.now.Add(interval)
		w.probe()
		w.settle()
	}
}

// probe makes the probes of all instances once.
func (w *world) probe() {
	w.t.Helper()
	w.reconciler.prober.Round(w.t.Context(), w.key())
}

// weights are what is desired and observed of both instances, in short.
func (w *world) weights(blue, green int32) {
	w.t.Helper()
	got := w.get().Status.Instances
	ok := len(got) == 2
	for i, want := range []int32{blue, green} {
		ok = ok && got[i].DesiredWeight == want && got[i].ObservedWeight == want
	}
	if !ok {
		w.t.Errorf("weights desired and observed %s, want %d and %d", brief(got), blue, green)
	}
}

func brief(all []v1alpha1.InstanceStatus) string {
	var text []string
	for _, i := range all {
		text = append(text, fmt.Sprintf("%s %d/%d", i.Name, i.DesiredWeight, i.ObservedWeight))
	}
	return strings.Join(text, ", ")
}

// published is the state of an instance in the router.
func (w *world) published(instance string) string {
	w.t.Helper()
	if w.get().Spec.Router.Type == v1alpha1.RouterService {
		intent, _ := direct.Intent(w.routerService())
		return string(intent.Servers[instance].State)
	}
	router := w.reconciler.backend(w.get(), nil, false).Router.(*haproxy.Router)
	all, ok, err := router.Publisher.Current(w.t.Context())
	w.must(err)
	if !ok {
		return ""
	}
	return string(all.Servers[instance].State)
}

// quarantined reports whether an instance is quarantined, in status and router.
func (w *world) quarantined(name string) bool {
	w.t.Helper()
	inStatus := pass.Instance(w.get(), name).Quarantined != nil
	if down := w.published(name) == string(route.Down); down != inStatus {
		w.t.Errorf("%s: quarantined in the status: %v, down in the router: %v", name, inStatus, down)
	}
	return inStatus
}

// recorded are the events since it was called last.
func (w *world) recorded() string {
	var all []string
	for {
		select {
		case e := <-w.events.Events:
			all = append(all, e)
		default:
			return strings.Join(all, "\n")
		}
	}
}

// condition is checked for status, reason and a part of its message; no status
// means that it must be absent.
func (w *world) condition(kind string, status metav1.ConditionStatus, reason, message string) {
	w.t.Helper()
	c := meta.FindStatusCondition(w.get().Status.Conditions, kind)
	switch {
	case c == nil && status == "":
	case c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, message):
		w.t.Errorf("condition %s is %+v, want %s, %s, %q", kind, c, status, reason, message)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// exists reports whether an object exists and is not being deleted.
func (w *world) exists(o client.Object, name string) bool {
	w.t.Helper()
	err := server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, o)
	if err != nil && !apierrors.IsNotFound(err) {
		w.t.Fatal(err)
	}
	return err == nil && o.GetDeletionTimestamp().IsZero()
}
