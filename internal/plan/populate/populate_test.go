package populate_test

import (
	"testing"
	"time"

	"gocache.dev/operator/internal/plan/populate"
	"gocache.dev/operator/internal/plan/snapshot"
)

// ready are the facts of a PVC that can be filled now.
func ready() populate.Observation {
	return populate.Observation{
		Claim: populate.Claim{Node: "n1", Bytes: 10},
		Source: populate.Source{
			Found: true, Snapshot: "ci-1", Bytes: 10, Driver: "csi",
			Candidate: snapshot.Candidacy{Standing: snapshot.Usable, Proven: true}, Same: true,
		},
		Class: populate.Class{Name: "fast", Found: true, WaitsForNode: true, Provisioner: "csi"},
	}
}

// pooled are the facts of a PVC that can get a volume of the pool.
func pooled() populate.Observation {
	f := ready()
	f.Pool.Member = "ci-pool-0"
	return f
}

func is(standing snapshot.Standing, proven bool) snapshot.Candidacy {
	return snapshot.Candidacy{Standing: standing, Proven: proven}
}

// cloning are the facts of a PVC whose intermediate PVC waits for its volume.
func cloning() populate.Observation {
	f := ready()
	f.Intermediate = &populate.IntermediatePVC{Node: "n1", MadeForNode: "n1", Age: time.Second}
	return f
}

// cloned are the facts of a PVC whose intermediate PVC has its volume.
func cloned() populate.Observation {
	f := cloning()
	f.Intermediate.Bound, f.Intermediate.VolumeName = true, "pv"
	f.Volume = &populate.Volume{Holder: populate.HeldByIntermediate}
	return f
}

// done are the facts of a PVC that has its clone.
func done() populate.Observation {
	f := cloned()
	f.Claim.Bound, f.Claim.VolumeName = true, "pv"
	f.Volume = &populate.Volume{Holder: populate.HeldByClaim, PopulatedFrom: "ci-1"}
	return f
}

