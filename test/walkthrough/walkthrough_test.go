package walkthrough

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/dirhash"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/gitserver"
	"gocache.dev/operator/internal/testing/runners"
	"gocache.dev/operator/test/scenario"
)

const (
	// variable starts the test, which needs a cluster.
	variable = "WALKTHROUGH"
	// namespace of the page.
	namespace = "ci"
	// host of the git server in place of git.example.com: a Service in the namespace.
	host     = "git." + namespace + ".svc"
	password = "correct horse"
	// timeout is how long a step may take on a busy machine.
	timeout = 20 * time.Minute
	// cleanUpTime is kept from the time that go test gives, to leave nothing behind.
	cleanUpTime = 3 * time.Minute
	// toolchain is the image of the runner: the one of the local cluster.
	toolchain = "gocache.dev/golang:1.26.8"
)

// walk is the reader at a shell.
type walk struct {
	*testing.T
	*scenario.Cluster
	ctx context.Context
	dir string // where the reader saves files
	env []string
	// ssh is the Secret with which the git server is read over ssh.
	ssh map[string]string
}

// TestWalkthrough follows the page from an empty cluster with the operator on it.
func TestWalkthrough(t *testing.T) {
	if testing.Short() || os.Getenv(variable) == "" {
		t.Skip("needs a real cluster: make test-walkthrough")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if end, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-cleanUpTime))
		defer cancel()
	}
	w := begin(ctx, t)
	page := w.page("walkthrough.md")
	commands := blocks(page, "sh")
	files := blocks(page, "yaml")
	// The chart of the runners, their workflow, and how to count.
	others := blocks(page, "")
	if len(commands) != 5 || len(files) != 2 || len(others) != 3 {
		t.Fatalf("%d blocks of commands, %d files and %d others: the page has changed", len(commands), len(files), len(others))
	}
	script := w.script(others[1], others[2])

	w.shell("namespace and credentials", commands[0])
	mono := w.git()
	commit := w.push(mono, 3)
	w.save("modproxy.yaml", files[0])
	w.save("cache.yaml", files[1])
	w.shell("wait for the first snapshot", commands[1])

	for _, system := range ofScaleSet {
		w.builds(system, system, script)
	}
	if out := w.shell("see that it works", commands[2]); !strings.Contains(out, "filled with a clone of CacheSnapshot ci-") {
		t.Errorf("no event names a snapshot:\n%s", out)
	}
	before := strings.Fields(w.shell("after a push", commands[3]))
	if len(before) != 2 || before[0] != commit {
		t.Fatalf("the commit that was warmed, and its snapshot: %q, want %q", before, commit)
	}
	pods := w.otherSystems(mono)
	commit = w.push(mono, 4)
	w.must(scenario.Until(w.ctx, timeout, "the pushed commit", func(context.Context) (bool, string, error) {
		out, err := w.command(commands[3]).Output()
		now := strings.Fields(string(out))
		return len(now) == 2 && now[0] == commit && now[1] != before[1], string(out), err
	}))
	w.builds("arc", "after-a-push", script)
	w.finish(pods)
	w.shell("remove it again", commands[4])
	w.removed()
}

// removed waits until nothing of the page's namespace is left: the namespace itself
// went with the command, and the storage driver deletes volumes and snapshots behind it.
func (w *walk) removed() {
	w.Helper()
	w.must(scenario.Until(w.ctx, timeout, "the end of the volumes", func(context.Context) (bool, string, error) {
		out, err := w.command(`kubectl get namespaces -o name
			kubectl get pv -o jsonpath='{range .items[*]}{.metadata.name}{" of "}{.spec.claimRef.namespace}{"\n"}{end}'
			kubectl get volumesnapshotcontents -o jsonpath='{range .items[*]}{.metadata.name}{" of "}{.spec.volumeSnapshotRef.namespace}{"\n"}{end}'`).Output()
		return !regexp.MustCompile(`(?m)^namespace/` + namespace + `$| of ` + namespace + `$`).Match(out), string(out), err
	}))
}

// ofScaleSet are the systems of the page that the walk follows; they use its cache.
var ofScaleSet = []string{"arc", "arc-job", "arc-docker"}

