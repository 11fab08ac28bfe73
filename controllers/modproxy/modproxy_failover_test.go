package modproxy

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/kube/route/haproxy"
	"gocache.dev/operator/internal/testing/faults"
)

// TestServes follows a proxy from its declaration until it serves.
func TestServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.proxy()
	w.settle()
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonProgressing, "No probe has passed yet")
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionUnknown, v1alpha1.ReasonProgressing, "")
	w.columns("0/2", "none")
	w.tick(1)
	w.columns("2/2", "blue,green")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue and green serve; 2/2 instances are healthy")
	w.condition(v1alpha1.RoutedCondition, metav1.ConditionTrue, v1alpha1.ReasonRouterConfigured, "All 2 replicas")
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionTrue, v1alpha1.ReasonInstancesHealthy, "")
	w.condition(v1alpha1.ReconcilingCondition, "", "", "")
	w.weights(100, 100)
	s := w.get().Status
	if want := "http://goproxy-router." + w.namespace + ".svc"; s.URL != want || s.GOPROXY != haproxy.GOPROXY(want) || s.Healthy != "2/2" || s.Serving != "blue,green" {
		t.Errorf("status %+v", s)
	}
	if recorded := w.recorded(); strings.Count(recorded, "InstanceHealthy") != 2 {
		t.Errorf("events: %s", recorded)
	}
}

// TestInstanceDies holds that a dead instance gets no clients once that is
// confirmed, that the move is recorded with its times, and that the instance
// comes back after it has held out, in steps.
func TestInstanceDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.down = true
	w.tick(2)
	w.weights(100, 100)
	w.tick(1)
	w.weights(0, 100)
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "green serves; 1/2")
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy, "blue: probe ")
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy, w.failure("blue"))
	change := w.get().Status.LastWeightChange
	if change == nil || change.From != "blue,green" || change.To != "green" || change.ConfirmedTime == nil {
		t.Fatalf("last change %+v", change)
	}
	if took := change.AppliedTime.Sub(change.DetectedTime.Time); took != 2*interval {
		t.Errorf("from detected to acted: %v, want %v", took, 2*interval)
	}
	if recorded := w.recorded(); !strings.Contains(recorded, "InstanceUnhealthy Instance blue failed probe") || !strings.Contains(recorded, `WeightsChanged Moved clients from "blue,green" to "green"`) {
		t.Errorf("events: %s", recorded)
	}

	w.blue.down = false
	w.tick(6) // two until that is confirmed, and less than the hold-down since
	w.weights(0, 100)
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionTrue, v1alpha1.ReasonInstancesHealthy, "")
	w.tick(2)
	w.weights(10, 100)
	w.tick(3)
	w.weights(50, 100)
	w.tick(3)
	w.weights(100, 100)
	if recorded := w.recorded(); strings.Count(recorded, `WeightsChanged Clients stay with "blue,green": blue: `) != 2 {
		t.Errorf("events of the steps back: %s", recorded)
	}
}

// TestCorruptContent holds that an instance that serves corrupt content is
// quarantined, stays so when it serves intact content again, and is reinstated on
// request.
func TestCorruptContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.wrong = true
	w.tick(1) // a mismatch that is seen twice in one probe does not wait for the threshold
	w.weights(0, 100)
	if !w.quarantined("blue") || w.quarantined("green") {
		t.Fatalf("instances %+v", w.get().Status.Instances)
	}
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "green serves")
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy, "blue: quarantined: ChecksumMismatch")
	if recorded := w.recorded(); strings.Count(recorded, "InstanceQuarantined") != 1 || !strings.Contains(recorded, testModule.Sum) {
		t.Errorf("events: %s", recorded)
	}
	w.blue.wrong = false
	w.tick(20)
	if !w.quarantined("blue") {
		t.Error("time reinstated it")
	}
	w.request("failover-1", v1alpha1.RequestFailover, "blue")
	w.answered("failover-1", v1alpha1.RequestRefused, "blue is quarantined")
	w.request("reinstate-1", v1alpha1.RequestReinstate, "blue")
	w.answered("reinstate-1", v1alpha1.RequestAccepted, "stays out until it is proven intact")
	if !w.quarantined("blue") {
		t.Error("the request reinstated it without proof")
	}
	w.tick(2)
	w.answered("reinstate-1", v1alpha1.RequestSucceeded, "")
	if w.quarantined("blue") {
		t.Error("the proof did not reinstate it")
	}
	if w.blue.checks != 2 || w.blue.unhurried || w.green.checks != 1 {
		t.Errorf("blue was checked %d times, unhurried %v; green %d times", w.blue.checks, w.blue.unhurried, w.green.checks)
	}
	w.tick(20)
	w.weights(100, 100)
}

