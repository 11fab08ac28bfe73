package upgrade

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/test/scenario"
)

const (
	// clusterName of the local cluster, if CLUSTER_NAME is not set.
	clusterName = "gocache-upgrade"
	namespace   = "releases"
	// first, second and third are the releases.
	first, second, third = "v0.1.0", "v0.2.0", "v0.3.0"
	// helmVariable names the program helm, releaseVariable the folder of a release.
	helmVariable, releaseVariable = "HELM", "RELEASE"
	// helmRelease is the name that docs/install.md gives it.
	helmRelease = "gocache"
	// cleanUpTime is kept from the time that go test gives.
	cleanUpTime = 90 * time.Second
)

// site is a cluster with a release on it.
type site struct {
	*testing.T
	*scenario.Cluster
	ctx  context.Context
	helm string
}

// TestReleases installs a release by its chart, applies the samples, changes a
// value, upgrades to the next release under go commands of clients, uninstalls and
// installs again. Then it goes on without the chart, with install.yaml of the same
// release and of the next one, and removes everything.
func TestReleases(t *testing.T) {
	if testing.Short() || os.Getenv(helmVariable) == "" {
		t.Skip("needs a real cluster, and helm: make test-upgrade")
	}
	ctx := interruptible(t)
	releases := build(ctx, t, first, second, third)
	s, n := begin(ctx, t, releases...)
	samples := s.samples(n, releases[0])

	n.Chapter("Another value")
	before := s.observe()
	s.install(releases[0], "--set", "podAnnotations.example\\.com/changed=yes")
	s.runs(releases[0])
	s.same("another value of the manager", before, s.observe())

	n.Chapter("Upgrade to %s under downloads", second)
	began := time.Now()
	s.under(samples, func(context.Context) error { s.install(releases[1]); return nil }, func() bool { return s.replaced(releases[1]) })
	s.runs(releases[1])
	t.Logf("every pod runs %s after %s", second, time.Since(began).Round(time.Second))
	_, err := samples.ProxyReady(ctx)
	s.must(err)
	after := s.observe()
	s.same("the next release", before.withoutProxyPods(), after.withoutProxyPods())

	n.Chapter("Uninstall, and install again")
	s.uninstall()
	s.same("uninstalling", after, s.observe())
	s.under(samples, func(context.Context) error { return nil }, func() bool { return true })
	s.install(releases[1])
	s.runs(releases[1])
	_, err = samples.ProxyReady(ctx)
	s.must(err)
	s.same("installing again", after, s.observe())

	n.Chapter("install.yaml of %s in the place of its chart", second)
	s.uninstall()
	s.apply(releases[1])
	s.runs(releases[1])
	_, err = samples.ProxyReady(ctx)
	s.must(err)
	s.same("install.yaml in the place of the chart", after, s.observe())

	n.Chapter("install.yaml of %s under downloads", third)
	began = time.Now()
	s.under(samples, func(context.Context) error { s.apply(releases[2]); return nil }, func() bool { return s.replaced(releases[2]) })
	s.runs(releases[2])
	t.Logf("every pod runs %s after %s", third, time.Since(began).Round(time.Second))
	_, err = samples.ProxyReady(ctx)
	s.must(err)
	last := s.observe()
	s.same("install.yaml of the next release", after.withoutProxyPods(), last.withoutProxyPods())

	n.Chapter("Remove everything but the data")
	s.remove(releases[2])
	s.same("removing the operator", last.only("pvc "), s.observePVCs())
}

// TestRelease runs what make release has built: the image for this machine of the
// layout for all platforms, the chart and the plugin, with the samples.
func TestRelease(t *testing.T) {
	dir := os.Getenv(releaseVariable)
	if testing.Short() || os.Getenv(helmVariable) == "" || dir == "" {
		t.Skip("needs a real cluster, helm and a release: make test-release VERSION=v0.1.0")
	}
	ctx := interruptible(t)
	r := release{filepath.Base(dir), dir}
	s, n := begin(ctx, t, r)
	samples := s.samples(n, r)
	before := s.observe()

	n.Chapter("Uninstall")
	s.uninstall()
	s.same("uninstalling", before, s.observe())
	s.under(samples, func(context.Context) error { return nil }, func() bool { return true })
}

