package integration

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/env"
	"gocache.dev/operator/internal/testing/loopback"
)

func accessReview(namespace string, rule rbacv1.PolicyRule) *authorizationv1.SelfSubjectAccessReview {
	attributes := &authorizationv1.ResourceAttributes{
		Namespace: namespace, Verb: rule.Verbs[0], Group: rule.APIGroups[0], Resource: rule.Resources[0],
	}
	if len(rule.ResourceNames) > 0 {
		attributes.Name = rule.ResourceNames[0]
	}
	return &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes}}
}

// TestOneNamespace runs the operator as config/namespaced installs it, with the
// rights of its service account and no others: it does its work in its
// namespace without being refused anything, and none in another.
func TestOneNamespace(t *testing.T) {
	const watched = "go-caches"
	other := server.Namespace(t)
	logs := managerOf(t, installNamespaced(t, watched))

	for _, ns := range []string{watched, other} {
		cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci"}}
		cache.Spec.Toolchain.Version = "1.26.8"
		cache.Spec.Storage.Size = resource.MustParse("1Gi")
		proxy := &v1alpha1.ModProxy{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "goproxy"}, Spec: v1alpha1.ModProxySpec{Instances: []v1alpha1.ProxyInstance{
			{Name: "blue", Storage: &v1alpha1.InstanceStorage{Size: resource.MustParse("1Gi")}}}}}
		request := requestOf(ns, v1alpha1.CacheRequestSpec{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestApproveCleanup, Argument: "sha256:1"})
		request.GenerateName, request.Name = "", "none"
		for _, o := range []client.Object{cache, proxy, request} {
			if err := server.Client.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, o := range []client.Object{
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "ci"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "ci-env"}},
		&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "goproxy-blue"}},
		&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "goproxy-router"}},
	} {
		eventually(t, fmt.Sprintf("%T %s is created", o, o.GetName()), func() error {
			err := server.Client.Get(t.Context(), client.ObjectKey{Namespace: watched, Name: o.GetName()}, o)
			if err != nil {
				return fmt.Errorf("%w; the log ends with %s", err, logs.end())
			}
			return nil
		})
	}
	eventually(t, "the request is refused, since no plan waits", func() error {
		var q v1alpha1.CacheRequest
		if err := server.Client.Get(t.Context(), client.ObjectKey{Namespace: watched, Name: "none"}, &q); err != nil {
			return err
		}
		if q.Status.Outcome != v1alpha1.RequestRefused {
			return fmt.Errorf("it is %q, %q", q.Status.Outcome, q.Status.Message)
		}
		return nil
	})
	if text := logs.with("forbidden", "Forbidden"); text != "" {
		t.Errorf("the operator was refused something: %s", text)
	}

	var cache v1alpha1.GoCache
	if err := server.Client.Get(t.Context(), client.ObjectKey{Namespace: other, Name: "ci"}, &cache); err != nil {
		t.Fatal(err)
	}
	var made corev1.PersistentVolumeClaimList
	if err := server.Client.List(t.Context(), &made, client.InNamespace(other)); err != nil {
		t.Fatal(err)
	}
	if cache.Status.ObservedGeneration != -1 || len(made.Items) > 0 {
		t.Errorf("the operator worked in another namespace: status %+v, %d PVCs", cache.Status, len(made.Items))
	}
}

// installNamespaced creates the roles of config/namespaced for a namespace, and returns
// the arguments of its manager.
func installNamespaced(t *testing.T, watched string) (args []string) {
	t.Helper()
	const ofTheOverlay = "go-caches"
	for _, name := range []string{watched, "gocache-system"} {
		err := server.Client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	for _, o := range kustomize(t, "namespaced") {
		switch o.GetKind() {
		case "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding":
			if o.GetNamespace() == ofTheOverlay {
				o.SetNamespace(watched)
			}
			if err := server.Client.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatalf("create %s %s: %v", o.GetKind(), o.GetName(), err)
			}
		case "Deployment":
			args = deployment(t, o).Spec.Template.Spec.Containers[0].Args
		}
	}
	at := slices.Index(args, "--watch-namespace="+ofTheOverlay)
	if at < 0 {
		t.Fatalf("the Deployment has arguments %q, want --watch-namespace=%s", args, ofTheOverlay)
	}
	args[at] = "--watch-namespace=" + watched
	return append(args, "--leader-election-namespace", "gocache-system")
}

