package volume

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/bounded"
)

// maxComplaint is the longest word of a provisioner that is passed on, in bytes:
// an event has room for 1024.
const maxComplaint = 600

// Complaint is the newest warning about a PVC, read live: a provisioner reports
// in events alone. It is empty when there is none.
func Complaint(ctx context.Context, live client.Reader, claim *corev1.PersistentVolumeClaim) (string, error) {
	var list corev1.EventList
	err := live.List(ctx, &list, client.InNamespace(claim.Namespace), client.MatchingFields{
		"involvedObject.uid": string(claim.UID),
		"type":               corev1.EventTypeWarning,
	})
	if err != nil {
		return "", fmt.Errorf("read the events of PVC %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	var newest *corev1.Event
	for i := range list.Items {
		if e := &list.Items[i]; newest == nil || lastSeen(e).After(lastSeen(newest)) {
			newest = e
		}
	}
	if newest == nil {
		return "", nil
	}
	return bounded.Text(strings.TrimSpace(newest.Message), maxComplaint), nil
}

// lastSeen is when an event happened last. Events of the older API carry
// lastTimestamp, those of the newer eventTime.
func lastSeen(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}
