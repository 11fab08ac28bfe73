package modproxy

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/event"
)

// databaseEvents tell when the checksum database came to be out of reach, and
// was reached again. That a single instance fails is told of the instance.
func databaseEvents(before, after []metav1.Condition) []event.Event {
	was, is := databaseIsOut(before), databaseIsOut(after)
	switch {
	case is != nil && was == nil:
		return []event.Event{event.Warning(is.Reason, "Probe", "%s", is.Message)}
	case was != nil && is == nil:
		return []event.Event{event.Normal("ChecksumDatabaseReached", "Probe", "The checksum database was reached through the proxy again")}
	}
	return nil
}

func databaseIsOut(all []metav1.Condition) *metav1.Condition {
	c := meta.FindStatusCondition(all, v1alpha1.ChecksumDatabaseServedCondition)
	if c == nil || c.Reason != v1alpha1.ReasonChecksumDatabaseUnreachable {
		return nil
	}
	return c
}