// builds makes a pod of a scale set, which must find all that the main branch has, and
// compile what a change reaches, or the count would be of nothing.
func (w *walk) builds(system, name, script string) {
	w.Helper()
	if system == "arc" {
		script = setUpGo + script
	}
	log := w.runner(system, name, script)
	for _, want := range []string{"count: 0\n", "compiled by the steps: 0\n", "count after a change: 2\n"} {
		if !strings.Contains(log, want) {
			w.Errorf("%s did not print %q:\n%s", name, want, log)
		}
	}
}

// begin starts the cluster, which goes with the test.
func begin(ctx context.Context, t *testing.T) *walk {
	t.Helper()
	options := scenario.Options{Name: "gocache-walkthrough"}
	if name := os.Getenv("CLUSTER_NAME"); name != "" {
		options.Name = name
	}
	narrator := scenario.NewNarrator(os.Stdout)
	t.Cleanup(func() {
		if err := scenario.Remove(context.WithoutCancel(ctx), options, narrator, namespace); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	cluster, err := scenario.Prepare(ctx, options, narrator)
	if err != nil {
		t.Fatal(err)
	}
	w := &walk{T: t, Cluster: cluster, ctx: ctx, dir: t.TempDir()}
	// The reader's kubeconfig, in which one command changes the namespace.
	text, err := os.ReadFile(cluster.Kubeconfig)
	w.must(err)
	w.save("kubeconfig", string(text))
	w.must(os.Symlink(cluster.Kubectl, filepath.Join(w.dir, "kubectl")))
	w.env = append(os.Environ(), "PATH="+w.dir+":"+os.Getenv("PATH"), "KUBECONFIG="+filepath.Join(w.dir, "kubeconfig"), "TOKEN="+password,
		"KUBECACHEDIR="+filepath.Join(w.dir, "cache"))
	t.Cleanup(func() {
		if t.Failed() {
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			w.ctx = late
			out, _ := w.command("kubectl get gocaching,pods,jobs,pvc -A -o wide; kubectl get gocaching -A -o yaml; kubectl get events -A --sort-by=.metadata.creationTimestamp; " +
				"kubectl logs -n " + scenario.SystemNamespace + " deployment/" + scenario.ManagerDeployment + " --tail=60").CombinedOutput()
			t.Logf("%s", out)
		}
	})
	return w
}

func (w *walk) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// page reads a page, with what readers put in place of its examples.
func (w *walk) page(name string) string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(scenario.Root(), "docs", "ci", filepath.FromSlash(name)))
	w.must(err)
	return strings.NewReplacer("git.example.com", host, "50Gi", "3Gi", "20Gi", "512Mi",
		"--from-literal=username=ci", "--from-literal=username=ci --from-file=ca.crt").Replace(string(text))
}

// blocks are those of one language, in their order; empty: those of none.
func blocks(page, language string) (all []string) {
	for _, found := range regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		if found[1] == language {
			all = append(all, found[2])
		}
	}
	return all
}

// save is the reader's editor.
func (w *walk) save(name, text string) {
	w.Helper()
	w.must(os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600))
}

func (w *walk) command(script string) *exec.Cmd {
	cmd := exec.CommandContext(w.ctx, "bash", "-euo", "pipefail", "-c", script) //nolint:gosec // what is tested
	cmd.Dir, cmd.Env = w.dir, w.env
	cmd.WaitDelay = 5 * time.Second // a command that the shell has left may keep the output open
	return cmd
}

// shell pastes a block of commands, and returns its output without that for errors.
func (w *walk) shell(step, script string) string {
	w.Helper()
	if strings.Contains(script, "ca.crt") {
		w.certificate()
	}
	began := time.Now()
	var errs bytes.Buffer
	cmd := w.command(script)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	w.Logf("%s, %s:\n%s%s%s", step, time.Since(began).Round(time.Second), script, out, errs.Bytes())
	if err != nil {
		w.Fatalf("%s: %v", step, err)
	}
	return string(out)
}

// certificate of the git server; its authority is the reader's file ca.crt.
var certificate tls.Certificate

func (w *walk) certificate() {
	w.Helper()
	made, ca, err := gitserver.Certificate(host)
	w.must(err)
	certificate = made
	w.save("ca.crt", string(ca))
}

// The module that the monorepo requires.
var library = map[string]string{
	"go.mod": "module " + host + "/group/lib\n\ngo 1.21\n",
	"lib.go": "// Package lib is private.\npackage lib\n\n// Text of it.\nconst Text = \"private\"\n",
}

