package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/loopback"
)

const (
	snapshots = 5 // of each cache

	// quietTime without a pass means that there is nothing to do.
	quietTime = 20 * time.Second

	minPasses = 50 // a second of processor time
	maxStart  = 2 * time.Minute

	// scrapeInterval is how often a manager is scraped while it works, as by a Prometheus.
	scrapeInterval = 30 * time.Second
)

// scaleVariable is how many times larger than by default the fleet is.
const scaleVariable = "FLEET_SCALE"

// How large the fleet is, and the memory it may take. A manager with more than the
// default one gets more memory than by default, too.
var (
	scale       = 1
	namespaces  = 50
	caches      = 1000
	maxMemory   = int64(150 << 20)
	memoryLimit = int64(256 << 20) // of the manager's pod
	goMemory    = "200MiB"
)

// grow sets them after the environment.
func grow() error {
	text := os.Getenv(scaleVariable)
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 10 {
		return fmt.Errorf("%s=%s: must be a number from 1 to 10", scaleVariable, text)
	}
	scale, namespaces, caches = n, n*namespaces, n*caches
	if scale > 1 {
		maxMemory, memoryLimit, goMemory = 512<<20, 512<<20, "440MiB"
		// Of kube-apiserver, which would take 20 GiB with what is set for small tests.
		return errors.Join(os.Setenv("GOGC", "200"), os.Setenv("GOMEMLIMIT", "12GiB"))
	}
	return nil
}

var server *env.Env

func TestMain(m *testing.M) {
	if err := grow(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(env.Main(m, func(e *env.Env) { server = e }, env.WatchCache))
}

// TestFleet prints a line for each figure: name, value, limit.
func TestFleet(t *testing.T) {
	f := &fleet{T: t, dir: t.TempDir()}
	for range namespaces {
		c := &cluster.Cluster{Client: server.Client, Namespace: server.Namespace(t), Now: time.Now, Job: ending}
		f.namespaces, f.clusters = append(f.namespaces, c.Namespace), append(f.clusters, c)
	}
	f.build()

	m := f.start()
	f.must(server.Client.Create(t.Context(), f.cache(0)))
	f.must(server.Client.Create(t.Context(), f.snapshot(0, 0)))
	f.until("the pattern to be verified", func() bool {
		s := f.snapshot(0, 0)
		f.must(server.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s))
		return meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ReadyCondition) && s.Status.Verification.Verdict == v1alpha1.VerdictIntact
	})
	f.quiet(m)
	m.stop()
	f.copies()
	f.clusters = nil // there is nothing left to do, and it would ask the API server for all
	if scale > 1 {
		f.foreign()
	}

	m = f.start()
	f.until("all to be seen", func() bool { return m.figures().passes >= float64(caches*(snapshots+1)) })
	f.quiet(m)
	m.stop()
	f.rested()

	before := f.written()
	began := time.Now()
	m = f.start()
	f.until("all to be seen again", func() bool { return m.figures().passes >= float64(caches*(snapshots+1)) })
	started := time.Since(began)
	f.quiet(m)
	is, after := m.settled()
	perSecond := is.passes / is.processor.Seconds()
	line(fmt.Sprintf("%d GoCaches, %d CacheSnapshots: resident memory", caches, caches*snapshots), fmt.Sprintf("%d MiB", is.resident>>20),
		fmt.Sprintf("limit %d MiB; %s after its last pass; at most %d MiB while it started", maxMemory>>20, after.Round(time.Second), is.peak>>20))
	line("passes that found nothing to do", fmt.Sprintf("%.0f/s", perSecond), fmt.Sprintf("per second of processor time, start included; limit %d; %.0f in %s", minPasses, is.passes, is.processor.Round(10*time.Millisecond)))
	line("API writes of a manager that found nothing to do", fmt.Sprint(is.writes), "limit 0")
	scraped := m.scrapeAlone()
	m.stop()
	line("from the start of the manager until all objects were seen", started.Round(time.Second).String(), fmt.Sprintf("limit %s", maxStart))
	newcomer := f.newcomer()
	line("PVC of a new cache, in a namespace of its own, as a manager starts", newcomer.Round(time.Second).String(), fmt.Sprintf("limit %s", maxStart))
	if started > maxStart || newcomer > maxStart {
		t.Errorf("all were seen after %s, and a new cache had its PVC after %s; limit %s", started, newcomer, maxStart)
	}
	if is.resident > maxMemory || scraped > memoryLimit {
		t.Errorf("it holds %d MiB, limit %d; and %d during a scrape, limit %d", is.resident>>20, maxMemory>>20, scraped>>20, memoryLimit>>20)
	}
	if is.writes != 0 {
		after := f.written()
		for what, n := range after {
			if after[what] = n - before[what]; after[what] == 0 {
				delete(after, what)
			}
		}
		t.Errorf("it wrote %.0f times: %v", is.writes, after)
	}
	if perSecond < minPasses {
		t.Errorf("%.1f passes per second of processor time, limit %d", perSecond, minPasses)
	}
}

