package cachesnapshot

import (
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/plan/snapshot"
	"gocache.dev/operator/internal/testing/cluster"
)

// user is a pod of a user that names a PVC.
func (w *world) user(claim string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "user"},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}},
			Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}},
		},
	}
}

// during does something once, when a Job first runs that has a name.
func (w *world) during(job string, do func()) {
	ends, done := w.cluster.Job, false
	w.cluster.Job = func(j *batchv1.Job) *cluster.Ending {
		if j.Name == job && !done {
			done = true
			do()
		}
		return ends(j)
	}
}

// attempted runs reconciler and cluster in turn until something holds.
func (w *world) attempted(what string, holds func(v1alpha1.CacheSnapshotStatus) bool) v1alpha1.CacheSnapshotStatus {
	w.t.Helper()
	for range 60 {
		result, err := w.pass(w.t.Context())
		w.must(err)
		if s := w.get().Status; holds(s) {
			return s
		}
		acted, err := w.cluster.Step(w.t.Context())
		w.must(err)
		if !acted {
			w.now = w.now.Add(result.RequeueAfter)
		}
	}
	w.t.Fatalf("%s never comes: %+v", what, w.get().Status)
	return v1alpha1.CacheSnapshotStatus{}
}

// TestMountedClone holds that a check does not count while a pod of others names the
// clone, which may have written to it, and that another one does on a new clone.
func TestMountedClone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ending cluster.Ending
		user   func(*world) *corev1.Pod
	}{
		"and intact":  {cluster.Ending{Message: intactReport}, func(w *world) *corev1.Pod { return w.user(w.clone()) }},
		"and corrupt": {cluster.Ending{Exit: 3, Message: corruptReport}, func(w *world) *corev1.Pod { return w.user(w.clone()) }},
		"by a pod that has the Job's label": {cluster.Ending{Message: intactReport}, func(w *world) *corev1.Pod {
			pod := w.user(w.clone())
			pod.Labels = map[string]string{batchv1.JobNameLabel: "s-verify", v1alpha1.SnapshotLabel: "s"}
			return pod
		}},
		"by a generic ephemeral volume": {cluster.Ending{Message: intactReport}, func(w *world) *corev1.Pod {
			pod := w.user("")
			name, volume, _ := strings.Cut(w.clone(), "-")
			pod.Name = name
			pod.Spec.Volumes = []corev1.Volume{{Name: volume, VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
				VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: corev1.PersistentVolumeClaimSpec{
					AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
					Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
				}}}}}}
			return pod
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ending = &tt.ending
			w.cache()
			w.snapshot(repairable)
			var user *corev1.Pod
			w.during("s-verify", func() {
				user = tt.user(w)
				w.must(server.Client.Create(t.Context(), user))
			})
			s := w.attempted("an attempt", func(s v1alpha1.CacheSnapshotStatus) bool { return s.Verification.Attempts == 1 })
			if v := s.Verification; v.Verdict != v1alpha1.VerdictInconclusive || !strings.Contains(v.Message, "pod "+user.Name+" ") || s.Repair != nil {
				t.Errorf("verification %+v, repair %+v", v, s.Repair)
			}
			w.must(server.Client.Delete(t.Context(), user, client.GracePeriodSeconds(0)))
			w.ending = &cluster.Ending{Message: intactReport}
			w.settle()
			if v := w.get().Status.Verification; v.Verdict != v1alpha1.VerdictIntact || v.Attempts != 2 {
				t.Errorf("without the pod the verdict is %s after %d attempts: %s", v.Verdict, v.Attempts, v.Message)
			}
		})
	}
}

// TestMountedWhenRepeated holds the same of a repetition.
func TestMountedWhenRepeated(t *testing.T) {
	t.Parallel()
	for name, ending := range map[string]cluster.Ending{"intact": {Message: intactReport}, "corrupt": {Exit: 3, Message: corruptReport}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.repeats(ending)
			w.published()
			w.during("s-repeat", func() { w.must(server.Client.Create(t.Context(), w.user(w.clone()))) })
			w.aWeek()
			s := w.attempted("a repetition", func(s v1alpha1.CacheSnapshotStatus) bool { return s.Repeat != nil && s.Repeat.Attempts == 1 })
			if r := s.Repeat; r.Verdict != v1alpha1.VerdictInconclusive || !strings.Contains(r.Message, "pod user ") || r.IntactTime != nil {
				t.Errorf("repetition %+v", r)
			}
			if got := w.standing(); got != snapshot.Usable {
				t.Errorf("standing %s, want %s", got, snapshot.Usable)
			}
		})
	}
}

