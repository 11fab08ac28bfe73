package modproxy

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/images"
	"gocache.dev/operator/internal/testing/faults"
)

// set is the StatefulSet of an instance.
func (w *world) set(instance string) *appsv1.StatefulSet {
	w.t.Helper()
	var set appsv1.StatefulSet
	if !w.exists(&set, "goproxy-"+instance) {
		w.t.Fatalf("%s has no StatefulSet", instance)
	}
	return &set
}

// stand plays the StatefulSet controller: the pod of an instance is ready, and
// made from the last template.
func (w *world) stand(instance string) {
	w.t.Helper()
	set := w.set(instance)
	set.Status = appsv1.StatefulSetStatus{ObservedGeneration: set.Generation, Replicas: 1, ReadyReplicas: 1, UpdatedReplicas: 1}
	w.must(server.Client.Status().Update(w.t.Context(), set))
	w.settle()
}

// runs is the image of an instance's agent.
func (w *world) runs(instance string) string {
	w.t.Helper()
	return w.set(instance).Spec.Template.Spec.InitContainers[0].Image
}

// upgrade makes it another release of the operator.
func (w *world) upgrade(image string) {
	w.t.Helper()
	w.reconciler.Images.Operator = image
	w.settle()
}

func (w *world) versions(blue, green string) {
	w.t.Helper()
	if b, g := w.runs("blue"), w.runs("green"); b != blue || g != green {
		w.t.Errorf("blue runs %s and green %s, want %s and %s", b, g, blue, green)
	}
}

// TestOneAfterTheOther holds that an upgrade never replaces the pod of an
// instance while no other one serves.
func TestOneAfterTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.stand("blue")
	w.stand("green")

	w.upgrade("operator:2")
	w.versions("operator:2", "operator:test")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "wait until another instance serves: green")
	w.condition(v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "green")
	before := len(w.mortal.Writes)
	w.settle()
	if wrote := w.mortal.Writes[before:]; len(wrote) > 0 {
		t.Errorf("while green waits it writes %q", wrote)
	}

	// A process that has just started goes on with it.
	w.reconciler.Images = images.Images{Operator: "operator:2"}
	w.restart(faults.Point{})
	w.upgrade("operator:2")
	w.versions("operator:2", "operator:test")

	w.blue.down = true
	w.tick(3)
	w.blue.down = false
	w.stand("blue")
	w.versions("operator:2", "operator:test") // its pod is ready, and the router does not use it yet
	w.tick(60)
	w.weights(100, 100)
	w.settle()
	w.versions("operator:2", "operator:2")
	w.stand("green")
	w.condition(v1alpha1.ReconcilingCondition, "", "", "")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "serve")
}

// TestBrokenOneFirst holds that an instance that does not run is changed at
// once: the change may be what fixes it.
func TestBrokenOneFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.stand("blue")
	w.green.down = true
	w.tick(4)
	w.upgrade("operator:2")
	w.versions("operator:test", "operator:2")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "until another instance serves: blue")
	w.green.down = false
	w.stand("green")
	w.tick(60)
	w.settle()
	w.versions("operator:2", "operator:2")
}

// TestSingleInstance holds that a proxy of one instance is changed: there is
// no other to wait for.
func TestSingleInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy(func(s *v1alpha1.ModProxySpec) { s.Instances = s.Instances[:1] })
	w.settle()
	w.tick(3)
	w.stand("blue")
	w.upgrade("operator:2")
	if image := w.runs("blue"); image != "operator:2" {
		t.Errorf("it runs %s", image)
	}
}