func TestDecide(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		from   func() populate.Observation
		change func(*populate.Observation)
		state  populate.State
		action populate.Action
	}{
		"pool":                   {pooled, nil, populate.Pooled, populate.TakeFromPool},
		"pool, no node":          {pooled, func(f *populate.Observation) { f.Claim.Node = "" }, populate.WaitingForNode, populate.Wait},
		"pool, node rejected":    {pooled, func(f *populate.Observation) { f.Claim.Rejections = 5 }, populate.Pooled, populate.TakeFromPool},
		"pool, corrupt":          {pooled, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Corrupt, false) }, populate.SnapshotCorrupt, populate.Wait},
		"pool, another snapshot": {pooled, func(f *populate.Observation) { f.Source.Same = false }, populate.Ready, populate.CreateIntermediate},
		"pool, too small":        {pooled, func(f *populate.Observation) { f.Claim.Bytes = 1 }, populate.TooSmall, populate.Wait},
		"pool, a volume by name": {pooled, func(f *populate.Observation) { f.Claim.VolumeName = "pv" }, populate.Preset, populate.Wait},
		"pool, cloning already":  {cloning, func(f *populate.Observation) { f.Pool.Member = "ci-pool-0" }, populate.Cloning, populate.Wait},
		"pool, given":            {ready, func(f *populate.Observation) { f.Pool.Given = true }, populate.Binding, populate.Wait},
		"pool, given, no source": {ready, func(f *populate.Observation) { f.Pool.Given, f.Source = true, populate.Source{} }, populate.Binding, populate.Wait},
		"pool, given, deleted":   {ready, func(f *populate.Observation) { f.Pool.Given, f.Claim.Deleting = true, true }, populate.Deleting, populate.Wait},
		"source elsewhere":       {ready, func(f *populate.Observation) { f.Source.Elsewhere = "other" }, populate.SourceElsewhere, populate.Wait},
		"source not found":       {ready, func(f *populate.Observation) { f.Source = populate.Source{} }, populate.SourceNotFound, populate.Wait},
		"nothing verified":       {ready, func(f *populate.Observation) { f.Source.Snapshot = "" }, populate.NothingVerified, populate.Wait},
		"offered one is gone":    {ready, func(f *populate.Observation) { f.Source.Candidate = snapshot.Candidacy{} }, populate.NothingVerified, populate.Wait},
		"not verified yet":       {ready, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Pending, false) }, populate.Unverified, populate.Wait},
		"convicted":              {ready, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Corrupt, false) }, populate.SnapshotCorrupt, populate.Wait},
		"never checked":          {ready, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Skipped, false) }, populate.Skipped, populate.Wait},
		"snapshot replaced":      {ready, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Replaced, true) }, populate.SnapshotReplaced, populate.Wait},
		"snapshot deleting":      {ready, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Deleting, true) }, populate.SnapshotDeleting, populate.Wait},
		"could not be verified":  {ready, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Failed, false) }, populate.NotProven, populate.Wait},
		"verified too weakly":    {ready, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Weaker, false) }, populate.NothingVerified, populate.Wait},
		"of another cache":       {ready, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Foreign, false) }, populate.NothingVerified, populate.Wait},
		"CSI snapshot gone":      {ready, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Lost, true) }, populate.SnapshotDeleting, populate.Wait},
		"CSI snapshot not ready": {ready, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.NotReady, true) }, populate.SnapshotNotReady, populate.Wait},
		"too small":              {ready, func(f *populate.Observation) { f.Claim.Bytes = 9 }, populate.TooSmall, populate.Wait},
		"no class":               {ready, func(f *populate.Observation) { f.Class = populate.Class{} }, populate.NoClass, populate.Wait},
		"class not found":        {ready, func(f *populate.Observation) { f.Class.Found = false }, populate.ClassNotFound, populate.Wait},
		"class of another CSI":   {ready, func(f *populate.Observation) { f.Class.Provisioner = "nfs" }, populate.ClassCannotClone, populate.Wait},
		"driver not known":       {ready, func(f *populate.Observation) { f.Source.Driver = "" }, populate.Ready, populate.CreateIntermediate},
		"no node yet":            {ready, func(f *populate.Observation) { f.Claim.Node = "" }, populate.WaitingForNode, populate.Wait},
		"no node needed":         {ready, func(f *populate.Observation) { f.Claim.Node, f.Class.WaitsForNode = "", false }, populate.Ready, populate.CreateIntermediate},
		"node rejected once":     {ready, func(f *populate.Observation) { f.Claim.Rejections = 1 }, populate.Ready, populate.CreateIntermediate},
		"node rejected again":    {ready, func(f *populate.Observation) { f.Claim.Rejections = 3 }, populate.NodeRejected, populate.Wait},
		"the pause is over":      {ready, func(f *populate.Observation) { f.Claim.Rejections, f.Claim.SinceRejected = 3, 20*time.Second }, populate.Ready, populate.CreateIntermediate},
		"rejected, and no node":  {ready, func(f *populate.Observation) { f.Claim.Rejections, f.Claim.Node = 3, "" }, populate.WaitingForNode, populate.Wait},
		"rejected with no node":  {ready, func(f *populate.Observation) { f.Claim.Rejections, f.Class.WaitsForNode = 3, false }, populate.Ready, populate.CreateIntermediate},
		"asks for one volume":    {ready, func(f *populate.Observation) { f.Claim.VolumeName = "mine" }, populate.Preset, populate.Wait},
		"being deleted":          {ready, func(f *populate.Observation) { f.Claim.Deleting = true }, populate.Deleting, populate.Wait},
		"ready":                  {ready, nil, populate.Ready, populate.CreateIntermediate},

		"prime is somebody else's": {cloning, func(f *populate.Observation) { f.Intermediate.Foreign = true }, populate.Obstructed, populate.Wait},
		"prime is going":           {cloning, func(f *populate.Observation) { f.Intermediate.Deleting = true }, populate.Clearing, populate.Wait},
		"cloning":                  {cloning, nil, populate.Cloning, populate.Wait},
		"first complaint":          {cloning, func(f *populate.Observation) { f.Intermediate.Complaint = "busy" }, populate.Cloning, populate.Wait},
		"complaint stands":         {cloning, func(f *populate.Observation) { f.Intermediate.Complaint, f.Intermediate.Age = "busy", time.Minute }, populate.CloneFailing, populate.Wait},
		"the driver is at work":    {cloning, func(f *populate.Observation) { f.Intermediate.Progress, f.Intermediate.Age = "in progress", time.Hour }, populate.Cloning, populate.Wait},
		"at work, and the snapshot goes": {cloning, func(f *populate.Observation) {
			f.Intermediate.Progress, f.Intermediate.Age = "in progress", time.Hour
			f.Source.Candidate = is(snapshot.Deleting, true)
		}, populate.Cloning, populate.Wait},
		"no word":                          {cloning, func(f *populate.Observation) { f.Intermediate.Age = time.Hour }, populate.CloneSilent, populate.Wait},
		"node given back":                  {cloning, func(f *populate.Observation) { f.Intermediate.Node = "" }, populate.NodeRejected, populate.FreeNode},
		"node freed, prime left":           {cloning, func(f *populate.Observation) { f.Intermediate.Node, f.Claim.Node = "", "" }, populate.NodeChanged, populate.DeleteIntermediate},
		"rescheduled, prime left":          {cloning, func(f *populate.Observation) { f.Intermediate.Node, f.Claim.Node = "", "n2" }, populate.NodeChanged, populate.DeleteIntermediate},
		"snapshot replaced while cloning":  {cloning, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Replaced, true) }, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"snapshot convicted while cloning": {cloning, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Corrupt, false) }, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"verdict lost while cloning":       {cloning, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Pending, false) }, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"snapshot going while cloning":     {cloning, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Deleting, true) }, populate.Cloning, populate.Wait},
		"snapshot going, complaint": {cloning, func(f *populate.Observation) {
			f.Source.Candidate, f.Intermediate.Complaint = is(snapshot.Deleting, true), "it goes"
		}, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"snapshot gone while cloning": {cloning, func(f *populate.Observation) { f.Source = populate.Source{Snapshot: "ci-1"} }, populate.Cloning, populate.Wait},
		"snapshot gone, no word": {cloning, func(f *populate.Observation) {
			f.Source, f.Intermediate.Age = populate.Source{Snapshot: "ci-1"}, time.Hour
		}, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"claim deleted while cloning": {cloning, func(f *populate.Observation) { f.Claim.Deleting = true }, populate.Deleting, populate.DeleteIntermediate},
		"newer snapshot is smaller":   {cloning, func(f *populate.Observation) { f.Claim.Bytes = 1 }, populate.Cloning, populate.Wait},

		"cloned":                       {cloned, nil, populate.Cloned, populate.HandOver},
		"cloned, snapshot gone":        {cloned, func(f *populate.Observation) { f.Source = populate.Source{Snapshot: "ci-1"} }, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"cloned, from another":         {cloned, func(f *populate.Observation) { f.Source.Same = false }, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"cloned, snapshot going":       {cloned, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Deleting, true) }, populate.Cloned, populate.HandOver},
		"cloned, snapshot convicted":   {cloned, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Corrupt, false) }, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"cloned, unverified and going": {cloned, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Deleting, false) }, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"cloned of another cache":      {cloned, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Foreign, false) }, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"cloned, CSI snapshot gone":    {cloned, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Lost, true) }, populate.Cloned, populate.HandOver},
		"cloned for another node":      {cloned, func(f *populate.Observation) { f.Claim.Node = "n2" }, populate.NodeChanged, populate.DeleteIntermediate},
		"not reported bound yet":       {cloned, func(f *populate.Observation) { f.Intermediate.Bound = false }, populate.Cloning, populate.Wait},
		"not a clone":                  {cloned, func(f *populate.Observation) { f.Volume.Preexisting = true }, populate.NotAClone, populate.Wait},
		"volume deleted":               {cloned, func(f *populate.Observation) { f.Volume = nil }, populate.VolumeLost, populate.DeleteIntermediate},
		"volume taken":                 {cloned, func(f *populate.Observation) { f.Volume.Holder = populate.HeldByOther }, populate.VolumeInUse, populate.DeleteIntermediate},
		"claim is bound elsewhere":     {cloned, func(f *populate.Observation) { f.Claim.VolumeName = "other" }, populate.Preset, populate.Wait},
		"cloned, claim being deleted":  {cloned, func(f *populate.Observation) { f.Claim.Deleting = true }, populate.Deleting, populate.DeleteIntermediate},
		"handed over":                  {cloned, func(f *populate.Observation) { f.Volume.Holder, f.Intermediate.Bound = populate.HeldByClaim, false }, populate.Binding, populate.Wait},
		"handed over, then convicted": {cloned, func(f *populate.Observation) {
			f.Volume.Holder, f.Source.Candidate = populate.HeldByClaim, is(snapshot.Corrupt, false)
		}, populate.Binding, populate.Wait},
		"populated":                     {done, nil, populate.Populated, populate.DeleteIntermediate},
		"populated and tidy":            {done, func(f *populate.Observation) { f.Intermediate = nil }, populate.Populated, populate.Wait},
		"populated, prime going":        {done, func(f *populate.Observation) { f.Intermediate.Deleting = true }, populate.Populated, populate.Wait},
		"bound to something else":       {done, func(f *populate.Observation) { f.Volume.PopulatedFrom = "" }, populate.Unpopulated, populate.DeleteIntermediate},
		"bound to another claim's":      {done, func(f *populate.Observation) { f.Volume.Holder = populate.HeldByOther }, populate.Lost, populate.DeleteIntermediate},
		"lost":                          {done, func(f *populate.Observation) { f.Claim.Bound, f.Claim.Lost = false, true }, populate.Lost, populate.DeleteIntermediate},
		"bound beside a foreign prime":  {done, func(f *populate.Observation) { f.Intermediate.Foreign = true }, populate.Populated, populate.Wait},
		"deleting beside a going prime": {done, func(f *populate.Observation) { f.Claim.Deleting, f.Intermediate.Deleting = true, true }, populate.Deleting, populate.Wait},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := tc.from()
			if tc.change != nil {
				tc.change(&f)
			}
			got := populate.Decide(f)
			if got.State != tc.state || got.Action != tc.action {
				t.Errorf("got %s/%s, want %s/%s", got.State, got.Action, tc.state, tc.action)
			}
		})
	}
}

