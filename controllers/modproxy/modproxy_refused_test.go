package modproxy

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
)

// TestQuota holds that a ModProxy quotes the ResourceQuota that refuses pods of its
// instances and its router.
func TestQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.unready = true // the router
	reports := func(want string) {
		t.Helper()
		w.settle()
		if c := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.ReadyCondition); c == nil || c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, want) {
			t.Errorf("Ready is %+v, want %q", c, want)
		}
	}
	w.proxy()
	w.settle()
	var set appsv1.StatefulSet
	if !w.exists(&set, "goproxy-blue") {
		t.Fatal("there is no StatefulSet")
	}
	w.must(server.Client.Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: w.namespace, Name: "refused"},
		InvolvedObject: corev1.ObjectReference{Kind: "StatefulSet", Namespace: w.namespace, Name: set.Name, UID: set.UID},
		Type:           corev1.EventTypeWarning, Reason: "FailedCreate",
		Message: `create Pod goproxy-blue-0 in StatefulSet goproxy-blue failed error: pods "goproxy-blue-0" is forbidden: exceeded quota: compute, requested: limits.cpu=2, used: limits.cpu=3, limited: limits.cpu=4`,
	}))
	reports("instance blue: its pod cannot be created: exceeded quota: compute, requested: limits.cpu=2, used: limits.cpu=3, limited: limits.cpu=4")
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "goproxy-blue-0"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "proxy", Image: "i"}}},
	}
	w.must(server.Client.Create(t.Context(), pod))
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes are available: 3 Insufficient cpu",
	}}}
	w.must(server.Client.Status().Update(t.Context(), pod))
	w.now = w.now.Add(time.Minute)
	reports("instance blue: pod goproxy-blue-0 has no node (Unschedulable): 0/3 nodes are available: 3 Insufficient cpu")
	var router appsv1.Deployment
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "goproxy-router"}, &router))
	router.Status.Conditions = []appsv1.DeploymentCondition{{
		Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate",
		Message: `pods "goproxy-router-x" is forbidden: failed quota: compute: must specify limits.memory for: haproxy`,
	}}
	w.must(server.Client.Status().Update(t.Context(), &router))
	reports("router: a pod cannot be created: failed quota: compute: must specify limits.memory for: haproxy")
}
