package gocache

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/egress"
	"gocache.dev/operator/internal/domain/gitrepo"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/kube/gitrefs"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/internal/testing/mounts"
)

// repo is a repository that a test serves, and may keep from answering.
type repo struct {
	*gitserver.Repository
	url   string
	ca    []byte // of its certificate; nil: it is served over http
	down  atomic.Bool
	asked atomic.Int64
}

func (w *world) repo(user, password string) *repo {
	w.t.Helper()
	return w.serveRepo(user, password, user != "")
}

// serveRepo serves it over https if it is secure, else over http.
func (w *world) serveRepo(user, password string, secure bool) *repo {
	w.t.Helper()
	bare, err := gitserver.New(w.t.Context(), w.t.TempDir())
	w.must(err)
	handler, err := bare.Handler(w.t.Context(), user, password)
	w.must(err)
	r := &repo{Repository: bare}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		r.asked.Add(1)
		if r.down.Load() {
			http.Error(out, "under repair", http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(out, in)
	}))
	w.t.Cleanup(server.Close)
	if !secure {
		server.Start()
	} else {
		var certificate tls.Certificate
		certificate, r.ca, err = gitserver.Certificate("127.0.0.1")
		w.must(err)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		server.StartTLS()
	}
	r.url = server.URL + "/program.git"
	return r
}

func (w *world) push(r *repo, content string) string {
	w.t.Helper()
	commit, err := r.Commit(w.t.Context(), map[string]string{"go.mod": content})
	w.must(err)
	return commit
}

func fromGit(source v1alpha1.GitSource, packages ...string) func(*v1alpha1.GoCacheSpec) {
	return func(s *v1alpha1.GoCacheSpec) {
		s.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{Git: &source, Packages: packages}}}
	}
}

// jobs keeps the Jobs that are made, in their order.
func (w *world) jobs() *[]*batchv1.Job {
	var all []*batchv1.Job
	w.cluster.Job = func(j *batchv1.Job) *cluster.Ending {
		if !slices.ContainsFunc(all, func(had *batchv1.Job) bool { return had.UID == j.UID }) {
			all = append(all, j.DeepCopy())
		}
		return w.ending
	}
	return &all
}

// TestGitSource holds that a repository's newest commit is built, that a push
// leads to another warm-up by itself, and that nothing else does.
func TestGitSource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.repo("", "")
	first := w.push(r, "module one\n")
	jobs := w.jobs()
	w.cache(fromGit(v1alpha1.GitSource{URL: r.url, Ref: "main"}, "./cmd/...", "."), afterWarmUp)
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if got := w.get().Status.WarmUp.Revisions; len(got) != 1 || got[0] != (v1alpha1.GitRevision{URL: r.url, Ref: "main", Commit: first, WarmedCommit: first}) {
		t.Errorf("revisions %+v", got)
	}
	pod := (*jobs)[0].Spec.Template.Spec
	fetch := pod.InitContainers[1]
	if got, want := strings.Join(fetch.Command, " "), "/gocache-agent fetch --url "+r.url+" --commit "+first+" --dir /sources/0 --report-in-dir --ref main --max-bytes 8589934592 --timeout 30m0s"; got != want {
		t.Errorf("it is fetched by %q, want %q", got, want)
	}
	source := warmreport.Source{Name: "program", Dir: "/sources/0", Repository: true, Packages: []string{"./cmd/...", "."}}
	if command := pod.Containers[0].Command; !slices.Contains(command, source.Flag()) {
		t.Errorf("the writer's command is %q", command)
	}

	for range 5 {
		w.wait(pass.Interval)
	}
	if len(*jobs) != 1 {
		t.Fatalf("%d warm-ups of one commit", len(*jobs))
	}
	second := w.push(r, "module two\n")
	w.ending = nil // it goes on
	w.wait(pass.Interval)
	if got := w.get().Status.WarmUp.Revisions[0]; got.Commit != second || got.WarmedCommit != first {
		t.Errorf("while the second commit is built: %+v", got)
	}
	w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 3})
	w.wait(pass.Interval)
	if got := w.get().Status.WarmUp.Revisions[0]; got.WarmedCommit != second {
		t.Errorf("when the second commit is built: %+v", got)
	}
	if len(*jobs) != 2 || !slices.Contains((*jobs)[1].Spec.Template.Spec.InitContainers[1].Command, second) {
		t.Errorf("%d warm-ups after the push, want a second one, of %s", len(*jobs), second)
	}
	if events := w.newEvents(); strings.Count(events, "its sources or its toolchain changed") != 1 {
		t.Errorf("events: %s", events)
	}
}

