package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// TestPermissionsAreExplained compares the table of docs/security.md with the
// ClusterRole of the manager, verb by verb.
func TestPermissionsAreExplained(t *testing.T) {
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict([]byte(read(t, "config/rbac/role.yaml")), &role); err != nil {
		t.Fatal(err)
	}
	granted := map[string]string{}
	for _, r := range role.Rules {
		for _, group := range r.APIGroups {
			for _, resource := range r.Resources {
				verbs := slices.Sorted(slices.Values(r.Verbs))
				granted[strings.TrimPrefix(group+"/"+resource, "/")] = strings.Join(verbs, ", ")
			}
		}
	}
	explained := map[string]string{}
	_, table, _ := strings.Cut(read(t, "docs/security.md"), "\n## Permissions of the manager\n")
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([a-z, ]+) \\| .+ \\|$").FindAllStringSubmatch(table, -1) {
		explained[m[1]] = m[2]
	}
	for resource, verbs := range granted {
		if explained[resource] != verbs {
			t.Errorf("docs/security.md explains %q of %s; config/rbac/role.yaml grants %q", explained[resource], resource, verbs)
		}
	}
	for resource := range explained {
		if granted[resource] == "" {
			t.Errorf("docs/security.md explains %s, which config/rbac/role.yaml does not grant", resource)
		}
	}
}
