package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cli"
)

// plugin runs a command of the kubectl plugin as a user, as a program would.
func plugin(t *testing.T, kubeconfig, namespace, user string, args ...string) (out, errOut string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	streams, _, o, e := genericiooptions.NewTestIOStreams()
	cmd := cli.New(streams, cli.Options{Version: "test", Now: time.Now})
	cmd.SetArgs(append(args, "--kubeconfig", kubeconfig, "--namespace", namespace, "--as", user))
	err = cmd.ExecuteContext(ctx)
	return o.String(), e.String(), err
}

// TestPlugin requests actions by the kubectl plugin, with the roles and the
// admission policy that are shipped, and shows the objects.
func TestPlugin(t *testing.T) {
	installPolicies(t)
	installRoles(t)
	ns := server.Namespace(t)
	as(t, ns, "plugin-operator", "gocache-view", "gocache-operate")
	as(t, ns, "plugin-reporter", "gocache-ci-reporter")
	kubeconfig := writeKubeconfig(t)
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci"}}
	cache.Spec.Toolchain.Version = "1.26.8"
	cache.Spec.Storage.Size = resource.MustParse("1Gi")
	if err := server.Client.Create(t.Context(), cache); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- finishRequests(ctx, ns) }()
	for user, args := range map[string][]string{
		"plugin-operator": {"rollback", "ci", "--wait"},
		// It may neither list requests nor read caches.
		"plugin-reporter": {"report-failure", "ci", "--wait"},
	} {
		out, errOut, err := plugin(t, kubeconfig, ns, user, args...)
		if err != nil || !strings.HasSuffix(out, " created\n") || !strings.HasSuffix(errOut, "Succeeded: done by the test\n") {
			t.Errorf("%v by %s: %q, %q: %v", args, user, out, errOut, err)
		}
	}
	cancel()
	if err := <-finished; err != nil {
		t.Fatal(err)
	}

	for user, args := range map[string][]string{"plugin-operator": {"approve", "ci", "sha256:1"}, "plugin-reporter": {"rollback", "ci", "--dry-run=server"}} {
		if _, _, err := plugin(t, kubeconfig, ns, user, args...); err == nil || !strings.Contains(err.Error(), "verb") {
			t.Errorf("%v by %s: %v", args, user, err)
		}
	}
	out, _, err := plugin(t, kubeconfig, ns, "plugin-operator", "status", "-o", "wide")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GoCache/ci ", "Rollback: done by the test", "ReportFailure: done by the test", "Note: PersistentVolumeClaims are not shown"} {
		if !strings.Contains(out, want) {
			t.Errorf("status lacks %q:\n%s", want, out)
		}
	}
}

// finishRequests plays the operator until it is stopped.
func finishRequests(ctx context.Context, namespace string) error {
	for ctx.Err() == nil {
		var all v1alpha1.CacheRequestList
		if err := server.Client.List(ctx, &all, client.InNamespace(namespace)); err != nil && ctx.Err() == nil {
			return err
		}
		for i := range all.Items {
			r := &all.Items[i]
			if r.Status.CompletionTime != nil {
				continue
			}
			now := metav1.Now()
			r.Status.Outcome, r.Status.Message, r.Status.CompletionTime = v1alpha1.RequestSucceeded, "done by the test", &now
			if err := server.Client.Status().Update(ctx, r); err != nil && ctx.Err() == nil {
				return fmt.Errorf("finish %s: %w", r.Name, err)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond): // the next look
		}
	}
	return nil
}

// writeKubeconfig writes the administrator's access as a file.
func writeKubeconfig(t *testing.T) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: server.Config.Host, CertificateAuthorityData: server.Config.CAData}
	config.AuthInfos["test"] = &clientcmdapi.AuthInfo{ClientCertificateData: server.Config.CertData, ClientKeyData: server.Config.KeyData}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	data, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, bytes.TrimSpace(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
