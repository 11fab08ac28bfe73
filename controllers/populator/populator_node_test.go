package populator

import (
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/kube/volume"
)

func TestRejectedNodeIsGivenBackToTheScheduler(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rejectNode = "full"
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "full")
	w.pass("data")
	w.complain(w.intermediateOf(claim), "full", "no space on node full")
	w.settle("data")

	if node, ok := w.get("data").Annotations[volume.SelectedNodeAnnotation]; ok {
		t.Fatalf("the PVC still asks for node %q: the scheduler would never choose again", node)
	}
	if w.intermediateOf(claim) != nil {
		t.Error("the intermediate PVC for the rejected node is left")
	}
	w.once("Warning NodeRejected", "for node full", "no space on node full")

	for range 5 { // the scheduler tries again and again
		w.schedule("data", "full")
		w.settle("data")
	}
	w.once("Warning NodeRejected")
	w.now = w.now.Add(repeatAfter)
	w.schedule("data", "full")
	w.settle("data")
	if n := w.events.count("Warning NodeRejected"); n != 2 {
		t.Errorf("reported %d times, want once in %s", n, repeatAfter)
	}

	w.now = w.now.Add(repeatAfter) // more than any pause
	w.schedule("data", "n2")
	w.settle("data")
	w.populated("data", "ci-1")
}

// TestRejectionsAreNotRepeatedAtOnce holds that a provisioner that gives the node
// back for another reason than the node, such as a limit on the rate of clones, is
// not called at each try of the scheduler, also if the operator restarts.
func TestRejectionsAreNotRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rejectNode = "n1"
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	made := map[types.UID]bool{}
	for range 20 { // ten minutes
		w.schedule("data", "n1")
		w.reconciler = w.fresh(server.Client)
		w.pass("data")
		if intermediate := w.intermediateOf(claim); intermediate != nil {
			made[intermediate.UID] = true
			w.complain(intermediate, "rate-"+strconv.Itoa(len(made)), "rpc error: code = ResourceExhausted desc = Operation rate exceeded")
		}
		w.settle("data")
		w.now = w.now.Add(30 * time.Second)
	}
	if len(made) < 3 || len(made) > 8 {
		t.Errorf("%d clones were requested in ten minutes, want some, and fewer from time to time", len(made))
	}
	if w.events.count("Warning NodeRejected", "6 attempts in a row", "Operation rate exceeded") == 0 {
		t.Errorf("no event counts the attempts and quotes the provisioner; events: %q", w.events.all())
	}
	w.rejectNode = ""
	w.now = w.now.Add(5 * time.Minute)
	w.schedule("data", "n1")
	w.settle("data")
	w.populated("data", "ci-1")
}

func TestCloneForAnotherNodeIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.snapshot("ci-1", "ci", metav1.ConditionTrue)
	claim := w.claim("data", v1alpha1.CacheSnapshotKind, "ci-1")
	w.schedule("data", "n1")
	w.pass("data")
	w.must(w.cluster(t.Context())) // the intermediate PVC has its volume, on n1
	first := w.intermediateOf(claim)
	w.schedule("data", "n2")
	w.settle("data")
	w.populated("data", "ci-1")
	if w.get("data").Spec.VolumeName == first.Spec.VolumeName {
		t.Error("the pod on n2 got the volume that was made for n1")
	}
}
