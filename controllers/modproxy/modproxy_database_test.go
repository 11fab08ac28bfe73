package modproxy

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/faults"
)

func askingDatabase(p *v1alpha1.ModProxySpec) {
	p.Probes.Kinds = []v1alpha1.ProbeKind{v1alpha1.ProbeReady, v1alpha1.ProbeChecksumDatabase}
}

const databaseServed = v1alpha1.ChecksumDatabaseServedCondition

// TestDatabaseThroughOneInstance holds that an instance which does not reach
// the checksum database, or reports that it does not proxy it, loses its clients
// to those that do, also across a restart.
func TestDatabaseThroughOneInstance(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(i *instance, bad bool){
		"out of reach": func(i *instance, bad bool) { i.noDatabase = bad },
		"not proxied":  func(i *instance, bad bool) { i.ownWay = bad },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.serving(askingDatabase)
			w.condition(databaseServed, metav1.ConditionTrue, v1alpha1.ReasonChecksumDatabaseReachable, "db.test is reached through every instance")
			spoil(w.blue, true)
			w.tick(2)
			w.weights(100, 100)
			w.tick(1)
			w.weights(0, 100)
			w.condition(databaseServed, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy, "blue: ")
			w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "green serves")
			if w.quarantined("blue") {
				t.Error("it is convicted")
			}
			w.restart(faults.Point{})
			w.settle()
			w.weights(0, 100)
			w.condition(databaseServed, metav1.ConditionFalse, v1alpha1.ReasonInstanceUnhealthy, "blue: ")
			w.tick(2)
			w.weights(0, 100)

			spoil(w.blue, false)
			w.tick(20)
			w.weights(100, 100)
			w.condition(databaseServed, metav1.ConditionTrue, v1alpha1.ReasonChecksumDatabaseReachable, "")
		})
	}
}

// TestDatabaseOut holds that the outage of the checksum database moves no
// weight and is reported once, and that it costs the database one page per
// instance and interval.
func TestDatabaseOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving(askingDatabase)
	before := len(w.get().Status.RecentWeightChanges)
	w.blue.noDatabase, w.green.noDatabase = true, true
	asked := w.blue.databaseAsked
	w.tick(2)
	w.condition(databaseServed, metav1.ConditionTrue, v1alpha1.ReasonChecksumDatabaseReachable, "")
	w.tick(1)
	out := func() {
		t.Helper()
		w.condition(databaseServed, metav1.ConditionFalse, v1alpha1.ReasonChecksumDatabaseUnreachable, "No instance reaches db.test, so weights stay")
		w.condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonServing, "blue and green serve; 2/2")
		w.weights(100, 100)
	}
	out()
	wrote := len(w.mortal.Writes)
	w.tick(10)
	out()
	if n := len(w.mortal.Writes) - wrote; n > 0 {
		t.Errorf("%d writes while nothing changed", n)
	}
	if n := w.blue.databaseAsked - asked; n != 13 {
		t.Errorf("%d pages of the database in 13 intervals", n)
	}
	w.restart(faults.Point{})
	w.settle()
	out()
	w.blue.noDatabase, w.green.noDatabase = false, false
	w.tick(1)
	out()
	w.tick(1)
	w.condition(databaseServed, metav1.ConditionTrue, v1alpha1.ReasonChecksumDatabaseReachable, "")
	if now := len(w.get().Status.RecentWeightChanges); now != before {
		t.Errorf("%d changes of weights", now-before)
	}
	recorded := w.recorded()
	if strings.Count(recorded, "ChecksumDatabaseUnreachable") != 1 || strings.Count(recorded, "ChecksumDatabaseReached") != 1 {
		t.Errorf("events: %s", recorded)
	}
}

// TestNoDatabase holds that there is nothing to ask for without a checksum
// database, and that nothing is reported about it then.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serving(askingDatabase)
	w.blue.noDatabase = true
	w.tick(3)
	w.weights(0, 100)
	w.edit(func(p *v1alpha1.ModProxy) { p.Spec.ChecksumDatabase = "off" })
	w.settle()
	w.condition(databaseServed, "", "", "")
	asked := w.blue.databaseAsked
	w.tick(20)
	if w.blue.databaseAsked != asked {
		t.Error("it is asked for")
	}
	w.weights(100, 100)
}
