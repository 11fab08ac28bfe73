package gocache

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	warmreport "gocache.dev/operator/internal/domain/warmup"
)

// TestAnotherToolchainOfTheSameVersion holds that a toolchain which changed while
// its version did not is reported in an event and in a condition, and only then.
func TestAnotherToolchainOfTheSameVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	report := func(compiler string) {
		w.ending = ended(warmreport.Report{Outcome: warmreport.Succeeded, Modules: 1, GoSHA256: "aa", CompileSHA256: compiler})
	}
	report("b1")
	w.cache()
	w.settle()
	w.condition(v1alpha1.WarmCondition, metav1.ConditionTrue, v1alpha1.ReasonWarmedUp, "1 module versions")
	again := func(request, compiler string) {
		report(compiler)
		w.request(request, v1alpha1.RequestWarmUp)
		w.settle()
	}
	again("warm-up-1", "b1")
	if events := w.newEvents(); strings.Contains(events, "ToolchainChanged") {
		t.Errorf("it did not change, yet events say: %s", events)
	}
	again("warm-up-2", "b2")
	w.condition(v1alpha1.WarmCondition, metav1.ConditionTrue, v1alpha1.ReasonWarmedUp, "the compiler of go1.26.8 linux/amd64 is another one than at the warm-up before (sha256 b2, was b1)")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonCacheReady, "the compiler of go1.26.8")
	if events := w.newEvents(); strings.Count(events, "Warning ToolchainChanged The compiler of go1.26.8") != 1 {
		t.Errorf("events: %s", events)
	}
	if got := w.get().Status.Toolchain.CompilerSHA256; got != "b2" {
		t.Errorf("status holds compiler %s", got)
	}
}
