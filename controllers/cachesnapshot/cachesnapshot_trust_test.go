package cachesnapshot

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestTrustReachesTheAgent checks that declared trust data is passed to the check,
// and that a missing ConfigMap is reported and waited for.
func TestTrustReachesTheAgent(t *testing.T) {
	w := newWorld(t)
	var pod *corev1.PodSpec
	w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
		pod = job.Spec.Template.Spec.DeepCopy()
		return w.ending
	}
	w.cache()
	w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) {
		s.Verification.Trust = &v1alpha1.Trust{
			GoSumRefs:        []v1alpha1.LocalReference{{Name: "sums"}},
			ChecksumDatabase: "sum.example.com+abcdef+AAAA",
		}
	})
	w.settle()
	stalled := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.StalledCondition)
	if stalled == nil || stalled.Reason != v1alpha1.ReasonSourceNotFound || !strings.Contains(stalled.Message, "ConfigMap sums") {
		t.Fatalf("Stalled is %+v", stalled)
	}
	if pod != nil {
		t.Fatal("a check was begun without its trust data")
	}

	w.must(server.Client.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "sums"},
		Data:       map[string]string{"go.sum": "example.com/a v1.0.0 h1:jTTU3gOBlnoy9SckBpAdYAEbSHUNHbYvK1iElVh4RbA=\n"},
	}))
	w.now = w.now.Add(time.Minute)
	w.settle()
	if v := w.get().Status.Verification.Verdict; v != v1alpha1.VerdictIntact {
		t.Fatalf("verdict %q once the trust data is there", v)
	}
	command := strings.Join(pod.Containers[0].Command, " ")
	for _, want := range []string{"--gosum /trust/0/go.sum", "--sumdb sum.example.com+abcdef+AAAA", "--full-coverage"} {
		if !strings.Contains(command, want) {
			t.Errorf("the command lacks %q: %s", want, command)
		}
	}
	if !slices.ContainsFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/trust/0" && m.ReadOnly }) {
		t.Errorf("go.sum is not mounted: %+v", pod.Containers[0].VolumeMounts)
	}
}

// TestCoverageReachesTheAgent checks that declared trust data must cover all module
// versions unless spec.verification.trust.coverage is Partial, and that the go.sum
// files of the cache's warm-up sources are trusted if they exist.
func TestCoverageReachesTheAgent(t *testing.T) {
	goSum := v1alpha1.Trust{GoSumRefs: []v1alpha1.LocalReference{{Name: "sums"}}}
	partial := goSum
	partial.Coverage = v1alpha1.CoveragePartial
	for name, tt := range map[string]struct {
		trust *v1alpha1.Trust
		full  bool
	}{
		"nothing is declared": {nil, false},
		"go.sum":              {&goSum, true},
		"go.sum, in part":     {&partial, false},
		"first seen alone":    {&v1alpha1.Trust{FirstSeen: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var pod *corev1.PodSpec
			w.cluster.Job = func(job *batchv1.Job) *cluster.Ending {
				pod = job.Spec.Template.Spec.DeepCopy()
				return &cluster.Ending{Message: strings.Replace(intactReport, `"modules":`, `"content":3,"proven":2,"sealed":6,"modules":`, 1)}
			}
			w.cache()
			cache := &v1alpha1.GoCache{}
			w.must(server.Client.Get(t.Context(), types.NamespacedName{Namespace: w.namespace, Name: "ci"}, cache))
			cache.Spec.WarmUp = &v1alpha1.WarmUp{Sources: []v1alpha1.WarmUpSource{{ConfigMapRef: &v1alpha1.LocalReference{Name: "program"}}}}
			w.must(server.Client.Update(t.Context(), cache))
			w.must(server.Client.Create(t.Context(), &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "sums"},
				Data:       map[string]string{"go.sum": "example.com/a v1.0.0 h1:jTTU3gOBlnoy9SckBpAdYAEbSHUNHbYvK1iElVh4RbA=\n"},
			}))
			w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) { s.Verification.Trust = tt.trust })
			w.settle()
			if v := w.get().Status.Verification; v.Verdict != v1alpha1.VerdictIntact || v.TotalModules != 3 || v.ProvenModules != 2 || v.ProvenBuildEntries != 6 {
				t.Fatalf("verification %+v", v)
			}
			command := strings.Join(pod.Containers[0].Command, " ")
			if got := strings.Contains(command, "--full-coverage"); got != tt.full {
				t.Errorf("full coverage %t, want %t: %s", got, tt.full, command)
			}
			if !strings.Contains(command, "--gosum-if-present /trust/sources/0/go.sum") {
				t.Errorf("go.sum of the source is not trusted: %s", command)
			}
			if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
				return v.ConfigMap != nil && v.ConfigMap.Name == "program" && v.ConfigMap.Optional != nil && *v.ConfigMap.Optional
			}) {
				t.Errorf("the source is not mounted as optional: %+v", pod.Volumes)
			}
		})
	}
}
