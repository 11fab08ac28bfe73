package modproxy

import (
	"maps"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/modproxy/pass"
	"gocache.dev/operator/internal/testing/crash"
)

// end is what must be the same however often the manager is killed.
type end struct {
	Serving, Pinned string
	Quarantined     bool
	Published       [2]string
	Requests        map[string]v1alpha1.RequestOutcome
	Slot            bool
	WeightChanges   int
	// Store of the instance that was poisoned, in flows that roll it back.
	Store storeEnd
}

// TestCrashPoints kills the manager before and after each API write of a flow,
// and starts a fresh one that remembers nothing: the same end is reached, and
// an instance that is quarantined never serves again.
func TestCrashPoints(t *testing.T) {
	flows := map[string]func(w *world, die func()){
		"bootstrap": func(w *world, die func()) {
			die()
			w.proxy()
			w.settle()
			w.tick(2)
		},
		// The store is right again as soon as the manager dies: no probe
		// finds it corrupt a second time.
		"quarantine": func(w *world, die func()) {
			w.serving()
			w.blue.wrong = true
			w.onDeath = func() {
				w.blue.wrong = pass.Instance(w.get(), "blue").Quarantined == nil && w.published("blue") != "down"
			}
			die()
			w.tick(1)
			w.tick(3)
		},
		"quarantine behind a Service": func(w *world, die func()) {
			w.proxy(behindService)
			w.settle()
			w.tick(2)
			w.startPod("blue")
			w.blue.wrong = true
			w.onDeath = func() {
				w.blue.wrong = pass.Instance(w.get(), "blue").Quarantined == nil && w.published("blue") != "down"
			}
			die()
			w.tick(1)
			w.tick(3)
			if w.exists(&corev1.Pod{}, "goproxy-blue-0") {
				w.t.Error("the pod of the convicted instance was not ended")
			}
		},
		"another router": func(w *world, die func()) {
			w.serving()
			die()
			w.edit(func(p *v1alpha1.ModProxy) { behindService(&p.Spec) })
			w.settle()
			w.tick(1)
			if w.selected() != "blue" || w.exists(&appsv1.Deployment{}, "goproxy-router") {
				w.t.Errorf("the Service leads to %q; HAProxy is there: %v", w.selected(), w.exists(&appsv1.Deployment{}, "goproxy-router"))
			}
		},
		"failover request": func(w *world, die func()) {
			w.serving()
			die()
			w.request("failover-1", v1alpha1.RequestFailover, "green")
		},
		"departure from what was agreed on": func(w *world, die func()) {
			w.serving(comparing)
			die()
			w.blue.wrong = true
			w.tick(3)
			w.tick(5) // a fresh prober has to find out by itself; what was agreed on is in the status
		},
		"death of an instance": func(w *world, die func()) {
			w.serving()
			w.blue.down = true
			w.tick(2)
			die()
			w.tick(1)
			w.tick(3) // a fresh prober has to find out by itself
		},
	}
	maps.Copy(flows, rollbackFlows())
	table := map[string]crash.Flow[end]{}
	for name, flow := range flows {
		table[name] = func(t *testing.T, life *crash.Life) end { return dying(t, flow, life) }
	}
	crash.Run(t, server.Client, "modproxy", table)
}

// dying runs a flow, in which the process dies where the life has it die, to its end.
func dying(t *testing.T, flow func(*world, func()), life *crash.Life) end {
	t.Helper()
	w := newWorld(t)
	life.In(w.namespace)
	flow(w, func() {
		// What the prober found out is kept: the process lives until it dies.
		prober := w.reconciler.prober
		w.restart(life.Point)
		w.reconciler.prober = prober
		life.Dies(w.mortal)
	})
	s := w.get().Status
	e := end{
		Serving: s.Serving, Pinned: s.PinnedInstance, Quarantined: w.quarantined("blue"),
		Published: [2]string{w.published("blue"), w.published("green")}, WeightChanges: len(s.RecentWeightChanges),
		Store: w.storeEnd("blue"),
	}
	if w.cluster != nil { // one that comes back is moved once more if a fresh prober has to find out first
		e.WeightChanges = 0
	}
	e.Requests = w.requests.Outcomes(t)
	e.Slot = s.Request != nil
	return e
}
