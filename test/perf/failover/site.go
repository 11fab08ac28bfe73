package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/goproxy"
	"gocache.dev/operator/test/scenario"
)

const (
	namespace    = "failover"
	proxyName    = "goproxy"
	plainName    = "plain"
	bad          = "blue" // the instance that is hit
	good         = "green"
	faultyImage  = "gocache.dev/faulty:dev"
	upstreamPort = "18490"
	controlPort  = "18081"
)

// site is a proxy of two instances on a cluster, and the clients' workspace.
type site struct {
	options
	*scenario.Cluster
	n         *scenario.Narrator
	upstream  *upstream
	workspace *workspace
	tmp       string
	http      *http.Client
	reading   chan error // gets how the slow archive arrived
	began     time.Time  // when the check of both stores was requested
	// goproxy values of the client groups.
	published, single, plain, list string
}

func newSite(ctx context.Context, o options, n *scenario.Narrator) (*site, error) {
	s := &site{options: o, n: n, http: &http.Client{Timeout: 15 * time.Second}}
	var err error
	if s.tmp, err = os.MkdirTemp("", "failover"); err != nil {
		return nil, err
	}
	if s.upstream, err = newUpstream(s.tmp); err != nil {
		return nil, err
	}
	if s.Cluster, err = scenario.Prepare(ctx, scenario.Options{Kind: scenario.Local, Name: o.cluster}, n); err != nil {
		return s, err
	}
	for _, step := range []func(context.Context) error{s.serveModules, s.loadFaulty, s.prepareWorkspace, s.apply, s.full, s.addresses} {
		if err := step(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *site) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return errors.Join(os.RemoveAll(s.tmp), scenario.Remove(ctx, scenario.Options{Kind: scenario.Local, Name: s.cluster}, s.n))
}

func (s *site) serveModules(ctx context.Context) error {
	return s.upstream.serve(ctx, net.JoinHostPort(s.HostIP, upstreamPort))
}

func (s *site) prepareWorkspace(ctx context.Context) (err error) {
	s.workspace, err = newWorkspace(ctx, filepath.Join(s.tmp, "work"), s.upstream)
	return err
}

// loadFaulty builds the image of the instances.
func (s *site) loadFaulty(ctx context.Context) error {
	bin, archive := filepath.Join(s.tmp, "faulty"), filepath.Join(s.tmp, "faulty.tar")
	devcluster := filepath.Join(scenario.Root(), "bin", "devcluster")
	for _, command := range [][]string{
		{"go", "build", "-ldflags", "-s -w", "-o", bin, "./test/perf/failover/faulty"},
		{devcluster, "image", "binaries", "--ref", faultyImage, "--entrypoint", "/gocache-proxy", "-o", archive,
			bin + "=/gocache-proxy", filepath.Join(scenario.Root(), "bin", "gocache-proxy") + "=/real/gocache-proxy",
			filepath.Join(goroot(ctx), "go.env") + "=/usr/local/go/go.env"},
		{devcluster, "--name", s.cluster, "load", archive},
	} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // tools of this project
		cmd.Dir, cmd.Env = scenario.Root(), append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
		}
	}
	return nil
}

func goroot(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "/usr/local/go"
	}
	return strings.TrimSpace(string(out))
}

