package gocache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	report "gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/domain/goenv"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/plan/cleanup"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/writer"
)

// cleanupAction makes plans of what is to be removed, and applies them.
func cleanupAction() writerAction {
	return writerAction{
		name:     writer.Cleanup,
		title:    "a cleaning",
		requests: []string{request.Cleanup, request.ApproveCleanup},
		decide:   (*Reconciler).decideCleanup,
		waitsFor: (*scope).cleanupWaitsFor,
		job:      (*Reconciler).cleanupJob,
		book:     (*scope).bookCleanup,
		booked:   func(c *v1alpha1.GoCache) string { return ptr.Deref(c.Status.Cleanup, v1alpha1.CleanupStatus{}).Run },
	}
}

// decideCleanup says whether a plan is to be made or applied.
func (r *Reconciler) decideCleanup(s *scope) (writer.DueAction, bool) {
	facts := s.cleanupFacts()
	d := cleanup.Decide(facts)
	s.wakeAt(d.Wake)
	return writer.DueAction{Cause: d.Cause, Since: d.Since, LastStart: facts.LastStart}, d.Step != cleanup.None
}

func (s *scope) cleanupFacts() cleanup.Observation {
	f := cleanup.Observation{
		Now: s.Now, Created: s.cache.CreationTimestamp.Time,
		Declared: s.cache.Spec.Cleanup != nil, Schedule: s.Schedules.Cleanup, Bounds: s.bounds(),
	}
	f.ApprovalRequired = f.Declared && s.cache.Spec.Cleanup.Approval == v1alpha1.ApprovalRequired
	if req, ok := s.Standing(s.cache, request.Cleanup); ok {
		f.Request, f.Requested = req.Text, s.cache.Status.LastHandledRequest.Time.Time
	}
	if t := s.cache.Status.WarmUp.LastSuccessTime; t != nil {
		f.Warmed = t.Time
	}
	c := s.cache.Status.Cleanup
	if c == nil {
		return f
	}
	f.Failures, f.Paused = c.Failures, c.Paused != ""
	f.LastPlan, f.LastStart, f.LastEnd = timeOf(c.LastPlanTime), timeOf(c.StartTime), timeOf(c.CompletionTime)
	if p := c.LastPlan; p != nil && p.Open {
		// What is acted on must stand in the status first: a plan, and its
		// approval.
		before := s.Stored.Status.Cleanup
		f.Open = &cleanup.Plan{Digest: p.Digest, Bounds: p.Bounds, Approved: before != nil && before.ApprovedPlan == p.Digest}
	}
	return f
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// bounds identifies what a plan is made for: size, age, and the volume.
func (s *scope) bounds() string {
	c := s.cache.Spec.Cleanup
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
	sum := sha256.Sum256([]byte(size + " " + age + " " + s.cache.Status.Storage.VolumeName))
	return hex.EncodeToString(sum[:16])
}

// cleanupWaitsFor says what keeps a cleaning that is due from starting.
func (s *scope) cleanupWaitsFor() string {
	switch {
	case s.NeverWarmed(s.cache):
		return "the first warm-up"
	case s.cache.Status.WarmUp.LastSuccessRun == "":
		// One that fails later is no hindrance: the volume may be full.
		return "a warm-up that succeeds"
	case pass.Corrupt(s.cache):
		return "the live claim to be mended: it is corrupt"
	}
	return s.quietWaitsFor()
}

// cleanupJob is the Job that makes a plan, or applies the one that is open: the
// agent in the toolchain's image, since it repeats builds.
func (r *Reconciler) cleanupJob(_ context.Context, s *scope, wish writer.DueAction) (*batchv1.Job, error) {
	spec, mount := s.cache.Spec.Cleanup, s.cache.Spec.Environment.MountPath
	command := []string{path.Join(toolsDir, "gocache-agent"), "cleanup", "--json", "--root", mount, "--termination-log", "/dev/termination-log"}
	if pass.Has(s.cache, v1alpha1.LayerModules) {
		command = append(command, "--modcache", goenv.ModuleCache(mount))
	}
	if pass.Has(s.cache, v1alpha1.LayerBuild) {
		command = append(command, "--buildcache", goenv.BuildCache(mount))
	}
	if spec.MaxSize != nil {
		command = append(command, "--max-size", strconv.FormatInt(spec.MaxSize.Value(), 10))
	}
	if spec.MaxAge != nil {
		command = append(command, "--max-age", spec.MaxAge.Duration.String())
	}
	job := s.writerJob(cleanupAction(), wish)
	job.Annotations[v1alpha1.InputsAnnotation] = s.bounds()
	if cleanup.Decide(s.cleanupFacts()).Step == cleanup.Apply {
		p := s.cache.Status.Cleanup.LastPlan
		job.Annotations[v1alpha1.PlanAnnotation] = p.Digest
		command = append(command, "--apply", p.Digest, "--as-of", p.Time.UTC().Format(time.RFC3339))
	}
	r.inToolchain(s, &job)
	job.Command = command
	return job.Object(), nil
}

// bookCleanup writes the outcome of a run into the status.
func (s *scope) bookCleanup() {
	run := s.Run
	if s.cache.Status.Cleanup == nil {
		s.cache.Status.Cleanup = &v1alpha1.CleanupStatus{}
	}
	c := s.cache.Status.Cleanup
	applied := run.Annotations[v1alpha1.PlanAnnotation]
	c.Run, c.Cause = run.Run, bounded.Text(run.Annotations[v1alpha1.CauseAnnotation], 256)
	c.StartTime, c.CompletionTime = ptr.To(metav1.NewTime(run.Started)), ptr.To(metav1.NewTime(run.Ended))
	if applied == "" {
		c.LastPlanTime = c.StartTime
	}
	outcome, message, said := cleanupOutcome(run)
	c.Outcome, c.Message = outcome, bounded.Text(message, 4096)
	s.bookUsage(said.UsedBytes, said.AvailableBytes)
	if len(said.Preflight) > 0 {
		c.Preflight, c.Paused = preflight(said), ""
	}
	switch said.Outcome {
	case report.Planned:
		s.bookPlan(said)
	case report.Changed:
		s.bookPlan(said)
		if c.LastPlan.Open && s.cache.Spec.Cleanup != nil && s.cache.Spec.Cleanup.Approval == v1alpha1.ApprovalRequired {
			s.answerRun(v1alpha1.RequestFailed, fmt.Sprintf("the caches have changed since, and nothing was removed; now %s", s.planMessage()))
		}
	case report.Applied:
		s.bookApplied(said)
	case report.Paused:
		c.Paused, c.Failures = said.Failing().Name, 0
		closePlan(c)
		s.answerRun(v1alpha1.RequestFailed, s.pausedMessage())
	case report.Corrupt:
		s.bookContentOf(said)
		closePlan(c)
		s.bookFailure()
	case report.Failed, "": // or no report at all
		s.bookFailure()
	}
}

// bookFailure notes that a run was not done; it is repeated.
func (s *scope) bookFailure() {
	c := s.cache.Status.Cleanup
	c.Failures++
	s.answerRun(v1alpha1.RequestFailed, c.Message)
}

// cleanupOutcome reads how a run ended. That a check does not pass is not the
// run's failure.
func cleanupOutcome(run jobrun.Outcome) (v1alpha1.RunOutcome, string, report.Report) {
	if !run.Conclusive() {
		return v1alpha1.RunInconclusive, run.Cause, report.Report{}
	}
	said, err := report.Parse([]byte(run.Message))
	if err != nil {
		return v1alpha1.RunFailed, fmt.Sprintf("the agent ended with exit code %d: %s", *run.ExitCode, run.Message), report.Report{}
	}
	switch said.Outcome {
	case report.Planned, report.Applied, report.Changed, report.Paused:
		return v1alpha1.RunSucceeded, said.Message, said
	case report.Corrupt, report.Failed:
	}
	return v1alpha1.RunFailed, said.Message, said
}

// bookPlan notes what would go. A plan with nothing in it is done.
func (s *scope) bookPlan(said report.Report) {
	c, p := s.cache.Status.Cleanup, said.Plan
	c.Failures = 0
	c.LastPlan = &v1alpha1.CleanupPlan{
		Digest: p.Digest, Time: metav1.NewTime(p.AsOf), Open: !p.Empty(), Bounds: s.Run.Annotations[v1alpha1.InputsAnnotation],
		Entries: p.Entries, Bytes: p.Bytes, OverBytes: p.OverBytes, Modules: layerPlan(p.Modules), Build: layerPlan(p.Build),
	}
	if c.ApprovedPlan != p.Digest {
		c.ApprovedPlan = ""
	}
	switch spec := s.cache.Spec.Cleanup; {
	case !c.LastPlan.Open:
		c.LastCleanTime = c.CompletionTime
		s.answerRun(v1alpha1.RequestSucceeded, "nothing to remove: the caches are within their bounds")
	case said.Outcome == report.Planned && spec != nil && spec.Approval == v1alpha1.ApprovalRequired:
		s.answerRun(v1alpha1.RequestSucceeded, s.planMessage())
	}
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

// bookApplied notes what went, and what is left.
func (s *scope) bookApplied(said report.Report) {
	c := s.cache.Status.Cleanup
	c.Failures = 0
	closePlan(c)
	c.LastCleanTime, c.Removed = c.CompletionTime, said.RemovedEntries
	c.Freed = resource.NewQuantity(said.FreedBytes, resource.BinarySI)
	c.Proof = &v1alpha1.CleanupProof{Result: string(said.Proof.Result), Compiled: said.Proof.Compiled, Message: bounded.Text(said.Proof.Message, 1024)}
	s.bookContentOf(said)
	message := fmt.Sprintf("freed %s", mebibytes(said.FreedBytes))
	if said.Proof.Result != report.Pass {
		message += "; " + s.unprovenMessage()
	}
	s.answerRun(v1alpha1.RequestSucceeded, message)
}

// bookContentOf copies what a run left on the claim.
func (s *scope) bookContentOf(said report.Report) {
	if !s.RanOnPVC() {
		return
	}
	s.cache.Status.Counts = v1alpha1.CacheCounts{Modules: said.Modules, BuildEntries: said.BuildEntries}
	s.cache.Status.ManifestDigest = said.ManifestDigest
}

// closePlan ends a plan, however it went: it is not applied any more.
func closePlan(c *v1alpha1.CleanupStatus) {
	if c.LastPlan != nil {
		c.LastPlan.Open = false
	}
}

func preflight(said report.Report) []v1alpha1.CleanupCheck {
	var checks []v1alpha1.CleanupCheck
	for _, c := range said.Preflight[:min(len(said.Preflight), 8)] {
		checks = append(checks, v1alpha1.CleanupCheck{
			Name: bounded.Text(c.Name, 32), Result: bounded.Text(string(c.Result), 16), Message: bounded.Text(c.Message, 1024),
		})
	}
	return checks
}

// unproven says whether a cleaning, since the last warm-up began, could not
// prove the cache warm.
func (s *scope) unproven() bool {
	c, warmed := s.cache.Status.Cleanup, s.cache.Status.WarmUp.StartTime
	return c != nil && c.Proof != nil && c.Proof.Result != string(report.Pass) && warmed != nil && c.LastCleanTime != nil && warmed.Before(c.LastCleanTime)
}

// refusesCleanup says why a cleaning cannot be asked for.
func (s *scope) refusesCleanup(request.Request) string {
	if s.cache.Spec.Cleanup == nil {
		return "spec.cleanup sets no bounds"
	}
	return ""
}

// refusesApproval says why an approval is of no use: it is of no plan that
// waits.
func (s *scope) refusesApproval(req request.Request) string {
	c := s.cache.Status.Cleanup
	switch {
	case !s.planWaits() && c != nil && c.LastPlan != nil && c.LastPlan.Digest == req.Argument:
		return "that plan does not wait: it was approved, applied or closed already"
	case !s.planWaits():
		return "no plan waits for approval"
	case c.LastPlan.Digest != req.Argument:
		return fmt.Sprintf("the plan that waits is %s, not %.80q", c.LastPlan.Digest, req.Argument)
	}
	return ""
}

// planWaits says whether the open plan waits for somebody to approve it.
func (s *scope) planWaits() bool {
	c := s.cache.Status.Cleanup
	return s.cleanupFacts().Waits() && c.ApprovedPlan != c.LastPlan.Digest
}

// approve notes the approval that was asked for. A plan that took the place of
// the approved one meanwhile is not it.
func (r *Reconciler) approve(_ context.Context, s *scope) error {
	req, ok := pass.Requested(s.cache, request.ApproveCleanup)
	c := s.cache.Status.Cleanup
	if !ok || s.writerAnswers() || c != nil && c.ApprovedPlan == req.Argument {
		return nil
	}
	if why := s.refusesApproval(req); why != "" {
		pass.Answer(s.cache, s.Now, req.Text, v1alpha1.RequestRefused, why)
		return nil
	}
	c.ApprovedPlan = req.Argument
	return nil
}

// mebibytes is a size for a person.
func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func (s *scope) planMessage() string {
	p := s.cache.Status.Cleanup.LastPlan
	return fmt.Sprintf("the plan %s, of %d entries and %s, waits for approval: annotate with %s=%s=%s#<token>",
		p.Digest, p.Entries, mebibytes(p.Bytes), v1alpha1.RequestAnnotation, request.ApproveCleanup, p.Digest)
}

func (s *scope) pausedMessage() string {
	c := s.cache.Status.Cleanup
	message := "cleaning is paused: the check " + c.Paused + " did not pass"
	for _, check := range c.Preflight {
		if check.Name == c.Paused {
			return message + ": " + check.Message
		}
	}
	return message
}

func (s *scope) unprovenMessage() string {
	return "not proven warm, so a warm-up is due: " + s.cache.Status.Cleanup.Proof.Message
}
