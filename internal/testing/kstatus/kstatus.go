// Package kstatus computes an object's status as a GitOps tool does: it asks the
// library that Flux decides with whether what it applied is healthy.
package kstatus

import (
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Status is what a GitOps tool derives from an object.
type Status = status.Status

// The status of an object for a GitOps tool: it waits while InProgress, goes on
// when Current, and gives up when Failed.
const (
	InProgress  = status.InProgressStatus
	Current     = status.CurrentStatus
	Failed      = status.FailedStatus
	Terminating = status.TerminatingStatus
)

// Want fails the test unless a GitOps tool, which reads the object as any client
// does, derives the expected status at this step.
func Want(t *testing.T, c client.Client, o client.Object, want Status, step string) {
	t.Helper()
	gvk, err := apiutil.GVKForObject(o, c.Scheme())
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(gvk)
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), u); err != nil {
		t.Fatal(err)
	}
	got, err := status.Compute(u)
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != want {
		t.Errorf("%s: kstatus is %s (%s) for %s %s, want %s", step, got.Status, got.Message, gvk.Kind, o.GetName(), want)
	}
}
