package writer

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/conditions"
	"gocache.dev/operator/internal/kube/webhook"
	"gocache.dev/operator/internal/plan/cleanup"
	plan "gocache.dev/operator/internal/plan/writer"
)

// planned is a GoCache with a plan that waits for approval, and is stored.
func planned() *turn {
	t := fresh()
	t.cache.Spec.Cleanup = &v1alpha1.Cleanup{Approval: v1alpha1.ApprovalRequired, MaxAge: &metav1.Duration{Duration: time.Hour}, Webhook: &v1alpha1.Webhook{URL: "https://hook.test"}}
	t.cache.Status.Cleanup = &v1alpha1.CleanupStatus{LastPlan: &v1alpha1.CleanupPlan{Digest: "sha256:1", Open: true, Bounds: t.bounds()}}
	t.Stored = t.cache.DeepCopy()
	return t
}

// approving is planned with a request that approves a digest.
func approving(digest string, change func(*turn)) *turn {
	t := planned()
	accept(t, v1alpha1.RequestApproveCleanup)
	t.cache.Status.Request.Argument = digest
	change(t)
	return t
}

// TestApprove holds that an approval counts for the plan that waits, and is refused
// with what is wrong otherwise.
func TestApprove(t *testing.T) {
	nothing := func(*turn) {}
	for name, tt := range map[string]struct {
		turn *turn
		want string // the answer; empty: approved
	}{
		"the plan that waits": {approving("sha256:1", nothing), ""},
		"another plan":        {approving("sha256:2", nothing), "the plan that waits is sha256:1"},
		"a closed plan":       {approving("sha256:1", func(t *turn) { t.cache.Status.Cleanup.LastPlan.Open = false }), "that plan does not wait"},
		"no plan":             {approving("sha256:1", func(t *turn) { t.cache.Status.Cleanup.LastPlan = nil }), "no plan waits"},
		"no cleanup yet":      {approving("sha256:1", func(t *turn) { t.cache.Status.Cleanup = nil }), "no plan waits"},
		"an older plan":       {approving("sha256:0", func(t *turn) { t.cache.Status.Cleanup.LastPlan.Open = false }), "no plan waits"},
		"not needed": {approving("sha256:1", func(t *turn) {
			t.cache.Spec.Cleanup.Approval = v1alpha1.ApprovalAutomatic
		}), "that plan does not wait"},
		"a plan for other bounds": {approving("sha256:1", func(t *turn) {
			t.cache.Spec.Cleanup.MaxAge = &metav1.Duration{Duration: 2 * time.Hour}
		}), "that plan does not wait"},
	} {
		tt.turn.approve()
		status := tt.turn.cache.Status
		if tt.want == "" {
			if status.Request.Outcome != v1alpha1.RequestAccepted || status.Cleanup.ApprovedPlan != "sha256:1" {
				t.Errorf("%s: %+v, %+v", name, status.Request, status.Cleanup)
			}
			continue
		}
		if status.Request.Outcome != v1alpha1.RequestRefused || !strings.Contains(status.Request.Message, tt.want) || status.Cleanup != nil && status.Cleanup.ApprovedPlan != "" {
			t.Errorf("%s: %+v, %+v", name, status.Request, status.Cleanup)
		}
	}
}

// calls answers those of a webhook.
type calls struct {
	done bool
	err  error
	made []webhook.Call
}

func (c *calls) Notify(call webhook.Call) (bool, error) {
	c.made = append(c.made, call)
	return c.done, c.err
}