// TestReinstatedTooEarly holds that an instance which still serves corrupt content,
// or whose store still holds it, does not serve for an instant, also on request.
func TestReinstatedTooEarly(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(i *instance, wrong bool){
		"served": func(i *instance, wrong bool) { i.wrong = wrong },
		"stored": func(i *instance, wrong bool) { i.rotten = wrong },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serving()
			spoil(w.blue, true)
			w.blue.check(w.now)
			w.tick(3)
			if !w.quarantined("blue") {
				t.Fatal("it is not quarantined")
			}
			w.request("reinstate-1", v1alpha1.RequestReinstate, "blue")
			for range 4 {
				w.tick(1)
				if !w.quarantined("blue") {
					t.Fatal("it has corrupt content, and is reinstated")
				}
			}
			w.answered("reinstate-1", v1alpha1.RequestFailed, "still has corrupt content")
			spoil(w.blue, false)
			w.request("reinstate-2", v1alpha1.RequestReinstate, "blue")
			w.tick(3)
			w.answered("reinstate-2", v1alpha1.RequestSucceeded, "")
			if w.quarantined("blue") {
				t.Error("the proof did not reinstate it")
			}
		})
	}
}

// TestAllQuarantined holds that no instance serves when all of them have corrupt
// content, and that this is reported.
func TestAllQuarantined(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.wrong, w.green.wrong = true, true
	w.tick(3)
	w.weights(0, 0)
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAllInstancesQuarantined, "CacheRequest of action Reinstate")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonAllInstancesQuarantined, "")
}

// columns checks what kubectl get shows: HEALTHY and SERVING agree.
func (w *world) columns(healthy, serving string) {
	w.t.Helper()
	columns := server.Columns(w.t, "modproxies", w.namespace, "goproxy")
	if columns["Healthy"] != healthy || columns["Serving"] != serving {
		w.t.Errorf("kubectl get shows HEALTHY %q, SERVING %q; want %q, %q", columns["Healthy"], columns["Serving"], healthy, serving)
	}
}

// failure is what the first failing probe of an instance has found.
func (w *world) failure(name string) string {
	w.t.Helper()
	for _, i := range w.get().Status.Instances {
		if i.Name == name && len(i.FailingProbes) > 0 && i.FailingProbes[0].Message != "" {
			return i.FailingProbes[0].Message
		}
	}
	w.t.Fatalf("no probe of instance %s has failed with a message", name)
	return ""
}

// TestNoneHealthy holds that weights stay where they are when no instance is
// better.
func TestNoneHealthy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.down, w.green.unready = true, true
	w.tick(3)
	w.weights(100, 100)
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonNoHealthyInstance, "weights stay")
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonNoHealthyInstance, w.failure("green"))
	w.columns("0/2", "blue (unhealthy),green (unhealthy)")
	w.green.unready = false
	w.tick(2)
	w.condition(v1alpha1.StalledCondition, "", "", "")
	w.weights(0, 100)
	w.columns("1/2", "green")
}

