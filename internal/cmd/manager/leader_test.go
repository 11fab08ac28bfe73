package manager

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/yaml"
)

// TestLeaderElectionRole compares the Role for leader election with the calls of the
// lock: nothing that it grants on Leases is unused, and nothing is missing. Events go to
// the core group, since the lock is given a recorder of that.
func TestLeaderElectionRole(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "config", "rbac", "leader_election.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	document, _, _ := strings.Cut(string(text), "\n---\n")
	var role rbacv1.Role
	if err := yaml.UnmarshalStrict([]byte(document), &role); err != nil {
		t.Fatal(err)
	}
	granted := map[string]bool{}
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					granted[strings.Join([]string{group, resource, verb}, "/")] = true
				}
			}
		}
	}
	used := map[string]bool{"/events/create": true, "/events/patch": true}
	clients := fake.NewClientset()
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, "ns", "lock", clients.CoreV1(), clients.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: "me"})
	if err != nil {
		t.Fatal(err)
	}
	_, _, _ = lock.Get(t.Context()) // there is none yet
	for _, call := range []error{
		lock.Create(t.Context(), resourcelock.LeaderElectionRecord{}), lock.Update(t.Context(), resourcelock.LeaderElectionRecord{}),
	} {
		if call != nil {
			t.Fatal(call)
		}
	}
	for _, action := range clients.Actions() {
		used[strings.Join([]string{action.GetResource().Group, action.GetResource().Resource, action.GetVerb()}, "/")] = true
	}
	for _, is := range []struct {
		all, in map[string]bool
		problem string
	}{{granted, used, "is granted, and not used"}, {used, granted, "is used, and not granted"}} {
		for what := range is.all {
			if !is.in[what] {
				t.Errorf("%s %s", what, is.problem)
			}
		}
	}
	for _, rule := range role.Rules { // a Lease that does not exist yet has no name in a rule
		if slices.Contains(rule.Resources, "leases") && !slices.Contains(rule.Verbs, "create") && !slices.Equal(rule.ResourceNames, []string{leaderElectionID}) {
			t.Errorf("%v is granted on the Leases %v, want %s alone", rule.Verbs, rule.ResourceNames, leaderElectionID)
		}
	}
}
