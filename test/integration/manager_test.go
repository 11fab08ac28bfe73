package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/cmd/manager"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/loopback"
)

// TestManager starts the operator as its Deployment does: it becomes ready,
// shows its metrics to authenticated clients only, and gives back the lease when it ends.
func TestManager(t *testing.T) {
	ns := server.Namespace(t)
	metrics, probes := loopback.Address(t), loopback.Address(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := manager.Command()
	cmd.SetArgs([]string{
		"--kubeconfig", kubeconfig(t), "--leader-elect", "--leader-election-namespace", ns,
		"--metrics-bind-address", metrics, "--health-probe-bind-address", probes, "--operator-image", "gocache.dev/operator:dev",
	})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()

	eventually(t, "the manager is ready", func() error { return answers("http://"+probes+"/readyz", http.StatusOK) })
	eventually(t, "the manager leads", func() error {
		if holder := leaseHolder(t, ns); holder == "" {
			return fmt.Errorf("nobody holds the lease")
		}
		return nil
	})
	eventually(t, "metrics are refused to strangers", func() error { return answers("https://"+metrics+"/metrics", http.StatusUnauthorized) })

	meetsStrangers(t, ns)

	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the manager ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the manager does not end")
	}
	if holder := leaseHolder(t, ns); holder != "" {
		t.Errorf("the lease is still held by %s: a rollout would wait for it to expire", holder)
	}
}

// meetsStrangers looks at what the operator's cache does not hold: an object of
// a needed name of another owner is noticed and left alone, and a PVC
// that bears no label of ours is seen by the populator.
func meetsStrangers(t *testing.T, namespace string) {
	t.Helper()
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: name} }
	foreign := &corev1.Service{ObjectMeta: meta("proxy-blue"), Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "somebody-elses"}, Ports: []corev1.ServicePort{{Port: 80}}}}
	proxy := &v1alpha1.ModProxy{ObjectMeta: meta("proxy"), Spec: v1alpha1.ModProxySpec{Instances: []v1alpha1.ProxyInstance{
		{Name: "blue", Storage: &v1alpha1.InstanceStorage{Size: resource.MustParse("1Gi")}}}}}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: meta("data"), Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes:   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:     corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		DataSourceRef: &corev1.TypedObjectReference{APIGroup: ptr.To(v1alpha1.GroupName), Kind: v1alpha1.GoCacheKind, Name: "none"},
	}}
	for _, o := range []client.Object{foreign, proxy, claim} {
		if err := server.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the proxy says that the name of its Service is taken", func() error {
		if err := server.Client.Get(t.Context(), client.ObjectKeyFromObject(proxy), proxy); err != nil {
			return err
		}
		stalled := apimeta.FindStatusCondition(proxy.Status.Conditions, v1alpha1.StalledCondition)
		if stalled == nil || stalled.Reason != v1alpha1.ReasonConflict {
			return fmt.Errorf("its conditions are %v", proxy.Status.Conditions)
		}
		return nil
	})
	if err := server.Client.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign); err != nil {
		t.Fatal(err)
	}
	if got := foreign.Spec.Selector["app"]; got != "somebody-elses" || len(foreign.OwnerReferences) > 0 {
		t.Errorf("somebody else's Service was taken over: selector %v, owners %v", foreign.Spec.Selector, foreign.OwnerReferences)
	}
	eventually(t, "the populator tells the owner of the claim that its source is missing", func() error {
		var list eventsv1.EventList
		if err := server.Client.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Regarding.UID == claim.UID {
				return nil
			}
		}
		return fmt.Errorf("among %d events none is about it", len(list.Items))
	})
}

// TestManagerRefusesItself expects a clear error before a pod without an image is
// made.
func TestManagerRefusesItself(t *testing.T) {
	t.Setenv("OPERATOR_IMAGE", "")
	cmd := manager.Command()
	cmd.SetArgs([]string{})
	if err := cmd.ExecuteContext(t.Context()); err == nil {
		t.Error("started without knowing its own image")
	}
}

func leaseHolder(t *testing.T, namespace string) string {
	t.Helper()
	var leases coordinationv1.LeaseList
	if err := server.Client.List(t.Context(), &leases, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	for _, l := range leases.Items {
		return ptr.Deref(l.Spec.HolderIdentity, "")
	}
	return ""
}

// answers asks once; the certificate is self-signed, and not what is tested.
func answers(url string, want int) error {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s answers %s, want %d", url, resp.Status, want)
	}
	return nil
}

// eventually asks until it holds, for as long as a busy machine may need.
func eventually(t *testing.T, what string, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute until %s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// kubeconfig writes what a person would have.
func kubeconfig(t *testing.T) string {
	t.Helper()
	return kubeconfigOf(t, server)
}

// kubeconfigOfManager is that of the manager's service account, which the admission
// policies name, with all rights.
func kubeconfigOfManager(t *testing.T) string {
	t.Helper()
	return kubeconfigOf(t, server, func(user *clientcmdapi.AuthInfo) {
		user.Impersonate, user.ImpersonateGroups = "system:serviceaccount:gocache-system:gocache-manager", []string{"system:masters"}
	})
}

func kubeconfigOf(t *testing.T, server *env.Env, change ...func(*clientcmdapi.AuthInfo)) string {
	t.Helper()
	config := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"c": {
			Server: server.Config.Host, CertificateAuthorityData: server.Config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"u": {
			ClientCertificateData: server.Config.CertData, ClientKeyData: server.Config.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}
	for _, f := range change {
		f(config.AuthInfos["u"])
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(config, file); err != nil {
		t.Fatal(err)
	}
	return file
}
