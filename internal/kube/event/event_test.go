package event_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
)

func TestStalled(t *testing.T) {
	stalled := func(reason, message string) []metav1.Condition {
		return []metav1.Condition{{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: reason, Message: message}}
	}
	for name, tt := range map[string]struct {
		before, after []metav1.Condition
		recorded      int
	}{
		"never":                 {nil, nil, 0},
		"now":                   {nil, stalled("A", "1"), 1},
		"still":                 {stalled("A", "1"), stalled("A", "2"), 0},
		"for another reason":    {stalled("A", "1"), stalled("B", "1"), 1},
		"not any more":          {stalled("A", "1"), nil, 0},
		"again after some time": {nil, stalled("A", "1"), 1},
	} {
		if got := len(event.Stalled(tt.before, tt.after)); got != tt.recorded {
			t.Errorf("%s: %d events, want %d", name, got, tt.recorded)
		}
	}
}

// TestNotesFit holds that a long note is shortened and not lost: the API server
// refuses more than 1024 bytes. A percent sign in it is no verb.
func TestNotesFit(t *testing.T) {
	r := events.NewFakeRecorder(1)
	event.Record(r, &corev1.Pod{}, []event.Event{event.Warning("R", "A", "%s", "100%d "+strings.Repeat("é", 2000))})
	if got := <-r.Events; len(got) > 1024+len("Warning R ") || !strings.Contains(got, "100%d é") {
		t.Errorf("%d bytes: %.60s", len(got), got)
	}
}