// TestRejectionsSlowDown holds that each rejection in a row delays the next clone,
// up to the pause of the provisioner's own retries, and that an old one is forgotten.
func TestRejectionsSlowDown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		before int
		since  time.Duration
		after  time.Duration
	}{
		{0, 0, 0}, {1, time.Second, 10 * time.Second}, {2, time.Second, 20 * time.Second}, {3, time.Second, 40 * time.Second},
		{6, time.Second, 5 * time.Minute}, {999, time.Second, 5 * time.Minute}, {6, 2 * time.Hour, 0},
	} {
		f := cloning()
		f.Intermediate.Node, f.Intermediate.Complaint = "", "rate exceeded"
		f.Claim.Rejections, f.Claim.SinceRejected = tc.before, tc.since
		d := populate.Decide(f)
		if d.Action != populate.FreeNode || d.After != tc.after || d.Detail != "rate exceeded" {
			t.Errorf("after %d rejections: %+v, want a pause of %s", tc.before, d, tc.after)
		}
		f = ready()
		f.Claim.Rejections = d.Rejections
		if got := populate.Decide(f); got.After != tc.after && tc.after != 0 || tc.after == 0 && got.Action != populate.CreateIntermediate {
			t.Errorf("the pass after rejection %d: %+v, want a pause of %s", d.Rejections, got, tc.after)
		}
	}
}

