package populate_test

import (
	"testing"
	"time"

	"gocache.dev/operator/internal/plan/populate"
	"gocache.dev/operator/internal/plan/snapshot"
)

// ready are the facts of a claim that can be filled now.
func ready() populate.Facts {
	return populate.Facts{
		Claim: populate.Claim{Node: "n1", Bytes: 10},
		Source: populate.Source{
			Found: true, Snapshot: "ci-1", Bytes: 10, Driver: "csi",
			Candidate: snapshot.Candidacy{Standing: snapshot.Usable, Proven: true}, Same: true,
		},
		Class: populate.Class{Name: "fast", Found: true, WaitsForNode: true, Provisioner: "csi"},
	}
}

func is(standing snapshot.Standing, proven bool) snapshot.Candidacy {
	return snapshot.Candidacy{Standing: standing, Proven: proven}
}

// cloning are the facts of a claim whose prime waits for its volume.
func cloning() populate.Facts {
	f := ready()
	f.Prime = &populate.Prime{Node: "n1", MadeForNode: "n1", Age: time.Second}
	return f
}

// cloned are the facts of a claim whose prime has its volume.
func cloned() populate.Facts {
	f := cloning()
	f.Prime.Bound, f.Prime.VolumeName = true, "pv"
	f.Volume = &populate.Volume{Holder: populate.HeldByPrime}
	return f
}

// done are the facts of a claim that has its clone.
func done() populate.Facts {
	f := cloned()
	f.Claim.Bound, f.Claim.VolumeName = true, "pv"
	f.Volume = &populate.Volume{Holder: populate.HeldByClaim, PopulatedFrom: "ci-1"}
	return f
}