// git serves the monorepo, which is empty, and the module from this machine at a name
// in the cluster.
func (w *walk) git() (mono *gitserver.Repository) {
	w.Helper()
	lib, err := gitserver.New(w.ctx, w.TempDir())
	w.must(err)
	_, err = lib.Commit(w.ctx, library)
	w.must(err)
	for _, args := range [][]string{{"tag", "v1.0.0"}, {"push", "--quiet", "origin", "refs/tags/v1.0.0"}} {
		_, err = lib.InWork(w.ctx, args...)
		w.must(err)
	}
	mono, err = gitserver.New(w.ctx, w.TempDir())
	w.must(err)
	handlers := map[string]http.Handler{}
	for path, r := range map[string]*gitserver.Repository{"/group/lib": lib, "/group/monorepo": mono} {
		handlers[path], err = r.Handler(w.ctx, "ci", password)
		w.must(err)
	}
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		for path, files := range handlers {
			switch rest, ok := strings.CutPrefix(req.URL.Path, path); {
			case !ok:
			case req.URL.Query().Get("go-get") == "1":
				_, _ = fmt.Fprintf(rw, `<meta name="go-import" content="%s%s git https://%s%s.git">`, host, path, host, path)
				return
			case strings.HasPrefix(rest, ".git/"):
				req.URL.Path = "/program" + rest
				files.ServeHTTP(rw, req)
				return
			}
		}
		http.NotFound(rw, req)
	}))
	return mono
}

// push commits a monorepo whose price is so many times a number. It returns the commit.
func (w *walk) push(mono *gitserver.Repository, times int) string {
	w.Helper()
	group := host + "/group"
	commit, err := mono.Commit(w.ctx, map[string]string{
		"services/billing/go.mod":              "module " + group + "/monorepo/services/billing\n\ngo 1.21\n\nrequire " + group + "/lib v1.0.0\n",
		"services/billing/go.sum":              w.sums(),
		"services/billing/cmd/bill/main.go":    "package main\n\nimport (\n\t\"fmt\"\n\t\"net\"\n\n\t\"" + group + "/lib\"\n\t\"" + group + "/monorepo/services/billing/price\"\n)\n\nfunc main() { fmt.Println(lib.Text, price.Of(2), net.IPv4zero) }\n",
		"services/billing/price/price.go":      fmt.Sprintf("// Package price is of the monorepo.\npackage price\n\n// Of some.\nfunc Of(n int) int { return %d * n }\n", times),
		"services/billing/price/price_test.go": fmt.Sprintf("package price\n\nimport \"testing\"\n\nfunc TestOf(t *testing.T) {\n\tif Of(2) != 2*%d {\n\t\tt.Fail()\n\t}\n}\n", times),
		"tools/go.mod":                         "module " + group + "/monorepo/tools\n\ngo 1.21\n",
		"tools/lint/main.go":                   "package main\n\nimport \"os\"\n\nfunc main() { os.Exit(0) }\n",
	})
	w.must(err)
	return commit
}

// sums are the lines of go.sum for the module.
func (w *walk) sums() string {
	w.Helper()
	at := func(prefix string, names ...string) string {
		var all []string
		for _, name := range names {
			all = append(all, prefix+name)
		}
		sum, err := dirhash.Hash1(all, func(name string) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(library[strings.TrimPrefix(name, prefix)])), nil
		})
		w.must(err)
		return sum
	}
	module := host + "/group/lib"
	return fmt.Sprintf("%s v1.0.0 %s\n%s v1.0.0/go.mod %s\n", module, at(module+"@v1.0.0/", "go.mod", "lib.go"), module, at("", "go.mod"))
}

// serve answers https, and ssh to one user with one key, at the host in the cluster.
func (w *walk) serve(handler http.Handler) {
	w.Helper()
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	web, webPort := w.listen()
	go func() { _ = server.ServeTLS(web, "", "") }()
	w.Cleanup(func() { _ = server.Close() })

	key, _, err := gitserver.Key()
	w.must(err)
	user, identity, err := gitserver.Key()
	w.must(err)
	shell, shellPort := w.listen()
	go gitserver.ServeSSH(w.ctx, shell, key, "git", user.PublicKey())
	w.Cleanup(func() { _ = shell.Close() })
	w.ssh = map[string]string{"identity": string(identity), "known_hosts": string(gitserver.KnownHost(host+":22", key.PublicKey(), false))}

	w.must(w.Client.Create(w.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "git"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}, {Name: "ssh", Port: 22}}},
	}))
	w.must(w.Client.Create(w.ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: "git", Labels: map[string]string{discoveryv1.LabelServiceName: "git"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{w.HostIP}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}}},
		Ports: []discoveryv1.EndpointPort{
			{Name: ptr.To("https"), Port: ptr.To(webPort), Protocol: ptr.To(corev1.ProtocolTCP)},
			{Name: ptr.To("ssh"), Port: ptr.To(shellPort), Protocol: ptr.To(corev1.ProtocolTCP)},
		},
	}))
}

