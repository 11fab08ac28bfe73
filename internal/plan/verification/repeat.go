package verification

import (
	"hash/fnv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
)

const (
	// repeatJitter is the part of the interval that verifications are spread over.
	repeatJitter = 10
	// repeatRetry is the part of the interval after which a verification that was
	// inconclusive is repeated again.
	repeatRetry = 7
	// repeatRecheck is the part of the interval after which it is read again whether
	// a snapshot that is due has become the newest one.
	repeatRecheck = 24
)

// Repetition is the verification of a snapshot that was verified before.
type Repetition struct {
	Try
	// Due is when it begins; zero: never.
	Due time.Time
	// Interval between two of them.
	Interval time.Duration
	// Selected: the policy asks for it now, and the snapshot's source exists and is
	// not suspended.
	Selected bool
	// Running: it has begun and not ended. Started is when.
	Running bool
	Started time.Time
}

// ProvenTime is when a verification last found the snapshot Intact; zero: never.
func ProvenTime(c *v1alpha1.CacheSnapshot) time.Time {
	var at time.Time
	if v := c.Status.Verification; v.Verdict == v1alpha1.VerdictIntact {
		at = latest(at, v.CompletionTime)
	}
	if r := c.Status.Repeat; r != nil && r.Verdict != v1alpha1.VerdictCorrupt {
		at = latest(at, r.IntactTime)
	}
	return at
}

// Withdrawn reports whether a snapshot that was offered was found Corrupt when its
// verification was repeated. That is no evidence against the source: its content was
// intact when the snapshot was created.
func Withdrawn(c *v1alpha1.CacheSnapshot) bool {
	return c.Status.Repeat != nil && c.Status.Repeat.Verdict == v1alpha1.VerdictCorrupt
}

// RepeatPolicy is when the verification of a snapshot is repeated: as the policy of its
// source asks now, if that has created the snapshot, or else as the snapshot itself
// asks.
func RepeatPolicy(c *v1alpha1.CacheSnapshot, source *v1alpha1.SnapshotPolicy) *v1alpha1.RepeatPolicy {
	if source != nil && c.Labels[v1alpha1.ManagedByLabel] == v1alpha1.ManagedByValue {
		return source.Verification.Repeat
	}
	return c.Spec.Verification.Repeat
}

// RepeatAt returns when the verification of a snapshot is to be repeated by a policy;
// zero: never. The interval counts from the last time that the snapshot was found
// Intact. A part of it is added, which differs between snapshots, so that those that
// were verified together are not verified together again.
func RepeatAt(c *v1alpha1.CacheSnapshot, policy *v1alpha1.RepeatPolicy) time.Time {
	proven, interval := ProvenTime(c), repeatInterval(policy)
	if interval <= 0 || proven.IsZero() {
		return time.Time{}
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.UID))                                        // never fails
	offset := time.Duration(h.Sum64() % uint64(interval/repeatJitter+1)) //nolint:gosec // positive, checked above
	at := proven.Add(interval + offset)
	if r := c.Status.Repeat; r != nil && r.EndTime != nil {
		if again := r.EndTime.Add(interval / repeatRetry); r.Verdict != v1alpha1.VerdictIntact && again.After(at) {
			at = again
		}
	}
	return at
}

func repeatInterval(policy *v1alpha1.RepeatPolicy) time.Duration {
	if policy == nil || policy.Snapshots == v1alpha1.RepeatNone || policy.Interval == nil {
		return 0
	}
	return policy.Interval.Duration
}

// Repeated is the repetition that a policy asks for and the status records. The
// caller adds the Job, and whether the snapshot is selected.
func Repeated(c *v1alpha1.CacheSnapshot, policy *v1alpha1.RepeatPolicy) Repetition {
	r := Repetition{Due: RepeatAt(c, policy), Interval: repeatInterval(policy)}
	if status := c.Status.Repeat; status != nil {
		r.Try = attempted(status.Attempts, status.Run, status.CompletionTime)
		r.Started, r.Running = status.StartTime.Time, status.EndTime == nil
	}
	return r
}

// repeat is the way of a repetition, from its begin to its end; false: none is due
// or runs. A snapshot whose repetition runs stays what it is until that has a
// verdict.
func (f Observation) repeat() (Decision, bool) {
	r := f.Repeat
	if r.Running {
		remaining := time.Duration(0)
		if f.Deadline > 0 {
			if remaining = r.Started.Add(f.Deadline).Sub(f.Now); remaining <= 0 {
				return Decision{Stage: EndRepeat}, true
			}
		}
		if r.Attempts >= MaxAttempts || !f.Proven() {
			return Decision{Stage: EndRepeat}, true
		}
		if f.Suspended {
			return Decision{Stage: Suspended}, true
		}
		return f.run(r.Try, Repeat, WaitForRepeat, remaining), true
	}
	if f.Suspended || r.Due.IsZero() || !f.Proven() || !f.SnapshotReady || f.end(Done).Stage != Done {
		return Decision{}, false
	}
	switch wait := r.Due.Sub(f.Now); {
	case wait > 0:
		return Decision{Stage: Done, Wake: wait}, true
	case !r.Selected:
		return Decision{Stage: Done, Wake: r.Interval / repeatRecheck}, true
	}
	return Decision{Stage: BeginRepeat}, true
}

func latest(a time.Time, b *metav1.Time) time.Time {
	if b != nil && b.After(a) {
		return b.Time
	}
	return a
}
