package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// actions are all actions, with a target of each kind that has them.
var actions = []v1alpha1.CacheRequestSpec{
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestWarmUp},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestCheckIntegrity},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestCleanup},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestApproveCleanup, Argument: "sha256:1"},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestSnapshot},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestRollback},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestReportFailure},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: "ci"}, Action: v1alpha1.RequestReportBuild, Build: &v1alpha1.BuildReport{Hits: 1}},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.ModProxyKind, Name: "p"}, Action: v1alpha1.RequestCheckIntegrity},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.ModProxyKind, Name: "p"}, Action: v1alpha1.RequestSnapshot},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.ModProxyKind, Name: "p"}, Action: v1alpha1.RequestFailover, Argument: "blue"},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.ModProxyKind, Name: "p"}, Action: v1alpha1.RequestFailback},
	{TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.ModProxyKind, Name: "p"}, Action: v1alpha1.RequestReinstate, Argument: "blue"},
}

func brief(s v1alpha1.CacheRequestSpec) string { return string(s.Action) + " " + s.TargetRef.Kind }

// TestRequestsNeedTheirVerb asserts what each role that is shipped may request, on a
// real API server with the admission policy of config/default: a CI system may
// report a failed build and nothing else, and an editor of a GoCache cannot
// approve its cleanups.
func TestRequestsNeedTheirVerb(t *testing.T) {
	installPolicies(t)
	ns := server.Namespace(t)
	roles := map[string][]string{ // and what they may request
		"gocache-ci-reporter": {"ReportFailure GoCache", "ReportBuild GoCache"},
		"gocache-approver":    {"ApproveCleanup GoCache", "Reinstate ModProxy"},
		"gocache-operate": {
			"WarmUp GoCache", "CheckIntegrity GoCache", "Cleanup GoCache", "Snapshot GoCache", "Rollback GoCache", "ReportFailure GoCache", "ReportBuild GoCache",
			"CheckIntegrity ModProxy", "Snapshot ModProxy", "Failover ModProxy", "Failback ModProxy",
		},
		"gocache-edit": nil, // it may not create any
		"gocache-view": nil,
	}
	installRoles(t)
	for role, allowed := range roles {
		user := as(t, ns, "user-of-"+role, role)
		for _, spec := range actions {
			err := user.Create(t.Context(), requestOf(ns, spec), client.DryRunAll)
			may := strings.Contains(" "+strings.Join(allowed, ", ")+", ", " "+brief(spec)+", ")
			switch {
			case may && err != nil:
				t.Errorf("%s may not request %s: %v", role, brief(spec), err)
			case !may && err == nil:
				t.Errorf("%s may request %s", role, brief(spec))
			case !may && !apierrors.IsForbidden(err):
				t.Errorf("%s is refused %s with %v, want Forbidden", role, brief(spec), err)
			}
		}
	}
	editor := as(t, ns, "editor", "gocache-view", "gocache-edit", "gocache-operate") // as the cluster's role edit aggregates them
	err := editor.Create(t.Context(), requestOf(ns, actions[3]), client.DryRunAll)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `editor may not request ApproveCleanup of GoCache ci: this requires the verb "approve" on gocaches.cache.gocache.dev "ci" in namespace `+ns) {
		t.Errorf("an editor who approves is refused with %v, want the verb that is lacking", err)
	}
}

// TestRequestsByName asserts that a right to one object is no right to another,
// nor to one of its name in another namespace.
func TestRequestsByName(t *testing.T) {
	installPolicies(t)
	installRoles(t)
	ns, other := server.Namespace(t), server.Namespace(t)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "one-cache-of-" + ns}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"cacherequests"}, Verbs: []string{"create"}},
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"gocaches"}, ResourceNames: []string{"ci"}, Verbs: []string{"warm-up"}},
	}}
	if err := server.Client.Create(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	creator := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "creator-of-" + ns}, Rules: role.Rules[:1]}
	if err := server.Client.Create(t.Context(), creator); err != nil {
		t.Fatal(err)
	}
	user := as(t, ns, "one-cache", role.Name)
	bind(t, other, "one-cache", creator.Name)
	spec := actions[0]
	if err := user.Create(t.Context(), requestOf(ns, spec), client.DryRunAll); err != nil {
		t.Errorf("the named cache: %v", err)
	}
	if err := user.Create(t.Context(), requestOf(other, spec), client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("a cache of that name in another namespace: %v, want Forbidden", err)
	}
	spec.TargetRef.Name = "release"
	if err := user.Create(t.Context(), requestOf(ns, spec), client.DryRunAll); !apierrors.IsForbidden(err) {
		t.Errorf("another cache: %v, want Forbidden", err)
	}
}

