package modproxy

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
)

// certificateEvents tell when a Secret came to be refused, and accepted again.
func certificateEvents(before, after []metav1.Condition) []event.Event {
	was := meta.FindStatusCondition(before, v1alpha1.CertificateReadyCondition)
	is := meta.FindStatusCondition(after, v1alpha1.CertificateReadyCondition)
	switch {
	case is == nil || was != nil && was.Status == is.Status && was.Reason == is.Reason:
		return nil
	case is.Status == metav1.ConditionFalse:
		return []event.Event{event.Warning(is.Reason, "ServeCertificate", "%s", is.Message)}
	case is.Status == metav1.ConditionTrue && was != nil && was.Status == metav1.ConditionFalse:
		return []event.Event{event.Normal("CertificateAccepted", "ServeCertificate", "%s", is.Message)}
	default:
		return nil
	}
}