// TestUnreadableRepository holds that a repository which does not answer keeps
// its commit, is reported once, is not polled without pause, and counts again as
// soon as it answers.
func TestUnreadableRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.repo("", "")
	commit := w.push(r, "module one\n")
	w.cache(fromGit(v1alpha1.GitSource{URL: r.url}))
	w.settle()
	r.down.Store(true)
	w.wait(pass.Interval)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "repository "+r.url+" cannot be read")
	if got := w.get().Status.WarmUp.Revisions[0]; got.Commit != commit || !strings.Contains(got.Message, "503") || !strings.Contains(got.Message, "it is read again within 15 minutes") {
		t.Errorf("revision %+v, want commit %s to stand", got, commit)
	}
	asked, wrote := r.asked.Load(), len(w.mortal.Writes)
	for range 60 {
		w.wait(pass.Interval)
	}
	if n := r.asked.Load() - asked; n < 4 || n > 10 {
		t.Errorf("asked %d times in an hour, want a few", n)
	}
	if wrote := w.mortal.Writes[wrote:]; len(wrote) > 0 {
		t.Errorf("writes meanwhile: %q", wrote)
	}

	w.request("warm-up-1", v1alpha1.RequestWarmUp)
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "a warm-up is due and waits: repository "+r.url+" cannot be read")
	if len(w.warmUps) != 1 {
		t.Errorf("%d warm-ups, want 1: another one could not fetch", len(w.warmUps))
	}
	w.push(r, "module two\n")
	r.down.Store(false)
	w.wait(gitrefs.MaxInterval)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "Warm")
	events := w.newEvents()
	for _, want := range []string{"Warning SourceUnreadable", "Normal SourceReadable"} {
		if strings.Count(events, want) != 1 {
			t.Errorf("events say %q %d times, want once:\n%s", want, strings.Count(events, want), events)
		}
	}
	if len(w.warmUps) != 2 {
		t.Errorf("%d warm-ups, want a second one that answers the request too", len(w.warmUps))
	}

	// A manager that starts while it is down again still has the commit.
	r.down.Store(true)
	w.restart(w.mortal.Point)
	w.settle()
	if got := w.get().Status.WarmUp.Revisions[0]; got.Commit == "" || got.Message == "" || len(w.warmUps) != 2 {
		t.Errorf("after a restart: revision %+v, %d warm-ups", got, len(w.warmUps))
	}
}

// TestGitAuthority holds that the authority of a repository that is read without
// credentials comes from a ConfigMap, and that what is missing of it is named.
func TestGitAuthority(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.serveRepo("", "", true)
	w.push(r, "module one\n")
	jobs := w.jobs()
	w.cache(fromGit(v1alpha1.GitSource{URL: r.url, TrustedCA: &v1alpha1.TrustedCA{ConfigMapRef: v1alpha1.LocalReference{Name: "ca"}}}))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound, "ConfigMap ca does not exist")
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "ca"}, Data: map[string]string{"other": "x"}}
	w.must(server.Client.Create(t.Context(), config))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound, "ConfigMap ca has no key ca.crt")
	config.Data["ca.crt"] = string(r.ca)
	w.must(server.Client.Update(t.Context(), config))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	if command := (*jobs)[0].Spec.Template.Spec.InitContainers[1].Command; !slices.Contains(command, "/trusted-ca/0/ca.crt") {
		t.Errorf("the fetching container runs %q", command)
	}
}

// TestPartsOfARepository holds that the container that fetches is given the directories of
// a sparse checkout and whether submodules are requested, and that a change of either warms
// again.
func TestPartsOfARepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.repo("", "")
	w.push(r, "module one\n")
	jobs := w.jobs()
	w.cache(fromGit(v1alpha1.GitSource{URL: r.url}))
	w.settle()
	w.edit(func(c *v1alpha1.GoCache) {
		c.Spec.WarmUp.Sources[0].Git.SparseCheckout = []string{"services/billing", "libs"}
	})
	w.settle()
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.WarmUp.Sources[0].Git.Submodules = true })
	w.settle()
	w.settle()
	if len(*jobs) != 3 {
		t.Fatalf("%d warm-ups, want 3", len(*jobs))
	}
	for i, want := range []string{"", " --sparse services/billing --sparse libs", " --sparse services/billing --sparse libs --submodules"} {
		line := strings.Join((*jobs)[i].Spec.Template.Spec.InitContainers[1].Command, " ")
		if _, parts, _ := strings.Cut(line, "--report-in-dir"); parts != want+" --max-bytes 8589934592 --timeout 30m0s" {
			t.Errorf("warm-up %d: %q, want %q", i+1, parts, want)
		}
	}
}

