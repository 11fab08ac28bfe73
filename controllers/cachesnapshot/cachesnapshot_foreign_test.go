package cachesnapshot

import (
	"context"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/env"
)

// TestForeignObjectsAreNotTrusted checks that an object that has a name the
// controller needs, and was not created by it, is reported as a conflict and is
// neither changed nor deleted. In particular a foreign Job that succeeds gives no
// verdict.
func TestForeignObjectsAreNotTrusted(t *testing.T) {
	t.Parallel()
	size := corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}
	for name, foreign := range map[string]client.Object{
		"clone-UID-verify, a PVC": &corev1.PersistentVolumeClaim{
			Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: size},
		},
		"s-verify, a Job that reports Intact": &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{Name: "s-verify", Labels: map[string]string{v1alpha1.ManagedByLabel: "somebody"}},
			Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: "i"}},
			}}},
		},
		"s, a CSI snapshot of another PVC": &snapshotv1.VolumeSnapshot{
			ObjectMeta: metav1.ObjectMeta{Name: "s"},
			Spec:       snapshotv1.VolumeSnapshotSpec{Source: snapshotv1.VolumeSnapshotSource{PersistentVolumeClaimName: new("other")}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache()
			foreign := foreign.DeepCopyObject().(client.Object)
			foreign.SetNamespace(w.namespace)
			byUID := foreign.GetName() == ""
			if byUID {
				w.snapshot()
				foreign.SetName(w.clone())
			}
			w.must(server.Client.Create(t.Context(), foreign))
			for range 3 { // it becomes ready to use, bound or complete
				_, err := w.cluster.Step(t.Context())
				w.must(err)
			}
			if !byUID {
				w.snapshot()
			}
			w.settle()

			s := w.get()
			stalled := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.StalledCondition)
			want := "/" + foreign.GetName() + " exists and is not ours"
			if stalled == nil || stalled.Reason != v1alpha1.ReasonConflict || !strings.Contains(stalled.Message, want) {
				t.Errorf("Stalled is %+v, want %q", stalled, want)
			}
			if s.Status.Verification.Verdict != "" || s.Status.VolumeSnapshotName == "s" && strings.HasPrefix(name, "s,") {
				t.Errorf("the stranger was believed: %+v", s.Status)
			}
			after := foreign.DeepCopyObject().(client.Object)
			w.must(server.Client.Get(t.Context(), client.ObjectKeyFromObject(foreign), after))
			if _, changed := after.GetLabels()[v1alpha1.SnapshotLabel]; changed || after.GetUID() != foreign.GetUID() || !after.GetDeletionTimestamp().IsZero() {
				t.Error("the stranger was touched")
			}

			w.must(server.Client.Delete(t.Context(), after, client.PropagationPolicy(metav1.DeletePropagationBackground)))
			_, err := w.cluster.Step(t.Context())
			w.must(err)
			_, err = w.pass(t.Context())
			w.must(err)
			w.settle()
			if v := w.get().Status.Verification.Verdict; v != v1alpha1.VerdictIntact {
				t.Errorf("verdict %q once nobody is in the way", v)
			}
		})
	}
}

// TestLostSnapshot checks that a deleted CSI snapshot is reported as lost and is
// not offered any more.
func TestLostSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.snapshot()
	w.settle()
	w.must(server.Client.Delete(t.Context(), &snapshotv1.VolumeSnapshot{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "s"}}))
	w.settle()
	stalled := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.StalledCondition)
	if stalled == nil || stalled.Reason != v1alpha1.ReasonSnapshotLost {
		t.Errorf("Stalled is %+v", stalled)
	}
}

