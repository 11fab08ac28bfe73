package status

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/buildreport"
	"gocache.dev/operator/internal/plan/request"
	"gocache.dev/operator/internal/plan/snapshot"
)

// finishedShown is how many finished requests of one object are shown.
const finishedShown = 3

// noKind reports whether the cluster has no such kind.
func noKind(err error) bool { return apimeta.IsNoMatchError(err) }

func (all *objects) cache(c *v1alpha1.GoCache) Node {
	n := conditioned(v1alpha1.GoCacheKind, c, c.Status.Conditions)
	n.Namespace = c.Namespace
	if r := c.Status.VolumeReplacement; r != nil {
		n.Message = joined(n.Message, fmt.Sprintf("%s of the volume, step %s: %s", r.Reason, r.Step, r.Message))
	}
	if c.Spec.Source != nil {
		n.Children = append(n.Children, sourceOf(c))
	} else {
		n.Children = append(n.Children, all.cachePVC(c))
	}
	if c.Status.Pool != nil {
		n.Children = append(n.Children, poolOf(c))
	}
	own := snapshotsOf(all.snapshots, c.Namespace, v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: c.Name})
	shown := map[string]bool{}
	for i := range own {
		s := all.snapshot(&own[i], own[i].Name == c.Status.LatestVerifiedSnapshot)
		for j := range all.claims {
			claim := &all.claims[j]
			ref := consumes(claim)
			if claim.Namespace != c.Namespace || ref == nil {
				continue
			}
			from := all.populated[claim.Spec.VolumeName]
			if from == "" && ref.Kind == v1alpha1.CacheSnapshotKind {
				from = ref.Name
			}
			if from == own[i].Name && (ref.Kind == v1alpha1.CacheSnapshotKind || ref.Name == c.Name) {
				shown[claim.Name] = true
				s.Children = append(s.Children, consumer(claim))
			}
		}
		n.Children = append(n.Children, s)
	}
	// Those whose snapshot is unknown, because they wait, or was deleted.
	for i := range all.claims {
		claim := &all.claims[i]
		ref := consumes(claim)
		if claim.Namespace == c.Namespace && ref != nil && ref.Kind == v1alpha1.GoCacheKind && ref.Name == c.Name && !shown[claim.Name] {
			n.Children = append(n.Children, consumer(claim))
		}
	}
	n.Children = append(n.Children, all.reportedFor(c)...)
	n.Children = append(n.Children, all.requestsFor(c.Namespace, v1alpha1.GoCacheKind, c.Name)...)
	return n
}

// reportedFor is what consumers have reported of their builds, as far as the reports
// are kept.
func (all *objects) reportedFor(c *v1alpha1.GoCache) []Node {
	var nodes []Node
	for _, t := range buildreport.Sum(all.requests, c) {
		n := Node{Kind: "Build", Name: t.Build, State: "Reported", Level: LevelOK, Since: since(t.Time)}
		if n.Name == "" {
			n.Name = "unnamed"
		}
		n.Message = fmt.Sprintf("consumers report %d%% from the cache in %d builds, %d of %d in the last one",
			buildreport.Percent(t.Hits, t.Misses), t.Builds, t.Last.Hits, t.Last.Hits+t.Last.Misses)
		nodes = append(nodes, n)
	}
	return nodes
}

// sourceOf is the GoCache of another namespace that a GoCache is shared from.
func sourceOf(c *v1alpha1.GoCache) Node {
	n := Node{Kind: v1alpha1.GoCacheKind, Name: c.Spec.Source.Namespace + "/" + c.Spec.Source.Name, State: "NotAvailable", Level: LevelFailure}
	if s := c.Status.Source; s != nil {
		n.State, n.Level, n.Message = "Shared", LevelProgress, "it offers no snapshot"
		if s.Snapshot != "" {
			n.Level, n.Message = LevelOK, fmt.Sprintf("CacheSnapshot %s, %s", s.Snapshot, s.Verdict)
		}
		if s.CreationTime != nil {
			n.Since = since(s.CreationTime.Time)
		}
	}
	return n
}

