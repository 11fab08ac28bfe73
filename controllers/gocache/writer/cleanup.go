package writer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/domain/agentcommand"
	report "gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/check"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/plan/cleanup"
	"gocache.dev/operator/internal/plan/growth"
	"gocache.dev/operator/internal/plan/request"
	plan "gocache.dev/operator/internal/plan/writer"
)

// maxCheck and maxResult are the bounds of the schema for the name of a check and for a
// result, in bytes.
const maxCheck, maxResult = 32, 16

// cleanUp makes plans of what is to be removed, and applies them.
type cleanUp struct{}

func (cleanUp) name() plan.Action { return plan.Cleanup }

func (cleanUp) title() string { return "a cleanup" }

func (cleanUp) requests() []v1alpha1.RequestAction {
	return []v1alpha1.RequestAction{v1alpha1.RequestCleanup, v1alpha1.RequestApproveCleanup}
}

func (cleanUp) recorded(cache *v1alpha1.GoCache) string {
	return ptr.Deref(cache.Status.Cleanup, v1alpha1.CleanupStatus{}).Run
}

// record writes the outcome of a run into the status.
func (cleanUp) record(t *turn) {
	run := t.Run
	if t.cache.Status.Cleanup == nil {
		t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{}
	}
	c := t.cache.Status.Cleanup
	applied := run.Annotations[v1alpha1.PlanAnnotation]
	c.Run, c.Cause = run.Run, bounded.Text(run.Annotations[v1alpha1.CauseAnnotation], 256)
	c.StartTime, c.CompletionTime = ptr.To(metav1.NewTime(run.Started)), ptr.To(metav1.NewTime(run.Ended))
	if applied == "" {
		c.LastPlanTime = c.StartTime
	}
	outcome, message, r := cleanupOutcome(run)
	c.Outcome, c.Message = outcome, bounded.Text(message, 4096)
	t.recordUsage(growth.Measured{
		Used: r.UsedBytes, Available: r.AvailableBytes, Capacity: r.CapacityBytes, Tree: r.TreeBytes, Inodes: r.Inodes, InodesUsed: r.InodesUsed,
	})
	if len(r.Preflight) > 0 {
		c.Preflight, c.Paused = preflight(r), ""
	}
	switch r.Outcome {
	case report.Planned:
		t.recordPlan(r)
	case report.Changed:
		t.recordPlan(r)
		if c.LastPlan.Open && t.cache.Spec.Cleanup != nil && t.cache.Spec.Cleanup.Approval == v1alpha1.ApprovalRequired {
			t.answerRun(v1alpha1.RequestFailed, fmt.Sprintf("the caches have changed since, and nothing was removed; now %s", t.planMessage()))
		}
	case report.Applied:
		t.recordApplied(r)
	case report.Paused:
		c.Paused, c.Failures = bounded.Text(r.Failing().Name, maxCheck), 0
		closePlan(c)
		t.answerRun(v1alpha1.RequestFailed, t.pausedMessage())
	case report.Corrupt:
		t.recordContentOf(r)
		closePlan(c)
		t.recordFailure()
	case report.Failed, "": // or no report at all
		t.recordSeal(r.ManifestDigest)
		t.recordFailure()
	}
}

// due decides whether a plan is to be made or applied.
func (cleanUp) due(t *turn) (plan.DueAction, bool) {
	facts := t.cleanupFacts()
	d := cleanup.Decide(facts)
	t.out.WakeAt(t.Now, d.Wake)
	return plan.DueAction{Cause: d.Cause, Since: d.Since, LastStart: facts.LastStart}, d.Step != cleanup.None
}

// waitsFor is what keeps a cleanup that is due from starting.
func (cleanUp) waitsFor(t *turn) string {
	switch {
	case t.NeverWarmed(t.cache):
		return "the first warm-up"
	case t.cache.Status.WarmUp.LastSuccessRun == "":
		// One that fails later is no hindrance: the volume may be full.
		return "a warm-up that succeeds"
	case pass.Corrupt(t.cache):
		return "the cache PVC to be replaced or repaired: it is corrupt"
	}
	return t.quietWaitsFor()
}

