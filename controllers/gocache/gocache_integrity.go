package gocache

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/plan/livecheck"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/writer"
)

// checkedDir is where a check mounts the live claim.
const checkedDir = "/cache"

// integrityAction checks the live claim. It changes nothing there, but is never
// beside a writer: what is half written would look wrong.
func integrityAction() writerAction {
	return writerAction{
		name:     writer.Integrity,
		title:    "a check",
		requests: []string{request.Integrity, request.FailureReport},
		decide:   (*Reconciler).decideCheck,
		waitsFor: (*scope).checkWaitsFor,
		job:      (*Reconciler).checkJob,
		book:     (*scope).bookCheck,
		booked:   func(c *v1alpha1.GoCache) string { return ptr.Deref(c.Status.Integrity, v1alpha1.IntegrityStatus{}).Run },
	}
}

// decideCheck says whether a check is due.
func (r *Reconciler) decideCheck(s *scope) (writer.DueAction, bool) {
	facts := s.checkFacts()
	decision := livecheck.Decide(facts)
	s.wakeAt(decision.Wake)
	wish := writer.DueAction{Cause: decision.Cause, Since: decision.Since, Urgent: livecheck.Urgent(decision.Cause)}
	if wish.Urgent == livecheck.Urgent(facts.Last.Cause) {
		wish.LastStart = facts.Last.Start
	}
	return wish, decision.Due
}

func (s *scope) checkFacts() livecheck.Observation {
	f := livecheck.Observation{
		Now: s.Now, Created: s.cache.CreationTimestamp.Time,
		Declared: s.cache.Spec.Integrity != nil, Schedule: s.Schedules.Integrity,
		Volume: s.cache.Status.Storage.VolumeName,
	}
	for _, verb := range integrityAction().requests {
		if req, ok := s.Standing(s.cache, verb); ok {
			f.Request, f.Requested = req.Text, s.cache.Status.LastHandledRequest.Time.Time
		}
	}
	for i := range s.Snapshots {
		c := &s.Snapshots[i]
		if c.Status.Source == nil || c.Status.CreationTime == nil {
			continue
		}
		f.Snapshots = append(f.Snapshots, livecheck.Snapshot{
			Name: c.Name, Volume: c.Status.Source.VolumeName, Created: c.Status.CreationTime.Time, Verdict: onCaptured(c),
			ByPolicy: c.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue,
		})
	}
	if i := s.cache.Status.Integrity; i != nil && i.StartTime != nil && i.CompletionTime != nil {
		f.Last = livecheck.Check{
			Volume: i.VolumeName, Cause: i.Cause, Start: i.StartTime.Time, End: i.CompletionTime.Time, InconclusiveAttempts: i.InconclusiveAttempts,
		}
	}
	return f
}

// onCaptured is the verdict on what was captured, which the source held too: a
// snapshot that was repaired since is offered all the same.
func onCaptured(c *v1alpha1.CacheSnapshot) v1alpha1.Verdict {
	if c.Status.Repair != nil {
		return c.Status.Repair.Found.Verdict
	}
	return c.Status.Verification.Verdict
}

// checkWaitsFor says what keeps a check that is due from starting.
func (s *scope) checkWaitsFor() string {
	if s.NeverWarmed(s.cache) {
		return "the first warm-up"
	}
	return ""
}

// checkJob is the Job that checks the live claim, with what its snapshots are
// proven with.
func (r *Reconciler) checkJob(ctx context.Context, s *scope, wish writer.DueAction) (*batchv1.Job, error) {
	trust, err := check.Trust(ctx, r.Live, s.cache.Namespace, "spec.snapshots.verification.trust", pass.SnapshotPolicy(s.cache).Verification.Trust)
	if err != nil {
		return nil, err
	}
	job := s.writerJob(integrityAction(), wish)
	job.Image = r.Images.Operator
	job.Command = append(append([]string{
		"/gocache-agent", "verify", "--json", "--termination-log", "/dev/termination-log", "--root", checkedDir,
	}, layerFlags(s.checkedLayers())...), trust.Flags...)
	job.Volumes = append([]corev1.Volume{podspec.Claim(cacheVolume, s.cache.Name)}, trust.Volumes...)
	job.Mounts = append([]corev1.VolumeMount{{Name: cacheVolume, MountPath: checkedDir, ReadOnly: true}}, trust.Mounts...)
	job.Deadline = s.checkDeadline()
	if last := s.cache.Status.LastHandledRequest; job.Annotations[v1alpha1.RequestAnnotation] != "" {
		job.Deadline = min(job.Deadline, last.Time.Add(job.Deadline).Sub(s.Now))
	}
	return job.Object(), nil
}

