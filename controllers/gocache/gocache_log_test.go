package gocache

import (
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/controllers/gocache/snapshots"
	"gocache.dev/operator/controllers/gocache/writer"
	plan "gocache.dev/operator/internal/plan/writer"
)

// TestLogDecision holds that a pass logs one line, at the default level only if
// it decided something else than the pass before.
func TestLogDecision(t *testing.T) {
	ready := func(reason string) *v1alpha1.GoCache {
		c := &v1alpha1.GoCache{}
		c.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ReadyCondition, Reason: reason}}
		return c
	}
	for name, tt := range map[string]struct {
		pass progress
		want string // at the default level; empty: nothing
	}{
		"nothing to do":       {progress{Observed: pass.Observed{Stored: ready("A")}, cache: ready("A")}, ""},
		"something waits":     {progress{Observed: pass.Observed{Stored: ready("A")}, cache: ready("A"), writer: writer.Result{Waits: map[plan.Action]string{plan.WarmUp: "x"}}}, ""},
		"another reason":      {progress{Observed: pass.Observed{Stored: ready("A")}, cache: ready("B")}, `"reasonBefore"="A"`},
		"a writer":            {progress{Observed: pass.Observed{Stored: ready("A")}, cache: ready("A"), writer: writer.Result{Started: plan.WarmUp, Cause: "by schedule"}}, `"cause"="by schedule"`},
		"a snapshot":          {progress{Observed: pass.Observed{Stored: ready("A")}, cache: ready("A"), snapshots: snapshots.Result{Created: "ci-1"}}, `"snapshot"="ci-1"`},
		"snapshots to delete": {progress{Observed: pass.Observed{Stored: ready("A")}, cache: ready("A"), snapshots: snapshots.Result{Deleted: []string{"ci-0"}}}, `"deletedSnapshots"=["ci-0"]`},
	} {
		for level, want := range map[int]string{0: tt.want, 1: `"Decided"`} {
			var lines []string
			logger := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{Verbosity: level})
			tt.pass.logDecision(log.IntoContext(t.Context(), logr.New(logger.GetSink())))
			text := strings.Join(lines, "\n")
			if len(lines) > 1 || want == "" && text != "" || !strings.Contains(text, want) {
				t.Errorf("%s at level %d: %s", name, level, text)
			}
		}
	}
}