// poolOf is the pool of a cache: how many volumes are ready, and what it waits for.
func poolOf(c *v1alpha1.GoCache) Node {
	p := c.Status.Pool
	n := Node{Kind: "Pool", Name: c.Name, State: fmt.Sprintf("%d/%d", p.Ready, p.Size), Level: LevelOK}
	if is := apimeta.FindStatusCondition(c.Status.Conditions, v1alpha1.PoolFilledCondition); is != nil {
		n.Message = is.Message
		switch {
		case is.Status == metav1.ConditionTrue:
		case is.Reason == v1alpha1.ReasonPoolFilling:
			n.Level = LevelProgress
		default: // builds get clones all the same
			n.Level = LevelWarning
		}
	}
	return n
}

// cachePVC is the PVC that warm-ups write to.
func (all *objects) cachePVC(c *v1alpha1.GoCache) Node {
	s := c.Status.Storage
	name := s.PersistentVolumeClaimName
	if name == "" {
		name = c.Name
	}
	n := Node{Kind: "PVC", Name: name, State: "Unknown", Level: LevelProgress}
	if s.PersistentVolumeClaimName != "" && s.VolumeName != "" {
		n.State, n.Level = string(corev1.ClaimBound), LevelOK
	}
	for i := range all.claims {
		if all.claims[i].Namespace == c.Namespace && all.claims[i].Name == name {
			n = pvc(&all.claims[i])
		}
	}
	var parts []string
	if s.Capacity != nil {
		parts = append(parts, s.Capacity.String())
	}
	if s.UsedPercent != nil {
		parts = append(parts, fmt.Sprintf("%d%% used", *s.UsedPercent))
	}
	if s.Inodes != nil && s.InodesUsed != nil {
		parts = append(parts, fmt.Sprintf("%d of %d inodes used", *s.InodesUsed, *s.Inodes))
	}
	if s.AppliedClass != "" {
		parts = append(parts, "class "+s.AppliedClass)
	}
	if n.Message == "" {
		n.Message = strings.Join(parts, ", ")
	}
	return n
}

func pvc(claim *corev1.PersistentVolumeClaim) Node {
	n := Node{Kind: "PVC", Name: claim.Name, State: string(claim.Status.Phase), Level: LevelOK, Since: since(claim.CreationTimestamp.Time)}
	switch claim.Status.Phase {
	case corev1.ClaimBound:
	case corev1.ClaimPending, "":
		n.State, n.Level = string(corev1.ClaimPending), LevelProgress
	case corev1.ClaimLost:
		n.Level, n.Message = LevelFailure, "its PersistentVolume does not exist"
	}
	if claim.DeletionTimestamp != nil {
		n.State, n.Level, n.Message = "Terminating", LevelProgress, "deleted once no pod uses it"
	}
	return n
}

// consumer is a PVC that is populated from a snapshot.
func consumer(claim *corev1.PersistentVolumeClaim) Node {
	n := pvc(claim)
	if n.Message == "" {
		n.Message = "consumer"
		if n.Level == LevelProgress {
			n.Message = "consumer: populated when its first pod is scheduled and the cache has a verified snapshot"
		}
	}
	return n
}

// snapshotsOf are the snapshots of one source, the newest first.
func snapshotsOf(all []v1alpha1.CacheSnapshot, namespace string, source v1alpha1.SnapshotSource) []v1alpha1.CacheSnapshot {
	var own []v1alpha1.CacheSnapshot
	for i := range all {
		if all[i].Namespace == namespace && all[i].Spec.SourceRef == source {
			own = append(own, all[i])
		}
	}
	slices.SortStableFunc(own, func(a, b v1alpha1.CacheSnapshot) int { return snapshot.Created(&b).Compare(snapshot.Created(&a)) })
	return own
}