// interruptible ends in time to clean up, and when the process is asked to.
func interruptible(t *testing.T) context.Context {
	t.Helper()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-cleanUpTime))
		t.Cleanup(cancel)
	}
	return ctx
}

// begin starts the cluster and loads the images of releases.
func begin(ctx context.Context, t *testing.T, releases ...release) (*site, *scenario.Narrator) {
	t.Helper()
	n := scenario.NewNarrator(os.Stdout)
	options := scenario.Options{Kind: scenario.Local, Name: clusterName}
	if name := os.Getenv("CLUSTER_NAME"); name != "" {
		options.Name = name
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
		defer cancel()
		if err := scenario.Remove(ctx, options, n, namespace); err != nil {
			t.Error(err)
		}
	})
	cluster, err := scenario.Start(ctx, options, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range releases {
		if err := cluster.Load(ctx, r.image()); err != nil {
			t.Fatal(err)
		}
	}
	return &site{T: t, Cluster: cluster, ctx: ctx, helm: os.Getenv(helmVariable)}, n
}

// samples installs a release by its chart and applies the samples.
func (s *site) samples(n *scenario.Narrator, r release) *scenario.Scenario {
	s.Helper()
	n.Chapter("Install %s by its chart", r.version)
	s.install(r)
	s.runs(r)
	s.must(s.RefreshDiscovery(s.ctx))
	s.plugin(r)

	n.Chapter("The samples")
	samples, err := s.Begin(s.ctx, namespace, n)
	s.must(err)
	_, err = samples.ProxyReady(s.ctx)
	s.must(err)
	_, err = samples.Warmed(s.ctx)
	s.must(err)
	_, err = samples.Offered(s.ctx, "")
	s.must(err)
	_, err = samples.OfflineBuilds(s.ctx)
	s.must(err)
	return samples
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// run runs helm.
func (s *site) run(args ...string) string {
	s.Helper()
	return command(s.ctx, s.T, "", s.helm, append([]string{"--kubeconfig", s.Kubeconfig}, args...)...)
}

// install installs or upgrades the chart of a release as docs/install.md does,
// with the images of this cluster, which has no way out.
func (s *site) install(r release, args ...string) {
	s.Helper()
	s.run(append([]string{
		"upgrade", "--install", helmRelease, r.chart(), "--namespace", scenario.SystemNamespace, "--create-namespace", "--wait", "--timeout", "3m",
		"--set", "images.toolchain=gocache.dev/golang:{version}", "--set", "images.haproxy=gocache.dev/haproxy:2.6",
	}, args...)...)
}

// uninstall removes the chart's release.
func (s *site) uninstall() {
	s.Helper()
	s.run("uninstall", helmRelease, "--namespace", scenario.SystemNamespace, "--wait", "--timeout", "3m")
	if err := s.Client.Get(s.ctx, client.ObjectKey{Namespace: scenario.SystemNamespace, Name: scenario.ManagerDeployment}, &appsv1.Deployment{}); !apierrors.IsNotFound(err) {
		s.Errorf("the manager after it was uninstalled: %v", err)
	}
}

// runs checks that the manager runs the image of a release, by its digest.
func (s *site) runs(r release) {
	s.Helper()
	var d appsv1.Deployment
	s.must(s.Client.Get(s.ctx, client.ObjectKey{Namespace: scenario.SystemNamespace, Name: scenario.ManagerDeployment}, &d))
	image := d.Spec.Template.Spec.Containers[0].Image
	if !strings.HasSuffix(image, "@"+r.digest(s.T)) || d.Labels["app.kubernetes.io/version"] != r.version || d.Status.AvailableReplicas == 0 {
		s.Errorf("release %s: the manager has image %s, version %s and %d available replicas", r.version, image, d.Labels["app.kubernetes.io/version"], d.Status.AvailableReplicas)
	}
}

// plugin runs the kubectl plugin of the release.
func (s *site) plugin(r release) {
	s.Helper()
	program := r.plugin(s.T)
	if out := command(s.ctx, s.T, "", program, "--version"); !strings.Contains(out, r.version) {
		s.Errorf("the plugin of %s reports %s", r.version, out)
	}
	out := command(s.ctx, s.T, "", program, "doctor", "--kubeconfig", s.Kubeconfig)
	s.Logf("kubectl gocache doctor\n%s", out)
	if !strings.Contains(out, "✓ Deployment gocache-manager has 1/1 replicas available, version "+r.version) {
		s.Errorf("doctor does not see release %s", r.version)
	}
	// The default class of the cluster, with the agent of the release.
	classes, err := s.KubectlOutput(s.ctx, "get", "storageclass", "-o", `jsonpath={.items[?(@.metadata.annotations.storageclass\.kubernetes\.io/is-default-class=="true")].metadata.name}`)
	s.must(err)
	out = command(s.ctx, s.T, "", program, "csicheck", strings.TrimSpace(classes), "--kubeconfig", s.Kubeconfig)
	s.Logf("kubectl gocache csicheck\n%s", out)
	if left, err := s.KubectlOutput(s.ctx, "get", "jobs,pods,pvc,volumesnapshots", "-A", "-l", "app.kubernetes.io/created-by=kubectl-gocache", "-o", "name"); err != nil || left != "" {
		s.Errorf("csicheck left %s: %v", left, err)
	}
}

// under runs downloads while something happens, and more of them until done.
func (s *site) under(samples *scenario.Scenario, happen func(context.Context) error, done func() bool) {
	s.Helper()
	commands := 0
	for round := 0; round == 0 || !done(); round++ {
		if round == 10 {
			s.Fatalf("after %d downloads it is not done", commands)
		}
		clients, err := samples.UnderDownloads(s.ctx, happen)
		s.must(err)
		commands += clients.Commands
		if len(clients.Failed) > 0 {
			s.Errorf("%d of %d downloads failed:\n%s", len(clients.Failed), clients.Commands, strings.Join(clients.Failed, "\n"))
		}
		happen = func(context.Context) error { return nil }
	}
	s.Logf("%d downloads, none of which failed unless it is reported above", commands)
}

// replaced reports whether all pods of the proxy run the image of a release.
func (s *site) replaced(r release) bool {
	s.Helper()
	var pods corev1.PodList
	s.must(s.Client.List(s.ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.ProxyLabel: scenario.Proxy}))
	for i := range pods.Items {
		for _, c := range slices.Concat(pods.Items[i].Spec.InitContainers, pods.Items[i].Spec.Containers) {
			if strings.HasPrefix(c.Image, "gocache.dev/operator") && !strings.HasSuffix(c.Image, r.digest(s.T)) {
				return false
			}
		}
	}
	return len(pods.Items) > 0
}

