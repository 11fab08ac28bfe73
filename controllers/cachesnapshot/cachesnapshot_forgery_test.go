package cachesnapshot

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestForgedJob checks that a Job with the expected name, labels and owner that
// runs something else gives no verdict, whatever its pod reports.
func TestForgedJob(t *testing.T) {
	w := newWorld(t)
	w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
		if job.Spec.Template.Spec.Containers[0].Image == "forger" {
			return &cluster.Ending{Message: intactReport}
		}
		return &cluster.Ending{Exit: 3, Message: corruptReport}
	}
	w.cache()
	w.snapshot()
	var created batchv1.Job
	key := types.NamespacedName{Namespace: w.namespace, Name: "s-verify"}
	for range 20 {
		_, err := w.pass(t.Context())
		w.must(err)
		if err := server.Client.Get(t.Context(), key, &created); err == nil {
			break
		}
		_, err = w.cluster.Step(t.Context())
		w.must(err)
	}
	labels := created.Labels
	if len(labels) == 0 || w.get().Status.VerificationJobUID != string(created.UID) {
		t.Fatalf("the Job is %s, and the recorded one %q", created.UID, w.get().Status.VerificationJobUID)
	}
	w.must(server.Client.Delete(t.Context(), &created, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	forged := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "s-verify", Labels: labels, OwnerReferences: created.OwnerReferences},
		Spec: batchv1.JobSpec{BackoffLimit: ptr.To[int32](0), Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: "forger"}}},
		}},
	}
	for range 10 { // until the first Job is deleted
		_, err := w.cluster.Step(t.Context())
		w.must(err)
		if err = server.Client.Create(t.Context(), forged.DeepCopy()); err == nil {
			break
		}
	}
	for range 3 { // until the Job succeeds
		_, err := w.cluster.Step(t.Context())
		w.must(err)
	}
	w.settle()
	if v := w.get().Status.Verification; v.Verdict != v1alpha1.VerdictCorrupt || v.Attempts != 2 {
		t.Errorf("verdict %s after %d attempts: %s", v.Verdict, v.Attempts, v.Message)
	}
	if events := w.reported(); !strings.Contains(events, "is not the one that the operator created") {
		t.Errorf("events: %s", events)
	}
}

// TestForgedOfflineBuild checks the same for the Job of an offline build test,
// which another client creates while the snapshot is verified.
func TestForgedOfflineBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endings(map[string]cluster.Ending{"verify": {Message: intactReport}, "offline-build": {Exit: 1, Message: `{"outcome":"Failed","step":"go build","message":"no"}`}})
	own := w.cluster.Job
	w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
		if job.Spec.Template.Spec.Containers[0].Image == "forger" {
			return &cluster.Ending{Message: offlineBuildReport}
		}
		return own(job)
	}
	w.cache()
	w.program()
	w.snapshot(withOfflineBuild)
	var check batchv1.Job
	w.until("s-verify", &check)
	forged := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "s-offline-build", Labels: check.Labels, OwnerReferences: check.OwnerReferences},
		Spec: batchv1.JobSpec{BackoffLimit: ptr.To[int32](0), Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: check.Labels},
			Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: "forger"}}},
		}},
	}
	w.must(server.Client.Create(t.Context(), forged))
	w.settle()
	built := w.get().Status.OfflineBuild
	if built == nil || built.Outcome != v1alpha1.WorkFailed {
		t.Errorf("offline build: %+v", built)
	}
	if events := w.reported(); !strings.Contains(events, "is not the one that the operator created") {
		t.Errorf("events: %s", events)
	}
}
