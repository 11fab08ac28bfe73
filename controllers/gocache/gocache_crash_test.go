package gocache

import (
	"maps"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/controllers/gocache/pass"
	"gocache.dev/operator/internal/testing/crash"
)

// end is what must be the same however often the manager is killed.
type end struct {
	Ready                        bool
	WarmUps, Snapshots, Verified int
	Checks, Cleanups             int
	Freed                        string
	Notified                     bool
	Verdict                      v1alpha1.Verdict
	Size                         string
	Offered                      bool
	Requests                     map[string]v1alpha1.RequestOutcome
	Slot                         bool
	Writer                       bool
	Replacement                  replacementEnd
	Pool                         poolEnd
}

// TestCrashPoints kills the manager before and after each API write of a flow,
// and starts a new one: the same end is reached, each run is recorded once and
// has at most one snapshot, and there is one writer at a time, which settle
// checks after each step.
func TestCrashPoints(t *testing.T) {
	flows := map[string]func(w *world, die func()){
		// from the declaration to the offer
		"warm-up and snapshot": func(w *world, die func()) {
			die()
			w.cache(afterWarmUp)
			w.settle()
		},
		// a second round, by request, in which the first snapshot is dropped
		"request and retention": func(w *world, die func()) {
			w.cache(func(s *v1alpha1.GoCacheSpec) {
				s.Snapshots = &v1alpha1.SnapshotPolicy{AfterWarmUp: new(true), Retention: v1alpha1.Retention{KeepLast: 1}}
			})
			w.settle()
			w.now = w.now.Add(60e9)
			die()
			w.request("warm-up-1", v1alpha1.RequestWarmUp)
			w.settle()
		},
		// a requested check, whose second attempt finds the cache corrupt
		"check": func(w *world, die func()) {
			w.cache()
			w.settle()
			die()
			w.checked = evicted
			w.request("failure-report-1", v1alpha1.RequestReportFailure)
			w.settle()
			w.checked = corrupt
			w.wait(time.Minute)
		},
		// a PVC that is found full, and grows
		"growth": func(w *world, die func()) {
			class := w.class()
			w.cache(growsTo("2Gi", class))
			w.settle()
			die()
			w.ending = fills(900, 124)
			w.request("warm-up-1", v1alpha1.RequestWarmUp)
			w.settle()
		},
		// a push to a repository, which leads to a warm-up and a snapshot of it
		"push": func(w *world, die func()) {
			r := w.repo("", "")
			w.push(r, "module one\n")
			w.cache(fromGit(v1alpha1.GitSource{URL: r.url}), afterWarmUp)
			w.settle()
			die()
			w.push(r, "module two\n")
			w.wait(pass.Interval)
			w.wait(pass.Interval)
		},
		// a plan that a webhook is notified of, its approval, and a warm-up since
		// the cache was not proven warm
		"cleanup": func(w *world, die func()) {
			w.cleaner = cleaner{garbage: "one", unproven: true}
			w.cache(bounded10Gi(v1alpha1.ApprovalRequired))
			w.settle()
			die()
			w.request("cleanup-1", v1alpha1.RequestCleanup)
			w.settle()
			w.request("approve-cleanup-2", v1alpha1.RequestApproveCleanup, digestOf("one"))
			w.settle()
		},
		// a snapshot by schedule: its name must not depend on when it is made
		"schedule": func(w *world, die func()) {
			w.cache(func(s *v1alpha1.GoCacheSpec) {
				s.Snapshots = &v1alpha1.SnapshotPolicy{Schedule: v1alpha1.Schedule{Schedule: "@every 2h"}}
			})
			w.settle()
			w.now = w.now.Add(2 * 3601e9)
			w.onDeath = func() { w.now = w.now.Add(20e9) }
			die()
			w.settle()
		},
	}
	table := map[string]crash.Flow[end]{}
	maps.Copy(flows, replacementFlows())
	maps.Copy(flows, poolFlows())
	for name, flow := range flows {
		table[name] = func(t *testing.T, life *crash.Life) end {
			e := dying(t, flow, life)
			if _, ok := poolFlows()[name]; ok { // a member whose uid is lost with the process is made again
				e.Replacement.Reclaimed = 0
			}
			return e
		}
	}
	crash.Run(t, server.Client, "gocache", table)
}

// dying runs a flow to its end, in which the process dies at the point of life.
func dying(t *testing.T, flow func(*world, func()), life *crash.Life) end {
	t.Helper()
	w := newWorld(t)
	life.In(w.namespace)
	w.removes = life.ByHand
	flow(w, func() {
		w.restart(life.Point)
		life.Dies(w.mortal)
	})
	var c v1alpha1.GoCache
	if !exists[v1alpha1.GoCache](w, "ci") {
		return end{Replacement: w.replacementEnd()}
	}
	c = *w.get()
	e := end{
		Replacement: w.replacementEnd(),
		Pool:        w.poolEnd(),
		Ready:       meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ReadyCondition),
		WarmUps:     len(w.warmUps), Snapshots: len(w.snapshots()),
		Offered: c.Status.LatestVerifiedSnapshot != "", Writer: exists[batchv1.Job](w, "ci-writer"),
	}
	for _, s := range w.snapshots() {
		if meta.IsStatusConditionPresentAndEqual(s.Status.Conditions, v1alpha1.VerifiedCondition, metav1.ConditionTrue) {
			e.Verified++
		}
	}
	e.Checks, e.Cleanups, e.Size = len(w.checks), len(w.cleanups), c.Status.Storage.Capacity.String()
	if cleaned := c.Status.Cleanup; cleaned != nil {
		e.Freed, e.Notified = cleaned.Freed.String(), cleaned.Webhook != nil && cleaned.Webhook.DeliveredTime != nil
	}
	if c.Status.Integrity != nil {
		e.Verdict = c.Status.Integrity.Verdict
	}
	e.Requests = w.requests.Outcomes(w.t)
	e.Slot = c.Status.Request != nil
	return e
}
