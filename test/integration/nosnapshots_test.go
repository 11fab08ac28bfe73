package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/env"
)

// TestClusterWithoutSnapshots starts the operator on a cluster that does not serve
// CSI snapshots. Each object that needs them reports so, and works as soon as they
// are served, without a restart of the operator.
func TestClusterWithoutSnapshots(t *testing.T) {
	t.Parallel()
	own := env.Start(t, env.WithoutSnapshots)
	namespace := own.Namespace(t)
	var logs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe",
		"--kubeconfig", kubeconfigOf(t, own), "--metrics-bind-address", "0", "--health-probe-bind-address", "0", "--operator-image", "gocache.dev/operator:dev")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), asManager+"=yes"), &logs, &logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of the manager: %.8000s", logs.String())
		}
	})

	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "ci"}}
	cache.Spec.Toolchain.Version, cache.Spec.Storage.Size = "1.26.8", resource.MustParse("1Gi")
	snapshot := &v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "one"}}
	snapshot.Spec.SourceRef = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}
	for _, o := range []client.Object{cache, snapshot} {
		if err := own.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	reason := func(o client.Object, of *[]metav1.Condition) string {
		if err := own.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err.Error()
		}
		if stalled := apimeta.FindStatusCondition(*of, v1alpha1.StalledCondition); stalled != nil {
			return stalled.Reason
		}
		return fmt.Sprint("not stalled: ", *of)
	}
	eventually(t, "both objects report that the cluster has no CSI snapshots", func() error {
		a, b := reason(cache, &cache.Status.Conditions), reason(snapshot, &snapshot.Status.Conditions)
		if a != v1alpha1.ReasonSnapshotAPIMissing || b != v1alpha1.ReasonSnapshotAPIMissing {
			return fmt.Errorf("GoCache %s, CacheSnapshot %s", a, b)
		}
		return nil
	})

	own.ServeSnapshots(t)
	eventually(t, "no object reports it any more", func() error {
		a, b := reason(cache, &cache.Status.Conditions), reason(snapshot, &snapshot.Status.Conditions)
		if a == v1alpha1.ReasonSnapshotAPIMissing || b == v1alpha1.ReasonSnapshotAPIMissing {
			return fmt.Errorf("GoCache %s, CacheSnapshot %s", a, b)
		}
		return nil
	})
	select {
	case err := <-ended:
		t.Fatalf("the manager has ended: %v", err)
	default:
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the manager ended with %v", err)
	}
}
