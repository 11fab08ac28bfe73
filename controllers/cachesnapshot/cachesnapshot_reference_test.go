package cachesnapshot

import (
	"strings"
	"testing"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v6/apis/volumesnapshot/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
	"gocache.dev/operator/internal/plan/naming"
	"gocache.dev/operator/internal/testing/cluster"
)

func seenFirst(s *v1alpha1.CacheSnapshotSpec) {
	s.Verification.Trust = &v1alpha1.Trust{FirstSeen: true}
}

// other creates another CacheSnapshot of the cache with its VolumeSnapshot. It is
// verified, unless change gives it another spec or status.
func (w *world) other(name string, change func(*v1alpha1.CacheSnapshot)) *v1alpha1.CacheSnapshot {
	w.t.Helper()
	created := metav1.NewTime(w.now.Add(-3600e9))
	s := &v1alpha1.CacheSnapshot{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec:       v1alpha1.CacheSnapshotSpec{SourceRef: v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}},
	}
	csi := volume.Snapshot{Namespace: w.namespace, Name: name + "-cut", Claim: "ci"}.Object()
	w.must(server.Client.Create(w.t.Context(), csi))
	csi.Status = &snapshotv1.VolumeSnapshotStatus{ReadyToUse: ptr.To(true), BoundVolumeSnapshotContentName: ptr.To("content-" + name), CreationTime: &created}
	w.must(server.Client.Status().Update(w.t.Context(), csi))
	s.Status = v1alpha1.CacheSnapshotStatus{
		CreationTime: &created, Source: &v1alpha1.SourceRecord{PersistentVolumeClaimName: "ci"},
		Verification: v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictIntact, Digest: "sha256:" + name},
		Conditions:   []metav1.Condition{{Type: v1alpha1.VerifiedCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIntact, LastTransitionTime: created}},
	}
	volume.Pin(&s.Status, csi, nil)
	if change != nil {
		change(s)
	}
	status := s.Status
	w.must(server.Client.Create(w.t.Context(), s))
	s.Status = status
	w.must(server.Client.Status().Update(w.t.Context(), s))
	return s
}

// TestComparedWithFirstSeen checks that the integrity Job compares with a clone of
// the oldest verified snapshot and its digest, and that this clone is deleted
// afterwards.
func TestComparedWithFirstSeen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		others func(*world)
		want   string
	}{
		"the first": {func(*world) {}, ""},
		"a later one": {func(w *world) {
			w.other("young", func(s *v1alpha1.CacheSnapshot) { s.Status.CreationTime.Time = w.now.Add(-60e9) })
			w.other("old", nil)
		}, "old"},
		"one that stands for nothing": {func(w *world) {
			w.other("skipped", nil)
			w.other("stalled", func(s *v1alpha1.CacheSnapshot) {
				s.Spec.Verification.OfflineBuild = &v1alpha1.OfflineBuild{ConfigMapRef: v1alpha1.LocalReference{Name: "program"}}
				s.Status.OfflineBuild = &v1alpha1.OfflineBuildStatus{WorkStatus: v1alpha1.WorkStatus{Outcome: v1alpha1.WorkFailed}}
				s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonOfflineBuildFailed, LastTransitionTime: *s.Status.CreationTime})
			})
			w.other("weaker", func(s *v1alpha1.CacheSnapshot) { s.Status.WeakerThanPolicy = "trust.firstSeen" })
			var s v1alpha1.CacheSnapshot
			w.must(server.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "skipped"}, &s))
			w.must(server.Client.Delete(w.t.Context(), &s))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var job *batchv1.Job
			var clone corev1.PersistentVolumeClaim
			w.cluster.Job = func(j *batchv1.Job) *cluster.Ending {
				job = j.DeepCopy()
				if tt.want != "" {
					w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: naming.Clone(string(w.get().UID), naming.Reference)}, &clone))
				}
				return w.ending
			}
			w.cache()
			tt.others(w)
			w.snapshot(seenFirst)
			w.settle()
			if got := w.get().Status.Verification; got.Reference != tt.want || got.Verdict != v1alpha1.VerdictIntact {
				t.Errorf("verdict %s, compared with %q, want %q", got.Verdict, got.Reference, tt.want)
			}
			command := strings.Join(job.Spec.Template.Spec.Containers[0].Command, " ")
			if want := "--reference /reference --reference-digest sha256:" + tt.want; strings.Contains(command, "--reference") != (tt.want != "") || tt.want != "" && !strings.Contains(command, want) {
				t.Errorf("command %s", command)
			}
			if tt.want != "" && clone.Spec.DataSource.Name != tt.want+"-cut" {
				t.Errorf("the clone to compare with is made from %+v", clone.Spec.DataSource)
			}
			if left := w.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestWaitsForTheFirst checks that a snapshot waits for the verdict of an older one
// while none is verified, reports it, and continues when the older one is Corrupt.
func TestWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cache()
	older := w.other("older", func(s *v1alpha1.CacheSnapshot) {
		s.Status.Conditions, s.Status.Verification = nil, v1alpha1.VerificationStatus{}
	})
	w.snapshot(seenFirst)
	var result ctrl.Result
	for range 8 {
		var err error
		result, err = w.pass(t.Context())
		w.must(err)
		_, err = w.cluster.Step(t.Context())
		w.must(err)
	}
	w.ready(v1alpha1.ReasonWaiting, "once CacheSnapshot older has its verdict")
	if left := w.left(); len(left) > 0 || result.RequeueAfter != retryReference {
		t.Errorf("it has begun: %v, and looks again after %v", left, result.RequeueAfter)
	}
	older.Status.Verification.Verdict = v1alpha1.VerdictCorrupt
	older.Status.Conditions = []metav1.Condition{{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCorrupt, LastTransitionTime: metav1.Now()}}
	w.must(server.Client.Status().Update(t.Context(), older))
	w.settle()
	if got := w.get().Status.Verification; got.Verdict != v1alpha1.VerdictIntact || got.Reference != "" {
		t.Errorf("verdict %s, compared with %q", got.Verdict, got.Reference)
	}
}
