package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/testing/cluster"
)

// TestVolumesStayInTheirNamespace holds that the API server itself refuses what
// the operator must never do to a PersistentVolume, and allows what it does: the
// policy of config/default, played by the operator's own service account.
func TestVolumesStayInTheirNamespace(t *testing.T) {
	for _, o := range kustomize(t, "default") {
		if strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
			if err := server.Client.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatalf("create %s %s: %v", o.GetKind(), o.GetName(), err)
			}
		}
	}
	manager := serviceAccount(t, "gocache-system", "gocache-manager", "patch", "delete", "get")
	other := serviceAccount(t, "kube-system", "some-provisioner", "patch", "delete", "get")
	ns := server.Namespace(t)
	_, pv, err := cluster.BoundVolume(t.Context(), server.Client, ns, "data")
	if err != nil {
		t.Fatal(err)
	}
	patch := func(c client.Client, text string) error {
		return c.Patch(t.Context(), pv.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(text)), client.DryRunAll)
	}
	steal := `{"spec":{"claimRef":{"namespace":"elsewhere","name":"mine","uid":null}}}`
	// The API server compiles a new policy in the background.
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		return patch(manager, steal) != nil, nil
	})
	if err != nil {
		t.Fatal("the operator may move a volume to another namespace")
	}
	for name, text := range map[string]string{"moved": steal, "released": `{"spec":{"claimRef":null}}`} {
		if err := patch(manager, text); !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) || err == nil || !strings.Contains(err.Error(), "stays with the namespace") {
			t.Errorf("%s: %v, want a refusal that says why", name, err)
		}
	}
	if err := manager.Delete(t.Context(), pv.DeepCopy(), client.DryRunAll); err == nil || !strings.Contains(err.Error(), "does not delete PersistentVolumes") {
		t.Errorf("deleted: %v, want a refusal that says why", err)
	}
	for name, text := range map[string]string{
		"reserved in its namespace": `{"spec":{"claimRef":{"name":"data-previous","uid":null,"resourceVersion":null}}}`,
		"secured":                   `{"metadata":{"annotations":{"a":"b"}},"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`,
	} {
		if err := patch(manager, text); err != nil {
			t.Errorf("%s: %v, want it allowed", name, err)
		}
	}
	if err := patch(other, steal); err != nil {
		t.Errorf("another service account is refused too: %v", err)
	}
}

// serviceAccount is a client with some rights to PersistentVolumes.
func serviceAccount(t *testing.T, namespace, name string, verbs ...string) client.Client {
	t.Helper()
	user := "system:serviceaccount:" + namespace + ":" + name
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{corev1.GroupName}, Resources: []string{"persistentvolumes"}, Verbs: verbs}},
	}
	if err := server.Client.Create(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	if err := server.Client.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(server.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	c, err := client.New(config, client.Options{Scheme: server.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