// TestRequestsDoNotChange asserts that a request is neither changed into another
// one nor answered by those who create them.
func TestRequestsDoNotChange(t *testing.T) {
	installPolicies(t)
	installRoles(t)
	ns := server.Namespace(t)
	user := as(t, ns, "reporter", "gocache-ci-reporter")
	q := requestOf(ns, actions[6])
	q.Status.Outcome = v1alpha1.RequestSucceeded
	if err := user.Create(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	created := &v1alpha1.CacheRequest{} // a new one: what the answer lacks is kept in the old one
	if err := user.Get(t.Context(), client.ObjectKeyFromObject(q), created); err != nil || created.Status.Outcome != "" {
		t.Errorf("created with outcome %q, error %v", created.Status.Outcome, err)
	}
	changed := q.DeepCopy()
	changed.Spec.Action, changed.Spec.Argument = v1alpha1.RequestApproveCleanup, "sha256:1"
	if err := user.Update(t.Context(), changed); !apierrors.IsForbidden(err) {
		t.Errorf("its creator may update it: %v", err)
	}
	if err := server.Client.Update(t.Context(), changed.DeepCopy()); !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
		t.Errorf("an administrator may update it: %v", err)
	}
	answered := q.DeepCopy()
	answered.Status.Outcome = v1alpha1.RequestSucceeded
	editor := as(t, ns, "editor-of-requests", "gocache-view", "gocache-edit", "gocache-operate", "gocache-approver")
	for name, c := range map[string]client.Client{"its creator": user, "an editor": editor} {
		if err := c.Status().Update(t.Context(), answered.DeepCopy()); !apierrors.IsForbidden(err) {
			t.Errorf("%s may write its status: %v", name, err)
		}
	}
	if err := user.Delete(t.Context(), q); !apierrors.IsForbidden(err) {
		t.Errorf("a reporter may withdraw requests: %v", err)
	}
}

// TestApprovalIsNotEdited asserts that an editor without the verb approve cannot
// make approvals unnecessary either, and may edit everything else.
func TestApprovalIsNotEdited(t *testing.T) {
	installPolicies(t)
	installRoles(t)
	ns := server.Namespace(t)
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci"}}
	cache.Spec.Toolchain.Version = "1.26.8"
	cache.Spec.Storage.Size = resource.MustParse("1Gi")
	cache.Spec.Cleanup = &v1alpha1.Cleanup{MaxSize: ptrTo(resource.MustParse("1Gi")), Approval: v1alpha1.ApprovalRequired}
	if err := server.Client.Create(t.Context(), cache); err != nil {
		t.Fatal(err)
	}
	editor := as(t, ns, "editor-of-caches", "gocache-view", "gocache-edit", "gocache-operate")
	approver := as(t, ns, "approving-editor", "gocache-edit", "gocache-approver")
	for name, tt := range map[string]struct {
		change  func(*v1alpha1.GoCacheSpec)
		refused bool
	}{
		"bounds":       {func(s *v1alpha1.GoCacheSpec) { s.Cleanup.MaxSize = ptrTo(resource.MustParse("2Gi")) }, false},
		"no approval":  {func(s *v1alpha1.GoCacheSpec) { s.Cleanup.Approval = v1alpha1.ApprovalAutomatic }, true},
		"the default":  {func(s *v1alpha1.GoCacheSpec) { s.Cleanup.Approval = "" }, true},
		"no cleanup":   {func(s *v1alpha1.GoCacheSpec) { s.Cleanup = nil }, true},
		"another size": {func(s *v1alpha1.GoCacheSpec) { s.Storage.Size = resource.MustParse("3Gi") }, false},
	} {
		edited := cache.DeepCopy()
		tt.change(&edited.Spec)
		err := editor.Update(t.Context(), edited.DeepCopy(), client.DryRunAll)
		if tt.refused != apierrors.IsForbidden(err) || !tt.refused && err != nil {
			t.Errorf("%s: an editor gets %v, want it refused: %v", name, err, tt.refused)
		}
		if err := approver.Update(t.Context(), edited, client.DryRunAll); err != nil {
			t.Errorf("%s: an editor who may approve is refused: %v", name, err)
		}
	}
}