// listen takes a port of this machine that pods reach.
func (w *walk) listen() (net.Listener, int32) {
	w.Helper()
	listener, err := (&net.ListenConfig{}).Listen(w.ctx, "tcp", net.JoinHostPort(w.HostIP, "0"))
	w.must(err)
	return listener, int32(listener.Addr().(*net.TCPAddr).Port) //nolint:gosec // a port
}

// The checkout of the workflow, the command of the page that counts, and the steps.
// Both count again after a change that two packages notice.
const steps = `set -e
cd /tmp
printf '%%s' "$CA" >ca.crt
GIT_SSL_CAINFO=/tmp/ca.crt git clone -q https://ci:correct%%20horse@%[1]s/group/monorepo.git
cd monorepo/%[2]s
echo "count: $(%[3]s)"
steps="$GOFLAGS -x"
(export GOFLAGS="$steps"; %[4]s) >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
echo "compiled by the steps: $(grep -c '/compile .* -p ' /tmp/log || true)"
echo 'func More() int { return 1 }' >>price/price.go
echo "count after a change: $(%[3]s)"
go run ./cmd/bill
`

// setUpGo is what actions/setup-go leaves in the runner's container: the toolchain is at
// another path than in the image that warms the cache.
const setUpGo = `mkdir -p /tmp/hostedtoolcache
cp -r /usr/local/go /tmp/hostedtoolcache/go
export PATH=/tmp/hostedtoolcache/go/bin:$PATH
test "$(go env GOROOT)" = /tmp/hostedtoolcache/go
`

// script is what the runner does for a workflow, and the command that counts.
func (w *walk) script(workflow, count string) string {
	w.Helper()
	var of struct {
		Jobs map[string]struct {
			Env   map[string]string
			Steps []struct {
				Run              string
				WorkingDirectory string `json:"working-directory"`
			}
		}
	}
	w.must(yaml.Unmarshal([]byte(workflow), &of))
	job := of.Jobs["billing"]
	last := len(job.Steps) - 1
	if last < 0 || job.Steps[last].Run == "" || len(job.Env) == 0 {
		w.Fatalf("a workflow without steps or variables: %+v", of)
	}
	var exports string
	for name, value := range job.Env {
		exports += fmt.Sprintf("export %s='%s'\n", name, value)
	}
	count, _, _ = strings.Cut(strings.TrimSpace(count), "#")
	return exports + fmt.Sprintf(steps, host, job.Steps[last].WorkingDirectory, count, job.Steps[last].Run)
}

// runner makes a pod of a runner scale set that runs a script, waits for its end, and
// returns what it printed.
func (w *walk) runner(system, name, script string) string {
	w.Helper()
	ca, err := os.ReadFile(filepath.Join(w.dir, "ca.crt"))
	w.must(err)
	i := slices.IndexFunc(runners.Systems, func(s runners.System) bool { return s.Name == system })
	made := runners.Systems[i].Make(w.T, w.page(runners.Systems[i].Page))
	pod := w.start(namespace, name, made, script, corev1.EnvVar{Name: "CA", Value: string(ca)}, corev1.EnvVar{Name: "HOME", Value: "/tmp"})
	return w.end(pod)
}

// start creates the pod of a page, and its PVCs, with a script in place of what the
// CI system runs in it.
func (w *walk) start(ns, name string, made runners.Consumer, script string, vars ...corev1.EnvVar) *corev1.Pod {
	w.Helper()
	spec := made.Pod
	for _, template := range made.PVCs {
		pvc := &corev1.PersistentVolumeClaim{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: template.Spec}
		pvc.Namespace, pvc.Name = ns, name+"-"+template.Name
		w.must(w.Client.Create(w.ctx, pvc))
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: template.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: pvc.Name},
		}})
	}
	c := made.Steps
	c.Image, c.Command, c.Args, c.WorkingDir = toolchain, []string{"sh", "-c", script}, nil, ""
	c.Env = append(c.Env, vars...)
	spec.Containers, spec.InitContainers = []corev1.Container{c}, nil // others are of the CI system
	spec.RestartPolicy = corev1.RestartPolicyNever
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: spec}
	w.must(w.Client.Create(w.ctx, pod))
	return pod
}