// newcomer starts a manager, and creates a cache in a namespace of its own meanwhile. It
// returns how long that waited for its PVC: the others do not make it wait for its turn.
func (f *fleet) newcomer() time.Duration {
	f.Helper()
	m := f.start()
	defer m.stop()
	c := f.cache(0)
	c.Namespace, c.Name = server.Namespace(f.T), "newcomer"
	f.must(server.Client.Create(f.Context(), c))
	began := time.Now()
	f.until("the PVC of the new cache", func() bool {
		err := server.Client.Get(f.Context(), client.ObjectKeyFromObject(c), &corev1.PersistentVolumeClaim{})
		f.must(client.IgnoreNotFound(err))
		return err == nil
	})
	return time.Since(began)
}

func line(name, value, against string) { fmt.Printf("perf: %-52s %14s   %s\n", name, value, against) }

// ending is how each Job ends: the warm-up of a cache, or the check of a
// snapshot, and all is well.
func ending(job *batchv1.Job) *cluster.Ending {
	var report any = integrity.Verdict{Verdict: integrity.Intact, Digest: "sha256:" + strings.Repeat("ab", 32), Counts: integrity.Counts{Modules: 400, Zips: 400, BuildEntries: 25000}}
	if strings.HasSuffix(job.Name, "-"+naming.Writer) {
		report = warmup.Report{Outcome: warmup.Succeeded, GoVersion: "go1.26.8 linux/amd64", Modules: 400, BuildEntries: 25000, UsedBytes: 1 << 30, CapacityBytes: 10 << 30}
	}
	text, err := json.Marshal(report)
	if err != nil {
		panic(err)
	}
	return &cluster.Ending{Message: string(text)}
}

type fleet struct {
	*testing.T
	dir        string
	namespaces []string
	clusters   []*cluster.Cluster // none: no controller acts
}

func (f *fleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// until lets the cluster act until something holds.
func (f *fleet) until(what string, holds func() bool) {
	f.Helper()
	for deadline := time.Now().Add(time.Duration(scale) * 15 * time.Minute); !holds(); {
		if time.Now().After(deadline) {
			f.Fatalf("waited too long for %s", what)
		}
		acted := false
		for _, c := range f.clusters {
			did, err := c.Step(f.Context())
			f.must(err)
			acted = acted || did
		}
		if !acted {
			time.Sleep(200 * time.Millisecond)
		}
	}
}

// quiet waits until the manager has made no pass for a while.
func (f *fleet) quiet(m *manager) {
	f.Helper()
	last, since := float64(-1), time.Now()
	f.until("the manager to have nothing to do", func() bool {
		if n := m.figures().passes; n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > quietTime
	})
}

func cacheName(i int) string { return fmt.Sprintf("cache-%05d", i) }

func (f *fleet) cache(i int) *v1alpha1.GoCache {
	c := &v1alpha1.GoCache{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespaces[i%namespaces], Name: cacheName(i)},
		Spec:       v1alpha1.GoCacheSpec{Toolchain: v1alpha1.Toolchain{Version: "1.26.8"}},
	}
	c.Spec.Storage.Size = resource.MustParse("10Gi")
	return c
}

func (f *fleet) snapshot(cache, i int) *v1alpha1.CacheSnapshot {
	return &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespaces[cache%namespaces], Name: fmt.Sprintf("%s-%d", cacheName(cache), i)},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: cacheName(cache)}},
	}
}