// TestUnconfirmedChange holds that a change of weights counts only once every replica of the
// router was seen to follow.
func TestUnconfirmedChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.stuck = true
	w.blue.down = true
	w.tick(3)
	w.condition(v1alpha1.RoutedCondition, metav1.ConditionFalse, v1alpha1.ReasonWeightsPending, "router-0: blue is ready, want drain")
	w.condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonWeightsPending, "")
	s := w.get().Status
	if s.LastWeightChange == nil || s.LastWeightChange.ConfirmedTime != nil || s.Instances[0].DesiredWeight != 0 || s.Instances[0].ObservedWeight != 100 {
		t.Errorf("last change %+v, instances %s", s.LastWeightChange, brief(s.Instances))
	}
	if w.last.RequeueAfter > pass.ConfirmInterval {
		t.Errorf("looks again after %v", w.last.RequeueAfter)
	}
	w.stuck = false
	w.now = w.now.Add(3 * time.Second)
	w.settle()
	w.condition(v1alpha1.RoutedCondition, metav1.ConditionTrue, v1alpha1.ReasonRouterConfigured, "")
	change := w.get().Status.LastWeightChange
	if change.ConfirmedTime == nil || change.ConfirmedTime.Sub(change.AppliedTime.Time) != 3*time.Second {
		t.Errorf("last change %+v", change)
	}
	if recorded := w.recorded(); strings.Count(recorded, "WeightsConfirmed") != 1 {
		t.Errorf("events: %s", recorded)
	}
}

// TestRestart holds that a manager that was restarted still has the instances that
// are quarantined or held down, and moves no client.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.blue.down = true
	w.tick(3)
	w.blue.down = false
	w.tick(3)
	before := w.get().Status.RecentWeightChanges
	w.restart(faults.Point{})
	w.settle()
	w.weights(0, 100)
	w.tick(3) // together with those before: still held down
	w.weights(0, 100)
	if now := w.get().Status.RecentWeightChanges; len(now) != len(before) {
		t.Errorf("the restart moved weights: %v, before %v", now, before)
	}
	w.tick(2)
	w.weights(10, 100)

	w.green.wrong = true
	w.tick(3)
	if !w.quarantined("green") {
		t.Fatal("green is not quarantined")
	}
	w.green.wrong = false
	w.restart(faults.Point{})
	w.settle()
	w.tick(5)
	if !w.quarantined("green") {
		t.Error("the restart acquitted green")
	}
}

// TestRequests holds what can be asked for, and what is refused.
func TestRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.request("failover-1", v1alpha1.RequestFailover, "green")
	w.answered("failover-1", v1alpha1.RequestSucceeded, "")
	w.weights(0, 100)
	if pinned := w.get().Status.PinnedInstance; pinned != "green" {
		t.Errorf("pinned %q", pinned)
	}
	w.tick(3)
	w.weights(0, 100)
	w.request("failback-1", v1alpha1.RequestFailback)
	w.answered("failback-1", v1alpha1.RequestSucceeded, "")
	w.weights(100, 100)
	w.recorded()

	w.blue.down = true
	w.tick(3)
	w.requests.Events() // of the requests before
	for instance, why := range map[string]string{
		"red":  `there is no instance "red"`,
		"blue": "instance blue is not healthy",
	} {
		w.request("to-"+instance, v1alpha1.RequestFailover, instance)
		w.answered("to-"+instance, v1alpha1.RequestRefused, why)
		if events := w.requests.Events(); len(events) != 1 || !strings.Contains(events[0], "RequestRefused") {
			t.Errorf("request to %s: events %q", instance, events)
		}
	}
	w.weights(0, 100)
}

// TestRequestInModeManual holds that a request which mode Manual ignores is refused with what
// decides there, and that a chosen instance which is quarantined is reported as such.
func TestRequestInModeManual(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving()
	w.edit(func(p *v1alpha1.ModProxy) {
		p.Spec.Failover.Mode, p.Spec.Failover.ActiveInstance = v1alpha1.FailoverManual, "blue"
	})
	w.settle()
	w.request("failover-1", v1alpha1.RequestFailover, "green")
	w.answered("failover-1", v1alpha1.RequestRefused, "spec.failover.activeInstance")
	w.weights(100, 0)
	w.blue.wrong = true
	w.tick(1)
	w.condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonNoHealthyInstance, "Instance blue, which spec.failover.activeInstance names")
	w.condition(v1alpha1.HealthyCondition, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy, "blue: quarantined")
}
