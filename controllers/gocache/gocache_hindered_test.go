package gocache

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/podspec"
	"gocache.dev/operator/internal/testing/cluster"
)

// TestQuota holds that a GoCache quotes the ResourceQuota or LimitRange that
// refuses the pod of its writer in the first pass after that.
func TestQuota(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refuse func(*world)
		want   string
	}{
		"quota": {func(w *world) { w.must(cluster.Quota(t.Context(), server.Client, w.namespace)) }, "exceeded quota: compute"},
		"limits": {func(w *world) {
			w.must(server.Client.Create(t.Context(), &corev1.LimitRange{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "limits"},
				Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
					Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Mi")},
				}}},
			}))
		}, "maximum memory usage per Container is 1Mi"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tt.refuse(w)
			w.ending = nil
			w.cache(func(s *v1alpha1.GoCacheSpec) {
				s.PodTemplate = &v1alpha1.PodTemplate{Resources: &v1alpha1.Resources{Limits: map[string]resource.Quantity{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}}}
			})
			w.settle() // ends with the event and a pass
			if w.last.RequeueAfter > 5*time.Second {
				t.Errorf("looks again after %v: no watch reports that a pod is refused", w.last.RequeueAfter)
			}
			w.wait(w.last.RequeueAfter)
			for _, kind := range []string{v1alpha1.ReadyCondition, v1alpha1.WarmCondition} {
				w.condition(kind, metav1.ConditionFalse, v1alpha1.ReasonWarmUpPending, tt.want)
			}
		})
	}
}

// TestCorrectedSpec holds that a Job whose container cannot run is replaced as soon
// as the spec is corrected, that one whose container runs is not, and that what
// admission adds to a Job is no reason.
func TestCorrectedSpec(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cluster.Stuck = unschedulable()
	w.cache(func(s *v1alpha1.GoCacheSpec) {
		s.PodTemplate = &v1alpha1.PodTemplate{NodeSelector: map[string]string{"disk": "sdd"}}
	})
	w.settle()
	stuck := get[batchv1.Job](w, "ci-writer")
	w.wait(time.Minute)
	if again := get[batchv1.Job](w, "ci-writer"); again.UID != stuck.UID {
		t.Fatal("the Job was replaced without a change")
	}
	w.cluster.Stuck = nil
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.PodTemplate.NodeSelector = map[string]string{"disk": "ssd"} })
	w.settle()
	runs := get[batchv1.Job](w, "ci-writer")
	if runs.UID == stuck.UID || runs.Spec.Template.Spec.NodeSelector["disk"] != "ssd" {
		t.Fatalf("the Job has the node selector %v", runs.Spec.Template.Spec.NodeSelector)
	}
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.PodTemplate.NodeSelector = nil })
	w.settle()
	if still := get[batchv1.Job](w, "ci-writer"); still.UID != runs.UID {
		t.Error("a Job whose container runs was replaced")
	}
}

// TestCorrectedImage holds that a warm-up whose image cannot be pulled is replaced as
// soon as another one is named, and that its condition has the error until then.
func TestCorrectedImage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ending := w.ending
	w.ending = nil
	w.cluster.Stuck = &corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "agent", Image: "i", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "golang:1.26.88: not found"}},
	}}}
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.Toolchain.Image = "registry.example.com/golang:1.26.88" })
	w.settle()
	stuck := get[batchv1.Job](w, "ci-writer")
	w.wait(time.Minute)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWarmUpPending, "golang:1.26.88: not found")
	w.cluster.Stuck, w.ending = nil, ending
	w.edit(func(c *v1alpha1.GoCache) { c.Spec.Toolchain.Image = "registry.example.com/golang:1.26.8" })
	w.settle()
	w.condition(v1alpha1.WarmCondition, metav1.ConditionTrue, v1alpha1.ReasonWarmedUp, "")
	if exists[batchv1.Job](w, "ci-writer") && get[batchv1.Job](w, "ci-writer").UID == stuck.UID {
		t.Error("the Job is not replaced")
	}
}

// TestInjectedContainer holds that the report of the agent ends a run although a
// container that admission has added runs on.
func TestInjectedContainer(t *testing.T) {
	t.Parallel()
	for _, restarts := range []bool{false, true} {
		w := newWorld(t)
		w.cluster.Sidecar, w.cluster.SidecarRestarts = "mesh", restarts
		w.cache(func(s *v1alpha1.GoCacheSpec) { s.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(false)} }) // they wait for the pod to be gone
		w.settle()
		w.condition(v1alpha1.WarmCondition, metav1.ConditionTrue, v1alpha1.ReasonWarmedUp, "")
		if exists[batchv1.Job](w, "ci-writer") {
			t.Errorf("restarted %v: the Job is still there", restarts)
		}
	}
}

// TestLostNode holds that the conditions name a node that does not report the end
// of a writer, and what to do.
func TestLostNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cluster.Stuck = &corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		Name: "agent", Image: "i", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}}
	w.cache()
	w.settle()
	var pods corev1.PodList
	w.must(server.Client.List(t.Context(), &pods, inNamespace(w)...))
	if len(pods.Items) != 1 {
		t.Fatalf("%d pods", len(pods.Items))
	}
	pod := &pods.Items[0]
	w.must(server.Client.SubResource("binding").Create(t.Context(), pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "lost-node"}}))
	w.must(server.Client.Delete(t.Context(), pod))
	w.cluster.HoldPods = true
	w.wait(5 * time.Minute)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWarmUpPending, "kubectl taint nodes lost-node node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
}