// shared are the facts of a PVC whose snapshot is in another namespace, and was
// carried into this one.
func shared() populate.Observation {
	f := ready()
	f.Share = populate.Share{Needed: true, Exists: true, Complete: true, Ready: true}
	return f
}

// TestShared asserts how a snapshot of another namespace is carried over, and that
// what carried it is deleted when nothing needs it.
func TestShared(t *testing.T) {
	t.Parallel()
	sharedAnd := func(from func() populate.Observation) func() populate.Observation {
		return func() populate.Observation {
			f := from()
			f.Share = shared().Share
			return f
		}
	}
	for name, tc := range map[string]struct {
		from   func() populate.Observation
		change func(*populate.Observation)
		state  populate.State
		action populate.Action
	}{
		"nothing is there yet":       {shared, func(f *populate.Observation) { f.Share = populate.Share{Needed: true} }, populate.Sharing, populate.CreateShare},
		"the VolumeSnapshot alone":   {shared, func(f *populate.Observation) { f.Share.Complete, f.Share.Ready = false, false }, populate.Sharing, populate.CreateShare},
		"not ready yet":              {shared, func(f *populate.Observation) { f.Share.Ready = false }, populate.Sharing, populate.Wait},
		"not ready, first complaint": {shared, func(f *populate.Observation) { f.Share.Ready, f.Share.Complaint = false, "no content" }, populate.Sharing, populate.Wait},
		"not ready, complaint stands": {shared, func(f *populate.Observation) {
			f.Share.Ready, f.Share.Complaint, f.Share.Age = false, "no content", time.Minute
		}, populate.SharingFailing, populate.Wait},
		"not ready, no word":              {shared, func(f *populate.Observation) { f.Share.Ready, f.Share.Age = false, time.Hour }, populate.SharingFailing, populate.Wait},
		"of another snapshot":             {shared, func(f *populate.Observation) { f.Share.Ready, f.Share.Complete, f.Share.Stale = false, false, true }, populate.Sharing, populate.DeleteShare},
		"of another owner":                {shared, func(f *populate.Observation) { f.Share = populate.Share{Needed: true, Foreign: true} }, populate.SharingObstructed, populate.Wait},
		"half of another owner":           {shared, func(f *populate.Observation) { f.Share = populate.Share{Needed: true, Foreign: true, Exists: true} }, populate.SharingObstructed, populate.DeleteShare},
		"ready":                           {shared, nil, populate.Ready, populate.CreateIntermediate},
		"refused":                         {shared, func(f *populate.Observation) { f.Source.Refused = "no" }, populate.NotShared, populate.DeleteShare},
		"refused, nothing is there":       {shared, func(f *populate.Observation) { f.Source.Refused, f.Share = "no", populate.Share{Needed: true} }, populate.NotShared, populate.Wait},
		"refused, of another owner":       {shared, func(f *populate.Observation) { f.Source.Refused, f.Share.Foreign, f.Share.Exists = "no", true, false }, populate.NotShared, populate.Wait},
		"the source offers nothing":       {shared, func(f *populate.Observation) { f.Source.Snapshot = "" }, populate.NothingVerified, populate.DeleteShare},
		"corrupt since":                   {shared, func(f *populate.Observation) { f.Source.Candidate = is(snapshot.Corrupt, false) }, populate.SnapshotCorrupt, populate.DeleteShare},
		"no node yet":                     {shared, func(f *populate.Observation) { f.Claim.Node = "" }, populate.WaitingForNode, populate.Wait},
		"no node for an hour":             {shared, func(f *populate.Observation) { f.Claim.Node, f.Share.Age = "", time.Hour }, populate.WaitingForNode, populate.DeleteShare},
		"too small":                       {shared, func(f *populate.Observation) { f.Source.Bytes = f.Claim.Bytes + 1 }, populate.TooSmall, populate.Wait},
		"too small for an hour":           {shared, func(f *populate.Observation) { f.Source.Bytes, f.Share.Age = f.Claim.Bytes+1, time.Hour }, populate.TooSmall, populate.DeleteShare},
		"refused while cloning":           {sharedAnd(cloning), func(f *populate.Observation) { f.Source.Refused = "no" }, populate.NotShared, populate.DeleteIntermediate},
		"taken away while cloning":        {sharedAnd(cloning), func(f *populate.Observation) { f.Share.Complete, f.Share.Ready = false, false }, populate.SnapshotWithdrawn, populate.DeleteIntermediate},
		"cloning":                         {sharedAnd(cloning), nil, populate.Cloning, populate.Wait},
		"cloned":                          {sharedAnd(cloned), nil, populate.Cloned, populate.HandOver},
		"cloned, refused":                 {sharedAnd(cloned), func(f *populate.Observation) { f.Source.Refused = "no" }, populate.NotShared, populate.DeleteIntermediate},
		"populated":                       {sharedAnd(done), nil, populate.Populated, populate.DeleteIntermediate},
		"populated, intermediate gone":    {sharedAnd(done), func(f *populate.Observation) { f.Intermediate = nil }, populate.Populated, populate.DeleteShare},
		"populated, intermediate going":   {sharedAnd(done), func(f *populate.Observation) { f.Intermediate.Deleting = true }, populate.Populated, populate.Wait},
		"populated and nothing is left":   {sharedAnd(done), func(f *populate.Observation) { f.Intermediate, f.Share = nil, populate.Share{} }, populate.Populated, populate.Wait},
		"populated, of another owner":     {sharedAnd(done), func(f *populate.Observation) { f.Intermediate, f.Share.Foreign, f.Share.Exists = nil, true, false }, populate.Populated, populate.Wait},
		"handed over, refused since then": {sharedAnd(cloned), func(f *populate.Observation) { f.Volume.Holder, f.Source.Refused = populate.HeldByClaim, "no" }, populate.Binding, populate.Wait},
	} {
		f := tc.from()
		if tc.change != nil {
			tc.change(&f)
		}
		got := populate.Decide(f)
		if got.State != tc.state || got.Action != tc.action {
			t.Errorf("%s: got %s/%s, want %s/%s", name, got.State, got.Action, tc.state, tc.action)
		}
		if got.State == populate.Sharing && got.After == 0 {
			t.Errorf("%s: it is not looked at again", name)
		}
	}
	if got := populate.Refused(populate.Decision{Action: populate.CreateShare}, "quota"); got.State != populate.SharingRefused || got.Detail != "quota" || got.After == 0 {
		t.Errorf("a pair that is refused is %+v", got)
	}
}

