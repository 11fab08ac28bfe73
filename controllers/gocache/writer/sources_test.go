package writer

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	warmreport "gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/plan/warmup"
)

// recorded is the turn after a run that ended with this report.
func recorded(t *turn, run, cause string, report warmreport.Report) *turn {
	data, err := json.Marshal(report)
	if err != nil {
		panic(err)
	}
	exit := int32(0)
	if report.Outcome != warmreport.Succeeded {
		exit = 1
	}
	t.Run = jobrun.Outcome{
		Phase: jobrun.Ended, Run: run, Started: now.Add(-time.Minute), Ended: now, ExitCode: &exit, Message: string(data),
		Annotations: map[string]string{
			v1alpha1.PVCUIDAnnotation: "u1", v1alpha1.InputsAnnotation: t.inputs(), v1alpha1.CauseAnnotation: cause,
			v1alpha1.CommitsAnnotation: "app=c1,tools=c2",
		},
	}
	warmUp{}.record(t)
	t.Stored = t.cache.DeepCopy()
	return t
}

func partly(failed ...string) warmreport.Report {
	r := warmreport.Report{Outcome: warmreport.Succeeded, Modules: 3, ManifestDigest: "sha256:aa"}
	for _, name := range []string{"app", "tools"} {
		s := warmreport.SourceReport{Name: name, Entries: 5, Seconds: 1.5}
		if slices.Contains(failed, name) {
			s.Failed, s.Message = true, "checksum mismatch"
		}
		r.Sources = append(r.Sources, s)
	}
	return r
}

// TestOneSourceFails holds that a run in which a source failed is a success that
// is retried, names the source, and is snapshotted once.
func TestOneSourceFails(t *testing.T) {
	turn := fresh()
	turn.cache.Status.WarmUp.Revisions = []v1alpha1.GitRevision{{URL: "a", Commit: "c1"}, {URL: "b", Commit: "c2"}}
	recorded(turn, "r1", "the cache is new", partly("tools"))
	w := &turn.cache.Status.WarmUp
	if w.Outcome != v1alpha1.RunSucceeded || w.LastSuccessRun != "r1" || w.Failures != 1 || len(w.Sources) != 2 || turn.cache.Status.ManifestDigest == "" {
		t.Fatalf("status %+v", w)
	}
	if s := w.Sources[1]; s.Name != "tools" || s.Outcome != v1alpha1.RunFailed || s.Message != "checksum mismatch" || s.Duration.Duration != 1500*time.Millisecond || s.Entries != 5 {
		t.Errorf("source %+v", s)
	}
	if w.Revisions[0].WarmedCommit != "c1" || w.Revisions[1].WarmedCommit != "" {
		t.Errorf("revisions %+v", w.Revisions)
	}
	if fact := turn.warm(); fact.Status != metav1.ConditionTrue || !strings.Contains(fact.Message, "1 of 2 sources failed: tools: checksum mismatch; next attempt at ") {
		t.Errorf("Warm: %+v", fact)
	}
	if events := Events(&v1alpha1.GoCache{}, turn.cache); len(events) != 1 || !strings.Contains(fmt.Sprint(events), "WarmedInPart") {
		t.Errorf("events %+v", events)
	}
	turn.Now = now.Add(warmup.FirstPause)
	if due, ok := (warmUp{}).due(turn); !ok || due.Cause != warmup.Retry {
		t.Errorf("the retry: %+v, %v", due, ok)
	}

	recorded(turn, "r2", warmup.Retry, partly("tools"))
	if w.LastSuccessRun != "r1" || w.Run != "r2" || w.Failures != 2 {
		t.Errorf("a retry that warmed nothing more is a reason for a snapshot: %+v", w)
	}
	recorded(turn, "r3", "scheduled", partly("tools"))
	if w.LastSuccessRun != "r3" {
		t.Errorf("a scheduled run is none: %+v", w)
	}
	recorded(turn, "r4", warmup.Retry, partly())
	if w.LastSuccessRun != "r4" || w.Failures != 0 || w.Revisions[1].WarmedCommit != "c2" || w.Message != "" {
		t.Errorf("the retry that succeeded: %+v", w)
	}
	recorded(turn, "r5", "requested", partly("app"))
	recorded(turn, "r6", warmup.Retry, partly("tools"))
	if w.LastSuccessRun != "r6" {
		t.Errorf("another source was warmed: %+v", w)
	}
}