// apply makes the proxy, with probes and fail-back of seconds, and the plain
// Service that people have without it.
func (s *site) apply(ctx context.Context) error {
	d := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	p := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: proxyName}}
	for _, name := range []string{bad, good} {
		p.Spec.Instances = append(p.Spec.Instances, v1alpha1.ProxyInstance{Name: name, Storage: &v1alpha1.InstanceStorage{
			Size: resource.MustParse("512Mi"), DeletionPolicy: v1alpha1.DeletionDelete, Ownership: &v1alpha1.Ownership{RunAsUser: ptr.To[int64](65532), RunAsGroup: ptr.To[int64](65532), FSGroup: ptr.To[int64](65532)},
		}})
	}
	p.Spec.Server = &v1alpha1.ProxyServer{Type: v1alpha1.ServerGoproxy, Image: faultyImage}
	p.Spec.Upstream = &v1alpha1.ProxyUpstream{Proxy: "http://" + net.JoinHostPort(s.HostIP, upstreamPort)}
	p.Spec.ChecksumDatabase = s.upstream.key
	reference := s.upstream.modules[0]
	p.Spec.Probes = v1alpha1.ProxyProbes{
		Interval: d(2 * time.Second), Timeout: d(2 * time.Second), FailureThreshold: 2, SuccessThreshold: 1,
		Kinds: []v1alpha1.ProbeKind{
			v1alpha1.ProbeReady, v1alpha1.ProbeProtocol, v1alpha1.ProbeChecksum, v1alpha1.ProbeConsistency, v1alpha1.ProbeChecksumDatabase, v1alpha1.ProbeDisk,
		},
		ReferenceModules: []v1alpha1.ReferenceModule{{Module: reference.Path, Version: reference.Version, Sum: s.upstream.sum(reference, 0), GoModSum: s.upstream.sum(reference, 1)}},
	}
	p.Spec.Failover = v1alpha1.ProxyFailover{
		Failback: v1alpha1.ProxyFailback{HoldDown: d(5 * time.Second), MaxHoldDown: d(time.Minute), Steps: []int32{100}, StepInterval: d(2 * time.Second)}, MaxFailbacksPerHour: 60,
	}
	plain := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: plainName}, Spec: corev1.ServiceSpec{
		// Only the instances' pods have a port of this name.
		Selector: map[string]string{v1alpha1.ProxyLabel: proxyName},
		Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}},
	}}
	for _, o := range []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, p, plain} {
		if err := s.Client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("make %s: %w", o.GetName(), err)
		}
	}
	return s.renew(ctx, p.Spec)
}

// renew gives a proxy of an earlier run the checksum database of this run.
func (s *site) renew(ctx context.Context, spec v1alpha1.ModProxySpec) error {
	p, err := s.proxy(ctx)
	if err != nil || p.Spec.ChecksumDatabase == spec.ChecksumDatabase {
		return err
	}
	p.Spec.ChecksumDatabase = spec.ChecksumDatabase
	if err := s.Client.Update(ctx, p); err != nil {
		return err
	}
	if err := s.restore(ctx); err != nil {
		return err
	}
	for _, name := range []string{bad, good} { // they hold what the old database has signed
		pod, err := s.pod(ctx, name)
		if err != nil {
			return err
		}
		if err := s.command(ctx, pod.Status.PodIP, "/store", url.Values{"kind": {"empty"}}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) proxy(ctx context.Context) (*v1alpha1.ModProxy, error) {
	var p v1alpha1.ModProxy
	return &p, s.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: proxyName}, &p)
}

func instanceOf(p *v1alpha1.ModProxy, name string) v1alpha1.InstanceStatus {
	for _, i := range p.Status.Instances {
		if i.Name == name {
			return i
		}
	}
	return v1alpha1.InstanceStatus{}
}

// full waits until both instances serve with their whole weight, and both
// stores hold all modules.
func (s *site) full(ctx context.Context) error {
	err := scenario.Until(ctx, 4*time.Minute, "both instances to serve", func(ctx context.Context) (bool, string, error) {
		p, err := s.proxy(ctx)
		if err != nil {
			return false, err.Error(), nil //nolint:nilerr // the API server may have been stopped
		}
		ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ReadyCondition)
		saw := "no condition"
		if ready != nil {
			saw = ready.Message
		}
		full := true
		for _, name := range []string{bad, good} {
			i := instanceOf(p, name)
			full = full && i.Healthy && i.DesiredWeight == 100 && i.ObservedWeight == 100
			saw += fmt.Sprintf("; %s %d/%d", name, i.ObservedWeight, i.DesiredWeight)
		}
		return full && ready != nil && ready.Status == metav1.ConditionTrue, saw, nil
	})
	if err != nil {
		return err
	}
	return scenario.Until(ctx, 2*time.Minute, "both stores to hold all modules", func(ctx context.Context) (bool, string, error) {
		err := s.warm(ctx)
		return err == nil, fmt.Sprint(err), nil
	})
}