// kubectl runs kubectl.
func (s *site) kubectl(args ...string) string {
	s.Helper()
	out, err := s.KubectlOutput(s.ctx, args...)
	s.must(err)
	return out
}

// apply applies install.yaml of a release as docs/install.md does where the chart
// was before, in an overlay with the images of this cluster.
func (s *site) apply(r release) {
	s.Helper()
	s.kubectl("apply", "--server-side", "--force-conflicts", "-k", r.overlay(s.T))
	s.kubectl("--namespace", scenario.SystemNamespace, "rollout", "status", "deployment/"+scenario.ManagerDeployment, "--timeout=3m")
}

// remove deletes all objects and then the operator, as docs/install.md does, and
// checks that nothing of install.yaml is left.
func (s *site) remove(r release) {
	s.Helper()
	s.kubectl("delete", "gocaches,modproxies,cachesnapshots,cacherequests", "--all", "--all-namespaces", "--timeout=3m")
	overlay := r.overlay(s.T)
	s.kubectl("delete", "-k", overlay, "--timeout=3m")
	if left := s.kubectl("get", "-k", overlay, "--ignore-not-found", "-o", "name"); left != "" {
		s.Errorf("these objects of install.yaml are left:\n%s", left)
	}
}

// state is what must stay as it is, by name: uids, volumes, verdicts, runs.
type state map[string]string