func TestNext(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		from   func() populate.Facts
		change func(*populate.Facts)
		state  populate.State
		action populate.Action
	}{
		"source elsewhere":       {ready, func(f *populate.Facts) { f.Source.Elsewhere = "other" }, populate.SourceElsewhere, populate.Wait},
		"source not found":       {ready, func(f *populate.Facts) { f.Source = populate.Source{} }, populate.SourceNotFound, populate.Wait},
		"nothing verified":       {ready, func(f *populate.Facts) { f.Source.Snapshot = "" }, populate.NothingVerified, populate.Wait},
		"offered one is gone":    {ready, func(f *populate.Facts) { f.Source.Candidate = snapshot.Candidacy{} }, populate.NothingVerified, populate.Wait},
		"not verified yet":       {ready, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Pending, false) }, populate.Unverified, populate.Wait},
		"convicted":              {ready, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Corrupt, false) }, populate.Convicted, populate.Wait},
		"never checked":          {ready, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Skipped, false) }, populate.Skipped, populate.Wait},
		"snapshot replaced":      {ready, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Replaced, true) }, populate.SnapshotReplaced, populate.Wait},
		"snapshot deleting":      {ready, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Deleting, true) }, populate.SnapshotDeleting, populate.Wait},
		"could not be verified":  {ready, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Failed, false) }, populate.NotProven, populate.Wait},
		"verified too weakly":    {ready, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Weaker, false) }, populate.NothingVerified, populate.Wait},
		"of another cache":       {ready, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Foreign, false) }, populate.NothingVerified, populate.Wait},
		"CSI snapshot gone":      {ready, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Lost, true) }, populate.SnapshotDeleting, populate.Wait},
		"CSI snapshot not ready": {ready, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.NotReady, true) }, populate.SnapshotNotReady, populate.Wait},
		"too small":              {ready, func(f *populate.Facts) { f.Claim.Bytes = 9 }, populate.TooSmall, populate.Wait},
		"no class":               {ready, func(f *populate.Facts) { f.Class = populate.Class{} }, populate.NoClass, populate.Wait},
		"class not found":        {ready, func(f *populate.Facts) { f.Class.Found = false }, populate.ClassNotFound, populate.Wait},
		"class of another CSI":   {ready, func(f *populate.Facts) { f.Class.Provisioner = "nfs" }, populate.ClassCannotClone, populate.Wait},
		"driver not known":       {ready, func(f *populate.Facts) { f.Source.Driver = "" }, populate.Ready, populate.MakePrime},
		"no node yet":            {ready, func(f *populate.Facts) { f.Claim.Node = "" }, populate.AwaitingNode, populate.Wait},
		"no node needed":         {ready, func(f *populate.Facts) { f.Claim.Node, f.Class.WaitsForNode = "", false }, populate.Ready, populate.MakePrime},
		"asks for one volume":    {ready, func(f *populate.Facts) { f.Claim.VolumeName = "mine" }, populate.Preset, populate.Wait},
		"being deleted":          {ready, func(f *populate.Facts) { f.Claim.Deleting = true }, populate.Deleting, populate.Wait},
		"ready":                  {ready, nil, populate.Ready, populate.MakePrime},

		"prime is somebody else's":         {cloning, func(f *populate.Facts) { f.Prime.Foreign = true }, populate.Obstructed, populate.Wait},
		"prime is going":                   {cloning, func(f *populate.Facts) { f.Prime.Deleting = true }, populate.Clearing, populate.Wait},
		"cloning":                          {cloning, nil, populate.Cloning, populate.Wait},
		"first complaint":                  {cloning, func(f *populate.Facts) { f.Prime.Complaint = "busy" }, populate.Cloning, populate.Wait},
		"complaint stands":                 {cloning, func(f *populate.Facts) { f.Prime.Complaint, f.Prime.Age = "busy", time.Minute }, populate.CloneFailing, populate.Wait},
		"no word":                          {cloning, func(f *populate.Facts) { f.Prime.Age = time.Hour }, populate.CloneSilent, populate.Wait},
		"node given back":                  {cloning, func(f *populate.Facts) { f.Prime.Node = "" }, populate.NodeRejected, populate.FreeNode},
		"node freed, prime left":           {cloning, func(f *populate.Facts) { f.Prime.Node, f.Claim.Node = "", "" }, populate.NodeChanged, populate.DropPrime},
		"rescheduled, prime left":          {cloning, func(f *populate.Facts) { f.Prime.Node, f.Claim.Node = "", "n2" }, populate.NodeChanged, populate.DropPrime},
		"snapshot replaced while cloning":  {cloning, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Replaced, true) }, populate.SnapshotWithdrawn, populate.DropPrime},
		"snapshot convicted while cloning": {cloning, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Corrupt, false) }, populate.SnapshotWithdrawn, populate.DropPrime},
		"verdict lost while cloning":       {cloning, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Pending, false) }, populate.SnapshotWithdrawn, populate.DropPrime},
		"snapshot going while cloning":     {cloning, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Deleting, true) }, populate.Cloning, populate.Wait},
		"snapshot going, complaint": {cloning, func(f *populate.Facts) {
			f.Source.Candidate, f.Prime.Complaint = is(snapshot.Deleting, true), "it goes"
		}, populate.SnapshotWithdrawn, populate.DropPrime},
		"snapshot gone while cloning": {cloning, func(f *populate.Facts) { f.Source = populate.Source{Snapshot: "ci-1"} }, populate.Cloning, populate.Wait},
		"snapshot gone, no word":      {cloning, func(f *populate.Facts) { f.Source, f.Prime.Age = populate.Source{Snapshot: "ci-1"}, time.Hour }, populate.SnapshotWithdrawn, populate.DropPrime},
		"claim deleted while cloning": {cloning, func(f *populate.Facts) { f.Claim.Deleting = true }, populate.Deleting, populate.DropPrime},
		"newer snapshot is smaller":   {cloning, func(f *populate.Facts) { f.Claim.Bytes = 1 }, populate.Cloning, populate.Wait},

		"cloned":                       {cloned, nil, populate.Cloned, populate.HandOver},
		"cloned, snapshot gone":        {cloned, func(f *populate.Facts) { f.Source = populate.Source{Snapshot: "ci-1"} }, populate.SnapshotWithdrawn, populate.DropPrime},
		"cloned, from another":         {cloned, func(f *populate.Facts) { f.Source.Same = false }, populate.SnapshotWithdrawn, populate.DropPrime},
		"cloned, snapshot going":       {cloned, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Deleting, true) }, populate.Cloned, populate.HandOver},
		"cloned, snapshot convicted":   {cloned, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Corrupt, false) }, populate.SnapshotWithdrawn, populate.DropPrime},
		"cloned, unverified and going": {cloned, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Deleting, false) }, populate.SnapshotWithdrawn, populate.DropPrime},
		"cloned of another cache":      {cloned, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Foreign, false) }, populate.SnapshotWithdrawn, populate.DropPrime},
		"cloned, CSI snapshot gone":    {cloned, func(f *populate.Facts) { f.Source.Candidate = is(snapshot.Lost, true) }, populate.Cloned, populate.HandOver},
		"cloned for another node":      {cloned, func(f *populate.Facts) { f.Claim.Node = "n2" }, populate.NodeChanged, populate.DropPrime},
		"not reported bound yet":       {cloned, func(f *populate.Facts) { f.Prime.Bound = false }, populate.Cloning, populate.Wait},
		"not a clone":                  {cloned, func(f *populate.Facts) { f.Volume.Preexisting = true }, populate.NotAClone, populate.Wait},
		"volume deleted":               {cloned, func(f *populate.Facts) { f.Volume = nil }, populate.VolumeLost, populate.DropPrime},
		"volume taken":                 {cloned, func(f *populate.Facts) { f.Volume.Holder = populate.HeldByOther }, populate.VolumeTaken, populate.DropPrime},
		"claim is bound elsewhere":     {cloned, func(f *populate.Facts) { f.Claim.VolumeName = "other" }, populate.Preset, populate.Wait},
		"cloned, claim being deleted":  {cloned, func(f *populate.Facts) { f.Claim.Deleting = true }, populate.Deleting, populate.DropPrime},
		"handed over":                  {cloned, func(f *populate.Facts) { f.Volume.Holder, f.Prime.Bound = populate.HeldByClaim, false }, populate.Binding, populate.Wait},
		"handed over, then convicted": {cloned, func(f *populate.Facts) {
			f.Volume.Holder, f.Source.Candidate = populate.HeldByClaim, is(snapshot.Corrupt, false)
		}, populate.Binding, populate.Wait},
		"populated":                     {done, nil, populate.Populated, populate.DropPrime},
		"populated and tidy":            {done, func(f *populate.Facts) { f.Prime = nil }, populate.Populated, populate.Wait},
		"populated, prime going":        {done, func(f *populate.Facts) { f.Prime.Deleting = true }, populate.Populated, populate.Wait},
		"bound to something else":       {done, func(f *populate.Facts) { f.Volume.PopulatedFrom = "" }, populate.Unpopulated, populate.DropPrime},
		"bound to another claim's":      {done, func(f *populate.Facts) { f.Volume.Holder = populate.HeldByOther }, populate.Lost, populate.DropPrime},
		"lost":                          {done, func(f *populate.Facts) { f.Claim.Bound, f.Claim.Lost = false, true }, populate.Lost, populate.DropPrime},
		"bound beside a foreign prime":  {done, func(f *populate.Facts) { f.Prime.Foreign = true }, populate.Populated, populate.Wait},
		"deleting beside a going prime": {done, func(f *populate.Facts) { f.Claim.Deleting, f.Prime.Deleting = true, true }, populate.Deleting, populate.Wait},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := tc.from()
			if tc.change != nil {
				tc.change(&f)
			}
			got := populate.Next(f)
			if got.State != tc.state || got.Action != tc.action {
				t.Errorf("got %s/%s, want %s/%s", got.State, got.Action, tc.state, tc.action)
			}
		})
	}
}