func (all *objects) snapshot(s *v1alpha1.CacheSnapshot, source bool) Node {
	n := conditioned(v1alpha1.CacheSnapshotKind, s, s.Status.Conditions)
	n.Since = since(snapshot.Created(s))
	var parts []string
	if source {
		parts = append(parts, "source of new PVCs")
	}
	if s.Spec.Pinned {
		parts = append(parts, "pinned")
	}
	if proven := provenOf(s.Status.Verification); proven != "" {
		parts = append(parts, proven)
	}
	ready := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ReadyCondition)
	verified := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.VerifiedCondition)
	settled := verified == nil || verified.Status != metav1.ConditionUnknown
	switch v := s.Status.Verification.Verdict; {
	case s.DeletionTimestamp != nil:
	case v == v1alpha1.VerdictCorrupt && settled:
		n.State, n.Level = string(v), LevelFailure
	case v == v1alpha1.VerdictIntact && n.Level == LevelOK:
		n.State = string(v)
	case v == v1alpha1.VerdictInconclusive && n.Level != LevelProgress:
		n.State, n.Level = string(v), LevelWarning
	case ready != nil && (v == "" || n.Level == LevelProgress):
		// The verdict, if there is one, may change: the reason has the stage, such as
		// Verifying, Queued or Repairing.
		n.State = ready.Reason
	}
	if n.Level == LevelOK {
		n.Message = ""
	}
	n.Message = joined(n.Message, parts...)
	return n
}

// provenOf is how much of the content of a snapshot is as its writer or trust data
// name it; empty: nothing was counted.
func provenOf(v v1alpha1.VerificationStatus) string {
	var parts []string
	if v.TotalModules > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d modules", v.ProvenModules, v.TotalModules))
	}
	if v.Counts.BuildEntries > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d build entries", v.ProvenBuildEntries, v.Counts.BuildEntries))
	}
	if parts == nil {
		return ""
	}
	return "proven: " + strings.Join(parts, ", ")
}

func (all *objects) proxy(p *v1alpha1.ModProxy) Node {
	n := conditioned(v1alpha1.ModProxyKind, p, p.Status.Conditions)
	n.Namespace = p.Namespace
	if p.Status.PinnedInstance != "" {
		n.Message = joined(n.Message, "instance "+p.Status.PinnedInstance+" serves alone by a failover request")
	}
	for i := range p.Status.Instances {
		n.Children = append(n.Children, all.instance(p, &p.Status.Instances[i]))
	}
	n.Children = append(n.Children, all.requestsFor(p.Namespace, v1alpha1.ModProxyKind, p.Name)...)
	return n
}

func (all *objects) instance(p *v1alpha1.ModProxy, i *v1alpha1.InstanceStatus) Node {
	n := Node{Kind: "Instance", Name: i.Name, State: "Standby", Level: LevelOK, Message: fmt.Sprintf("weight %d", i.ObservedWeight)}
	if i.DesiredWeight != i.ObservedWeight {
		n.Message = fmt.Sprintf("weight %d, to become %d", i.ObservedWeight, i.DesiredWeight)
	}
	n.Since = i.HealthySince
	switch {
	case i.Quarantined != nil:
		n.State, n.Level, n.Since = "Quarantined", LevelFailure, since(i.Quarantined.Time.Time)
		n.Message = joined(i.Quarantined.Reason+": "+i.Quarantined.Message, n.Message)
	case !i.Healthy:
		n.State, n.Level, n.Since = "Unhealthy", LevelWarning, nil
		for _, probe := range i.FailingProbes {
			n.Message = joined(fmt.Sprintf("probe %s: %s", probe.Kind, probe.Message), n.Message)
			n.Since = since(probe.Since.Time)
		}
	case i.OutOfService:
		n.State, n.Level = "OutOfService", LevelProgress
	case i.Serving:
		n.State = "Serving"
	}
	if i.StoreCheck != nil {
		n.Message = joined(n.Message, fmt.Sprintf("store %s", i.StoreCheck.Verdict))
	}
	if i.DiskUsedPercent != nil {
		n.Message = joined(n.Message, fmt.Sprintf("%d%% used", *i.DiskUsedPercent))
	}
	if r := i.Rollback; r != nil && r.CompletionTime == nil {
		n.Message = joined(n.Message, "rollback: "+r.Message)
	}
	own := snapshotsOf(all.snapshots, p.Namespace, v1alpha1.SnapshotSource{Kind: v1alpha1.ModProxyKind, Name: p.Name, Instance: i.Name})
	for j := range own {
		n.Children = append(n.Children, all.snapshot(&own[j], false))
	}
	return n
}