func requestOf(namespace string, spec v1alpha1.CacheRequestSpec) *v1alpha1.CacheRequest {
	return &v1alpha1.CacheRequest{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "r-"}, Spec: spec}
}

func ptrTo[T any](v T) *T { return &v }

// installPolicies creates the admission policies of config/default and waits
// until the API server, which compiles them in the background, applies them.
func installPolicies(t *testing.T) {
	t.Helper()
	for _, o := range kustomize(t, "default") {
		if strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
			if err := server.Client.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatalf("create %s %s: %v", o.GetKind(), o.GetName(), err)
			}
		}
	}
	ns := server.Namespace(t)
	may := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "may-create-in-" + ns}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"cacherequests", "gocaches"}, Verbs: []string{"get", "create", "update"}},
	}}
	if err := server.Client.Create(t.Context(), may); err != nil {
		t.Fatal(err)
	}
	cache := &v1alpha1.GoCache{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci"}}
	cache.Spec.Toolchain.Version = "1.26.8"
	cache.Spec.Storage.Size = resource.MustParse("1Gi")
	cache.Spec.Cleanup = &v1alpha1.Cleanup{MaxSize: ptrTo(resource.MustParse("1Gi")), Approval: v1alpha1.ApprovalRequired}
	if err := server.Client.Create(t.Context(), cache); err != nil {
		t.Fatal(err)
	}
	cache.Spec.Cleanup.Approval = v1alpha1.ApprovalAutomatic
	user := as(t, ns, "waits-for-policies", may.Name)
	eventually(t, "the policies apply", func() error {
		if err := user.Create(t.Context(), requestOf(ns, actions[0]), client.DryRunAll); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "may not request") {
			return fmt.Errorf("a request without the verb: %w", orNone(err))
		}
		if err := user.Update(t.Context(), cache.DeepCopy(), client.DryRunAll); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "may not set") {
			return fmt.Errorf("approvals are made unnecessary: %w", orNone(err))
		}
		return nil
	})
}

func orNone(err error) error {
	if err == nil {
		return fmt.Errorf("allowed")
	}
	return err
}

// installRoles creates the roles of config/default.
func installRoles(t *testing.T) {
	t.Helper()
	for _, o := range kustomize(t, "default") {
		if o.GetKind() == "ClusterRole" {
			if err := server.Client.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatalf("create ClusterRole %s: %v", o.GetName(), err)
			}
		}
	}
}

// as is a client with the rights of some ClusterRoles in one namespace, and no
// others.
func as(t *testing.T, namespace, user string, roles ...string) client.Client {
	t.Helper()
	for _, role := range roles {
		bind(t, namespace, user, role)
	}
	config := rest.CopyConfig(server.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	c, err := client.New(config, client.Options{Scheme: server.Scheme, Mapper: server.Client.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	// The authorizer learns of a new binding a moment later.
	eventually(t, "the rights of "+user, func() error {
		return seesItsRights(t.Context(), c, namespace, roles)
	})
	return c
}

func bind(t *testing.T, namespace, user, role string) {
	t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "test-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	if err := server.Client.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
}

// seesItsRights asks the authorizer for the last right of each role.
func seesItsRights(ctx context.Context, c client.Client, namespace string, roles []string) error {
	for _, name := range roles {
		var role rbacv1.ClusterRole
		if err := server.Client.Get(ctx, client.ObjectKey{Name: name}, &role); err != nil {
			return err
		}
		rule := role.Rules[len(role.Rules)-1]
		review := accessReview(namespace, rule)
		if err := c.Create(ctx, review); err != nil {
			return err
		}
		if !review.Status.Allowed {
			return fmt.Errorf("%s is not in force: %s", name, review.Status.Reason)
		}
	}
	return nil
}