// TestReplacedSnapshot checks that a VolumeSnapshot that replaces the verified one
// is never offered, even with the same labels and owner: the verdict is about
// another object.
func TestReplacedSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	w.snapshot()
	w.settle()
	var first snapshotv1.VolumeSnapshot
	key := client.ObjectKey{Namespace: w.namespace, Name: "s"}
	w.must(server.Client.Get(t.Context(), key, &first))
	if pinned := w.get().Status.VolumeSnapshotUID; pinned != string(first.UID) {
		t.Fatalf("pinned is %q, want %q", pinned, first.UID)
	}
	w.must(server.Client.Delete(t.Context(), &first))
	tenant := server.Tenant(t, w.namespace, rbacv1.PolicyRule{
		APIGroups: []string{snapshotv1.GroupName}, Resources: []string{"volumesnapshots"}, Verbs: []string{"create", "delete", "get"},
	})
	w.must(tenant.Create(t.Context(), &snapshotv1.VolumeSnapshot{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: first.Namespace, Name: first.Name, Labels: first.Labels, Annotations: first.Annotations, OwnerReferences: first.OwnerReferences,
		},
		Spec: first.Spec,
	}))
	w.settle()
	now := w.get()
	stalled := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.StalledCondition)
	if stalled == nil || stalled.Reason != v1alpha1.ReasonSnapshotLost {
		t.Errorf("Stalled is %+v", stalled)
	}
	if now.Status.VolumeSnapshotUID != string(first.UID) {
		t.Errorf("the verdict moved to another object: pinned is %q", now.Status.VolumeSnapshotUID)
	}
}

// TestBorrowedContent checks that a VolumeSnapshot that names the content of another
// tenant is neither verified nor pinned, which a user can make it do who may write its
// status, and that the operator creates another one once it is deleted.
func TestBorrowedContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	theirs := &snapshotv1.VolumeSnapshotContent{
		ObjectMeta: metav1.ObjectMeta{Name: "theirs-" + w.namespace},
		Spec: snapshotv1.VolumeSnapshotContentSpec{
			Driver: env.Driver, DeletionPolicy: snapshotv1.VolumeSnapshotContentDelete,
			Source:            snapshotv1.VolumeSnapshotContentSource{VolumeHandle: ptr.To("theirs")},
			VolumeSnapshotRef: corev1.ObjectReference{Namespace: "another-tenant", Name: "secret", UID: "u"},
		},
	}
	w.must(server.Client.Create(t.Context(), theirs))
	t.Cleanup(func() { w.must(server.Client.Delete(context.WithoutCancel(t.Context()), theirs)) })
	w.cache()
	w.snapshot()
	for range 10 {
		if w.asked() {
			break
		}
		w.passes(1)
	}
	var csi snapshotv1.VolumeSnapshot
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "s"}, &csi))
	csi.Status = &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: &theirs.Name}
	w.must(server.Client.Status().Update(t.Context(), &csi))
	w.settle()
	w.stalled(v1alpha1.ReasonConflict, "does not name it")
	if s := w.get().Status; s.VolumeSnapshotUID != "" || s.Verification.Verdict != "" || len(w.left()) > 0 {
		t.Errorf("status %+v, left %v", s, w.left())
	}
	w.must(server.Client.Delete(t.Context(), &csi))
	w.settle()
	if v := w.get().Status.Verification.Verdict; v != v1alpha1.VerdictIntact {
		t.Errorf("verdict %q of another VolumeSnapshot", v)
	}
}