// unschedulable is the status of pods that find no node.
func unschedulable() *corev1.PodStatus {
	return &corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "no node matches",
	}}}
}

// consumerOn is a pod of a user that mounts the cache PVC on a node.
func (w *world) consumerOn(node string) *corev1.Pod {
	w.t.Helper()
	pod := w.consumer("build")
	w.must(server.Client.SubResource("binding").Create(w.t.Context(), pod, &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: node}}))
	return pod
}

// boundTo is the node that the writer has to run on; empty: any.
func boundTo(job *batchv1.Job) string { return podspec.NodeOf(&job.Spec.Template.Spec) }

// TestConsumerGone holds that a Job that waits for room on the node of a pod that uses
// the PVC is replaced by one that may run anywhere when that pod is gone, and not before.
func TestConsumerGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending, w.cluster.Stuck = nil, unschedulable()
	build := w.consumerOn("full-node")
	w.cache()
	w.settle()
	stuck := get[batchv1.Job](w, "ci-writer")
	if node := boundTo(stuck); node != "full-node" {
		t.Fatalf("the Job is bound to node %q", node)
	}
	w.wait(time.Minute)
	if again := get[batchv1.Job](w, "ci-writer"); again.UID != stuck.UID {
		t.Fatal("the Job was replaced although the pod is there")
	}
	w.must(server.Client.Delete(t.Context(), build, client.GracePeriodSeconds(0)))
	w.wait(w.last.RequeueAfter)
	if free := get[batchv1.Job](w, "ci-writer"); free.UID == stuck.UID || boundTo(free) != "" {
		t.Errorf("replaced: %t, bound to node %q", free.UID != stuck.UID, boundTo(free))
	}
	if got := w.get().Status.WarmUp; got.Run != "" {
		t.Errorf("a run is recorded: %+v", got)
	}
}

// TestLostConsumer holds that no writer is to run on a node that does not report the end
// of a pod that uses the PVC: the conditions name the pod, the node and what to do, and
// the writer runs once that pod is gone.
func TestLostConsumer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending, w.cluster.Stuck = nil, unschedulable()
	build := w.consumerOn("lost-node")
	w.cache()
	w.settle()
	if node := boundTo(get[batchv1.Job](w, "ci-writer")); node != "lost-node" {
		t.Fatalf("the Job is bound to node %q", node)
	}
	w.must(server.Client.Delete(t.Context(), build)) // which the node does not report
	w.wait(5 * time.Minute)
	if exists[batchv1.Job](w, "ci-writer") {
		t.Fatalf("there is a Job, bound to node %q", boundTo(get[batchv1.Job](w, "ci-writer")))
	}
	for _, kind := range []string{v1alpha1.ReadyCondition, v1alpha1.WarmCondition} {
		for _, want := range []string{"pod build", "node lost-node does not report", "kubectl taint nodes lost-node node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"} {
			w.condition(kind, metav1.ConditionFalse, v1alpha1.ReasonWaiting, want)
		}
	}
	w.must(server.Client.Delete(t.Context(), build, client.GracePeriodSeconds(0))) // as the taint has it done
	w.wait(w.last.RequeueAfter)
	if node := boundTo(get[batchv1.Job](w, "ci-writer")); node != "" {
		t.Errorf("the Job is bound to node %q", node)
	}
}

// TestNamespaceWithQuota holds that a cache without a podTemplate becomes Ready in a
// namespace whose ResourceQuota counts requests and limits, and in one that has a
// LimitRange, too.
func TestNamespaceWithQuota(t *testing.T) {
	t.Parallel()
	for name, limited := range map[string]bool{"quota": false, "quota and limits": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.must(cluster.Counting(t.Context(), server.Client, w.namespace))
			if limited {
				w.must(cluster.Limited(t.Context(), server.Client, w.namespace))
			}
			w.cache()
			w.settle()
			w.condition(v1alpha1.WarmCondition, metav1.ConditionTrue, v1alpha1.ReasonWarmedUp, "")
		})
	}
}

// TestAccountOfJobs holds that Jobs run under the account of the template, and that
// its token is not mounted: the sources that a Job compiles are not trusted with it.
func TestAccountOfJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ending = nil
	w.cache(func(s *v1alpha1.GoCacheSpec) { s.PodTemplate = &v1alpha1.PodTemplate{ServiceAccountName: "builder"} })
	w.settle()
	pod := get[batchv1.Job](w, "ci-writer").Spec.Template.Spec
	if pod.ServiceAccountName != "builder" || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Errorf("the account is %q, its token is mounted: %v", pod.ServiceAccountName, pod.AutomountServiceAccountToken)
	}
	for _, v := range pod.Volumes {
		if v.Projected != nil {
			for _, source := range v.Projected.Sources {
				if source.ServiceAccountToken != nil {
					t.Errorf("volume %s has a token", v.Name)
				}
			}
		}
	}
}
