package writer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/agentcommand"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/plan/growth"
	"gocache.dev/operator/internal/plan/livecheck"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/verification"
	plan "gocache.dev/operator/internal/plan/writer"
)

// checkedDir is where a check mounts the cache PVC.
const checkedDir = "/cache"

// integrityCheck checks the cache PVC. It changes nothing there, but never runs
// beside a writer: what is half written would look corrupt.
type integrityCheck struct{}

func (integrityCheck) name() plan.Action { return plan.Integrity }

func (integrityCheck) title() string { return "a check" }

func (integrityCheck) requests() []v1alpha1.RequestAction {
	return []v1alpha1.RequestAction{v1alpha1.RequestCheckIntegrity, v1alpha1.RequestReportFailure}
}

func (integrityCheck) recorded(cache *v1alpha1.GoCache) string {
	return ptr.Deref(cache.Status.Integrity, v1alpha1.IntegrityStatus{}).Run
}

// record writes the outcome of a check into the status.
func (integrityCheck) record(t *turn) {
	run := t.Run
	v := check.Doubt(check.Verdict(run), t.checkedLayers(), t.cache.Status.Counts)
	before := ptr.Deref(t.cache.Status.Integrity, v1alpha1.IntegrityStatus{})
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
		t.recordCounts(status.Counts)
	case integrity.OutcomeCorrupt:
	case integrity.Inconclusive:
		status.InconclusiveAttempts = 1
		if again {
			status.InconclusiveAttempts = before.InconclusiveAttempts + 1
		}
		t.cache.Status.Integrity = &status
		t.recordDoubt(before, &status)
	}
	t.cache.Status.Integrity = &status
	t.recordUsage(growth.Measured{
		Used: v.UsedBytes, Available: v.AvailableBytes, Capacity: v.CapacityBytes, Tree: v.TreeBytes, Inodes: v.Inodes, InodesUsed: v.InodesUsed,
	})
	t.answerCheck(v)
}

// due decides whether a check is due.
func (integrityCheck) due(t *turn) (plan.DueAction, bool) {
	facts := t.checkFacts()
	decision := livecheck.Decide(facts)
	t.out.WakeAt(t.Now, decision.Wake)
	due := plan.DueAction{Cause: decision.Cause, Since: decision.Since, Urgent: livecheck.Urgent(decision.Cause)}
	if due.Urgent == livecheck.Urgent(facts.Last.Cause) {
		due.LastStart = facts.Last.Start
	}
	return due, decision.Due
}

// waitsFor is what keeps a check that is due from starting.
func (integrityCheck) waitsFor(t *turn) string {
	if t.NeverWarmed(t.cache) {
		return "the first warm-up"
	}
	return ""
}

// job is the Job that checks the cache PVC, with the trust data that its
// snapshots are verified with.
func (integrityCheck) job(ctx context.Context, t *turn, due plan.DueAction) (*batchv1.Job, error) {
	declared := pass.SnapshotPolicy(t.cache).Verification.Trust
	trust, err := check.Trust(ctx, t.Live, t.cache.Namespace, "spec.snapshots.verification.trust", declared)
	if err != nil {
		return nil, err
	}
	trust.FullCoverage = check.FullCoverage(declared)
	trust.TrustSources(check.Sources(t.cache.Spec.WarmUp))
	job := t.jobSpec(integrityCheck{}, due)
	job.Image = t.Images.Operator
	content := check.Layers(t.checkedLayers(), checkedDir)
	content.Volume, content.Live, content.Seal = checkedDir, true, t.seal()
	job.Command = agentcommand.InImage(agentcommand.Verify{Content: content, Root: checkedDir, Trust: trust.Trust})
	job.Volumes = append([]corev1.Volume{podspec.Claim(cacheVolume, t.cache.Name)}, trust.Volumes...)
	job.Mounts = append([]corev1.VolumeMount{{Name: cacheVolume, MountPath: checkedDir, ReadOnly: true}}, trust.Mounts...)
	job.Deadline = t.checkDeadline()
	if last := t.cache.Status.Request; job.Annotations[v1alpha1.CacheRequestAnnotation] != "" {
		job.Deadline = min(job.Deadline, last.Time.Add(job.Deadline).Sub(t.Now))
	}
	return job.Object(), nil
}

