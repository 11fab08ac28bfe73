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

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestTrustReachesTheAgent holds that trust data from outside the cache is
// given to the check, and that one which does not exist is said and waited for.
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
	for _, want := range []string{"--gosum /trust/0/go.sum", "--sumdb sum.example.com+abcdef+AAAA"} {
		if !strings.Contains(command, want) {
			t.Errorf("the command lacks %q: %s", want, command)
		}
	}
	if !slices.ContainsFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/trust/0" && m.ReadOnly }) {
		t.Errorf("go.sum is not mounted: %+v", pod.Containers[0].VolumeMounts)
	}
}