// requestsFor are the requests for an object: those that are not finished in the
// order in which they are acted on, then the last finished ones.
func (all *objects) requestsFor(namespace, kind, name string) []Node {
	var open, finished []v1alpha1.CacheRequest
	for _, r := range all.requests {
		if r.Namespace != namespace || r.Spec.TargetRef.Kind != kind || r.Spec.TargetRef.Name != name {
			continue
		}
		if buildreport.Is(&r) && r.Status.Outcome == v1alpha1.RequestSucceeded {
			continue // shown by its build
		}
		if request.Finished(&r) {
			finished = append(finished, r)
			continue
		}
		open = append(open, r)
	}
	slices.SortStableFunc(open, func(a, b v1alpha1.CacheRequest) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	slices.SortStableFunc(finished, func(a, b v1alpha1.CacheRequest) int {
		return b.Status.CompletionTime.Compare(a.Status.CompletionTime.Time)
	})
	var nodes []Node
	for _, r := range append(open, finished[:min(len(finished), finishedShown)]...) {
		nodes = append(nodes, requested(&r))
	}
	return nodes
}

func requested(r *v1alpha1.CacheRequest) Node {
	n := Node{Kind: v1alpha1.CacheRequestKind, Name: r.Name, State: "Waiting", Level: LevelProgress, Since: since(r.CreationTimestamp.Time)}
	action := string(r.Spec.Action)
	if r.Spec.Argument != "" {
		action += " " + r.Spec.Argument
	}
	n.Message = action
	if r.Status.Message != "" {
		n.Message += ": " + r.Status.Message
	}
	switch r.Status.Outcome {
	case v1alpha1.RequestWaiting:
	case v1alpha1.RequestAccepted:
		n.State = string(r.Status.Outcome)
	case v1alpha1.RequestSucceeded:
		n.State, n.Level = string(r.Status.Outcome), LevelOK
	case v1alpha1.RequestFailed, v1alpha1.RequestRefused:
		n.State, n.Level = string(r.Status.Outcome), LevelWarning
	}
	if r.Status.CompletionTime != nil {
		n.Since = r.Status.CompletionTime
	}
	return n
}

// conditioned is an object by its conditions, in the order of urgency.
func conditioned(kind string, o metav1.Object, conditions []metav1.Condition) Node {
	n := Node{Kind: kind, Name: o.GetName(), State: "Pending", Level: LevelProgress, Message: "the operator has not reported yet", Since: since(o.GetCreationTimestamp().Time)}
	is := func(kind string, status metav1.ConditionStatus) *metav1.Condition {
		if c := apimeta.FindStatusCondition(conditions, kind); c != nil && c.Status == status {
			return c
		}
		return nil
	}
	set := func(c *metav1.Condition, state string, level Level) {
		n.State, n.Level, n.Message, n.Since = state, level, c.Message, since(c.LastTransitionTime.Time)
	}
	ready, notReady := is(v1alpha1.ReadyCondition, metav1.ConditionTrue), is(v1alpha1.ReadyCondition, metav1.ConditionFalse)
	stalled, suspended := is(v1alpha1.StalledCondition, metav1.ConditionTrue), is(v1alpha1.SuspendedCondition, metav1.ConditionTrue)
	reconciling := is(v1alpha1.ReconcilingCondition, metav1.ConditionTrue)
	switch {
	case o.GetDeletionTimestamp() != nil:
		n.State, n.Message, n.Since = "Terminating", "", since(o.GetDeletionTimestamp().Time)
	case stalled != nil:
		set(stalled, "Stalled", LevelFailure)
	case suspended != nil:
		set(suspended, "Suspended", LevelWarning)
	case ready != nil:
		set(ready, "Ready", LevelOK)
		for _, c := range conditions {
			if c.Status == metav1.ConditionFalse {
				// First: a table shows the beginning.
				n.Level, n.Message = LevelWarning, joined(c.Type+" is False: "+c.Message, n.Message)
			}
		}
	case reconciling != nil:
		set(reconciling, "Reconciling", LevelProgress)
	case notReady != nil:
		set(notReady, "NotReady", LevelWarning)
	}
	return n
}

// joined joins the parts that are not empty.
func joined(first string, more ...string) string {
	all := []string{}
	for _, part := range append([]string{first}, more...) {
		if part != "" {
			all = append(all, part)
		}
	}
	return strings.Join(all, "; ")
}
