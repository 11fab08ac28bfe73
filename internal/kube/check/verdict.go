package check

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/jobrun"
)

// Bounds of the schema.
const (
	maxExamples = 10
	maxText     = 512
	maxMessage  = 4096
)

// Verdict takes a verdict only from an agent that ended by itself and whose
// exit code and report agree. Everything else is Inconclusive.
func Verdict(run jobrun.Outcome) integrity.Verdict {
	unknown := func(format string, args ...any) integrity.Verdict {
		return integrity.Verdict{Verdict: integrity.Inconclusive, Message: fmt.Sprintf(format, args...)}
	}
	if !run.Conclusive() {
		return unknown("%s", run.Cause)
	}
	code := *run.ExitCode
	v, err := integrity.ParseVerdict([]byte(run.Message))
	switch {
	case err != nil:
		return unknown("the agent ended with exit code %d and left no report (%v): %s", code, err, run.Message)
	case v.Verdict == integrity.Inconclusive, int(code) == exitcode.OfVerdict(v.Verdict):
		return v
	default:
		return unknown("the agent ended with exit code %d and reported %s", code, v.Verdict)
	}
}

// Doubt lets an Intact verdict on a layer that holds nothing stand only if it
// held nothing after the last warm-up: emptiness is without fault, and of no use.
func Doubt(v integrity.Verdict, layers []v1alpha1.CacheLayer, had v1alpha1.CacheCounts) integrity.Verdict {
	if v.Verdict != integrity.Intact {
		return v
	}
	for _, layer := range layers {
		held, holds := had.Modules, v.Counts.Modules
		if layer == v1alpha1.LayerBuild {
			held, holds = had.BuildEntries, v.Counts.BuildEntries
		}
		if held > 0 && holds == 0 {
			v.Verdict = integrity.Inconclusive
			v.Message = fmt.Sprintf("layer %s is empty, and held %d entries after the last warm-up: the PVC was emptied by another process; request a warm-up", layer, held)
		}
	}
	return v
}

// Status is a verdict in the form of the API. The caller counts the attempts.
func Status(v integrity.Verdict, run string, now time.Time) v1alpha1.VerificationStatus {
	status := v1alpha1.VerificationStatus{
		Run:            run,
		Verdict:        v1alpha1.Verdict(v.Verdict),
		CompletionTime: ptr.To(metav1.NewTime(now)),
		Digest:         v.Digest,
		Bytes:          v.Bytes,
		Duration:       &metav1.Duration{Duration: time.Duration(v.DurationSeconds * float64(time.Second)).Truncate(time.Millisecond)},
		Counts: v1alpha1.VerifiedCounts{
			Modules: int64(v.Counts.Modules), Zips: int64(v.Counts.Zips),
			Dirs: int64(v.Counts.Dirs), BuildEntries: int64(v.Counts.BuildEntries),
		},
	}
	status.TotalModules, status.ProvenModules = int64(v.Counts.Content), int64(v.Counts.Proven)
	status.ProvenBuildEntries = int64(v.Counts.Sealed)
	if v.Verdict != integrity.Intact {
		status.Message = bounded.Text(v.Message, maxMessage)
	}
	for class, n := range v.Findings {
		if status.Findings == nil {
			status.Findings = map[string]int64{}
		}
		status.Findings[string(class)] = int64(n)
	}
	for _, e := range v.Examples[:min(len(v.Examples), maxExamples)] {
		status.Examples = append(status.Examples, v1alpha1.FindingExample{
			Class: bounded.Text(string(e.Class), 64), Path: bounded.Text(string(e.Cache)+" cache: "+e.Path, maxText), Detail: bounded.Text(e.Detail, maxText),
		})
	}
	return status
}