// TestToolchainTooOld holds that a toolchain that is too old for all sources is
// not tried again before it changes.
func TestToolchainTooOld(t *testing.T) {
	turn := fresh()
	turn.cache.Spec.Toolchain = v1alpha1.Toolchain{Version: "1.26.8", Image: "example.com/go"}
	report := partly("app", "tools")
	report.Outcome = warmreport.Failed
	report.Sources[0].Reason = warmreport.ToolchainTooOld
	recorded(turn, "r1", "the cache is new", report)
	if fact := turn.warm(); fact.Reason != v1alpha1.ReasonWarmUpFailed || TooOld(turn.cache) != "" {
		t.Errorf("a source that fails otherwise: %+v", fact)
	}
	report.Sources[1].Reason = warmreport.ToolchainTooOld
	recorded(turn, "r2", warmup.Retry, report)
	fact := turn.warm()
	if fact.Reason != v1alpha1.ReasonToolchainTooOld || !strings.HasPrefix(fact.Message, "spec.toolchain.version 1.26.8 is too old: set a newer version and an image of it. 2 of 2") || strings.Contains(fact.Message, "\n") {
		t.Errorf("Warm: %+v", fact)
	}
	turn.Now = now.Add(warmup.LongestPause)
	if due, ok := (warmUp{}).due(turn); ok {
		t.Errorf("it is tried again: %+v", due)
	}
	turn.cache.Spec.Toolchain.Version = "1.27.0"
	if due, ok := (warmUp{}).due(turn); !ok {
		t.Errorf("it is not tried with another version: %+v", due)
	}
}

// TestExpandedVolume holds that a warm-up that failed is repeated at once, and once,
// when its volume was expanded, also where the next pod finishes the expansion.
func TestExpandedVolume(t *testing.T) {
	size := func(s string) *resource.Quantity { return ptr.To(resource.MustParse(s)) }
	pending := []corev1.PersistentVolumeClaimCondition{{Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue}}
	due := func(turn *turn, capacity, requested string, conditions []corev1.PersistentVolumeClaimCondition) bool {
		turn.cache.Status.Storage.Capacity = size(capacity)
		turn.PVC.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: *size(requested)}
		turn.PVC.Status.Conditions = conditions
		_, ok := (warmUp{}).due(turn)
		return ok
	}
	report := partly("app", "tools")
	report.Outcome = warmreport.Failed
	turn := fresh()
	turn.cache.Status.Storage.Capacity = size("10Gi")
	recorded(turn, "r1", "the cache is new", report)
	if due(turn, "10Gi", "10Gi", nil) {
		t.Error("it is repeated without a reason")
	}
	if due(turn, "10Gi", "20Gi", nil) {
		t.Error("it is repeated before the driver has expanded the volume")
	}
	if !due(turn, "20Gi", "20Gi", nil) {
		t.Error("it is not repeated after the volume was expanded")
	}
	if !due(turn, "10Gi", "20Gi", pending) {
		t.Error("it is not repeated for a driver that needs a pod to finish the expansion")
	}
	recorded(turn, "r2", "its volume was expanded", report)
	if due(turn, "20Gi", "20Gi", nil) || due(turn, "10Gi", "20Gi", pending) {
		t.Error("it is repeated again for the same expansion")
	}
}