// TestProxiesOfJobs holds that the container that fetches and the go command of a warm-up
// use the proxies of the manager, without their credentials, which users could read in
// the pod, and that a ModProxy is reached directly.
func TestProxiesOfJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reconciler.Proxies = egress.Proxies{HTTP: "http://out.example.com:3128", HTTPS: "http://ci:s3cret@out.example.com:3128", NoProxy: ".svc"}
	r := w.repo("", "")
	w.push(r, "module one\n")
	jobs := w.jobs()
	w.cache(fromGit(v1alpha1.GitSource{URL: r.url}), func(s *v1alpha1.GoCacheSpec) {
		s.Environment.ProxyRef = &v1alpha1.LocalReference{Name: "goproxy"}
	})
	w.proxy("http://goproxy."+w.namespace+".svc:8080|http://goproxy."+w.namespace+".svc:8080/2", true)
	w.settle()
	pod := (*jobs)[0].Spec.Template.Spec
	for name, tt := range map[string]struct {
		env  []corev1.EnvVar
		want map[string]string
	}{
		"fetch":   {pod.InitContainers[1].Env, map[string]string{"HTTPS_PROXY": "http://out.example.com:3128", "HTTP_PROXY": "http://out.example.com:3128", "NO_PROXY": ".svc"}},
		"warm-up": {pod.Containers[0].Env, map[string]string{"HTTPS_PROXY": "http://out.example.com:3128", "NO_PROXY": ".svc,goproxy." + w.namespace + ".svc"}},
		"install": {pod.InitContainers[0].Env, map[string]string{}},
	} {
		got := map[string]string{}
		for _, e := range tt.env {
			if strings.HasSuffix(e.Name, "_PROXY") {
				got[e.Name] = e.Value
			}
		}
		if !maps.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	if text, err := json.Marshal(pod); err != nil || strings.Contains(string(text), "s3cret") {
		t.Errorf("the pod has the credentials of the proxy, or %v", err)
	}
}

// TestGitSecret holds that a Secret which does not allow the host, and an invalid
// one, are reported and not sent; that a corrected one is used; and that its
// keys, and no others, are mounted into one container alone.
func TestGitSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.repo("ci", "s3cret")
	w.push(r, "module one\n")
	jobs := w.jobs()
	w.cache(fromGit(v1alpha1.GitSource{URL: r.url, SecretRef: &v1alpha1.LocalReference{Name: "git"}}))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound, "Secret git does not exist")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "git"}, StringData: map[string]string{"username": "ci", "password": "guess", "ca.crt": string(r.ca), "other": "guess"}}
	w.must(server.Client.Create(t.Context(), secret))
	w.settle()
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretRefused, "Secret git has no annotation cache.gocache.dev/hosts")
	secret.Annotations = map[string]string{v1alpha1.HostsAnnotation: "git.example.com"}
	w.must(server.Client.Update(t.Context(), secret))
	w.wait(pass.SecretInterval)
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretRefused, `allows "git.example.com" only`)
	if n := r.asked.Load(); n != 0 {
		t.Errorf("the repository was asked %d times with a Secret that does not allow its host", n)
	}
	secret.Annotations[v1alpha1.HostsAnnotation] = "git.example.com, 127.0.0.1"
	w.must(server.Client.Update(t.Context(), secret))
	w.wait(pass.SecretInterval)
	if c := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.StalledCondition); c != nil {
		t.Errorf("the Secret allows the host, and still %s", c.Message)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound, "the Secret's credentials")
	secret.StringData = map[string]string{"password": "s3cret"}
	w.must(server.Client.Update(t.Context(), secret))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")

	text, err := json.Marshal((*jobs)[0])
	w.must(err)
	status, err := json.Marshal(w.get())
	w.must(err)
	if all := string(text) + string(status) + w.newEvents(); strings.Contains(all, "s3cret") || strings.Contains(all, "guess") {
		t.Errorf("a password is told: %s", all)
	}
	pod := (*jobs)[0].Spec.Template.Spec
	if mounts := pod.InitContainers[1].VolumeMounts; !slices.ContainsFunc(mounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/secrets/0" && m.ReadOnly }) {
		t.Errorf("the fetching container mounts %+v", mounts)
	}
	for _, v := range pod.Volumes {
		if v.Secret != nil && (v.Secret.SecretName != "git" || len(v.Secret.Items) == 0 || slices.ContainsFunc(v.Secret.Items, func(k corev1.KeyToPath) bool { return k.Key == "other" })) {
			t.Errorf("of Secret %s the keys %+v are mounted", v.Secret.SecretName, v.Secret.Items)
		}
	}

	// The consent is withdrawn: the cache is usable, and no longer warmed.
	secret.Annotations = nil
	w.must(server.Client.Update(t.Context(), secret))
	w.push(r, "module two\n")
	w.wait(pass.Interval)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretRefused, "read again every 15s")
	if len(*jobs) != 1 {
		t.Errorf("%d warm-ups, want 1: the Secret may not be sent", len(*jobs))
	}
	for _, c := range []corev1.Container{pod.InitContainers[0], pod.Containers[0]} {
		if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return strings.HasPrefix(m.Name, "secret") }) {
			t.Errorf("container %s sees the Secret", c.Name)
		}
	}
}