// TestMountedForWork holds the same of an offline build test and of a repair, of
// which no snapshot is created.
func TestMountedForWork(t *testing.T) {
	t.Parallel()
	for job, outcome := range map[string]func(v1alpha1.CacheSnapshotStatus) v1alpha1.WorkStatus{
		"offline-build": func(s v1alpha1.CacheSnapshotStatus) v1alpha1.WorkStatus {
			return ptr.Deref(s.OfflineBuild, v1alpha1.OfflineBuildStatus{}).WorkStatus
		},
		"repair": func(s v1alpha1.CacheSnapshotStatus) v1alpha1.WorkStatus {
			return ptr.Deref(s.Repair, v1alpha1.RepairStatus{}).WorkStatus
		},
	} {
		t.Run(job, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			verify := cluster.Ending{Message: intactReport}
			if job == "repair" {
				verify = cluster.Ending{Exit: 3, Message: corruptReport}
			}
			w.endings(map[string]cluster.Ending{"verify": verify, "offline-build": {Message: offlineBuildReport}, "repair": {Message: repairedReport}, "reverify": {Message: intactReport}})
			w.cache()
			w.program()
			w.snapshot(withOfflineBuild, repairable)
			w.during("s-"+job, func() { w.must(server.Client.Create(t.Context(), w.user(w.clone()))) })
			s := w.attempted("an attempt", func(s v1alpha1.CacheSnapshotStatus) bool { return outcome(s).Attempts == 1 })
			if got := outcome(s); got.Outcome != v1alpha1.WorkInconclusive || !strings.Contains(got.Message, "pod user ") {
				t.Errorf("%s: %+v", job, got)
			}
			w.must(server.Client.Delete(t.Context(), w.user(""), client.GracePeriodSeconds(0)))
			w.settle()
			if got := outcome(w.get().Status); got.Outcome != v1alpha1.WorkSucceeded || got.Attempts != 2 {
				t.Errorf("%s without the pod: %+v", job, got)
			}
		})
	}
}

// TestMountedBeforeItsSnapshot holds that no snapshot is created of a repaired clone that
// a pod names, which may have written to it since.
func TestMountedBeforeItsSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.endings(map[string]cluster.Ending{"verify": {Exit: 3, Message: corruptReport}, "repair": {Message: repairedReport}, "reverify": {Message: intactReport}})
	w.cache()
	w.snapshot(repairable)
	w.attempted("a repair", func(s v1alpha1.CacheSnapshotStatus) bool {
		return s.Repair != nil && s.Repair.Outcome == v1alpha1.WorkSucceeded
	})
	w.must(server.Client.Create(t.Context(), w.user(w.clone())))
	w.attempted("a refusal", func(s v1alpha1.CacheSnapshotStatus) bool {
		return w.snapshots() != "s" || s.Repair.Outcome == v1alpha1.WorkInconclusive
	})
	if r := w.get().Status.Repair; w.snapshots() != "s" || !strings.Contains(r.Message, "pod user ") {
		t.Errorf("VolumeSnapshots %q, repair %+v", w.snapshots(), r)
	}
	w.must(server.Client.Delete(t.Context(), w.user(""), client.GracePeriodSeconds(0)))
	w.settle()
	if s := w.get().Status; w.snapshots() != "s-repaired" || s.Verification.Verdict != v1alpha1.VerdictIntact || s.Repair.Attempts != 2 {
		t.Errorf("VolumeSnapshots %q, status %+v", w.snapshots(), s)
	}
}