// checkDeadline is how long a check may take, and a request for one until it is
// answered.
func (s *scope) checkDeadline() time.Duration {
	if i := s.cache.Spec.Integrity; i != nil && i.Deadline != nil {
		return i.Deadline.Duration
	}
	return defaultDeadline
}

// checkedLayers are the layers that are checked.
func (s *scope) checkedLayers() []v1alpha1.CacheLayer {
	if i := s.cache.Spec.Integrity; i != nil && len(i.Checks) > 0 {
		return slices.DeleteFunc(slices.Clone(i.Checks), func(l v1alpha1.CacheLayer) bool { return !pass.Has(s.cache, l) })
	}
	return s.cache.Spec.Layers
}

func layerFlags(layers []v1alpha1.CacheLayer) []string {
	var flags []string
	for _, layer := range layers {
		switch layer {
		case v1alpha1.LayerModules:
			flags = append(flags, "--modcache", path.Join(checkedDir, goenv.ModulesDir))
		case v1alpha1.LayerBuild:
			flags = append(flags, "--buildcache", path.Join(checkedDir, goenv.BuildDir))
		}
	}
	return flags
}

// bookCheck writes the outcome of a check into the status.
func (s *scope) bookCheck() {
	run := s.Run
	v := check.Doubt(check.Verdict(run), s.checkedLayers(), s.cache.Status.Counts)
	before := ptr.Deref(s.cache.Status.Integrity, v1alpha1.IntegrityStatus{})
	status := v1alpha1.IntegrityStatus{
		VerificationStatus: check.Status(v, run.Run, run.Ended),
		VolumeName:         run.Annotations[v1alpha1.VolumeAnnotation],
		Cause:              bounded.Text(run.Annotations[v1alpha1.CauseAnnotation], 256),
		StartTime:          ptr.To(metav1.NewTime(run.Started)),
		LastIntactTime:     before.LastIntactTime,
	}
	again := before.Cause == status.Cause && before.VolumeName == status.VolumeName
	status.Attempts = 1
	if again {
		status.Attempts = before.Attempts + 1
	}
	switch v.Verdict {
	case integrity.Intact:
		status.LastIntactTime = status.CompletionTime
		s.bookCounts(status.Counts)
	case integrity.OutcomeCorrupt:
	case integrity.Inconclusive:
		status.InconclusiveAttempts = 1
		if again {
			status.InconclusiveAttempts = before.InconclusiveAttempts + 1
		}
		s.cache.Status.Integrity = &status
		s.bookDoubt(before, &status)
	}
	s.cache.Status.Integrity = &status
	s.bookUsage(v.UsedBytes, v.AvailableBytes)
	s.answerCheck(v)
}

// bookCounts writes how much an intact claim holds of the layers that were
// checked.
func (s *scope) bookCounts(found v1alpha1.VerifiedCounts) {
	if !s.RanOnPVC() {
		return
	}
	for _, layer := range s.checkedLayers() {
		switch layer {
		case v1alpha1.LayerModules:
			s.cache.Status.Counts.Modules = found.Modules
		case v1alpha1.LayerBuild:
			s.cache.Status.Counts.BuildEntries = found.BuildEntries
		}
	}
}

