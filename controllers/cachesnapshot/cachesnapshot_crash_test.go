package cachesnapshot

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/testing/cluster"
	"gocache.dev/operator/internal/testing/crash"
	"gocache.dev/operator/internal/testing/faults"
)

// outcome is the end state that does not depend on crashes of the manager.
type outcome struct {
	Verdict         v1alpha1.Verdict
	Attempts        int32
	Digest          string
	Offered         string // the CSI snapshot
	Repaired, Built v1alpha1.WorkStatus
	Removed         int64
	Ready           string
	CSI             string // names of the CSI snapshots that exist
	Left            []string
	Repeated        v1alpha1.Verdict
	Repetitions     int32
}

// way is one path of a snapshot through its stages.
type way struct {
	endings map[string]cluster.Ending
	change  func(*v1alpha1.CacheSnapshotSpec)
	before  func(*world)
	// later runs when the snapshot is at rest, and the test goes on after it.
	later func(*world)
}

// ways are the paths that TestCrashPoints runs.
var ways = map[string]way{
	"intact":  {endings: map[string]cluster.Ending{"verify": {Message: intactReport}}},
	"corrupt": {endings: map[string]cluster.Ending{"verify": {Exit: 3, Message: corruptReport}}},
	"repaired": {endings: map[string]cluster.Ending{
		"verify": {Exit: 3, Message: corruptReport}, "repair": {Message: repairedReport}, "reverify": {Message: intactReport},
	}, change: repairable},
	"not repaired": {endings: map[string]cluster.Ending{
		"verify": {Exit: 3, Message: corruptReport}, "repair": {Exit: 3, Message: `{"removed":1,"after":` + corruptReport + `}`},
	}, change: repairable},
	"compared": {endings: map[string]cluster.Ending{"verify": {Message: intactReport}}, change: seenFirst, before: func(w *world) { w.other("old", nil) }},
	"built":    {endings: map[string]cluster.Ending{"verify": {Message: intactReport}, "offline-build": {Message: offlineBuildReport}}, change: withOfflineBuild},
	"repeated": {
		endings: map[string]cluster.Ending{"verify": {Message: intactReport}, "repeat": {Message: intactReport}}, later: (*world).aWeek,
	},
	"withdrawn": {
		endings: map[string]cluster.Ending{"verify": {Message: intactReport}, "repeat": {Exit: 3, Message: corruptReport}}, later: (*world).aWeek,
	},
}

// TestCrashPoints kills the manager before and after each API write and starts a
// new one. The end state must be the same, each outcome recorded once, and no
// temporary object left.
func TestCrashPoints(t *testing.T) {
	flows := map[string]crash.Flow[outcome]{}
	for name, way := range ways {
		flows[name] = func(t *testing.T, life *crash.Life) outcome {
			return runWithCrash(t, way, life)
		}
	}
	crash.Run(t, server.Client, "cachesnapshot", flows)
}

func runWithCrash(t *testing.T, way way, life *crash.Life) outcome {
	t.Helper()
	w := newWorld(t)
	life.In(w.namespace)
	w.endings(way.endings)
	w.cache()
	w.program()
	if way.before != nil {
		way.before(w)
	}
	w.snapshot(way.change)
	mortal := &faults.Mortal{Point: life.Point}
	life.Dies(mortal)
	w.reconciler = w.fresh(mortal.Client(server.Client))
	w.settle()
	if way.later != nil {
		way.later(w)
		w.settle()
	}
	s := w.get().Status
	o := outcome{Verdict: s.Verification.Verdict, Attempts: s.Verification.Attempts, Digest: s.Verification.Digest, Offered: s.VolumeSnapshotName, CSI: w.snapshots(), Left: w.left()}
	if s.Repair != nil {
		o.Repaired, o.Removed = s.Repair.WorkStatus, s.Repair.Removed
	}
	if s.OfflineBuild != nil {
		o.Built = s.OfflineBuild.WorkStatus
	}
	if s.Repeat != nil {
		o.Repeated, o.Repetitions = s.Repeat.Verdict, s.Repeat.Attempts
	}
	for _, work := range []*v1alpha1.WorkStatus{&o.Repaired, &o.Built} {
		work.Run, work.CompletionTime = "", nil // differ between runs
	}
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ReadyCondition); c != nil {
		o.Ready = c.Reason
	}
	return o
}