// TestNotifyPlan holds when a webhook is called for a plan that waits, and what is
// recorded of it.
func TestNotifyPlan(t *testing.T) {
	failed := func(ago time.Duration) func(*turn) {
		return func(t *turn) {
			t.cache.Status.Cleanup.Webhook = &v1alpha1.WebhookStatus{PlanDigest: "sha256:1", Failures: 1, LastFailureTime: &metav1.Time{Time: now.Add(-ago)}}
		}
	}
	for name, tt := range map[string]struct {
		change    func(*turn)
		done      bool
		err       error
		called    bool
		delivered bool
		failures  int32
	}{
		"begun":      {func(*turn) {}, false, nil, true, false, 0},
		"delivered":  {func(*turn) {}, true, nil, true, true, 0},
		"failed":     {func(*turn) {}, true, errors.New("no"), true, false, 1},
		"no webhook": {func(t *turn) { t.cache.Spec.Cleanup.Webhook = nil }, true, nil, false, false, 0},
		"no cleanup": {func(t *turn) { t.cache.Spec.Cleanup = nil }, true, nil, false, false, 0},
		"not stored": {func(t *turn) { t.Stored.Status.Cleanup = nil }, true, nil, false, false, 0},
		"another":    {func(t *turn) { t.Stored.Status.Cleanup.LastPlan.Digest = "sha256:0" }, true, nil, false, false, 0},
		"approved":   {func(t *turn) { t.cache.Status.Cleanup.ApprovedPlan = "sha256:1" }, true, nil, false, false, 0},
		"closed":     {func(t *turn) { t.cache.Status.Cleanup.LastPlan.Open = false }, true, nil, false, false, 0},
		"delivered already": {func(t *turn) {
			t.cache.Status.Cleanup.Webhook = &v1alpha1.WebhookStatus{PlanDigest: "sha256:1", DeliveredTime: &metav1.Time{Time: now}}
		}, true, nil, false, true, 0},
		"that of the last plan": {func(t *turn) {
			t.cache.Status.Cleanup.Webhook = &v1alpha1.WebhookStatus{PlanDigest: "sha256:0", DeliveredTime: &metav1.Time{Time: now}, Failures: 7}
		}, true, nil, true, true, 0},
		"failed just now": {failed(cleanup.Pause(1) - time.Second), true, nil, false, false, 1},
		"failed before":   {failed(cleanup.Pause(1)), true, errors.New("no"), true, false, 2},
	} {
		turn := planned()
		tt.change(turn)
		hook := &calls{done: tt.done, err: tt.err}
		turn.Webhooks = hook
		if err := turn.notifyPlan(); err != nil {
			t.Fatal(err)
		}
		if (len(hook.made) > 0) != tt.called {
			t.Errorf("%s: called %d times", name, len(hook.made))
		}
		w := &v1alpha1.WebhookStatus{}
		if c := turn.cache.Status.Cleanup; c != nil && c.Webhook != nil {
			w = c.Webhook
		}
		if (w.DeliveredTime != nil) != tt.delivered || w.Failures != tt.failures || (w.Message != "") != (tt.err != nil) {
			t.Errorf("%s: %+v", name, w)
		}
		for _, call := range hook.made {
			var notice Notice
			if err := json.Unmarshal(call.Body, &notice); err != nil || !strings.HasPrefix(call.Key, "sha256:1 ") || call.Timeout != 10*time.Second || notice.Approve.Argument != "sha256:1" || notice.Approve.Action != v1alpha1.RequestApproveCleanup {
				t.Errorf("%s: %+v, %v", name, call, err)
			}
		}
	}
}

// TestExpected holds that a Job counts for nothing while it is not known what the operator
// would create.
func TestExpected(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*turn)
		action plan.Action
		want   string
	}{
		"an unknown action":  {func(*turn) {}, "", "its action is unknown"},
		"no PVC":             {func(t *turn) { t.PVC = nil }, plan.WarmUp, "there is no PersistentVolumeClaim ci"},
		"no cleanup in spec": {func(*turn) {}, plan.Cleanup, "spec.cleanup sets no bounds"},
	} {
		turn := fresh()
		tt.change(turn)
		var of action
		for _, a := range actions() {
			if a.name() == tt.action {
				of = a
			}
		}
		_, err := turn.expected(t.Context(), of)
		if stalled := conditions.Stalled(err); stalled == nil || stalled.Message != tt.want {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