func (t *turn) checkFacts() livecheck.Observation {
	f := livecheck.Observation{
		Now: t.Now, Created: t.cache.CreationTimestamp.Time,
		Declared: t.cache.Spec.Integrity != nil, Schedule: t.Schedules.Integrity,
		Volume: t.cache.Status.Storage.VolumeName,
	}
	for _, verb := range (integrityCheck{}).requests() {
		if req, ok := t.Standing(t.cache, verb); ok {
			f.Request, f.Requested = req.Cause(), t.cache.Status.Request.Time.Time
		}
	}
	for i := range t.Snapshots {
		c := &t.Snapshots[i]
		if c.Status.Source == nil || c.Status.CreationTime == nil {
			continue
		}
		f.Snapshots = append(f.Snapshots, livecheck.Snapshot{
			Name: c.Name, Volume: c.Status.Source.VolumeName, Created: c.Status.CreationTime.Time, Verdict: verdictAtCreation(c),
			ByPolicy: c.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue,
		})
	}
	if i := t.cache.Status.Integrity; i != nil && i.StartTime != nil && i.CompletionTime != nil {
		f.Last = livecheck.Check{
			Volume: i.VolumeName, Cause: i.Cause, Start: i.StartTime.Time, End: i.CompletionTime.Time, InconclusiveAttempts: i.InconclusiveAttempts,
		}
	}
	return f
}

// checkedLayers are the layers that are checked.
func (t *turn) checkedLayers() []v1alpha1.CacheLayer {
	if i := t.cache.Spec.Integrity; i != nil && len(i.Checks) > 0 {
		return slices.DeleteFunc(slices.Clone(i.Checks), func(l v1alpha1.CacheLayer) bool { return !pass.Has(t.cache, l) })
	}
	return t.cache.Spec.Layers
}

// recordCounts writes how much an intact cache holds of the layers that were
// checked.
func (t *turn) recordCounts(found v1alpha1.VerifiedCounts) {
	if !t.RanOnPVC() {
		return
	}
	for _, layer := range t.checkedLayers() {
		switch layer {
		case v1alpha1.LayerModules:
			t.cache.Status.Counts.Modules = found.Modules
		case v1alpha1.LayerBuild:
			t.cache.Status.Counts.BuildEntries = found.BuildEntries
		}
	}
}

// recordDoubt keeps what is known of a volume whose check was inconclusive: that
// it is Corrupt by an earlier check, or by two snapshots of it when no further
// attempt is made.
func (t *turn) recordDoubt(before v1alpha1.IntegrityStatus, status *v1alpha1.IntegrityStatus) {
	if before.Verdict == v1alpha1.VerdictCorrupt && before.VolumeName == status.VolumeName {
		status.Verdict, status.Message = before.Verdict, before.Message
		status.Counts, status.Findings, status.Examples = before.Counts, before.Findings, before.Examples
		return
	}
	facts := t.checkFacts()
	facts.Volume = status.VolumeName
	if names := livecheck.CorruptSnapshots(facts); len(names) > 0 && status.InconclusiveAttempts >= livecheck.MaxAttempts {
		status.Verdict = v1alpha1.VerdictCorrupt
		status.Message = bounded.Text(fmt.Sprintf("CacheSnapshots %s of the volume are Corrupt, one after the other; the check of the volume itself was inconclusive: %s", strings.Join(names, " and "), status.Message), 4096)
	}
}

// answerCheck answers the request that a check was made for. One that finds it Corrupt
// is answered by answerCorrupt.
func (t *turn) answerCheck(v integrity.Verdict) {
	i := t.cache.Status.Integrity
	switch {
	case v.Verdict == integrity.Intact:
		t.answerRun(v1alpha1.RequestSucceeded, "Intact: "+t.intactMessage())
	case settled(i) && i.Verdict != v1alpha1.VerdictCorrupt:
		t.answerRun(v1alpha1.RequestFailed, fmt.Sprintf("inconclusive after %d attempts: %s", i.InconclusiveAttempts, v.Message))
	case !settled(i) && t.answers():
		t.cache.Status.Request.Message = bounded.Text(fmt.Sprintf("attempt %d was inconclusive: %s", i.InconclusiveAttempts, v.Message), 1024)
	}
}

