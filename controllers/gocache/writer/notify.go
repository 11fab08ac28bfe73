package writer

import (
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/webhook"
	"gocache.dev/operator/internal/plan/cleanup"
)

// defaultWebhookTimeout of a call.
const defaultWebhookTimeout = 10 * time.Second

// Notice is what a webhook is sent.
type Notice struct {
	Kind      string                `json:"kind"`
	Namespace string                `json:"namespace"`
	Name      string                `json:"name"`
	UID       types.UID             `json:"uid"`
	Plan      *v1alpha1.CleanupPlan `json:"plan"`
	// Approve is the spec of the CacheRequest that approves the plan.
	Approve v1alpha1.CacheRequestSpec `json:"approve"`
}

// notifyPlan notifies the webhook of a plan that waits: at least once, since the
// delivery is recorded after the call, and only of a plan that is stored.
func (t *turn) notifyPlan() error {
	spec := t.cache.Spec.Cleanup
	if spec == nil || spec.Webhook == nil || !t.planWaits() || !t.planStands() {
		return nil
	}
	c := t.cache.Status.Cleanup
	plan := c.LastPlan
	if c.Webhook == nil || c.Webhook.PlanDigest != plan.Digest {
		c.Webhook = &v1alpha1.WebhookStatus{PlanDigest: plan.Digest}
	}
	w := c.Webhook
	if w.DeliveredTime != nil {
		return nil
	}
	if w.LastFailureTime != nil {
		if again := w.LastFailureTime.Add(cleanup.Pause(w.Failures)); again.After(t.Now) {
			t.out.WakeAt(t.Now, again)
			return nil
		}
	}
	body, err := json.Marshal(Notice{
		Kind: "CleanupPlanWaits", Namespace: t.cache.Namespace, Name: t.cache.Name, UID: t.cache.UID,
		Plan: plan,
		Approve: v1alpha1.CacheRequestSpec{
			TargetRef: v1alpha1.RequestTarget{Kind: v1alpha1.GoCacheKind, Name: t.cache.Name},
			Action:    v1alpha1.RequestApproveCleanup, Argument: plan.Digest,
		},
	})
	if err != nil {
		return err
	}
	done, err := t.Webhooks.Notify(webhook.Call{
		Object: client.ObjectKeyFromObject(t.cache), Key: keyOf(plan), URL: spec.Webhook.URL, Body: body,
		Timeout: ptr.Deref(spec.Webhook.Timeout, metav1.Duration{Duration: defaultWebhookTimeout}).Duration,
	})
	switch {
	case !done: // its end wakes us
	case err != nil:
		w.Failures++
		w.LastFailureTime, w.Message = ptr.To(metav1.NewTime(t.Now)), bounded.Text(err.Error(), 1024)
		t.out.WakeAt(t.Now, t.Now.Add(cleanup.Pause(w.Failures)))
	default:
		w.DeliveredTime, w.Message = ptr.To(metav1.NewTime(t.Now)), ""
	}
	return nil
}

// keyOf is the same for each call about a plan, and another one for a later plan of the same
// entries.
func keyOf(p *v1alpha1.CleanupPlan) string {
	return p.Digest + " " + p.Time.UTC().Format(time.RFC3339)
}

// planStands reports whether the open plan is stored.
func (t *turn) planStands() bool {
	before := t.Stored.Status.Cleanup
	return before != nil && before.LastPlan != nil && before.LastPlan.Digest == t.cache.Status.Cleanup.LastPlan.Digest
}