// TestContainersOfAWarmUp holds that what fetches a repository with credentials, what fetches
// another one, and what compiles have no directory in common but the files that the one is to
// hand to the other.
func TestContainersOfAWarmUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.repo("ci", "s3cret"), w.repo("", "")
	w.push(one, "module one\n")
	w.push(two, "module two\n")
	w.must(server.Client.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "git", Annotations: map[string]string{v1alpha1.HostsAnnotation: "127.0.0.1"}},
		StringData: map[string]string{"username": "ci", "password": "s3cret", "ca.crt": string(one.ca)},
	}))
	jobs := w.jobs()
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{
			{Name: "one", Git: &v1alpha1.GitSource{URL: one.url, SecretRef: &v1alpha1.LocalReference{Name: "git"}}},
			{Name: "two", Git: &v1alpha1.GitSource{URL: two.url}},
		}}
	})
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "")
	pod := (*jobs)[0].Spec.Template.Spec
	if got, want := mounts.Shared(pod), []string{"source-0: agent source-0", "source-1: agent source-1", "tools: agent install"}; !slices.Equal(got, want) {
		t.Errorf("the containers share %q, want %q", got, want)
	}
	for _, c := range pod.InitContainers[1:] {
		// Less than the volume, and both repositories together half of the hour of the run.
		if line := strings.Join(c.Command, " "); !strings.Contains(line, "--max-bytes 8589934592 --timeout 15m0s") {
			t.Errorf("container %s is not bounded below what ends the pod: %s", c.Name, line)
		}
		i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == agentcommand.FetchMemoryVariable })
		if i < 0 || c.Env[i].ValueFrom == nil || c.Env[i].ValueFrom.ResourceFieldRef == nil || c.Env[i].ValueFrom.ResourceFieldRef.Resource != "limits.memory" || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("container %s does not know its memory: %+v, of %+v", c.Name, c.Env, c.Resources.Limits)
		}
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		if c.Name != "install" && !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/tmp" && !m.ReadOnly }) {
			t.Errorf("container %s has no directory for temporary files: %+v", c.Name, c.VolumeMounts)
		}
	}
}

// TestRepositoryThatHangs holds that no pass waits for a repository that accepts
// connections and sends nothing, that its timeout is reported, and that an
// answer wakes a pass.
func TestRepositoryThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	t.Cleanup(func() { _ = l.Close() })
	hang := make(chan struct{})
	poller := gitrefs.New(gitrefs.Options{Timeout: 5 * time.Second, Resolve: func(ctx context.Context, r gitrepo.Remote) (string, error) {
		commit, err := r.Resolve(ctx)
		<-hang // so that the first passes are certainly made meanwhile
		return commit, err
	}})
	w.reconciler.Refs = poller
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	t.Cleanup(queue.ShutDown)
	w.must(poller.Source().Start(t.Context(), queue))

	w.cache(fromGit(v1alpha1.GitSource{URL: "http://" + l.Addr().String() + "/a"}))
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound, "to be read")
	close(hang)
	woken, _ := queue.Get() // ends with the look-up
	if woken.Namespace != w.namespace || woken.Name != "ci" {
		t.Errorf("woken: %s", woken)
	}
	w.must(w.pass())
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSourceNotFound, "has not answered")
}
