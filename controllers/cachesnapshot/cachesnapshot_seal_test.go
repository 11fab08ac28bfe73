package cachesnapshot

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
)

// seal records the digest of the content that a run of the writer left, as the
// controller of the GoCache does.
func (w *world) seal(digest, run string) {
	w.t.Helper()
	pvc := &corev1.PersistentVolumeClaim{}
	w.must(server.Client.Get(w.t.Context(), types.NamespacedName{Namespace: w.namespace, Name: "ci"}, pvc))
	cache := &v1alpha1.GoCache{}
	w.must(server.Client.Get(w.t.Context(), types.NamespacedName{Namespace: w.namespace, Name: "ci"}, cache))
	cache.Status.ManifestDigest = digest
	cache.Status.WarmUp.Run, cache.Status.WarmUp.PersistentVolumeClaimUID = run, string(pvc.UID)
	w.must(server.Client.Status().Update(w.t.Context(), cache))
}

// admitted reconciles until the snapshot is admitted.
func (w *world) admitted() {
	w.t.Helper()
	for range 10 {
		_, err := w.pass(w.t.Context())
		w.must(err)
		if w.get().Status.Source != nil {
			return
		}
	}
	w.t.Fatalf("not admitted: %+v", w.get().Status)
}

// TestSealReachesTheCheck checks that the content of a snapshot is compared with the
// digest of the last writer before the CSI snapshot was created, also if that writer
// ran after the snapshot was admitted.
func TestSealReachesTheCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after string
	}{
		"sealed":               {before: "sha256:aa", after: "sha256:aa"},
		"a writer ran since":   {before: "sha256:aa", after: "sha256:bb"},
		"another volume since": {before: "sha256:aa"},
		"never sealed":         {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var command string
			w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
				command = strings.Join(job.Spec.Template.Spec.Containers[0].Command, " ")
				return w.ending
			}
			w.cache()
			w.seal(tt.before, "one")
			w.snapshot()
			w.admitted()
			if tt.after != tt.before {
				w.seal(tt.after, "two")
			}
			w.settle()
			s := w.get().Status
			if s.Verification.Verdict != v1alpha1.VerdictIntact || s.Source.SealedDigest != tt.after {
				t.Fatalf("verdict %q, sealed digest %q, want %q", s.Verification.Verdict, s.Source.SealedDigest, tt.after)
			}
			if never := strings.Contains(command, "--never-sealed"); never != (tt.after == "") {
				t.Errorf("the check runs %s", command)
			}
			want := " --never-sealed"
			if tt.after != "" {
				want = " --sealed-digest " + tt.after
			}
			if _, flags, _ := strings.Cut(command, "--volume /cache"); flags != want {
				t.Errorf("the check runs %s, want it to end with %q", command, want)
			}
		})
	}
}

// TestUnrecordedWriter checks that no CSI snapshot is created between the end of a
// writer and the record of its outcome.
func TestUnrecordedWriter(t *testing.T) {
	w := newWorld(t)
	w.cache()
	w.seal("sha256:aa", "one")
	cache := &v1alpha1.GoCache{}
	w.must(server.Client.Get(t.Context(), types.NamespacedName{Namespace: w.namespace, Name: "ci"}, cache))
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: "ci-writer",
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cache, v1alpha1.GroupVersion.WithKind(v1alpha1.GoCacheKind))},
		},
		Spec: batchv1.JobSpec{BackoffLimit: ptr.To[int32](0), Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "agent", Image: "x"}},
		}}},
	}
	w.must(server.Client.Create(t.Context(), job))
	for ended := false; !ended; {
		_, err := w.cluster.Step(t.Context())
		w.must(err)
		w.must(server.Client.Get(t.Context(), client.ObjectKeyFromObject(job), job))
		for _, c := range job.Status.Conditions {
			ended = ended || c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
		}
	}
	w.snapshot()
	w.admitted()
	for range 5 { // it waits for the record
		_, err := w.pass(t.Context())
		w.must(err)
		_, err = w.cluster.Step(t.Context())
		w.must(err)
	}
	if s := w.get().Status; s.VolumeSnapshotName != "" || s.CreationTime != nil {
		t.Fatalf("snapshotted before the outcome of the writer was recorded: %+v", s)
	}
	w.seal("sha256:bb", string(job.UID))
	w.now = w.now.Add(time.Minute)
	w.settle()
	if s := w.get().Status; s.Verification.Verdict != v1alpha1.VerdictIntact || s.Source.SealedDigest != "sha256:bb" {
		t.Errorf("verdict %q, sealed digest %q", s.Verification.Verdict, s.Source.SealedDigest)
	}
}
