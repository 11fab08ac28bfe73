package pool_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/plan/pool"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// ready is a member that a PVC can get.
func ready(slot int, change ...func(*pool.Member)) pool.Member {
	m := pool.Member{Slot: slot, Recorded: true, Exists: true, Snapshot: "s1", Volume: pool.Held, Ready: now.Add(-time.Hour)}
	for _, f := range change {
		f(&m)
	}
	return m
}

// reading is a member whose check goes on.
func reading(slot int, change ...func(*pool.Member)) pool.Member {
	return ready(slot, append([]func(*pool.Member){func(m *pool.Member) {
		m.Ready, m.Check = time.Time{}, pool.Check{Exists: true, Pods: true}
	}}, change...)...)
}

func of(members ...pool.Member) pool.Observation {
	return pool.Observation{Now: now, Size: 2, MaxAge: 24 * time.Hour, Snapshot: "s1", Members: members}
}

// TestDecide holds what is done with each slot, in the order of the slots, and when it is
// looked at again.
func TestDecide(t *testing.T) {
	type o = pool.Observation
	with := func(is o, change func(*o)) o {
		change(&is)
		return is
	}
	for name, tt := range map[string]struct {
		is   o
		acts string
		wake time.Duration
	}{
		"no pool":             {with(of(), func(i *o) { i.Size = 0 }), "", 0},
		"empty":               {of(), "0 Create", 0},
		"no snapshot":         {with(of(), func(i *o) { i.Snapshot = "" }), "", 0},
		"one after another":   {of(reading(0)), "0 WaitForCheck", 0},
		"its Job is outdated": {of(reading(0, func(m *pool.Member) { m.Check.Outdated = true })), "0 StartAgain", time.Second},
		"one is stuck":        {of(reading(0, func(m *pool.Member) { m.Stuck = true })), "0 WaitForCheck, 1 Create", 0},
		"the next one":        {of(ready(0)), "0 Keep, 1 Create", 23 * time.Hour},
		"the first is free":   {of(ready(1)), "1 Keep, 0 Create", 23 * time.Hour},
		"filled":              {of(ready(0), ready(1)), "0 Keep, 1 Keep", 23 * time.Hour},
		"created": {of(reading(0, func(m *pool.Member) { m.Check = pool.Check{}; m.Volume = pool.Pending })),
			"0 StartCheck", 0},
		"checked": {of(reading(0, func(m *pool.Member) { m.Check.Ended = true })), "0 Accept", time.Second},
		"refused": {of(reading(0, func(m *pool.Member) { m.Check.Ended, m.Check.Refused = true, "Corrupt" })),
			"0 Fail Corrupt", time.Minute},
		"recorded": {of(ready(0, func(m *pool.Member) { m.Check.Exists = true })), "0 Clear, 1 Create", 5 * time.Second},
		"its pod is left": {of(ready(0, func(m *pool.Member) { m.Check.Pods = true })),
			"0 Clear, 1 Create", 5 * time.Second},
		"suspended": {with(of(ready(0)), func(i *o) { i.Suspended = true }), "0 Keep", 23 * time.Hour},
		"suspended, created": {with(of(reading(0, func(m *pool.Member) { m.Check = pool.Check{} })), func(i *o) { i.Suspended = true }),
			"0 WaitForCheck", 0},
		"suspended, checked": {with(of(reading(0, func(m *pool.Member) { m.Check.Ended = true })), func(i *o) { i.Suspended = true }), "0 Accept", time.Second},
		"suspended, taken":   {with(of(ready(0, func(m *pool.Member) { m.Volume = pool.Assigned })), func(i *o) { i.Suspended = true }), "0 Release", time.Minute},
		"old": {of(ready(0, func(m *pool.Member) { m.Ready = now.Add(-24 * time.Hour) }), ready(1)),
			"0 Discard no PVC has taken it for 24h0m0s (spec.pool.maxAge), 1 Keep", time.Minute},
		"another snapshot is offered": {with(of(ready(0), reading(1)), func(i *o) { i.Snapshot = "s2" }),
			"0 Discard consumers get CacheSnapshot s2 now, not s1, 1 Discard consumers get CacheSnapshot s2 now, not s1", time.Minute},
		"none is offered for a while": {with(of(ready(0)), func(i *o) { i.Snapshot = "" }), "0 Keep", 23 * time.Hour},
		"created, and none is offered for a while": {with(of(reading(0, func(m *pool.Member) { m.Check = pool.Check{} })), func(i *o) { i.Snapshot = "" }),
			"0 WaitForCheck", 0},
		"its snapshot is withdrawn": {of(ready(0, func(m *pool.Member) { m.Withdrawn = "Corrupt" }), ready(1)), "0 Discard Corrupt, 1 Keep", time.Minute},
		"made in another size":      {of(reading(0, func(m *pool.Member) { m.Misfit = "size" }), ready(1)), "0 Fail size, 1 Keep", time.Minute},
		"its marks are gone": {of(ready(0, func(m *pool.Member) { m.Tampered = "owner" }), ready(1)),
			"0 Fail owner: what may have been written to is given to no build, 1 Keep", time.Minute},
		"its marks are gone, given":     {of(ready(0, func(m *pool.Member) { m.Tampered, m.Volume = "owner", pool.Given }), ready(1)), "0 WaitForConsumer, 1 Keep", time.Second},
		"another class is asked for":    {of(ready(0, func(m *pool.Member) { m.Misfit = "class" }), ready(1)), "0 Discard class, 1 Keep", time.Minute},
		"smaller":                       {with(of(ready(0), ready(1)), func(i *o) { i.Size = 1 }), "0 Keep, 1 Discard spec.pool.size was lowered", time.Minute},
		"removed":                       {with(of(ready(0), reading(1)), func(i *o) { i.Size = 0 }), "0 Discard spec.pool was removed, 1 Discard spec.pool was removed", time.Minute},
		"not recorded":                  {of(ready(0, func(m *pool.Member) { m.Recorded = false })), "0 Discard the operator has no record that it created it, 1 Create", time.Minute},
		"being deleted, with a Job":     {of(ready(0, func(m *pool.Member) { m.Deleting, m.Check.Exists = true, true }), ready(1)), "0 Discard, 1 Keep", time.Minute},
		"being deleted":                 {of(ready(0, func(m *pool.Member) { m.Deleting = true }), ready(1)), "0 WaitForDeletion, 1 Keep", time.Minute},
		"gone, with a Job":              {of(ready(0, func(m *pool.Member) { m.Exists, m.Check.Exists = false, true }), ready(1)), "0 Clear, 1 Keep", 5 * time.Second},
		"gone":                          {of(ready(0, func(m *pool.Member) { m.Exists = false }), ready(1)), "0 Forget, 1 Keep", time.Second},
		"gone, but its volume is not":   {of(ready(0, func(m *pool.Member) { m.Exists, m.Left = false, true })), "0 WaitForDeletion, 1 Create", 5 * time.Second},
		"one too many would be left":    {with(of(ready(0, func(m *pool.Member) { m.Exists, m.Left = false, true }), ready(2, func(m *pool.Member) { m.Exists, m.Left = false, true })), func(i *o) { i.Size = 2 }), "0 WaitForDeletion, 2 WaitForDeletion", 5 * time.Second},
		"given":                         {of(ready(0, func(m *pool.Member) { m.Volume = pool.Given }), ready(1)), "0 WaitForConsumer, 1 Keep", time.Second},
		"given, and superseded":         {with(of(ready(0, func(m *pool.Member) { m.Volume = pool.Given }), ready(1)), func(i *o) { i.Size = 0 }), "0 WaitForConsumer, 1 Discard spec.pool was removed", time.Second},
		"taken":                         {of(ready(0, func(m *pool.Member) { m.Volume = pool.Assigned }), ready(1)), "0 Release, 1 Keep", time.Minute},
		"lost":                          {of(reading(0, func(m *pool.Member) { m.Volume = pool.Lost }), ready(1)), "0 Fail its volume was deleted, 1 Keep", time.Minute},
		"lost, or taken and deleted":    {of(ready(0, func(m *pool.Member) { m.Volume = pool.Lost }), ready(1)), "0 Discard its volume was deleted, 1 Keep", time.Minute},
		"of another volume":             {of(reading(0, func(m *pool.Member) { m.Volume = pool.Preexisting }), ready(1)), "0 Fail it was bound to a volume that existed before and is no clone: remove available volumes of its class that match, 1 Keep", time.Minute},
		"mounted":                       {of(ready(0, func(m *pool.Member) { m.MountedBy = "p" }), ready(1)), "0 Fail pod p mounts it, or is about to: what a build may have written to is given to no other, 1 Keep", time.Minute},
		"foreign":                       {of(pool.Member{Slot: 0, Foreign: "f"}, ready(1)), "0 Obstructed f, 1 Keep", time.Minute},
		"after a failure":               {with(of(ready(0)), func(i *o) { i.Failures, i.LastFailure = 1, now.Add(-20*time.Second) }), "0 Keep", 40 * time.Second},
		"long after failures":           {with(of(ready(0)), func(i *o) { i.Failures, i.LastFailure = 40, now.Add(-time.Hour) }), "0 Keep, 1 Create", 23 * time.Hour},
		"shrunk, and a lower slot free": {with(of(ready(1), ready(2)), func(i *o) { i.Size = 2 }), "1 Keep, 2 Discard spec.pool.size was lowered", time.Minute},
	} {
		d := pool.Decide(tt.is)
		var acts []string
		for _, a := range d.Acts {
			acts = append(acts, strings.TrimSpace(fmt.Sprintf("%d %s %s", a.Slot, a.Step, a.Why)))
		}
		if got := strings.Join(acts, ", "); got != tt.acts || d.Wake != tt.wake {
			t.Errorf("%s:\n got %q, %s\nwant %q, %s", name, got, d.Wake, tt.acts, tt.wake)
		}
	}
}

