package gocache

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/webhook"
	"gocache.dev/operator/internal/plan/cleanup"
	"gocache.dev/operator/internal/plan/request"
)

// notifier tells addresses something in the background.
type notifier interface {
	Notify(webhook.Call) (done bool, err error)
}

const defaultWebhookTimeout = 10 * time.Second

// told is the source of passes over caches whose calls have ended.
func (r *Reconciler) told() ctrlsource.Source {
	ended := make(chan event.TypedGenericEvent[client.Object])
	if r.Webhooks == nil {
		r.Webhooks = webhook.New(func(o types.NamespacedName) {
			cache := &v1alpha1.GoCache{}
			cache.Namespace, cache.Name = o.Namespace, o.Name
			ended <- event.TypedGenericEvent[client.Object]{Object: cache}
		})
	}
	return ctrlsource.Channel(ended, &handler.EnqueueRequestForObject{})
}

// notice is what a webhook is told.
type notice struct {
	Kind      string                `json:"kind"`
	Namespace string                `json:"namespace"`
	Name      string                `json:"name"`
	UID       types.UID             `json:"uid"`
	Plan      *v1alpha1.CleanupPlan `json:"plan"`
	// Approve is the value of the request annotation that approves the plan, with
	// any token in place of the last word.
	Approve string `json:"approve"`
}

// tellPlan tells the webhook of a plan that waits: at least once, since what
// was told is written down after the call, and only of a plan that stands in
// the status.
func (r *Reconciler) tellPlan(_ context.Context, s *scope) error {
	spec := s.cache.Spec.Cleanup
	if spec == nil || spec.Webhook == nil || !s.planWaits() || !s.planStands() {
		return nil
	}
	c := s.cache.Status.Cleanup
	plan := c.LastPlan
	if c.Webhook == nil || c.Webhook.PlanDigest != plan.Digest {
		c.Webhook = &v1alpha1.WebhookStatus{PlanDigest: plan.Digest}
	}
	w := c.Webhook
	if w.DeliveredTime != nil {
		return nil
	}
	if w.LastFailureTime != nil {
		if again := w.LastFailureTime.Add(cleanup.Pause(w.Failures)); again.After(s.Now) {
			s.wakeAt(again)
			return nil
		}
	}
	body, err := json.Marshal(notice{
		Kind: "CleanupPlanWaits", Namespace: s.cache.Namespace, Name: s.cache.Name, UID: s.cache.UID,
		Plan: plan, Approve: fmt.Sprintf("%s=%s#<token>", request.ApproveCleanup, plan.Digest),
	})
	if err != nil {
		return err
	}
	done, err := r.Webhooks.Notify(webhook.Call{
		Object: client.ObjectKeyFromObject(s.cache), Key: plan.Digest, URL: spec.Webhook.URL, Body: body,
		Timeout: ptr.Deref(spec.Webhook.Timeout, metav1.Duration{Duration: defaultWebhookTimeout}).Duration,
	})
	switch {
	case !done: // its end wakes us
	case err != nil:
		w.Failures++
		w.LastFailureTime, w.Message = ptr.To(metav1.NewTime(s.Now)), bounded.Text(err.Error(), 1024)
		s.wakeAt(s.Now.Add(cleanup.Pause(w.Failures)))
	default:
		w.DeliveredTime, w.Message = ptr.To(metav1.NewTime(s.Now)), ""
	}
	return nil
}

// planStands says whether the open plan stands in the status already.
func (s *scope) planStands() bool {
	before := s.Stored.Status.Cleanup
	return before != nil && before.LastPlan != nil && before.LastPlan.Digest == s.cache.Status.Cleanup.LastPlan.Digest
}