// TestAgentSource holds what the agent is asked for, and that each part of it
// leads to another warm-up when it changes.
func TestAgentSource(t *testing.T) {
	src := pass.Source{Label: "app", Git: &pass.GitSource{URL: "u", Commit: "c"}, Spec: v1alpha1.WarmUpSource{
		Packages: []string{"./cmd/..."}, Scope: v1alpha1.ScopeAll, Git: &v1alpha1.GitSource{Directories: []string{"a", "b"}},
		Builds: []v1alpha1.SourceBuild{
			{Name: "race", Flags: []string{"-race"}, Env: []v1alpha1.BuildEnvVar{{Name: "CGO_ENABLED", Value: "1"}}, Packages: []string{"."}},
			{Name: "arm", Env: []v1alpha1.BuildEnvVar{{Name: "GOARCH", Value: "arm64"}}, Vet: ptr.To(false), Tests: v1alpha1.TestsNone},
		},
	}}
	want := `{"name":"app","dir":"/d","repository":true,"packages":["./cmd/..."],"directories":["a","b"],"all":true,"builds":[` +
		`{"name":"race","packages":["."],"flags":["-race"],"env":{"CGO_ENABLED":"1"},"vet":true,"tests":true},{"name":"arm","env":{"GOARCH":"arm64"}}]}`
	if got := agentSource(src, "/d").Flag(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	turn := fresh()
	inputs := func(s pass.Source) string {
		turn.Sources = []pass.Source{s}
		return turn.inputs()
	}
	base := inputs(src)
	for name, change := range map[string]func(*v1alpha1.WarmUpSource){
		"packages":    func(s *v1alpha1.WarmUpSource) { s.Packages = nil },
		"scope":       func(s *v1alpha1.WarmUpSource) { s.Scope = v1alpha1.ScopeBuild },
		"directories": func(s *v1alpha1.WarmUpSource) { s.Git.Directories = nil },
		"flags":       func(s *v1alpha1.WarmUpSource) { s.Builds[0].Flags = nil },
		"env":         func(s *v1alpha1.WarmUpSource) { s.Builds[1].Env[0].Value = "arm" },
		"vet":         func(s *v1alpha1.WarmUpSource) { s.Builds[1].Vet = nil },
		"tests":       func(s *v1alpha1.WarmUpSource) { s.Builds[1].Tests = v1alpha1.TestsCompile },
	} {
		other := src
		other.Spec = *src.Spec.DeepCopy()
		if change(&other.Spec); inputs(other) == base {
			t.Errorf("another %s is no reason for a warm-up", name)
		}
	}
	src.Missing = "no route to host"
	if got, want := agentSource(src, "").Missing, src.Missing; got != want || inputs(src) != base {
		t.Errorf("an error is %q, want %q, and no reason for a warm-up", got, want)
	}
	src.Label = "renamed"
	if inputs(src) != base {
		t.Error("another name is a reason for a warm-up")
	}
}

// TestAllowedFlags holds that the API accepts the flags that the agent does.
func TestAllowedFlags(t *testing.T) {
	data, err := os.ReadFile("../../../api/v1alpha1/gocache_types.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"items:Pattern=`" + warmreport.AllowedFlag.String() + "`", "Enum=" + strings.Join(warmreport.AllowedEnv, ";") + "\n"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the API does not have %s", want)
		}
	}
}

// manySources are reports of sources with texts that are too long.
func manySources(n, builds int) []warmreport.SourceReport {
	var all []warmreport.SourceReport
	for range n {
		s := warmreport.SourceReport{Name: strings.Repeat("n", 100), Reason: strings.Repeat("r", 100), Message: strings.Repeat("m", 3000)}
		for range builds {
			s.Builds = append(s.Builds, warmreport.BuildReport{Name: strings.Repeat("b", 100), Message: strings.Repeat("m", 3000), Failed: true, Entries: 4, Seconds: 1.26})
		}
		all = append(all, s)
	}
	return all
}
