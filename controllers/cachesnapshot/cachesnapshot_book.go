package cachesnapshot

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/check"
)

// Stages whose duration is kept.
const (
	stageCapture = "Capture"
	stageVerify  = "Verify"
)

// Bounds of the schema.
const (
	maxText    = 512
	maxMessage = 4096
)

// book writes the outcome of an attempt into the status.
func (s *scope) book() {
	v := s.doubt(check.Verdict(s.facts.run))
	attempts := s.snapshot.Status.Verification.Attempts
	s.snapshot.Status.Verification = check.Status(v, s.facts.run.Run, s.now)
	s.snapshot.Status.Verification.Attempts = attempts + 1
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