// job is the Job that makes a plan, or applies the one that is open: the
// agent in the toolchain's image, since it repeats builds.
func (cleanUp) job(_ context.Context, t *turn, due plan.DueAction) (*batchv1.Job, error) {
	spec, mount := t.cache.Spec.Cleanup, t.cache.Spec.Environment.MountPath
	caches := check.Layers(t.cache.Spec.Layers, mount)
	command := agentcommand.Cleanup{Root: mount, ModCache: caches.ModCache, BuildCache: caches.BuildCache}
	if spec.MaxSize != nil {
		command.MaxSize = spec.MaxSize.Value()
	}
	if spec.MaxAge != nil {
		command.MaxAge = spec.MaxAge.Duration
	}
	job := t.jobSpec(cleanUp{}, due)
	job.Annotations[v1alpha1.InputsAnnotation] = t.bounds()
	if cleanup.Decide(t.cleanupFacts()).Step == cleanup.Apply {
		p := t.cache.Status.Cleanup.LastPlan
		job.Annotations[v1alpha1.PlanAnnotation] = p.Digest
		command.Seal, command.Apply, command.AsOf = t.seal(), p.Digest, p.Time.Time
	}
	t.inToolchain(&job)
	job.Command = agentcommand.In(toolsDir, command)
	return job.Object(), nil
}

func (t *turn) cleanupFacts() cleanup.Observation {
	f := cleanup.Observation{
		Now: t.Now, Created: t.cache.CreationTimestamp.Time,
		Declared: t.cache.Spec.Cleanup != nil, Schedule: t.Schedules.Cleanup, Bounds: t.bounds(),
	}
	f.ApprovalRequired = f.Declared && t.cache.Spec.Cleanup.Approval == v1alpha1.ApprovalRequired
	if req, ok := t.Standing(t.cache, v1alpha1.RequestCleanup); ok {
		f.Request, f.Requested = req.Cause(), t.cache.Status.Request.Time.Time
	}
	if t := t.cache.Status.WarmUp.LastSuccessTime; t != nil {
		f.Warmed = t.Time
	}
	f.Full = almostFull(t.cache.Status.Storage)
	c := t.cache.Status.Cleanup
	if c == nil {
		return f
	}
	f.Failures, f.Paused = c.Failures, c.Paused != ""
	f.LastPlan, f.LastStart, f.LastEnd = timeOf(c.LastPlanTime), timeOf(c.StartTime), timeOf(c.CompletionTime)
	if p := c.LastPlan; p != nil && p.Open {
		// What is acted on must stand in the status first: a plan, and its
		// approval.
		before := t.Stored.Status.Cleanup
		f.Open = &cleanup.Plan{Digest: p.Digest, Bounds: p.Bounds, Approved: before != nil && before.ApprovedPlan == p.Digest}
	}
	return f
}

// bounds identifies what a plan is made for: size, age, and the volume.
func (t *turn) bounds() string {
	c := t.cache.Spec.Cleanup
	if c == nil {
		return ""
	}
	size, age := "", ""
	if c.MaxSize != nil {
		size = c.MaxSize.String()
	}
	if c.MaxAge != nil {
		age = c.MaxAge.Duration.String()
	}
	sum := sha256.Sum256([]byte(size + " " + age + " " + t.cache.Status.Storage.VolumeName))
	return hex.EncodeToString(sum[:16])
}

// recordFailure notes that a run was not done; it is repeated.
func (t *turn) recordFailure() {
	c := t.cache.Status.Cleanup
	c.Failures++
	t.answerRun(v1alpha1.RequestFailed, c.Message)
}

