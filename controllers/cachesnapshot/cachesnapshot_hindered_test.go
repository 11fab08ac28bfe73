package cachesnapshot

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/jobrun"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestPodThatCannotRunIsReported checks that the conditions contain the cause when
// the pod of the integrity Job cannot be scheduled, and that it is read again.
func TestPodThatCannotRunIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cluster.Stuck = &corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available",
	}}}
	w.cache()
	w.snapshot()
	for range 8 {
		w.passes(1)
		_, err := w.cluster.Step(t.Context())
		w.must(err)
	}
	result, err := w.pass(t.Context())
	w.must(err)
	if result.RequeueAfter != jobrun.StartTimeout {
		t.Errorf("looks again after %v, want %v: nothing else tells", result.RequeueAfter, jobrun.StartTimeout)
	}
	w.now = w.now.Add(jobrun.StartTimeout + time.Second)
	w.passes(1)
	w.condition(v1alpha1.ReadyCondition, v1alpha1.ReasonVerifying, "has no node (Unschedulable): 0/3 nodes are available")
	w.condition(v1alpha1.VerifiedCondition, v1alpha1.ReasonVerifying, "0/3 nodes are available")
}

// TestQuotaOfPods checks that the conditions quote the ResourceQuota that refuses the pod
// of the integrity Job.
func TestQuotaOfPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(cluster.Quota(t.Context(), server.Client, w.namespace))
	w.ending = nil
	w.cache()
	w.snapshot()
	for range 8 {
		w.passes(1)
		_, err := w.cluster.Step(t.Context())
		w.must(err)
	}
	result, err := w.pass(t.Context())
	w.must(err)
	if result.RequeueAfter == 0 || result.RequeueAfter > 5*time.Second {
		t.Errorf("looks again after %v: no watch reports that a pod is refused", result.RequeueAfter)
	}
	w.condition(v1alpha1.ReadyCondition, v1alpha1.ReasonVerifying, "its pod cannot be created: exceeded quota: compute, requested: limits.cpu=4,limits.memory=4Gi")
}

// TestNamespaceWithQuota checks that a snapshot is verified in a namespace whose
// ResourceQuota counts requests and limits, with an offline build test.
func TestNamespaceWithQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(cluster.Counting(t.Context(), server.Client, w.namespace))
	w.endings(map[string]cluster.Ending{"verify": {Message: intactReport}, "offline-build": {Message: offlineBuildReport}})
	w.program()
	w.cache()
	w.snapshot(withOfflineBuild)
	w.settle()
	w.condition(v1alpha1.VerifiedCondition, v1alpha1.ReasonIntact, "")
}

// TestInjectedContainer checks that the report of the agent is the verdict although
// a container that admission has added runs on.
func TestInjectedContainer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cluster.Sidecar = "mesh"
	w.cache()
	w.snapshot()
	w.settle()
	w.condition(v1alpha1.VerifiedCondition, v1alpha1.ReasonIntact, "")
}

// TestCorrectedTemplate checks that the integrity Job whose pod cannot be scheduled
// is replaced as soon as the pod template is corrected: that of the snapshot, or for a
// snapshot of the policy that of the cache.
func TestCorrectedTemplate(t *testing.T) {
	t.Parallel()
	t.Run("of the snapshot", func(t *testing.T) {
		t.Parallel()
		correctedTemplate(t, func(w *world, template *v1alpha1.PodTemplate) {
			o := w.get()
			o.Spec.PodTemplate = template
			w.must(server.Client.Update(t.Context(), o))
		})
	})
	t.Run("of the cache", func(t *testing.T) {
		t.Parallel()
		correctedTemplate(t, func(w *world, template *v1alpha1.PodTemplate) {
			o, c := w.get(), &v1alpha1.GoCache{}
			o.Labels = map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
			w.must(server.Client.Update(t.Context(), o))
			w.must(server.Client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "ci"}, c))
			c.Spec.PodTemplate = template
			w.must(server.Client.Update(t.Context(), c))
		})
	})
}

// correctedTemplate corrects a pod template that the pod cannot be scheduled with.
func correctedTemplate(t *testing.T, set func(*world, *v1alpha1.PodTemplate)) {
	t.Helper()
	w := newWorld(t)
	w.cluster.Stuck = &corev1.PodStatus{Phase: corev1.PodPending}
	ending := w.ending
	w.ending = nil
	w.cache()
	w.snapshot(func(s *v1alpha1.CacheSnapshotSpec) {
		s.PodTemplate = &v1alpha1.PodTemplate{NodeSelector: map[string]string{"disk": "sdd"}} // as the policy copies it
	})
	set(w, w.get().Spec.PodTemplate)
	for range 8 {
		w.passes(1)
		_, err := w.cluster.Step(t.Context())
		w.must(err)
	}
	w.condition(v1alpha1.ReadyCondition, v1alpha1.ReasonVerifying, "")
	w.cluster.Stuck, w.ending = nil, ending
	set(w, &v1alpha1.PodTemplate{})
	w.passes(1)
	var jobs batchv1.JobList
	w.must(server.Client.List(t.Context(), &jobs, client.InNamespace(w.namespace)))
	for _, j := range jobs.Items {
		if j.DeletionTimestamp == nil && j.Spec.Template.Spec.NodeSelector["disk"] != "" {
			t.Errorf("Job %s is still there", j.Name)
		}
	}
	w.settle()
	w.condition(v1alpha1.VerifiedCondition, v1alpha1.ReasonIntact, "")
}
