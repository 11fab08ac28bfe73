package env

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// Tenant is a client with the rights of a user who has the cluster's role edit
// in one namespace, and no others: what a test that attacks the operator plays
// with. The rules are those that the cluster's role edit aggregates, the
// operator's own from config/rbac/users.yaml among them. More are rights that the
// user has in the namespace besides, such as those of a CI runner.
func (e *Env) Tenant(t *testing.T, namespace string, more ...rbacv1.PolicyRule) client.WithWatch {
	t.Helper()
	user := "tenant-of-" + namespace
	names := []string{"system:aggregate-to-edit", "system:aggregate-to-view"}
	for _, role := range userRoles(t) {
		if role.Labels["rbac.authorization.k8s.io/aggregate-to-edit"] != "true" {
			continue
		}
		role.Name = "test:" + role.Name
		if err := e.Client.Create(t.Context(), &role); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatalf("create ClusterRole %s: %v", role.Name, err)
		}
		names = append(names, role.Name)
	}
	if len(more) > 0 {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "test:more-in-" + namespace}, Rules: more}
		if err := e.Client.Create(t.Context(), role); err != nil {
			t.Fatalf("create ClusterRole %s: %v", role.Name, err)
		}
		names = append(names, role.Name)
	}
	for i, name := range names {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("tenant-%d", i)},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
		}
		if err := e.Client.Create(t.Context(), binding); err != nil {
			t.Fatalf("bind %s to %s: %v", name, user, err)
		}
	}
	config := rest.CopyConfig(e.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	c, err := client.NewWithWatch(config, client.Options{Scheme: e.Scheme, Mapper: e.Client.RESTMapper()})
	if err != nil {
		t.Fatalf("make a client for %s: %v", user, err)
	}
	for _, rule := range append([]rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"cachesnapshots"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims"}, Verbs: []string{"create"}},
	}, more...) {
		waitForRight(t, c, namespace, rule)
	}
	return c
}

// waitForRight waits until the API server has learned of a binding.
func waitForRight(t *testing.T, c client.Client, namespace string, rule rbacv1.PolicyRule) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Group: rule.APIGroups[0], Resource: rule.Resources[0], Verb: rule.Verbs[0]},
		}}
		if err := c.Create(t.Context(), review); err != nil {
			t.Fatalf("ask the API server for a right: %v", err)
		}
		if review.Status.Allowed {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the API server does not grant %s on %s in %s", rule.Verbs[0], rule.Resources[0], namespace)
		}
	}
}

// userRoles are the roles that the operator ships for its users.
func userRoles(t *testing.T) (roles []rbacv1.ClusterRole) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(), "config", "rbac", "users.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		var role rbacv1.ClusterRole
		err := decoder.Decode(&role)
		if errors.Is(err, io.EOF) {
			return roles
		}
		if err != nil {
			t.Fatalf("config/rbac/users.yaml: %v", err)
		}
		roles = append(roles, role)
	}
}