// forged is a PVC with all marks of one that the operator creates for the snapshot s,
// made by a client that may create PVCs.
func (w *world) forged(name, from string) *corev1.PersistentVolumeClaim {
	w.t.Helper()
	s := w.get()
	pvc := volume.Claim{
		Namespace: w.namespace, Name: name, Class: ptr.To("standard"), Size: resource.MustParse("1Gi"), Snapshot: from,
		Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.SnapshotLabel: "s", v1alpha1.CacheLabel: "ci"},
	}.Object()
	pvc.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(s, v1alpha1.GroupVersion.WithKind(v1alpha1.CacheSnapshotKind))}
	w.must(server.Client.Create(w.t.Context(), pvc))
	return pvc
}

// claimsOf are the uids of the PVCs that a Job mounts.
func (w *world) claimsOf(job *batchv1.Job) (uids []string) {
	for _, v := range job.Spec.Template.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			var pvc corev1.PersistentVolumeClaim
			w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: v.PersistentVolumeClaim.ClaimName}, &pvc))
			uids = append(uids, string(pvc.UID))
		}
	}
	return uids
}

// TestForgedClone holds that nothing is verified on a PVC that was there before the
// operator created its clone, such as one of an earlier VolumeSnapshot of the name, and
// that nothing is compared with one.
func TestForgedClone(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{naming.Verify, naming.Reference} {
		t.Run(suffix, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache()
			w.other("old", nil)
			w.snapshot(seenFirst)
			forged := w.forged(naming.Clone(string(w.get().UID), suffix), map[string]string{naming.Verify: "s", naming.Reference: "old-cut"}[suffix])
			w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
				if slices.Contains(w.claimsOf(job), string(forged.UID)) {
					t.Errorf("Job %s runs on the PVC of another client", job.Name)
				}
				return w.ending
			}
			w.settle()
			if v := w.get().Status.Verification; v.Verdict != v1alpha1.VerdictIntact || v.Attempts != 1 || v.Reference != "old" {
				t.Errorf("verification %+v", v)
			}
			if left := w.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestReplacedClone holds that a report about a PVC that has replaced the clone, or about
// a volume that was not made from the VolumeSnapshot, does not count.
func TestReplacedClone(t *testing.T) {
	t.Parallel()
	remove := func(w *world, name string) {
		var clone corev1.PersistentVolumeClaim
		w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &clone))
		clone.Finalizers = nil
		w.must(server.Client.Update(w.t.Context(), &clone))
		w.must(server.Client.Delete(w.t.Context(), &clone))
	}
	for name, attack := range map[string]func(*world){
		"replaced": func(w *world) {
			remove(w, w.clone())
			w.forged(w.clone(), "s")
		},
		"removed": func(w *world) { remove(w, w.clone()) },
		"the reference": func(w *world) {
			name := naming.Clone(string(w.get().UID), naming.Reference)
			remove(w, name)
			w.forged(name, "old-cut")
		},
		"the volume was there before": func(w *world) {
			var clone corev1.PersistentVolumeClaim
			var pv corev1.PersistentVolume
			w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.clone()}, &clone))
			w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Name: clone.Spec.VolumeName}, &pv))
			metav1.SetMetaDataAnnotation(&pv.ObjectMeta, "pv.kubernetes.io/bound-by-controller", "yes")
			w.must(server.Client.Update(w.t.Context(), &pv))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.cache()
			w.other("old", nil)
			w.snapshot(seenFirst)
			ends := w.cluster.Job
			attacked := false
			w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
				var clone corev1.PersistentVolumeClaim
				w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: w.clone()}, &clone))
				if !attacked && clone.Spec.VolumeName == "" {
					return nil // it is attacked once it has its volume
				}
				if !attacked {
					attacked = true
					attack(w)
				}
				return ends(job)
			}
			s := w.attempted("an attempt", func(s v1alpha1.CacheSnapshotStatus) bool { return s.Verification.Attempts == 1 })
			if v := s.Verification; v.Verdict != v1alpha1.VerdictInconclusive || !strings.Contains(v.Message, "PVC clone-") {
				t.Errorf("verification %+v", v)
			}
			w.settle()
			if v := w.get().Status.Verification; v.Verdict != v1alpha1.VerdictIntact || v.Attempts != 2 {
				t.Errorf("on a new clone the verdict is %s after %d attempts: %s", v.Verdict, v.Attempts, v.Message)
			}
			if left := w.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