// warm asks each instance for all modules.
func (s *site) warm(ctx context.Context) error {
	for _, name := range []string{bad, good} {
		address, err := s.instance(ctx, name)
		if err != nil {
			return err
		}
		c := goproxy.Client{Base: address}
		for _, m := range s.upstream.modules {
			if _, err := c.Sums(ctx, m); err != nil {
				return fmt.Errorf("warm %s: %w", name, err)
			}
		}
	}
	return nil
}

// instance is the URL of an instance's own Service.
func (s *site) instance(ctx context.Context, name string) (string, error) {
	return s.service(ctx, proxyName+"-"+name)
}

func (s *site) service(ctx context.Context, name string) (string, error) {
	var service corev1.Service
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &service); err != nil {
		return "", fmt.Errorf("find Service %s: %w", name, err)
	}
	return fmt.Sprintf("http://%s:%d", service.Spec.ClusterIP, service.Spec.Ports[0].Port), nil
}

// addresses in digits: this machine does not ask the cluster's name server.
func (s *site) addresses(ctx context.Context) error {
	p, err := s.proxy(ctx)
	if err != nil {
		return err
	}
	router, err := s.service(ctx, proxyName+"-router")
	if err != nil {
		return err
	}
	plain, err := s.service(ctx, plainName)
	if err != nil {
		return err
	}
	a, errA := s.instance(ctx, bad)
	b, errB := s.instance(ctx, good)
	s.published, s.single, s.plain, s.list = strings.ReplaceAll(p.Status.GOPROXY, p.Status.URL, router), router, plain, a+"|"+b
	return errors.Join(errA, errB)
}

// pod of an instance.
func (s *site) pod(ctx context.Context, instance string) (*corev1.Pod, error) {
	var pod corev1.Pod
	if err := s.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: proxyName + "-" + instance + "-0"}, &pod); err != nil {
		return nil, fmt.Errorf("find the pod of %s: %w", instance, err)
	}
	return &pod, nil
}

// command asks the faulty server of the bad instance for something.
func (s *site) command(ctx context.Context, ip, page string, values url.Values, into any) error {
	u := url.URL{Scheme: "http", Host: net.JoinHostPort(ip, controlPort), Path: page, RawQuery: values.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("command %s: %w", bad, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return errors.Join(fmt.Errorf("command to the instance %s: %s %s", u.RequestURI(), resp.Status, text), err)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// lastAnswer is when the router delivered the bad instance's last answer, by
// the logs of all its pods since a time.
func (s *site) lastAnswer(ctx context.Context, since time.Time) (last time.Time, err error) {
	var pods corev1.PodList
	labels := client.MatchingLabels{"app.kubernetes.io/name": "gocache-router", "app.kubernetes.io/instance": proxyName}
	if err := s.Client.List(ctx, &pods, client.InNamespace(namespace), labels); err != nil {
		return last, err
	}
	for _, pod := range pods.Items {
		options := &corev1.PodLogOptions{Container: "haproxy", SinceTime: ptr.To(metav1.NewTime(since.Add(-time.Minute)))}
		text, err := s.Set.CoreV1().Pods(namespace).GetLogs(pod.Name, options).DoRaw(ctx)
		if err != nil {
			return last, err
		}
		for line := range strings.Lines(string(text)) {
			if at, ok := answered(line); ok && at.After(last) {
				last = at
			}
		}
	}
	return last, nil
}

// answered reads one line of HAProxy's log: when a whole answer of the bad
// instance had been delivered.
func answered(line string) (time.Time, bool) {
	var entry struct {
		At           string
		Server       string
		Status       int
		Path         string
		Milliseconds struct{ Total int }
	}
	if json.Unmarshal([]byte(line), &entry) != nil || entry.Server != bad || entry.Status != http.StatusOK {
		return time.Time{}, false
	}
	at, err := time.ParseInLocation("02/Jan/2006:15:04:05.000", entry.At, time.UTC)
	if err != nil {
		return time.Time{}, false
	}
	return at.Add(time.Duration(entry.Milliseconds.Total) * time.Millisecond), true
}