// withoutProxyPods leaves out the pods of the proxy: they run the image of the
// operator.
func (o state) withoutProxyPods() state {
	left := maps.Clone(o)
	maps.DeleteFunc(left, func(name, _ string) bool { return strings.HasPrefix(name, "proxy pod ") })
	return left
}

// only keeps what has a prefix.
func (o state) only(prefix string) state {
	kept := maps.Clone(o)
	maps.DeleteFunc(kept, func(name, _ string) bool { return !strings.HasPrefix(name, prefix) })
	return kept
}

// same compares two states.
func (s *site) same(what string, before, after state) {
	s.Helper()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if before[name] != after[name] {
			s.Errorf("%s changed %s: before %q, after %q", what, name, before[name], after[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[name]; !ok {
			s.Errorf("%s made %s: %s", what, name, after[name])
		}
	}
}

// observe reads the objects of the samples, once no run of the cache's is under
// way.
func (s *site) observe() state {
	s.Helper()
	o := state{}
	var caches v1alpha1.GoCacheList
	var snapshots v1alpha1.CacheSnapshotList
	var proxies v1alpha1.ModProxyList
	var csi snapshotv1.VolumeSnapshotList
	var pods corev1.PodList
	var errs []error
	for _, list := range []client.ObjectList{&caches, &snapshots, &proxies, &csi, &pods} {
		errs = append(errs, s.Client.List(s.ctx, list, client.InNamespace(namespace)))
	}
	s.must(errors.Join(errs...))
	for i := range caches.Items {
		c := &caches.Items[i]
		o["gocache "+c.Name] = fmt.Sprintf("%s, ready %t, warm-up ended %v, verified snapshot %s, manifest %s", c.UID, meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ReadyCondition),
			c.Status.WarmUp.CompletionTime.UTC(), c.Status.LatestVerifiedSnapshot, c.Status.ManifestDigest)
	}
	for i := range snapshots.Items {
		c := &snapshots.Items[i]
		o["cachesnapshot "+c.Name] = fmt.Sprintf("%s, %s at %v", c.UID, c.Status.Verification.Verdict, c.Status.Verification.CompletionTime)
	}
	for i := range proxies.Items {
		p := &proxies.Items[i]
		o["modproxy "+p.Name] = fmt.Sprintf("%s, %s", p.UID, p.Status.URL)
	}
	maps.Copy(o, s.observePVCs())
	for i := range csi.Items {
		o["volumesnapshot "+csi.Items[i].Name] = string(csi.Items[i].UID)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Labels["job-name"] != "" { // downloads of this test, and finished runs
			continue
		}
		restarts := int32(0)
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			restarts += c.RestartCount
		}
		name := "pod " + p.Name
		if p.Labels[v1alpha1.ProxyLabel] != "" {
			name = "proxy " + name
		}
		o[name] = fmt.Sprintf("%s, %d restarts", p.UID, restarts)
	}
	return o
}

// observePVCs reads the PVCs, and the volumes that they are bound to.
func (s *site) observePVCs() state {
	s.Helper()
	o := state{}
	var claims corev1.PersistentVolumeClaimList
	s.must(s.Client.List(s.ctx, &claims, client.InNamespace(namespace)))
	for i := range claims.Items {
		c := &claims.Items[i]
		o["pvc "+c.Name] = fmt.Sprintf("%s on %s, %s", c.UID, c.Spec.VolumeName, c.Status.Phase)
	}
	return o
}