// bookDoubt says what stands of a volume on which a check could not tell: a
// conviction of it, and that by two snapshots when no further attempt is made.
func (s *scope) bookDoubt(before v1alpha1.IntegrityStatus, status *v1alpha1.IntegrityStatus) {
	if before.Verdict == v1alpha1.VerdictCorrupt && before.VolumeName == status.VolumeName {
		status.Verdict, status.Message = before.Verdict, before.Message
		status.Counts, status.Findings, status.Examples = before.Counts, before.Findings, before.Examples
		return
	}
	facts := s.checkFacts()
	facts.Volume = status.VolumeName
	if names := livecheck.CorruptSnapshots(facts); len(names) > 0 && status.InconclusiveAttempts >= livecheck.MaxAttempts {
		status.Verdict = v1alpha1.VerdictCorrupt
		status.Message = bounded.Text(fmt.Sprintf("CacheSnapshots %s of the volume are convicted, one after the other; its own check could not tell: %s", strings.Join(names, " and "), status.Message), 4096)
	}
}

// answerCheck answers the request that a check was made for. One that convicts
// is answered by answerConvicted.
func (s *scope) answerCheck(v integrity.Verdict) {
	i := s.cache.Status.Integrity
	switch {
	case v.Verdict == integrity.Intact:
		s.answerRun(v1alpha1.RequestSucceeded, "Intact: "+s.intactMessage())
	case settled(i) && i.Verdict != v1alpha1.VerdictCorrupt:
		s.answerRun(v1alpha1.RequestFailed, fmt.Sprintf("could not tell after %d attempts: %s", i.InconclusiveAttempts, v.Message))
	case !settled(i) && s.writerAnswers():
		s.cache.Status.LastHandledRequest.Message = bounded.Text(fmt.Sprintf("attempt %d could not tell: %s", i.InconclusiveAttempts, v.Message), 1024)
	}
}

// settled says whether no further check is made for the same cause.
func settled(i *v1alpha1.IntegrityStatus) bool {
	return i.InconclusiveAttempts == 0 || i.InconclusiveAttempts >= livecheck.MaxAttempts
}

// answerConvicted answers a request for a check that convicted the live claim,
// as soon as it was rolled back, or nobody will.
func (r *Reconciler) answerConvicted(_ context.Context, s *scope) error {
	i, last := s.cache.Status.Integrity, s.cache.Status.LastHandledRequest
	if i == nil || i.Verdict != v1alpha1.VerdictCorrupt || !settled(i) ||
		last == nil || last.Outcome != v1alpha1.RequestAccepted || last.Request != i.Cause {
		return nil
	}
	found := "Corrupt: " + finding(i)
	status := s.cache.Status
	replaced := i.VolumeName != status.Storage.VolumeName && status.VolumeReplacement == nil
	switch {
	case replaced && status.Content != nil && status.Content.Snapshot != "":
		pass.Answer(s.cache, s.Now, last.Request, v1alpha1.RequestSucceeded, found+"; rolled back to "+status.Content.Snapshot)
	case replaced:
		pass.Answer(s.cache, s.Now, last.Request, v1alpha1.RequestSucceeded, found+"; the volume was replaced since")
	case !pass.RollsBack(s.cache):
		pass.Answer(s.cache, s.Now, last.Request, v1alpha1.RequestSucceeded, found+"; "+s.remedy())
	default:
		last.Message = bounded.Text(found+"; is rolled back", 1024)
	}
	return nil
}

// remedy says what a person can do about a convicted volume that is not rolled
// back.
func (s *scope) remedy() string {
	if latest := s.cache.Status.LatestVerifiedSnapshot; latest != "" {
		return fmt.Sprintf("roll it back with the request rollback=%s#1, or set spec.integrity.onCorrupt to Rollback", latest)
	}
	return fmt.Sprintf("there is no verified snapshot to roll back to: delete claim %s to begin anew", s.cache.Name)
}

// finding says what convicted the live claim, and the first place of it.
func finding(i *v1alpha1.IntegrityStatus) string {
	if len(i.Examples) == 0 {
		return i.Message
	}
	e := i.Examples[0]
	return fmt.Sprintf("%s (%s, %s: %s)", i.Message, e.Class, e.Path, e.Detail)
}

func (s *scope) intactMessage() string {
	c := s.cache.Status.Integrity.Counts
	return fmt.Sprintf("%d module versions and %d build entries hold what they should", c.Modules, c.BuildEntries)
}