func TestPrimeIsMadeForTheNodeOnlyIfTheClassWaitsForOne(t *testing.T) {
	t.Parallel()
	f := ready()
	if got := populate.Next(f).Node; got != "n1" {
		t.Errorf("class that waits: node %q, want n1", got)
	}
	f.Class.WaitsForNode = false
	if got := populate.Next(f).Node; got != "" {
		t.Errorf("immediate class: node %q, want none", got)
	}
}

// TestNoFactsLeadToHarm goes through every combination of the facts that
// matter and holds the rules that no state may break.
func TestNoFactsLeadToHarm(t *testing.T) {
	t.Parallel()
	bools := []bool{false, true}
	nodes := []string{"", "n1", "n2"}
	cases := 0
	check := func(f populate.Facts) {
		cases++
		d := populate.Next(f)
		if why := harm(f, d); why != "" {
			t.Errorf("%s: %s/%s from claim %+v prime %+v volume %+v source %+v", why, d.State, d.Action, f.Claim, f.Prime, f.Volume, f.Source)
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
	var primes []*populate.Prime
	for _, foreign := range bools {
		for _, deleting := range bools {
			for _, bound := range bools {
				for _, made := range nodes[:2] {
					for _, node := range nodes[:2] {
						for _, volume := range []string{"", "pv"} {
							primes = append(primes, &populate.Prime{Foreign: foreign, Deleting: deleting, Bound: bound, MadeForNode: made, Node: node, VolumeName: volume})
						}
					}
				}
			}
		}
	}
	primes = append(primes, nil)
	volumes := []*populate.Volume{nil}
	for _, holder := range []populate.Holder{populate.HeldByOther, populate.HeldByClaim, populate.HeldByPrime} {
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
				for _, prime := range primes {
					for _, volume := range volumes {
						check(populate.Facts{Claim: claim, Source: source, Prime: prime, Volume: volume,
							Class: populate.Class{Name: "c", Found: true, WaitsForNode: true}})
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
func harm(f populate.Facts, d populate.Decision) string {
	open := !f.Claim.Bound && !f.Claim.Deleting && !f.Claim.Lost
	switch d.Action {
	case populate.MakePrime:
		if !open || f.Prime != nil || f.Claim.VolumeName != "" {
			return "a prime beside another, or for a claim that needs none"
		}
		if !f.Source.Candidate.Usable() {
			return "a prime from a snapshot that is not offered"
		}
		if f.Claim.Node == "" || f.Claim.Bytes < f.Source.Bytes {
			return "a prime without a node, or too small"
		}
	case populate.HandOver:
		if !open || f.Prime == nil || f.Prime.Foreign || f.Prime.Deleting || !f.Prime.Bound {
			return "a hand-over from no bound prime of ours, or to a claim that needs none"
		}
		if f.Volume == nil || f.Volume.Holder != populate.HeldByPrime || f.Volume.Preexisting {
			return "a hand-over of a volume that is not the prime's own clone"
		}
		if !f.Source.Same || !f.Source.Candidate.Proven {
			return "a hand-over of content that is not vouched for"
		}
		if f.Prime.MadeForNode != "" && f.Prime.MadeForNode != f.Claim.Node {
			return "a hand-over of a volume that the pod may not reach"
		}
	case populate.FreeNode:
		if !open || f.Prime == nil || f.Prime.Foreign || f.Prime.VolumeName != "" || f.Prime.Node != "" {
			return "a node taken while the provisioner works for it"
		}
		if f.Claim.Node != f.Prime.MadeForNode {
			return "a node taken that the provisioner did not give back"
		}
	case populate.DropPrime:
		if f.Prime == nil || f.Prime.Foreign || f.Prime.Deleting {
			return "no prime of ours to drop"
		}
		if open && f.Volume != nil && f.Prime.VolumeName != "" && f.Volume.Holder == populate.HeldByClaim {
			return "a prime dropped before the claim is bound"
		}
	case populate.Wait:
		if open && f.Prime != nil && !f.Prime.Foreign && !f.Prime.Deleting && d.After == 0 && d.State != populate.NotAClone {
			return "nobody looks again at a population under way"
		}
	default:
		return "unknown action"
	}
	return ""
}