// TestBounded holds that there are never more volumes than the pool may have, from any
// state, whatever its members went through.
func TestBounded(t *testing.T) {
	states := []func(*pool.Member){
		func(*pool.Member) {},
		func(m *pool.Member) { m.Deleting = true },
		func(m *pool.Member) { m.Ready, m.Check.Exists = time.Time{}, true },
		func(m *pool.Member) { m.Recorded = false },
		func(m *pool.Member) { m.Snapshot = "s0" },
		func(m *pool.Member) { m.Volume = pool.Assigned },
	}
	for a := range states {
		for b := range states {
			for c := range states {
				o := of(ready(0, states[a]), ready(2, states[b]), ready(3, states[c]))
				volumes := 0
				for _, m := range o.Members {
					if m.Volume == pool.Held {
						volumes++
					}
				}
				d := pool.Decide(o)
				if asks := slices.ContainsFunc(d.Acts, func(a pool.Act) bool { return a.Step == pool.Create || a.Step == pool.StartCheck }); asks != d.Asks() {
					t.Errorf("%+v asks: %v", d.Acts, d.Asks())
				}
				for _, act := range d.Acts {
					if act.Step == pool.Create && volumes >= o.Size {
						t.Errorf("%d %d %d: a volume is made while there are %d of %d", a, b, c, volumes, o.Size)
					}
				}
			}
		}
	}
}
