package replacement

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"gocache.dev/operator/internal/kube/apply"
	"gocache.dev/operator/internal/plan/replacement"
)

// maxSteps bounds the steps of one pass; a whole replacement has fewer.
const maxSteps = 40

// Outcome is where a pass stopped.
type Outcome struct {
	Observed
	// Decision that was made last: a step that waits, or one that changes the
	// intent and is the caller's.
	Decision replacement.Decision
	// Objection to an eviction, if any.
	Objection string
}

// Advance takes steps, each on what it reads again, until one waits or changes
// the intent. complete adds to the observation the state that only the caller
// has. A new volume that the cluster refuses is waited for, and is no error.
func (r Run) Advance(ctx context.Context, complete func(context.Context, Observed, *replacement.Observation) error) (out Outcome, err error) {
	discard := false
	for range maxSteps {
		if out.Observed, err = r.Observe(ctx); err != nil {
			return out, err
		}
		facts := out.Facts(r.Intent)
		if err := complete(ctx, out.Observed, &facts); err != nil {
			return out, err
		}
		facts.Discard, facts.Deadline = facts.Discard || discard, r.Content.deadline()
		last := out.Decision
		out.Decision = replacement.Decide(facts)
		if out.Decision.Waits() || out.Decision.ChangesIntent() || out.Decision == last {
			return out, nil
		}
		out.Objection, err = r.Act(ctx, out.Observed, out.Decision)
		if namespaceGoes(err) { // nothing can be made in it any more
			discard, err = true, nil
		}
		if out.Decision.Step == replacement.MakeNext && apply.Refused(err) {
			facts.Refused = err.Error()
			out.Decision = replacement.Decide(facts)
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func namespaceGoes(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
