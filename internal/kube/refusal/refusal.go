package refusal

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/internal/kube/bounded"
	"gocache.dev/operator/internal/kube/read"
)

// MaxText is the longest text that is passed on, in bytes: an event has room for
// 1024.
const MaxText = 600

// Newest is the text of the newest warning about an object, read live. It is empty
// when there is none.
func Newest(ctx context.Context, live client.Reader, namespace string, uid types.UID) (string, error) {
	of := client.MatchingFields{"involvedObject.uid": string(uid), "type": corev1.EventTypeWarning}
	text, newest, found := "", time.Time{}, false
	for e, err := range read.All[corev1.Event](ctx, live, &corev1.EventList{}, client.InNamespace(namespace), of) {
		if err != nil {
			return "", fmt.Errorf("read the events of object %s in namespace %s: %w", uid, namespace, err)
		}
		if at := lastSeen(e); !found || at.After(newest) {
			text, newest, found = strings.Clone(bounded.Text(strings.TrimSpace(e.Message), MaxText)), at, true
		}
	}
	return text, nil
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

// Pod is why no pod can be created, from the text of an event or condition of the
// controller that tried. The name of the pod is left out of it: it is another one
// at each attempt. Where a container lacks limits, it ends with the field to set.
func Pod(text string) string {
	if _, cause, ok := strings.Cut(text, "is forbidden: "); ok {
		text = cause
	}
	text = strings.TrimPrefix(strings.TrimSpace(text), "Error creating: ")
	if strings.Contains(text, "must specify ") { // a quota counts what the container does not declare
		text += "; set podTemplate.resources"
	}
	return bounded.Text(text, MaxText)
}
