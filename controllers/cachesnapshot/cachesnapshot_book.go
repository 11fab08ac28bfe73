package cachesnapshot

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

// Stages whose duration is kept.
const (
	stageCapture = "Capture"
	stageVerify  = "Verify"
)

// Bounds of the schema.
const (
	maxExamples = 10
	maxText     = 512
	maxMessage  = 4096
)

// book writes the outcome of an attempt into the status.
func (s *scope) book() {
	v := s.doubt(verdictOf(s.facts.run))
	status := &s.snapshot.Status.Verification
	*status = v1alpha1.VerificationStatus{
		Run:            s.facts.run.Run,
		Attempts:       status.Attempts + 1,
		Verdict:        v1alpha1.Verdict(v.Verdict),
		CompletionTime: ptr.To(metav1.NewTime(s.now)),
		Digest:         v.Digest,
		Bytes:          v.Bytes,
		Duration:       &metav1.Duration{Duration: time.Duration(v.DurationSeconds * float64(time.Second)).Truncate(time.Millisecond)},
		Counts: v1alpha1.VerifiedCounts{
			Modules: int64(v.Counts.Modules), Zips: int64(v.Counts.Zips),
			Dirs: int64(v.Counts.Dirs), BuildEntries: int64(v.Counts.BuildEntries),
		},
	}
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
	s.end(stageVerify)
}

// doubt lets an Intact verdict on a layer that holds nothing stand only if it
// held nothing when it was warmed: emptiness is without fault, and of no use.
func (s *scope) doubt(v integrity.Verdict) integrity.Verdict {
	source := s.snapshot.Status.Source
	if v.Verdict != integrity.Intact || source == nil {
		return v
	}
	for _, layer := range source.Layers {
		had, has := source.Counts.Modules, v.Counts.Modules
		if layer == v1alpha1.LayerBuild {
			had, has = source.Counts.BuildEntries, v.Counts.BuildEntries
		}
		if had > 0 && has == 0 {
			v.Verdict = integrity.Inconclusive
			v.Message = fmt.Sprintf("layer %s is empty, and held %d entries after the last warm-up: somebody emptied the claim; request a warm-up", layer, had)
		}
	}
	return v
}

// verdictOf takes a verdict only from an agent that ended by itself and whose exit
// code and report say the same. All else could not tell.
func verdictOf(run jobrun.Outcome) integrity.Verdict {
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

// begin notes when a stage was entered first.
func (s *scope) begin(name string) {
	for _, stage := range s.snapshot.Status.Stages {
		if stage.Name == name {
			return
		}
	}
	s.snapshot.Status.Stages = append(s.snapshot.Status.Stages, v1alpha1.StageStatus{Name: name, StartTime: metav1.NewTime(s.now)})
}

// end notes how long a stage took.
func (s *scope) end(name string) {
	for i := range s.snapshot.Status.Stages {
		if stage := &s.snapshot.Status.Stages[i]; stage.Name == name {
			stage.Duration = &metav1.Duration{Duration: s.now.Sub(stage.StartTime.Time).Truncate(time.Millisecond)}
		}
	}
}
