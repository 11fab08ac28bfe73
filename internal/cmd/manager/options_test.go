package manager

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/api/v1alpha1"
)

// TestOnlyOursIsCached goes through all that the operator may watch: a kind
// that is not its own must be cached by its label alone. VolumeSnapshotClasses
// are the administrator's, and a cluster has a few.
func TestOnlyOursIsCached(t *testing.T) {
	restricted := map[schema.GroupResource]bool{}
	scheme := newScheme()
	for object, by := range (&options{}).manager().Cache.ByObject {
		gvk, err := apiutil.GVKForObject(object, scheme)
		if err != nil {
			t.Fatal(err)
		}
		resource, _ := meta.UnsafeGuessKindToResource(gvk)
		restricted[resource.GroupResource()] = by.Label != nil &&
			by.Label.Matches(labels.Set{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}) && !by.Label.Matches(labels.Set{})
	}
	claims := schema.GroupResource{Resource: "persistentvolumeclaims"}
	if restricted[claims] {
		t.Error("claims that the populator fills bear no label of ours: it would never see them")
	}
	classes := schema.GroupResource{Group: "snapshot.storage.k8s.io", Resource: "volumesnapshotclasses"}
	watched := watchedByRole(t)
	if !slices.Contains(watched, claims) {
		t.Fatalf("the role watches %v: claims are missing, so this test reads it wrong", watched)
	}
	for _, resource := range watched {
		if resource != claims && resource != classes && resource.Group != v1alpha1.GroupName && !restricted[resource] {
			t.Errorf("%s are cached whoever made them: add them to onlyOurs", resource)
		}
	}
}

// watchedByRole are the resources that the generated role lets the operator
// watch.
func watchedByRole(t *testing.T) []schema.GroupResource {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "config", "rbac", "role.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(text, &role); err != nil {
		t.Fatal(err)
	}
	var watched []schema.GroupResource
	for _, rule := range role.Rules {
		if !slices.Contains(rule.Verbs, "watch") {
			continue
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				watched = append(watched, schema.GroupResource{Group: group, Resource: resource})
			}
		}
	}
	return watched
}

// TestTimeZonesAreOnBoard: the image is empty but for the programs, so the
// zones that schedules name must be in the program itself.
func TestTimeZonesAreOnBoard(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "gocache.dev/operator").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Fields(string(out)), "time/tzdata") {
		t.Error("the operator does not link time/tzdata: every timeZone but UTC would be unknown in its image")
	}
}

// TestOwnNamespace holds where the namespace that NetworkPolicies admit comes
// from, and that there is none outside of a pod.
func TestOwnNamespace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "namespace")
	t.Setenv("POD_NAMESPACE", "")
	if got := ownNamespace(file); got != "" {
		t.Errorf("outside of a pod: %q", got)
	}
	if err := os.WriteFile(file, []byte("operators\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ownNamespace(file); got != "operators" {
		t.Errorf("in a pod: %q", got)
	}
	t.Setenv("POD_NAMESPACE", "other")
	if got := ownNamespace(file); got != "other" {
		t.Errorf("with POD_NAMESPACE: %q", got)
	}
}