// answerCorrupt answers a request for a check that found the volume Corrupt, as
// soon as it was rolled back, or is not going to be.
func (t *turn) answerCorrupt() {
	i := t.cache.Status.Integrity
	req, ok := request.Accepted(t.cache.Status.Request)
	if i == nil || i.Verdict != v1alpha1.VerdictCorrupt || !settled(i) || !ok || req.Cause() != i.Cause {
		return
	}
	found := "Corrupt: " + finding(i)
	status := t.cache.Status
	replaced := i.VolumeName != status.Storage.VolumeName && status.VolumeReplacement == nil
	switch {
	case replaced && status.Content != nil && status.Content.Snapshot != "":
		pass.Answer(t.cache, t.Now, v1alpha1.RequestSucceeded, found+"; rolled back to "+status.Content.Snapshot)
	case replaced:
		pass.Answer(t.cache, t.Now, v1alpha1.RequestSucceeded, found+"; the volume was replaced since")
	case !pass.RollsBack(t.cache):
		pass.Answer(t.cache, t.Now, v1alpha1.RequestSucceeded, found+"; "+t.remedy())
	default:
		t.cache.Status.Request.Message = bounded.Text(found+"; is rolled back", 1024)
	}
}

// remedy is what a person can do about a Corrupt volume that is not rolled
// back.
func (t *turn) remedy() string {
	if latest := t.cache.Status.LatestVerifiedSnapshot; latest != "" {
		return fmt.Sprintf("roll it back with a CacheRequest of action Rollback and argument %s, or set spec.integrity.onCorrupt to Rollback", latest)
	}
	return fmt.Sprintf("there is no verified snapshot to roll back to: delete PersistentVolumeClaim %s to begin again", t.cache.Name)
}

func (t *turn) intactMessage() string {
	c := t.cache.Status.Integrity.Counts
	return fmt.Sprintf("%d module versions and %d build entries hold what they should", c.Modules, c.BuildEntries)
}

// verdictAtCreation is the verdict on the content that the snapshot was created
// with, before any repair: the cache PVC held the same content. One that was withdrawn
// was intact then.
func verdictAtCreation(c *v1alpha1.CacheSnapshot) v1alpha1.Verdict {
	if c.Status.Repair != nil {
		return c.Status.Repair.Found.Verdict
	}
	if verification.Withdrawn(c) {
		return v1alpha1.VerdictIntact
	}
	return c.Status.Verification.Verdict
}

// settled reports whether no further check is made for the same cause.
func settled(i *v1alpha1.IntegrityStatus) bool {
	return i.InconclusiveAttempts == 0 || i.InconclusiveAttempts >= livecheck.MaxAttempts
}

// finding describes what is corrupt, and the first place of it.
func finding(i *v1alpha1.IntegrityStatus) string {
	if len(i.Examples) == 0 {
		return i.Message
	}
	e := i.Examples[0]
	return fmt.Sprintf("%s (%s, %s: %s)", i.Message, e.Class, e.Path, e.Detail)
}

// checkDeadline is how long a check may take, and a request for one until it is
// answered.
func (t *turn) checkDeadline() time.Duration {
	if i := t.cache.Spec.Integrity; i != nil && i.Deadline != nil {
		return i.Deadline.Duration
	}
	return defaultDeadline
}

// corruptMessage describes what a check found, where first, and what is to be done.
func (t *turn) corruptMessage() string {
	message := "The cache PVC is corrupt: " + finding(t.cache.Status.Integrity)
	if pass.RollsBack(t.cache) {
		return message + "; it is rolled back"
	}
	return message + "; " + t.remedy()
}

// CheckDeadline is how long a check may take, and a request for one until it is
// answered.
func CheckDeadline(cache *v1alpha1.GoCache) time.Duration {
	return (&turn{cache: cache}).checkDeadline()
}