// TestRulesOfTheNamespacedInstall asserts that config/namespaced grants what the
// code needs of objects without a namespace: no more, and no less. What sharing
// between namespaces needs is granted by a file that the overlay leaves out.
func TestRulesOfTheNamespacedInstall(t *testing.T) {
	read := func(file, name string) map[string]string {
		text, err := os.ReadFile(filepath.Join(env.Root(), "config", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range strings.Split(string(text), "\n---\n") {
			var role rbacv1.ClusterRole
			if err := yaml.Unmarshal([]byte(doc), &role); err != nil {
				t.Fatal(err)
			}
			if role.Kind != "ClusterRole" || role.Name != name {
				continue
			}
			granted := map[string]string{}
			for _, rule := range role.Rules {
				for _, group := range rule.APIGroups {
					for _, what := range rule.Resources {
						granted[group+"/"+what] = sorted(rule.Verbs...)
					}
				}
			}
			return granted
		}
		t.Fatalf("config/%s has no ClusterRole %s", file, name)
		return nil
	}
	clusterScoped := map[string]bool{
		"/persistentvolumes": true, "storage.k8s.io/storageclasses": true, "snapshot.storage.k8s.io/volumesnapshotclasses": true,
		"snapshot.storage.k8s.io/volumesnapshotcontents": true, "populator.storage.k8s.io/volumepopulators": true,
		"/namespaces": true, "/nodes": true,
	}
	needed, granted := read("rbac/role.yaml", "manager"), read("namespaced/cluster.yaml", "gocache-manager-cluster")
	sharing := read("namespaced/sharing.yaml", "gocache-manager-sharing")
	for what, verbs := range needed {
		if all := sorted(append(strings.Fields(granted[what]), strings.Fields(sharing[what])...)...); clusterScoped[what] && all != verbs {
			t.Errorf("config/namespaced grants %q of %s, want %q", all, what, verbs)
		}
	}
	want := map[string]string{"/namespaces": "get", "snapshot.storage.k8s.io/volumesnapshotcontents": "create delete list"}
	if !maps.Equal(sharing, want) {
		t.Errorf("config/namespaced/sharing.yaml grants %v, want %v", sharing, want)
	}
	for _, o := range kustomize(t, "namespaced") {
		if o.GetName() == "gocache-manager-sharing" {
			t.Errorf("config/namespaced includes %s %s, which is for sharing alone", o.GetKind(), o.GetName())
		}
	}
	for what := range granted {
		if !clusterScoped[what] || needed[what] == "" {
			t.Errorf("config/namespaced/cluster.yaml grants %s in all namespaces", what)
		}
	}
}

func sorted(verbs ...string) string { return strings.Join(slices.Sorted(slices.Values(verbs)), " ") }

func deployment(t *testing.T, o *unstructured.Unstructured) *appsv1.Deployment {
	t.Helper()
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// journal holds what a process has logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// with returns the lines that contain one of the words.
func (j *journal) with(words ...string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []string
	for line := range strings.Lines(j.text.String()) {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

func (j *journal) end() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	text := j.text.String()
	return text[max(0, len(text)-2000):]
}

// managerAccount is the user that the manager of config/default is.
const managerAccount = "system:serviceaccount:gocache-system:gocache-manager"

var groupsOfManager = []string{"system:serviceaccounts", "system:serviceaccounts:gocache-system", "system:authenticated"}

// managerOf runs the manager in a process of its own, as its service account.
func managerOf(t *testing.T, args []string) *journal {
	t.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	user := config.AuthInfos["u"]
	user.Impersonate, user.ImpersonateGroups = managerAccount, groupsOfManager
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return runManager(t, file, args...)
}

// runManager runs the manager in a process of its own, until the test ends.
func runManager(t *testing.T, kubeconfig string, args ...string) *journal {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	logs := &journal{}
	cmd := exec.Command(self, append(args, "--kubeconfig", kubeconfig, "--metrics-bind-address", "0",
		"--health-probe-bind-address", loopback.Address(t), "--operator-image", "gocache.dev/operator:dev")...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), asManager+"=1"), logs, logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		stuck := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer stuck.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the manager ended with %v: %s", err, logs.end())
		}
	})
	return logs
}
