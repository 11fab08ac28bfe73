package walkthrough

import (
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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/internal/testing/gitserver"
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
}

// TestWalkthrough follows the page from an empty cluster with the operator on it.
func TestWalkthrough(t *testing.T) {
	if testing.Short() || os.Getenv(variable) == "" {
		t.Skip("needs a real cluster: make test-walkthrough")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w := begin(ctx, t)
	page := w.page("walkthrough.md")
	commands := blocks(page, "sh")
	files := blocks(page, "yaml")
	if len(commands) != 4 || len(files) != 2 {
		t.Fatalf("%d blocks of commands and %d files: the page has changed", len(commands), len(files))
	}

	w.shell("namespace and credentials", commands[0])
	commit := w.git()
	w.save("modproxy.yaml", files[0])
	w.save("cache.yaml", files[1])
	w.shell("wait for the first snapshot", commands[1])

	log := w.runner()
	if !strings.Contains(log, "compiled 0\n") {
		t.Errorf("packages were compiled on the clone:\n%s", log)
	}
	if out := w.shell("see that it works", commands[2]); !strings.Contains(out, "filled with a clone of CacheSnapshot ci-") {
		t.Errorf("no event names a snapshot:\n%s", out)
	}
	if out := w.shell("after a push", commands[3]); strings.TrimSpace(out) != commit {
		t.Errorf("the commit that was warmed: %q, want %q", out, commit)
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
			out, _ := w.command("kubectl get gocaching,pods,jobs,pvc -A -o wide; kubectl get gocaching -n ci -o yaml; kubectl get events -n ci --sort-by=.lastTimestamp").CombinedOutput()
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

// blocks are those of one language, in their order.
func blocks(page, language string) (all []string) {
	for _, found := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		all = append(all, found[1])
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
	return cmd
}

// shell pastes a block of commands, and returns its output.
func (w *walk) shell(step, script string) string {
	w.Helper()
	if strings.Contains(script, "ca.crt") {
		w.certificate()
	}
	began := time.Now()
	out, err := w.command(script).CombinedOutput()
	w.Logf("%s, %s:\n%s%s", step, time.Since(began).Round(time.Second), script, out)
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

// git serves the monorepo and the module from this machine at a name in the cluster.
// It returns the commit of the monorepo.
func (w *walk) git() string {
	w.Helper()
	lib, err := gitserver.New(w.ctx, w.TempDir())
	w.must(err)
	_, err = lib.Commit(w.ctx, library)
	w.must(err)
	for _, args := range [][]string{{"tag", "v1.0.0"}, {"push", "--quiet", "origin", "refs/tags/v1.0.0"}} {
		_, err = lib.InWork(w.ctx, args...)
		w.must(err)
	}
	mono, err := gitserver.New(w.ctx, w.TempDir())
	w.must(err)
	commit, err := mono.Commit(w.ctx, map[string]string{
		"services/billing/go.mod":              "module " + host + "/group/monorepo/services/billing\n\ngo 1.21\n\nrequire " + host + "/group/lib v1.0.0\n",
		"services/billing/go.sum":              w.sums(),
		"services/billing/cmd/bill/main.go":    "package main\n\nimport (\n\t\"fmt\"\n\n\t\"" + host + "/group/lib\"\n\t\"" + host + "/group/monorepo/services/billing/price\"\n)\n\nfunc main() { fmt.Println(lib.Text, price.Of(2)) }\n",
		"services/billing/price/price.go":      "// Package price is of the monorepo.\npackage price\n\n// Of some.\nfunc Of(n int) int { return 3 * n }\n",
		"services/billing/price/price_test.go": "package price\n\nimport \"testing\"\n\nfunc TestOf(t *testing.T) {\n\tif Of(2) != 6 {\n\t\tt.Fail()\n\t}\n}\n",
		"tools/go.mod":                         "module " + host + "/group/monorepo/tools\n\ngo 1.21\n",
		"tools/lint/main.go":                   "package main\n\nimport \"os\"\n\nfunc main() { os.Exit(0) }\n",
	})
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

// serve answers https at the host in the cluster.
func (w *walk) serve(handler http.Handler) {
	w.Helper()
	listener, err := (&net.ListenConfig{}).Listen(w.ctx, "tcp", net.JoinHostPort(w.HostIP, "0"))
	w.must(err)
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12},
	}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	w.Cleanup(func() { _ = server.Close() })
	port := int32(listener.Addr().(*net.TCPAddr).Port) //nolint:gosec // a port
	w.must(w.Client.Create(w.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "git"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	}))
	w.must(w.Client.Create(w.ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: "git", Labels: map[string]string{discoveryv1.LabelServiceName: "git"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{w.HostIP}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}}},
		Ports:       []discoveryv1.EndpointPort{{Name: ptr.To("https"), Port: ptr.To(port), Protocol: ptr.To(corev1.ProtocolTCP)}},
	}))
}

// checkout and the steps of the workflow, as a runner makes them.
const steps = `
set -e
cd /tmp
printf '%%s' "$CA" >ca.crt
GIT_SSL_CAINFO=/tmp/ca.crt git clone -q https://ci:correct%%20horse@%s/group/monorepo.git
cd monorepo/services/billing
export GOFLAGS=-trimpath
{ go build -x -o /dev/null ./... && go vet ./... && go test -x -count=1 ./...; } >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
go run ./cmd/bill
echo "compiled $(grep -c '/compile .* -p ' /tmp/log || true)"
`

// runner makes the pod of the runner scale set, waits for its end, and returns what
// it printed.
func (w *walk) runner() string {
	w.Helper()
	var values struct{ Template corev1.PodTemplateSpec }
	for _, text := range blocks(w.page("runners/arc.md"), "yaml") {
		if strings.HasPrefix(text, "# values\n") {
			w.must(yaml.Unmarshal([]byte(text), &values))
		}
	}
	spec := values.Template.Spec
	i := slices.IndexFunc(spec.Containers, func(c corev1.Container) bool { return c.Name == "runner" })
	if i < 0 {
		w.Fatal("no container runner in the values")
	}
	ca, err := os.ReadFile(filepath.Join(w.dir, "ca.crt"))
	w.must(err)
	c := &spec.Containers[i]
	c.Image, c.Command = toolchain, []string{"sh", "-c", fmt.Sprintf(steps, host)}
	c.Env = append(c.Env, corev1.EnvVar{Name: "CA", Value: string(ca)}, corev1.EnvVar{Name: "HOME", Value: "/tmp"})
	spec.RestartPolicy = corev1.RestartPolicyNever // as the controller sets it
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "go-runners-1"}, Spec: spec}
	began := time.Now()
	w.must(w.Client.Create(w.ctx, pod))
	w.must(scenario.Until(w.ctx, 20*time.Minute, "the runner", func(ctx context.Context) (bool, string, error) {
		err := w.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		state, _ := json.Marshal(pod.Status.ContainerStatuses)
		return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed, string(state), err
	}))
	out, err := w.command("kubectl logs go-runners-1").CombinedOutput()
	w.must(err)
	w.Logf("the runner, %s:\n%s", time.Since(began).Round(time.Second), out)
	if pod.Status.Phase != corev1.PodSucceeded {
		w.Fatal("the runner failed")
	}
	return string(out)
}