// recordPlan notes what would go. A plan with nothing in it is done.
func (t *turn) recordPlan(r report.Report) {
	c, p := t.cache.Status.Cleanup, r.Plan
	bounds := t.Run.Annotations[v1alpha1.InputsAnnotation]
	if was := c.LastPlan; was == nil || !was.Open || was.Digest != p.Digest || was.Bounds != bounds {
		closePlan(c) // it is another one, if with the same entries: on another volume, or later
	}
	c.Failures = 0
	c.LastPlan = &v1alpha1.CleanupPlan{
		Digest: p.Digest, Time: metav1.NewTime(p.AsOf), Open: !p.Empty(), Bounds: bounds,
		Entries: p.Entries, Bytes: p.Bytes, OverBytes: p.OverBytes, Modules: layerPlan(p.Modules), Build: layerPlan(p.Build),
	}
	switch spec := t.cache.Spec.Cleanup; {
	case !c.LastPlan.Open:
		c.LastCleanTime = c.CompletionTime
		t.answerRun(v1alpha1.RequestSucceeded, "nothing to remove: the caches are within their bounds")
	case r.Outcome == report.Planned && spec != nil && spec.Approval == v1alpha1.ApprovalRequired:
		t.answerRun(v1alpha1.RequestSucceeded, t.planMessage())
	}
}

// recordApplied notes what went, and what is left.
func (t *turn) recordApplied(r report.Report) {
	c := t.cache.Status.Cleanup
	c.Failures = 0
	closePlan(c)
	c.LastCleanTime, c.Removed = c.CompletionTime, r.RemovedEntries
	c.Freed = resource.NewQuantity(r.FreedBytes, resource.BinarySI)
	c.Proof = &v1alpha1.CleanupProof{Result: bounded.Text(string(r.Proof.Result), maxResult), Compiled: r.Proof.Compiled, Message: bounded.Text(r.Proof.Message, 1024)}
	t.recordContentOf(r)
	message := fmt.Sprintf("freed %s", mebibytes(r.FreedBytes))
	if r.Proof.Result != report.Pass {
		message += "; " + t.unprovenMessage()
	}
	t.answerRun(v1alpha1.RequestSucceeded, message)
}

// recordContentOf copies what a run left on the PVC.
func (t *turn) recordContentOf(r report.Report) {
	if !t.RanOnPVC() {
		return
	}
	t.cache.Status.Counts = v1alpha1.CacheCounts{Modules: r.Modules, BuildEntries: r.BuildEntries}
	t.recordSeal(r.ManifestDigest)
}

// unproven reports whether a cleanup, since the last warm-up began, could not
// prove the cache warm.
func (t *turn) unproven() bool {
	c, warmed := t.cache.Status.Cleanup, t.cache.Status.WarmUp.StartTime
	return c != nil && c.Proof != nil && c.Proof.Result != string(report.Pass) && warmed != nil && c.LastCleanTime != nil && warmed.Before(c.LastCleanTime)
}

// planWaits reports whether the open plan waits for approval.
func (t *turn) planWaits() bool {
	c := t.cache.Status.Cleanup
	return t.cleanupFacts().Waits() && c.ApprovedPlan != c.LastPlan.Digest
}

// approve notes the approval that was asked for. A plan that took the place of
// the approved one meanwhile is not it.
func (t *turn) approve() {
	req, ok := pass.Requested(t.cache, v1alpha1.RequestApproveCleanup)
	c := t.cache.Status.Cleanup
	if !ok || t.answers() || c != nil && c.ApprovedPlan == req.Argument {
		return
	}
	if why := t.refusesApproval(req); why != "" {
		pass.Answer(t.cache, t.Now, v1alpha1.RequestRefused, why)
		return
	}
	c.ApprovedPlan = req.Argument
}

func (t *turn) planMessage() string {
	p := t.cache.Status.Cleanup.LastPlan
	return fmt.Sprintf("the plan %s, of %d entries and %s, waits for approval: create a CacheRequest with action %s and argument %s",
		p.Digest, p.Entries, mebibytes(p.Bytes), v1alpha1.RequestApproveCleanup, p.Digest)
}

func (t *turn) pausedMessage() string {
	c := t.cache.Status.Cleanup
	message := "cleanup is paused: the check " + c.Paused + " did not pass"
	for _, check := range c.Preflight {
		if check.Name == c.Paused {
			return message + ": " + check.Message
		}
	}
	return message
}

func (t *turn) unprovenMessage() string {
	return "not proven warm, so a warm-up is due: " + t.cache.Status.Cleanup.Proof.Message
}

