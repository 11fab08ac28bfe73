// Package requests plays, in one namespace, those who create CacheRequests and
// the controller that follows them.
package requests

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/cacherequest"
)

// Requests are the CacheRequests for one object.
type Requests struct {
	// Client of the API server.
	Client client.Client
	// Namespace of the object.
	Namespace string
	// Target is the object.
	Target v1alpha1.RequestTarget
	// Now is the time of the test.
	Now func() time.Time

	recorder *events.FakeRecorder
}

// Events are those that were recorded on requests since the last call.
func (r *Requests) Events() []string {
	var all []string
	for r.recorder != nil && len(r.recorder.Events) > 0 {
		all = append(all, <-r.recorder.Events)
	}
	return all
}

// Create creates a request, with at most one argument.
func (r *Requests) Create(t *testing.T, name string, action v1alpha1.RequestAction, argument ...string) {
	t.Helper()
	q := &v1alpha1.CacheRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: name},
		Spec:       v1alpha1.CacheRequestSpec{TargetRef: r.Target, Action: action, Argument: strings.Join(argument, "")},
	}
	if err := r.Client.Create(t.Context(), q); err != nil {
		t.Fatalf("create the CacheRequest %s: %v", name, err)
	}
}

// Get reads a request.
func (r *Requests) Get(t *testing.T, name string) *v1alpha1.CacheRequest {
	t.Helper()
	q := &v1alpha1.CacheRequest{}
	if err := r.Client.Get(t.Context(), client.ObjectKey{Namespace: r.Namespace, Name: name}, q); err != nil {
		t.Fatalf("read the CacheRequest %s: %v", name, err)
	}
	return q
}

// Answered checks the outcome of a request, and that its conditions agree.
func (r *Requests) Answered(t *testing.T, name string, outcome v1alpha1.RequestOutcome, message string) {
	t.Helper()
	q := r.Get(t, name)
	if q.Status.Outcome != outcome || !strings.Contains(q.Status.Message, message) {
		t.Errorf("CacheRequest %s: %q, %q; want %q, %q", name, q.Status.Outcome, q.Status.Message, outcome, message)
	}
	finished := outcome != v1alpha1.RequestWaiting && outcome != v1alpha1.RequestAccepted
	for kind, want := range map[string]bool{
		v1alpha1.ReadyCondition:       outcome == v1alpha1.RequestSucceeded,
		v1alpha1.StalledCondition:     finished && outcome != v1alpha1.RequestSucceeded,
		v1alpha1.ReconcilingCondition: !finished,
	} {
		if meta.IsStatusConditionTrue(q.Status.Conditions, kind) != want {
			t.Errorf("CacheRequest %s with outcome %q: condition %s is %v, want %v", name, outcome, kind, !want, want)
		}
	}
	if (q.Status.CompletionTime != nil) != finished {
		t.Errorf("CacheRequest %s with outcome %q: completionTime is %v", name, outcome, q.Status.CompletionTime)
	}
}

// Outcomes are those of all requests, by their names.
func (r *Requests) Outcomes(t *testing.T) map[string]v1alpha1.RequestOutcome {
	t.Helper()
	var all v1alpha1.CacheRequestList
	if err := r.Client.List(t.Context(), &all, client.InNamespace(r.Namespace)); err != nil {
		t.Fatalf("list the CacheRequests: %v", err)
	}
	outcomes := map[string]v1alpha1.RequestOutcome{}
	for i := range all.Items {
		outcomes[all.Items[i].Name] = all.Items[i].Status.Outcome
	}
	return outcomes
}

// Step lets the controller make one pass over each request, and reports whether
// that changed any of them.
func (r *Requests) Step(ctx context.Context) (acted bool, err error) {
	var before, after v1alpha1.CacheRequestList
	if err := r.Client.List(ctx, &before, client.InNamespace(r.Namespace)); err != nil {
		return false, err
	}
	if len(before.Items) == 0 {
		return false, nil
	}
	if r.recorder == nil {
		r.recorder = events.NewFakeRecorder(1000)
	}
	controller := &cacherequest.Reconciler{Client: r.Client, Live: r.Client, Events: r.recorder, Clock: r.Now}
	for i := range before.Items {
		if _, err := controller.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&before.Items[i])}); err != nil {
			return false, err
		}
	}
	if err := r.Client.List(ctx, &after, client.InNamespace(r.Namespace)); err != nil {
		return false, err
	}
	return changed(before.Items, after.Items), nil
}

func changed(before, after []v1alpha1.CacheRequest) bool {
	if len(before) != len(after) {
		return true
	}
	for i := range before {
		if before[i].ResourceVersion != after[i].ResourceVersion {
			return true
		}
	}
	return false
}
