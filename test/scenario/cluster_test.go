package scenario

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"gocache.dev/operator/api/v1alpha1"
)

// TestStays: on a cluster that others use, the operator goes only if it came
// with the scenario and nothing of others would go with it.
func TestStays(t *testing.T) {
	scheme := apiruntime.NewScheme()
	for _, add := range []func(*apiruntime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	system := func(labels map[string]string) client.Object {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: SystemNamespace, Labels: labels}}
	}
	ours := system(map[string]string{installedLabel: "scenario"})
	theirs := metav1.ObjectMeta{Namespace: "team", Name: "x"}
	for name, tt := range map[string]struct {
		objects []client.Object
		why     string // empty: it may go
	}{
		"installed by the story, nothing left": {[]client.Object{ours}, ""},
		"there before":                         {[]client.Object{system(nil)}, "not installed from here"},
		"not there":                            {nil, "not installed from here"},
		"somebody's cache":                     {[]client.Object{ours, &v1alpha1.GoCache{ObjectMeta: theirs}}, "GoCache team/x"},
		"somebody's snapshot":                  {[]client.Object{ours, &v1alpha1.CacheSnapshot{ObjectMeta: theirs}}, "CacheSnapshot team/x"},
		"somebody's proxy":                     {[]client.Object{ours, &v1alpha1.ModProxy{ObjectMeta: theirs}}, "ModProxy team/x"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Cluster{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(tt.objects...).Build()}
			why, err := c.stays(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tt.why == "" && why != "" || !strings.Contains(why, tt.why) {
				t.Errorf("it stays because %q, want %q", why, tt.why)
			}
		})
	}
}

// TestAnotherClusterNeedsAnImage: this machine's own image is in no registry.
func TestAnotherClusterNeedsAnImage(t *testing.T) {
	c := &Cluster{Options: Options{Kind: Current}}
	t.Setenv("IMG", "")
	if err := c.pullableImage(t.Context()); err == nil || !strings.Contains(err.Error(), "IMG") {
		t.Errorf("without IMG: %v", err)
	}
	t.Setenv("IMG", "registry.example.com/operator:1")
	if err := c.pullableImage(t.Context()); err != nil || image() != "registry.example.com/operator:1" {
		t.Errorf("with IMG: image %s, error %v", image(), err)
	}
}

// twoClusters is a kubeconfig whose current context is not the kind cluster.
const twoClusters = `apiVersion: v1
kind: Config
current-context: production
clusters:
- {name: production, cluster: {server: "https://production.invalid"}}
- {name: kind-dev, cluster: {server: "https://kind.invalid"}}
contexts:
- {name: production, context: {cluster: production, user: admin}}
- {name: kind-dev, context: {cluster: kind-dev, user: admin}}
users:
- {name: admin, user: {}}
`

// fakeKind logs its calls, and exports the kubeconfig of its cluster alone.
const fakeKind = `#!/bin/sh
echo "kind $*" >>"$LOG"
[ "$1" != export ] || sed 's/^current-context: .*/current-context: kind-dev/' "$KUBECONFIG" >"$6"
`

// TestKindIsItsOwnCluster: the image is loaded into a kind cluster, so everything else
// happens there as well, and not in the cluster of the current context.
func TestKindIsItsOwnCluster(t *testing.T) {
	_, calls := fakeCluster(t)
	dir := filepath.Dir(os.Getenv("LOG"))
	for name, text := range map[string]string{"kind": fakeKind, "make": "#!/bin/sh\necho \"make $*\" >>\"$LOG\"\n", "config": twoClusters} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	t.Setenv("KUBECONFIG", filepath.Join(dir, "config"))
	t.Setenv("IMG", "")
	c, err := Start(t.Context(), Options{Kind: Kind, Name: "of-a-test"}, NewNarrator(t.Output()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(c.Kubeconfig) })
	if c.Config.Host != "https://kind.invalid" {
		t.Errorf("the client is of %s", c.Config.Host)
	}
	c.Client = fake.NewClientBuilder().Build()
	if err := c.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(Root(), "dist", "kind-of-a-test.kubeconfig")
	kubectl := os.Getenv("KUBECONFIG") + "||--kubeconfig " + file + " "
	list := kubectl + "api-resources --categories=gocaching -o name"
	want := []string{
		"make -s -C " + Root() + " docker-build IMG=" + localImage,
		"kind load docker-image " + localImage + " --name of-a-test",
		"kind export kubeconfig --name of-a-test --kubeconfig " + file,
		"make -s -C " + Root() + " deploy IMG=" + localImage + " KUBECTL=" + c.Kubectl + " KUBECONFIG=" + file,
		kubectl + "label namespace gocache-system cache.gocache.dev/installed-by=scenario",
		list, list, list,
	}
	if !slices.Equal(calls(), want) {
		t.Errorf("called\n%s\nwant\n%s", strings.Join(calls(), "\n"), strings.Join(want, "\n"))
	}
	s := &Scenario{Cluster: c, Namespace: "n"}
	if !strings.Contains(s.LookAround(), "export KUBECONFIG="+file+"\n") {
		t.Errorf("the commands are for another cluster:\n%s", s.LookAround())
	}
}