// end waits for the end of a pod, which must succeed, and returns what it printed.
func (w *walk) end(pod *corev1.Pod) string {
	w.Helper()
	w.must(scenario.Until(w.ctx, timeout, pod.Name, func(ctx context.Context) (bool, string, error) {
		err := w.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		state, _ := json.Marshal(pod.Status.ContainerStatuses)
		return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed, string(state), err
	}))
	out, err := w.command("kubectl logs -n " + pod.Namespace + " " + pod.Name).CombinedOutput()
	w.must(err)
	w.Logf("%s:\n%s", pod.Name, out)
	if pod.Status.Phase != corev1.PodSucceeded {
		w.Fatalf("%s failed", pod.Name)
	}
	return string(out)
}

// build is run in the pod of each other CI system.
const build = `set -e
echo "user $(id -u)"
touch /gocache/build/written
go build -x os >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
echo "compiled $(grep -c '/compile .* -p ' /tmp/log || true)"
go build -x container/ring >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
echo "not warmed $(grep -c '/compile .* -p ' /tmp/log || true)"
`

// otherSystems creates the pods of all other pages, in a namespace for each owner of
// files, with a cache that has package os. They wait for its first snapshot. One of the
// caches is warmed from the monorepo over ssh.
func (w *walk) otherSystems(mono *gitserver.Repository) (pods []*corev1.Pod) {
	w.Helper()
	jenkins := w.page("runners/jenkins.md")
	for _, system := range runners.Systems {
		if slices.Contains(ofScaleSet, system.Name) {
			continue
		}
		ns := "others"
		if system.Name == "jenkins" {
			ns = system.Name
		}
		if err := w.Client.Get(w.ctx, client.ObjectKey{Name: ns}, &corev1.Namespace{}); apierrors.IsNotFound(err) {
			w.must(w.Client.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}))
			for _, name := range []string{"ci-modules", "ci-program"} { // the latter is the checkout of the Job
				w.must(w.Client.Create(w.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string]string{"go.mod": "module example.com/m\n\ngo 1.21\n"}}))
			}
			proxy := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "goproxy"}}
			proxy.Spec.Instances = []v1alpha1.ProxyInstance{{Name: "blue", Storage: &v1alpha1.InstanceStorage{Size: resource.MustParse("512Mi")}}}
			w.must(w.Client.Create(w.ctx, proxy))
			cache := &v1alpha1.GoCache{}
			w.must(yaml.Unmarshal([]byte(blocks(jenkins, "yaml")[0]), cache))
			cache.Namespace = ns
			source := &cache.Spec.WarmUp.Sources[0]
			source.Packages = []string{"os"}
			if ns != "jenkins" {
				cache.Spec.Storage.Ownership = nil // the default
				w.must(w.Client.Create(w.ctx, &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ssh", Annotations: map[string]string{v1alpha1.HostsAnnotation: host}},
					StringData: w.ssh,
				}))
				*source = v1alpha1.WarmUpSource{Git: &v1alpha1.GitSource{
					URL: "ssh://git@" + host + mono.Dir, SecretRef: &v1alpha1.LocalReference{Name: "ssh"}, Directories: []string{"tools"},
				}}
			}
			w.must(w.Client.Create(w.ctx, cache))
		} else {
			w.must(err)
		}
		pods = append(pods, w.start(ns, system.Name, system.Make(w.T, w.page(system.Page)), build))
	}
	return pods
}

// finish waits for the pods, each of which must have found package os.
func (w *walk) finish(pods []*corev1.Pod) {
	w.Helper()
	for _, pod := range pods {
		log := w.end(pod)
		user := fmt.Sprintf("user %d\n", *pod.Spec.SecurityContext.RunAsUser)
		if !strings.Contains(log, user) || !strings.Contains(log, "\ncompiled 0\n") || strings.Contains(log, "not warmed 0\n") {
			w.Errorf("%s printed:\n%s", pod.Name, log)
		}
	}
	if want := len(runners.Systems) - len(ofScaleSet); len(pods) != want {
		w.Errorf("%d pods, want %d", len(pods), want)
	}
}
