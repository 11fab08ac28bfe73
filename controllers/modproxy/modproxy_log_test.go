package modproxy

import (
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/failover"
)

// TestLogDecision holds that a pass logs one line, at the default level only if
// it decided something else than the pass before, and no message of a probe.
func TestLogDecision(t *testing.T) {
	status := func(change func(*v1alpha1.InstanceStatus)) *v1alpha1.ModProxy {
		p := &v1alpha1.ModProxy{}
		p.Status.Instances = []v1alpha1.InstanceStatus{{Name: "blue", DesiredWeight: 100}}
		change(&p.Status.Instances[0])
		return p
	}
	same := func(*v1alpha1.InstanceStatus) {}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.InstanceStatus)
		want   string // at the default level; empty: nothing
	}{
		"the same": {same, ""},
		"a weight": {func(i *v1alpha1.InstanceStatus) { i.DesiredWeight = 0 }, "blue=0"},
		"corrupt": {func(i *v1alpha1.InstanceStatus) {
			i.DesiredWeight, i.Quarantined = 0, &v1alpha1.Quarantine{Reason: v1alpha1.ReasonStoreCorrupt, Message: "long evidence"}
		}, "blue=0/quarantined:" + v1alpha1.ReasonStoreCorrupt},
		"a probe that fails": {func(i *v1alpha1.InstanceStatus) {
			i.FailingProbes = []v1alpha1.FailingProbe{{Kind: v1alpha1.ProbeReady, Message: "long evidence"}}
		}, "blue=100/failing:Ready"},
		"a longer outage": {func(i *v1alpha1.InstanceStatus) { i.ObservedWeight = 3 }, ""},
	} {
		for level, want := range map[int]string{0: tt.want, 1: "Decided"} {
			var lines []string
			logger := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{Verbosity: level})
			s := &progress{first: status(same), proxy: status(tt.change), decision: failover.Decision{Desired: []failover.Desired{{Name: "blue"}}}}
			logDecision(log.IntoContext(t.Context(), logger), s)
			text := strings.Join(lines, "\n")
			if len(lines) > 1 || want == "" && text != "" || !strings.Contains(text, want) || strings.Contains(text, "evidence") {
				t.Errorf("%s at level %d: %s", name, level, text)
			}
		}
	}
}