// refusesCleanup is why a request for a cleanup is refused; empty: it is not.
func (t *turn) refusesCleanup() string {
	if t.cache.Spec.Cleanup == nil {
		return "spec.cleanup sets no bounds"
	}
	return ""
}

// refusesApproval is why an approval is of no use: it is of no plan that
// waits.
func (t *turn) refusesApproval(req request.Request) string {
	c := t.cache.Status.Cleanup
	switch {
	case !t.planWaits() && c != nil && c.LastPlan != nil && c.LastPlan.Digest == req.Argument:
		return "that plan does not wait: it was approved, applied or closed already"
	case !t.planWaits():
		return "no plan waits for approval"
	case c.LastPlan.Digest != req.Argument:
		return fmt.Sprintf("the plan that waits is %s, not %.80q", c.LastPlan.Digest, req.Argument)
	}
	return ""
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// cleanupOutcome reads how a run ended. That a check does not pass is not the
// run's failure.
func cleanupOutcome(run jobrun.Outcome) (v1alpha1.RunOutcome, string, report.Report) {
	if !run.Conclusive() {
		return v1alpha1.RunInconclusive, run.Cause, report.Report{}
	}
	r, err := report.Parse([]byte(run.Message))
	if err != nil {
		return v1alpha1.RunFailed, fmt.Sprintf("the agent ended with exit code %d: %s", *run.ExitCode, run.Message), report.Report{}
	}
	switch r.Outcome {
	case report.Planned, report.Applied, report.Changed, report.Paused:
		return v1alpha1.RunSucceeded, r.Message, r
	case report.Corrupt, report.Failed:
	}
	return v1alpha1.RunFailed, r.Message, r
}

func layerPlan(l *report.Layer) *v1alpha1.CleanupLayer {
	if l == nil {
		return nil
	}
	out := &v1alpha1.CleanupLayer{Entries: l.Entries, Bytes: l.Bytes, OfBytes: l.BeforeBytes}
	if l.Oldest != nil && l.Newest != nil {
		out.Oldest, out.Newest = ptr.To(metav1.NewTime(*l.Oldest)), ptr.To(metav1.NewTime(*l.Newest))
	}
	return out
}

// closePlan ends a plan, however it went: it is not applied any more. Nor is a later one
// of the same entries, which has the same digest, before it was approved itself, and the
// webhook called for it.
func closePlan(c *v1alpha1.CleanupStatus) {
	if c.LastPlan != nil {
		c.LastPlan.Open = false
	}
	c.ApprovedPlan, c.Webhook = "", nil
}

func preflight(r report.Report) []v1alpha1.CleanupCheck {
	var checks []v1alpha1.CleanupCheck
	for _, c := range r.Preflight[:min(len(r.Preflight), 8)] {
		checks = append(checks, v1alpha1.CleanupCheck{
			Name: bounded.Text(c.Name, maxCheck), Result: bounded.Text(string(c.Result), maxResult), Message: bounded.Text(c.Message, 1024),
		})
	}
	return checks
}

// mebibytes is a size for a person.
func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// RefusesCleanup is why a cleanup cannot be requested; empty: it can.
func RefusesCleanup(cache *v1alpha1.GoCache) string {
	return (&turn{cache: cache}).refusesCleanup()
}

// RefusesApproval is why an approval is of no use; empty: a plan waits for it.
func RefusesApproval(cache *v1alpha1.GoCache, o pass.Observed, req request.Request) string {
	return (&turn{Observed: o, cache: cache}).refusesApproval(req)
}

// fullFrom is how much of the bytes or inodes of a volume is used, in percent, when a
// cleanup does not wait for its schedule.
const fullFrom = 90

// almostFull reports whether the last run has left few bytes or inodes.
func almostFull(s v1alpha1.CacheStorageStatus) bool {
	used, inodes := ptr.Deref(s.InodesUsed, 0), ptr.Deref(s.Inodes, 0)
	percent := growth.UsedPercent(used, inodes-used)
	return ptr.Deref(s.UsedPercent, 0) >= fullFrom || inodes > 0 && ptr.Deref(percent, 0) >= fullFrom
}
