package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"gocache.dev/operator/test/scenario"
)

// TestPrintedCommandsFindTheKinds: the commands that the demo prints work at
// once, although kubectl cached what the server offers before the CRDs were
// there. For a category, such as gocaching, kubectl never looks again.
func TestPrintedCommandsFindTheKinds(t *testing.T) {
	bare := &envtest.Environment{}
	config, err := bare.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bare.Stop(); err != nil {
			t.Error(err)
		}
	})
	user, err := bare.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, config)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	file := filepath.Join(home, "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	c := &scenario.Cluster{
		Options: scenario.Options{Kind: scenario.Local}, Kubeconfig: file, KubeCache: filepath.Join(home, "kubecache"),
		Kubectl: filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"),
	}

	if out, err := c.KubectlOutput(t.Context(), "get", "gocaching"); err == nil || !strings.Contains(err.Error(), "doesn't have a resource type") {
		t.Fatalf("before the CRDs are there: %v\n%s", err, out)
	}
	if err := c.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &scenario.Scenario{Cluster: c, Namespace: metav1.NamespaceDefault}
	export, commands, _ := strings.Cut(s.LookAround(), "\n")
	first, _, _ := strings.Cut(commands, "\n")
	out, err := exec.CommandContext(t.Context(), "sh", "-c", export+"\n"+first).CombinedOutput() //nolint:gosec // what is tested
	if err != nil || !strings.Contains(string(out), "No resources found in default namespace") {
		t.Errorf("%s\n%v\n%s", first, err, out)
	}
}