// TestRetainedLater checks that the deletion policy applies in each stage in which a
// snapshot may be for long when it is changed.
func TestRetainedLater(t *testing.T) {
	t.Parallel()
	verifying := func(w *world) {
		w.ending = nil
		w.cache()
		w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) {
			s.Verification.Deadline = &metav1.Duration{Duration: 10 * time.Minute}
		})
		w.until("s-verify", &batchv1.Job{})
	}
	for name, prepare := range map[string]func(*world){
		"while the Job runs": func(w *world) { verifying(w) },
		"after the deadline": func(w *world) {
			verifying(w)
			w.now = w.now.Add(time.Hour)
			w.settle()
			w.stalled(v1alpha1.ReasonDeadlineExceeded, "")
		},
		"while it is suspended": func(w *world) {
			w.ending = nil
			w.cache()
			w.snapshot()
			w.attempted("the VolumeSnapshot", func(s v1alpha1.CacheSnapshotStatus) bool { return s.CreationTime != nil })
			s := w.get()
			s.Spec.Suspend = true
			w.must(server.Client.Update(w.t.Context(), s))
			w.passes(1)
			w.condition(v1alpha1.SuspendedCondition, v1alpha1.ReasonSuspended, "")
		},
		"while the verification is repeated": func(w *world) {
			w.published()
			w.endings(nil)
			w.aWeek()
			w.until("s-repeat", &batchv1.Job{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			prepare(w)
			s := w.get()
			s.Spec.DeletionPolicy = v1alpha1.DeletionRetain
			w.must(server.Client.Update(t.Context(), s))
			w.passes(1)
			if s = w.get(); s.Status.ObservedGeneration != s.Generation {
				t.Fatalf("generation %d was not observed: %d", s.Generation, s.Status.ObservedGeneration)
			}
			w.must(server.Client.Delete(t.Context(), s))
			for range 4 {
				_, err := w.cluster.Step(t.Context())
				w.must(err)
			}
			if got := w.snapshots(); got != "s" {
				t.Errorf("VolumeSnapshots %q", got)
			}
		})
	}
}

// TestDeletionPolicy checks that the CSI snapshot is deleted with the CacheSnapshot
// or retained, by the policy at the time of the deletion.
func TestDeletionPolicy(t *testing.T) {
	t.Parallel()
	for name, policies := range map[string][2]v1alpha1.DeletionPolicy{
		"retain":              {v1alpha1.DeletionRetain, v1alpha1.DeletionRetain},
		"delete":              {v1alpha1.DeletionDelete, v1alpha1.DeletionDelete},
		"retain, then delete": {v1alpha1.DeletionRetain, v1alpha1.DeletionDelete},
		"delete, then retain": {v1alpha1.DeletionDelete, v1alpha1.DeletionRetain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache()
			w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) { s.DeletionPolicy = policies[0] })
			w.settle()
			s := w.get()
			s.Spec.DeletionPolicy = policies[1]
			w.must(server.Client.Update(t.Context(), s))
			w.settle()
			w.must(server.Client.Delete(t.Context(), s))
			for range 4 {
				_, err := w.pass(t.Context())
				w.must(err)
				_, err = w.cluster.Step(t.Context())
				w.must(err)
			}
			err := server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "s"}, &snapshotv1.VolumeSnapshot{})
			if stays := err == nil; stays != (policies[1] == v1alpha1.DeletionRetain) {
				t.Errorf("the CSI snapshot stays: %v (%v)", stays, err)
			}
		})
	}
}

// TestJobIsTheSources checks that the integrity Job uses the pod template, the file
// owner and the platform of the source, and mounts the clone read-only.
func TestJobIsTheSources(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cache()
	var cache v1alpha1.GoCache
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, &cache))
	cache.Spec.PodTemplate = &v1alpha1.PodTemplate{NodeSelector: map[string]string{"pool": "ci"}}
	w.must(server.Client.Update(t.Context(), &cache))
	w.snapshot()
	w.settle()
	var job batchv1.Job
	w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "s-verify"}, &job))
	pod := job.Spec.Template.Spec
	if pod.NodeSelector["pool"] != "ci" || pod.NodeSelector[corev1.LabelArchStable] != "amd64" || *pod.SecurityContext.RunAsUser != 65532 {
		t.Errorf("node selector %v, security context %+v", pod.NodeSelector, pod.SecurityContext)
	}
	if m := pod.Containers[0].VolumeMounts[0]; !m.ReadOnly {
		t.Errorf("the clone is mounted for writing: %+v", m)
	}
}