// rested holds that what is measured is what was meant: caches with PVCs, and
// snapshots with a verdict.
func (f *fleet) rested() {
	f.Helper()
	var all v1alpha1.CacheSnapshotList
	f.must(server.Client.List(f.Context(), &all))
	ready := 0
	for i := range all.Items {
		if meta.IsStatusConditionTrue(all.Items[i].Status.Conditions, v1alpha1.ReadyCondition) {
			ready++
		}
	}
	var list v1alpha1.GoCacheList
	f.must(server.Client.List(f.Context(), &list))
	bound := 0
	for i := range list.Items {
		if meta.IsStatusConditionTrue(list.Items[i].Status.Conditions, v1alpha1.PVCBoundCondition) && list.Items[i].Status.LatestVerifiedSnapshot != "" {
			bound++
		}
	}
	const own = 1 // the first cache has made one after its warm-up
	if ready != caches*snapshots+own || bound != caches {
		f.Fatalf("%d CacheSnapshots are ready and %d GoCaches have a claim and a verified snapshot, want %d and %d", ready, bound, caches*snapshots+own, caches)
	}
}

func (f *fleet) build() {
	f.Helper()
	cmd := exec.CommandContext(f.Context(), "go", "build", "-ldflags", "-s -w", "-o", filepath.Join(f.dir, "manager"), ".") //nolint:gosec // the program under test
	cmd.Dir, cmd.Env = env.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		f.Fatalf("build the manager: %v\n%s", err, out)
	}
	f.must(clientcmd.WriteToFile(kubeconfig(server.Config), filepath.Join(f.dir, "kubeconfig")))
}

func kubeconfig(cfg *rest.Config) clientcmdapi.Config {
	return clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"test": {Server: cfg.Host, CertificateAuthorityData: cfg.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"test": {ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "test"}},
		CurrentContext: "test",
	}
}

// manager is a running one.
type manager struct {
	*fleet
	cmd     *exec.Cmd
	metrics string
	log     *bytes.Buffer
	scraped time.Time
}

// start starts a manager with an empty cache, and with more flags.
func (f *fleet) start(flags ...string) *manager {
	f.Helper()
	m := &manager{fleet: f, metrics: loopback.Address(f.T), log: &bytes.Buffer{}}
	flags = append(flags, "--kubeconfig", filepath.Join(f.dir, "kubeconfig"), "--operator-image", "operator:test", "--metrics-secure=false",
		"--metrics-bind-address", m.metrics, "--health-probe-bind-address", loopback.Address(f.T))
	m.cmd = exec.CommandContext(context.WithoutCancel(f.Context()), filepath.Join(f.dir, "manager"), flags...) //nolint:gosec // the program under test
	m.cmd.Env = append(os.Environ(), "GOMEMLIMIT="+goMemory, "GOGC=100")
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	f.must(m.cmd.Start())
	f.Cleanup(func() {
		if m.cmd.ProcessState == nil {
			_ = m.cmd.Process.Kill()
			_ = m.cmd.Wait()
		}
		if f.Failed() {
			f.Logf("the manager said:\n%s", m.log.Bytes()[max(0, m.log.Len()-4<<10):])
		}
	})
	f.until("the manager to answer", func() bool {
		_, err := m.read()
		return err == nil
	})
	return m
}

func (m *manager) stop() {
	m.Helper()
	m.must(m.cmd.Process.Signal(syscall.SIGTERM))
	m.must(m.cmd.Wait())
}

// settled waits until what the start took is given back: Go looks for that
// every two minutes, when nothing else is done.
func (m *manager) settled() (is figures, after time.Duration) {
	m.Helper()
	began := time.Now()
	for is = m.figures(); is.resident > maxMemory && time.Since(began) < 6*time.Minute; is = m.figures() {
		time.Sleep(5 * time.Second)
	}
	return is, time.Since(began) + quietTime
}