func TestIntermediatePVCIsForTheNodeOnlyIfTheClassWaitsForOne(t *testing.T) {
	t.Parallel()
	f := ready()
	if got := populate.Decide(f).Node; got != "n1" {
		t.Errorf("class that waits: node %q, want n1", got)
	}
	f.Class.WaitsForNode = false
	if got := populate.Decide(f).Node; got != "" {
		t.Errorf("immediate class: node %q, want none", got)
	}
}

// TestNoObservationLeadsToHarm goes through every combination of the facts that
// matter and holds the rules that no state may break.
func TestNoObservationLeadsToHarm(t *testing.T) {
	t.Parallel()
	bools := []bool{false, true}
	nodes := []string{"", "n1", "n2"}
	cases := 0
	check := func(f populate.Observation) {
		cases++
		d := populate.Decide(f)
		if why := harm(f, d); why != "" {
			t.Errorf("%s: %s/%s from claim %+v prime %+v volume %+v source %+v", why, d.State, d.Action, f.Claim, f.Intermediate, f.Volume, f.Source)
		}
	}
	var sources []populate.Source
	for _, standing := range []snapshot.Standing{
		snapshot.Missing, snapshot.Foreign, snapshot.Deleting, snapshot.Skipped, snapshot.Corrupt, snapshot.Lost, snapshot.Replaced,
		snapshot.Failed, snapshot.Weaker, snapshot.Pending, snapshot.NotReady, snapshot.Usable,
	} {
		for _, proven := range bools {
			for _, bytes := range []int64{10, 11} {
				for _, same := range bools {
					sources = append(sources, populate.Source{Found: true, Snapshot: "s", Candidate: is(standing, proven), Same: same, Bytes: bytes})
				}
			}
		}
	}
	var intermediates []*populate.IntermediatePVC
	for _, foreign := range bools {
		for _, deleting := range bools {
			for _, bound := range bools {
				for _, made := range nodes[:2] {
					for _, node := range nodes[:2] {
						for _, volume := range []string{"", "pv"} {
							intermediates = append(intermediates, &populate.IntermediatePVC{Foreign: foreign, Deleting: deleting, Bound: bound, MadeForNode: made, Node: node, VolumeName: volume})
						}
					}
				}
			}
		}
	}
	intermediates = append(intermediates, nil)
	volumes := []*populate.Volume{nil}
	for _, holder := range []populate.Holder{populate.HeldByOther, populate.HeldByClaim, populate.HeldByIntermediate} {
		for _, pre := range bools {
			for _, from := range []string{"", "s"} {
				volumes = append(volumes, &populate.Volume{Holder: holder, Preexisting: pre, PopulatedFrom: from})
			}
		}
	}
	for _, claim := range []populate.Claim{{}, {Bound: true, VolumeName: "pv"}, {Deleting: true}, {Lost: true}, {VolumeName: "other"}} {
		for _, claim.Node = range nodes {
			claim.Bytes = 10
			for _, source := range sources {
				for _, intermediate := range intermediates {
					for _, volume := range volumes {
						for _, pool := range []populate.Pool{{}, {Member: "m"}, {Given: true}} {
							check(populate.Observation{Claim: claim, Source: source, Intermediate: intermediate, Volume: volume, Pool: pool,
								Class: populate.Class{Name: "c", Found: true, WaitsForNode: true}})
						}
					}
				}
			}
		}
	}
	if cases < 100_000 {
		t.Errorf("only %d combinations were tried", cases)
	}
}