// scrapeAlone returns the most memory that a manager has during a scrape, which it prints.
func (m *manager) scrapeAlone() int64 {
	m.Helper()
	const resetPeak = "5"
	m.must(os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", m.cmd.Process.Pid), []byte(resetPeak), 0))
	before, err := m.read()
	m.must(err)
	began := time.Now()
	series, size := m.scrape()
	took := time.Since(began)
	after, err := m.read()
	m.must(err)
	line("a scrape", fmt.Sprintf("%d MiB", after.peak>>20), fmt.Sprintf("resident at most, limit %d MiB; %d series, %.1f MB of text, %s, %s of processor time",
		memoryLimit>>20, series, float64(size)/1e6, took.Round(10*time.Millisecond), (after.processor-before.processor).Round(10*time.Millisecond)))
	return after.peak
}

// figures of a manager since its start.
type figures struct {
	passes, writes float64
	resident, peak int64
	processor      time.Duration
}

// figures returns those of now. It also scrapes the manager when that is due.
func (m *manager) figures() figures {
	m.Helper()
	if time.Since(m.scraped) > scrapeInterval {
		m.scrape()
		m.scraped = time.Now()
	}
	f, err := m.read()
	m.must(err)
	return f
}

// written counts what the API server was asked to write, by verb and resource.
func (f *fleet) written() map[string]float64 {
	f.Helper()
	c, err := kubernetes.NewForConfig(server.Config)
	f.must(err)
	text, err := c.RESTClient().Get().AbsPath("/metrics").DoRaw(f.Context())
	f.must(err)
	families, err := parse(bytes.NewReader(text))
	f.must(err)
	n := map[string]float64{}
	for _, request := range families["apiserver_request_total"].GetMetric() {
		of := map[string]string{}
		for _, label := range request.GetLabel() {
			of[label.GetName()] = label.GetValue()
		}
		switch of["verb"] {
		case "GET", "LIST", "WATCH", "CONNECT":
		default:
			n[strings.TrimSuffix(of["verb"]+" "+of["resource"]+"/"+of["subresource"], "/")] += request.GetCounter().GetValue()
		}
	}
	return n
}

func parse(metrics io.Reader) (map[string]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(metrics)
}

// get requests the metrics with some names, or all.
func (m *manager) get(names ...string) (*http.Response, error) {
	return http.Get("http://" + m.metrics + "/metrics?" + url.Values{"name[]": names}.Encode()) //nolint:noctx // on this machine
}

// scrape reads all metrics, and counts their series and bytes.
func (m *manager) scrape() (series, size int) {
	m.Helper()
	res, err := m.get()
	m.must(err)
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		size += len(lines.Bytes()) + len("\n")
		if !bytes.HasPrefix(lines.Bytes(), []byte("#")) {
			series++
		}
	}
	m.must(lines.Err())
	return series, size
}

// Of what a manager exports, figures reads these alone: the series of all objects would take
// seconds of a large fleet's processor time.
const (
	passesTotal   = "controller_runtime_reconcile_total"
	requestsTotal = "rest_client_requests_total"
	processorTime = "process_cpu_seconds_total"
)

func (m *manager) read() (f figures, err error) {
	res, err := m.get(passesTotal, requestsTotal, processorTime)
	if err != nil {
		return f, err
	}
	defer func() { _ = res.Body.Close() }()
	families, err := parse(res.Body)
	if err != nil {
		return f, err
	}
	for _, pass := range families[passesTotal].GetMetric() {
		f.passes += pass.GetCounter().GetValue()
	}
	for _, request := range families[requestsTotal].GetMetric() {
		for _, label := range request.GetLabel() {
			if label.GetName() == "method" && label.GetValue() != http.MethodGet {
				f.writes += request.GetCounter().GetValue()
			}
		}
	}
	for _, cpu := range families[processorTime].GetMetric() {
		f.processor += time.Duration(cpu.GetCounter().GetValue() * float64(time.Second))
	}
	f.resident, f.peak, err = memory(m.cmd.Process.Pid)
	return f, err
}

// memory of a process, now and at most.
func memory(pid int) (resident, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			resident = n << 10
		case "VmHWM":
			peak = n << 10
		}
	}
	if resident == 0 {
		return 0, 0, errors.New("the kernel does not say how much memory it holds")
	}
	return resident, peak, nil
}