// harm names the rule that a decision breaks.
func harm(f populate.Observation, d populate.Decision) string {
	open := !f.Claim.Bound && !f.Claim.Deleting && !f.Claim.Lost
	switch d.Action {
	case populate.CreateShare, populate.DeleteShare:
		return "a pair made or deleted where none is needed, and none exists"
	case populate.CreateIntermediate:
		if !open || f.Intermediate != nil || f.Claim.VolumeName != "" {
			return "a prime beside another, or for a claim that needs none"
		}
		if !f.Source.Candidate.Usable() {
			return "a prime from a snapshot that is not offered"
		}
		if f.Claim.Node == "" || f.Claim.Bytes < f.Source.Bytes {
			return "a prime without a node, or too small"
		}
	case populate.TakeFromPool:
		if !open || f.Intermediate != nil || f.Claim.VolumeName != "" || f.Pool.Given {
			return "a volume of the pool beside another, or for a claim that needs none"
		}
		if f.Pool.Member == "" || d.Member != f.Pool.Member || !f.Source.Candidate.Usable() {
			return "no volume of the pool, or one from a snapshot that is not offered"
		}
		if f.Claim.Node == "" {
			return "a volume of the pool before a node was chosen"
		}
	case populate.HandOver:
		if !open || f.Intermediate == nil || f.Intermediate.Foreign || f.Intermediate.Deleting || !f.Intermediate.Bound {
			return "a hand-over from no bound prime of ours, or to a claim that needs none"
		}
		if f.Volume == nil || f.Volume.Holder != populate.HeldByIntermediate || f.Volume.Preexisting {
			return "a hand-over of a volume that is not the prime's own clone"
		}
		if !f.Source.Same || !f.Source.Candidate.Proven {
			return "a hand-over of content that is not vouched for"
		}
		if f.Intermediate.MadeForNode != "" && f.Intermediate.MadeForNode != f.Claim.Node {
			return "a hand-over of a volume that the pod may not reach"
		}
	case populate.FreeNode:
		if !open || f.Intermediate == nil || f.Intermediate.Foreign || f.Intermediate.VolumeName != "" || f.Intermediate.Node != "" {
			return "a node taken while the provisioner works for it"
		}
		if f.Claim.Node != f.Intermediate.MadeForNode {
			return "a node taken that the provisioner did not give back"
		}
	case populate.DeleteIntermediate:
		if f.Intermediate == nil || f.Intermediate.Foreign || f.Intermediate.Deleting {
			return "no prime of ours to drop"
		}
		if open && f.Volume != nil && f.Intermediate.VolumeName != "" && f.Volume.Holder == populate.HeldByClaim {
			return "a prime dropped before the claim is bound"
		}
	case populate.Wait:
		if open && f.Intermediate != nil && !f.Intermediate.Foreign && !f.Intermediate.Deleting && d.After == 0 && d.State != populate.NotAClone {
			return "nobody looks again at a population under way"
		}
	default:
		return "unknown action"
	}
	return ""
}
