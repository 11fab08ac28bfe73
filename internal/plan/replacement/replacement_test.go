package replacement_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/replacement"
	"gocache.dev/operator/internal/plan/snapshot"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// waiting is a replacement whose new volume is verified and secured, and which
// waits for no consumer.
func waiting(change func(*replacement.Observation)) replacement.Observation {
	f := replacement.Observation{
		Now:    noon,
		Intent: replacement.Intent{Old: "old", New: "new"},
		Live:   replacement.Claim{Exists: true, Bound: true, Volume: "old"},
		Next:   replacement.Claim{Exists: true, Bound: true, Volume: "new"},
		Old:    replacement.Volume{Exists: true, Secured: true, Marked: true, Holder: replacement.HeldByLive},
		New:    replacement.Volume{Exists: true, Secured: true, Marked: true, Holder: replacement.HeldByNext},
		Held:   true, Keep: true,
	}
	change(&f)
	return f
}

// preparing is a replacement whose new volume is not there yet.
func preparing(change func(*replacement.Observation)) replacement.Observation {
	f := replacement.Observation{
		Now:    noon,
		Intent: replacement.Intent{Old: "old"},
		Live:   replacement.Claim{Exists: true, Bound: true, Volume: "old"},
		Old:    replacement.Volume{Exists: true, Holder: replacement.HeldByLive},
	}
	change(&f)
	return f
}

// switched is a replacement whose live PVC has the new volume.
func switched(change func(*replacement.Observation)) replacement.Observation {
	return waiting(func(f *replacement.Observation) {
		f.Live.Volume, f.Next = "new", replacement.Claim{}
		f.New.Holder, f.Old.Holder = replacement.HeldByLive, replacement.HeldByGone
		change(f)
	})
}

// held is a volume that some PVC holds.
func held(by replacement.Holder) replacement.Volume {
	return replacement.Volume{Exists: true, Holder: by}
}

func TestDecide(t *testing.T) {
	gone := replacement.Claim{}
	going := func(volume string) replacement.Claim {
		return replacement.Claim{Exists: true, Deleting: true, Volume: volume}
	}
	for name, tt := range map[string]struct {
		observation replacement.Observation
		want        replacement.Step
	}{
		"begin":                    {preparing(func(*replacement.Observation) {}), replacement.MakeNext},
		"the source is not ready":  {preparing(func(f *replacement.Observation) { f.Source.Waits = "it" }), replacement.WaitForSource},
		"the source never will be": {preparing(func(f *replacement.Observation) { f.Source.Refused = "no" }), replacement.GiveUp},
		"the source went when the clone was made": {preparing(func(f *replacement.Observation) {
			f.Source.Refused, f.Next.Exists, f.Next.Bound, f.Check.Exists, f.Check.Run = "no", true, true, true, "1"
		}), replacement.WaitForCheck},
		"only the claim was made": {preparing(func(f *replacement.Observation) { f.Next.Exists = true }), replacement.MakeNext},
		"the check runs":          {preparing(func(f *replacement.Observation) { f.Next.Exists, f.Check.Exists, f.Check.Run = true, true, "1" }), replacement.WaitForCheck},
		"the check has ended": {preparing(func(f *replacement.Observation) {
			f.Next.Exists = true
			f.Check = replacement.Check{Exists: true, Ended: true, Run: "1"}
		}), replacement.RecordCheck},
		"of a claim that somebody deleted": {preparing(func(f *replacement.Observation) {
			f.Next = going("new")
			f.Check = replacement.Check{Exists: true, Ended: true, Run: "1"}
		}), replacement.ClearCheck},
		"it could not tell": {preparing(func(f *replacement.Observation) {
			f.Next.Exists, f.Check = true, replacement.Check{Exists: true, Ended: true, Run: "1"}
			f.Intent.Recorded, f.Intent.Attempts, f.Intent.RecordedAt = "1", 1, noon
		}), replacement.ClearCheck},
		"its claim goes too": {preparing(func(f *replacement.Observation) {
			f.Next.Exists, f.Intent.Recorded, f.Intent.Attempts, f.Intent.RecordedAt = true, "1", 1, noon
		}), replacement.DropNext},
		"a pause": {preparing(func(f *replacement.Observation) {
			f.Intent.Recorded, f.Intent.Attempts, f.Intent.RecordedAt = "1", 1, noon
		}), replacement.WaitForRetry},
		"the cluster refuses it": {preparing(func(f *replacement.Observation) {
			f.Refused, f.Deadline, f.Intent.Started = "a quota", time.Hour, noon.Add(-time.Hour+time.Second)
		}), replacement.WaitForAdmission},
		"the cluster refuses it for too long": {preparing(func(f *replacement.Observation) {
			f.Refused, f.Deadline, f.Intent.Started, f.Next.Exists = "a quota", time.Hour, noon.Add(-time.Hour), true
		}), replacement.GiveUp},
		"again": {preparing(func(f *replacement.Observation) {
			f.Intent.Recorded, f.Intent.Attempts, f.Intent.RecordedAt = "1", 1, noon.Add(-time.Minute)
		}), replacement.MakeNext},
		"given up, with a claim": {preparing(func(f *replacement.Observation) { f.Intent.GivenUp, f.Next.Exists = true, true }), replacement.DropNext},
		"given up":               {preparing(func(f *replacement.Observation) { f.Intent.GivenUp = true }), replacement.Abandon},

		"no finalizer yet":      {waiting(func(f *replacement.Observation) { f.Held = false }), replacement.TakeHold},
		"new not secured":       {waiting(func(f *replacement.Observation) { f.New.Secured = false }), replacement.SecureNew},
		"old not secured":       {waiting(func(f *replacement.Observation) { f.Old.Secured = false }), replacement.SecureOld},
		"the check is in place": {waiting(func(f *replacement.Observation) { f.Check.Leftovers = true }), replacement.ClearCheck},
		"a writer runs":         {waiting(func(f *replacement.Observation) { f.Busy = "writer"; f.Evict = true }), replacement.WaitForIdle},
		"pods use it":           {waiting(func(f *replacement.Observation) { f.Consumers = 1 }), replacement.WaitForConsumers},
		"pods to be evicted":    {waiting(func(f *replacement.Observation) { f.Consumers, f.Evict = 1, true }), replacement.DropNext},
		"nobody uses it":        {waiting(func(*replacement.Observation) {}), replacement.DropNext},
		"next goes":             {waiting(func(f *replacement.Observation) { f.Next = going("new") }), replacement.WaitForNextDeleted},
		"next is gone":          {waiting(func(f *replacement.Observation) { f.Next, f.New.Holder = gone, replacement.HeldByGone }), replacement.ReserveNew},
		"reserved":              {waiting(func(f *replacement.Observation) { f.Next, f.New.Holder = gone, replacement.HeldByLive }), replacement.DropLive},
		"live goes": {waiting(func(f *replacement.Observation) {
			f.Next, f.New.Holder, f.Live = gone, replacement.HeldByLive, going("old")
		}), replacement.WaitForLiveDeleted},
		"live goes, pods to be evicted": {waiting(func(f *replacement.Observation) {
			f.Next, f.New.Holder, f.Live, f.Consumers, f.Evict = gone, replacement.HeldByLive, going("old"), 2, true
		}), replacement.Evict},
		"live is gone":                      {waiting(func(f *replacement.Observation) { f.Next, f.New.Holder, f.Live = gone, replacement.HeldByLive, gone }), replacement.MakeLive},
		"live was deleted before its time":  {waiting(func(f *replacement.Observation) { f.Live = gone }), replacement.DropNext},
		"live got a volume in the meantime": {waiting(func(f *replacement.Observation) { f.Intent.Old, f.Old = "", replacement.Volume{} }), replacement.RecordOld},
		"live was given another volume":     {waiting(func(f *replacement.Observation) { f.Live.Volume, f.Named = "another", held(replacement.HeldByLive) }), replacement.GiveUp},
		"live names a stranger's volume": {waiting(func(f *replacement.Observation) {
			f.Intent.Old, f.Old, f.Live.Bound, f.Live.Volume, f.Named = "", replacement.Volume{}, false, "strange", held(replacement.HeldByStranger)
		}), replacement.GiveUp},
		"live is being bound to the volume it names": {waiting(func(f *replacement.Observation) {
			f.Intent.Old, f.Old, f.Live.Bound, f.Live.Volume, f.Named = "", replacement.Volume{}, false, "its", held(replacement.HeldByLive)
		}), replacement.WaitForIdle},
		"live names a volume that is not there": {waiting(func(f *replacement.Observation) {
			f.Intent.Old, f.Old, f.Live.Bound, f.Live.Volume = "", replacement.Volume{}, false, "missing"
		}), replacement.WaitForIdle},
		"live names a volume that is free": {waiting(func(f *replacement.Observation) {
			f.Intent.Old, f.Old, f.Live.Bound, f.Live.Volume, f.Named = "", replacement.Volume{}, false, "free", held(replacement.Unheld)
		}), replacement.WaitForIdle},
		"live's volume turns out to be a stranger's": {waiting(func(f *replacement.Observation) { f.Old = held(replacement.HeldByStranger) }), replacement.GiveUp},
		"new turns out to be a stranger's":           {waiting(func(f *replacement.Observation) { f.New = held(replacement.HeldByStranger) }), replacement.GiveUp},
		"new is anybody's":                           {waiting(func(f *replacement.Observation) { f.New = held(replacement.Unheld) }), replacement.GiveUp},
		"old was never ours, and live is gone":       {waiting(func(f *replacement.Observation) { f.Live, f.Old, f.Next = gone, held(replacement.HeldByStranger), gone }), replacement.ReserveNew},
		"neither is ours, and live is gone": {waiting(func(f *replacement.Observation) {
			f.Live, f.Old, f.New, f.Next = gone, held(replacement.HeldByStranger), held(replacement.HeldByStranger), gone
		}), replacement.GiveUp},
		"given up, and neither is ours": {waiting(func(f *replacement.Observation) {
			f.Intent.GivenUp, f.Old, f.New, f.Next = true, held(replacement.HeldByStranger), held(replacement.HeldByStranger), gone
		}), replacement.Abandon},
		"new was deleted": {waiting(func(f *replacement.Observation) { f.New = replacement.Volume{} }), replacement.GiveUp},
		"new was deleted, live is gone": {waiting(func(f *replacement.Observation) {
			f.New, f.Next, f.Live, f.Old.Holder = replacement.Volume{}, gone, gone, replacement.HeldByGone
		}), replacement.RevertOld},
		"and old is reserved again": {waiting(func(f *replacement.Observation) { f.New, f.Next, f.Live = replacement.Volume{}, gone, gone }), replacement.MakeLive},
		"both volumes were deleted": {waiting(func(f *replacement.Observation) {
			f.New, f.Old, f.Next, f.Live = replacement.Volume{}, replacement.Volume{}, gone, gone
		}), replacement.GiveUp},

		"given up before the switch": {waiting(func(f *replacement.Observation) { f.Intent.GivenUp = true }), replacement.FreeOld},
		"then the new volume":        {waiting(func(f *replacement.Observation) { f.Intent.GivenUp, f.Old.Marked, f.Old.Secured = true, false, false }), replacement.FreeNew},
		"given up after it": {waiting(func(f *replacement.Observation) {
			f.Intent.GivenUp, f.Next, f.Live, f.New.Holder = true, gone, gone, replacement.HeldByLive
		}), replacement.MakeLive},
		"owner goes before the switch": {waiting(func(f *replacement.Observation) { f.Deleting = true }), replacement.FreeOld},
		"owner goes after it": {waiting(func(f *replacement.Observation) {
			f.Deleting, f.Next, f.Live, f.New.Holder = true, gone, gone, replacement.HeldByLive
		}), replacement.MakeLive},
		"owner takes all with it": {waiting(func(f *replacement.Observation) { f.Deleting, f.Discard, f.Next, f.Live = true, true, gone, gone }), replacement.FreeOld},
		"a seed whose owner goes": {waiting(func(f *replacement.Observation) {
			f.Deleting, f.Intent.Old, f.Old, f.Live = true, "", replacement.Volume{}, gone
		}), replacement.FreeNew},
		"made, and not bound": {switched(func(f *replacement.Observation) { f.Live.Bound = false }), replacement.WaitForLive},
		"bound":               {switched(func(*replacement.Observation) {}), replacement.FreeNew},
		"old is to be kept":   {switched(func(f *replacement.Observation) { f.New.Marked = false }), replacement.ReserveOld},
		"beside an earlier one": {switched(func(f *replacement.Observation) {
			f.New.Marked, f.Previous = false, replacement.Claim{Exists: true, Bound: true, Volume: "older"}
		}), replacement.DropPrevious},
		"which goes":      {switched(func(f *replacement.Observation) { f.New.Marked, f.Previous = false, going("older") }), replacement.WaitForPreviousDeleted},
		"old is reserved": {switched(func(f *replacement.Observation) { f.New.Marked, f.Old.Holder = false, replacement.HeldByPrevious }), replacement.MakePrevious},
		"its claim is made": {switched(func(f *replacement.Observation) {
			f.New.Marked, f.Old.Holder, f.Previous = false, replacement.HeldByPrevious, replacement.Claim{Exists: true, Volume: "old"}
		}), replacement.WaitForPrevious},
		"its claim is bound": {switched(func(f *replacement.Observation) {
			f.New.Marked, f.Old.Holder, f.Previous = false, replacement.HeldByPrevious, replacement.Claim{Exists: true, Bound: true, Volume: "old"}
		}), replacement.FreeOld},
		"old is not to be kept":           {switched(func(f *replacement.Observation) { f.New.Marked, f.Keep = false, false }), replacement.FreeOld},
		"all is settled":                  {switched(func(f *replacement.Observation) { f.New.Marked, f.Old.Marked = false, false }), replacement.Finish},
		"all is settled, though given up": {switched(func(f *replacement.Observation) { f.New.Marked, f.Old.Marked, f.Intent.GivenUp = false, false, true }), replacement.Finish},
	} {
		if got := replacement.Decide(tt.observation); got.Step != tt.want {
			t.Errorf("%s: %s (%s), want %s", name, got.Step, got.Detail, tt.want)
		}
	}
}

func TestJudge(t *testing.T) {
	for standing, tt := range map[snapshot.Standing]struct{ refused, waits bool }{
		snapshot.Usable:   {false, false},
		snapshot.Missing:  {true, false},
		snapshot.Foreign:  {true, false},
		snapshot.Deleting: {true, false},
		snapshot.Skipped:  {true, false},
		snapshot.Corrupt:  {true, false},
		snapshot.Lost:     {true, false},
		snapshot.Failed:   {true, false},
		snapshot.Weaker:   {true, false},
		snapshot.Pending:  {false, true},
		snapshot.NotReady: {false, true},
		"of another age":  {true, false},
	} {
		got := replacement.Judge("s", snapshot.Candidacy{Standing: standing})
		if (got.Refused != "") != tt.refused || (got.Waits != "") != tt.waits {
			t.Errorf("%s: %+v", standing, got)
		}
	}
}

func TestRecord(t *testing.T) {
	verdict := func(v v1alpha1.Verdict, digest string) v1alpha1.VerificationStatus {
		return v1alpha1.VerificationStatus{Run: "r", Verdict: v, Digest: digest, Message: "why"}
	}
	for name, tt := range map[string]struct {
		check         v1alpha1.VerificationStatus
		attempts      int32
		named, failed bool
		next          string
	}{
		"intact":               {verdict(v1alpha1.VerdictIntact, "d"), 0, true, false, "new"},
		"intact, another one":  {verdict(v1alpha1.VerdictIntact, "e"), 0, false, true, "new"},
		"corrupt":              {verdict(v1alpha1.VerdictCorrupt, "d"), 0, false, true, "new"},
		"could not tell":       {verdict(v1alpha1.VerdictInconclusive, ""), 0, false, false, "new"},
		"could not tell again": {verdict(v1alpha1.VerdictInconclusive, ""), replacement.MaxAttempts - 1, false, true, "new"},
		// A check of a PVC without a volume has checked nothing, whatever it
		// reports.
		"intact, and no volume":       {verdict(v1alpha1.VerdictIntact, "d"), 0, false, false, ""},
		"intact, and no volume again": {verdict(v1alpha1.VerdictIntact, "d"), replacement.MaxAttempts - 1, false, true, ""},
	} {
		s := &v1alpha1.VolumeReplacementStatus{Check: v1alpha1.VerificationStatus{Attempts: tt.attempts}}
		replacement.Record(s, tt.check, "old", tt.next, "d")
		if (s.NextVolume == "new" && s.PreviousVolume == "old") != tt.named || (s.Failure != "") != tt.failed || s.Check.Attempts != tt.attempts+1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestFailureIsTruncatedBetweenCharacters holds that a failure fits the schema, and is
// valid UTF-8 wherever the bound falls.
func TestFailureIsTruncatedBetweenCharacters(t *testing.T) {
	for shift := range 4 {
		var s v1alpha1.VolumeReplacementStatus
		message := strings.Repeat("x", shift) + strings.Repeat("é€😀", 500)
		replacement.Record(&s, v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictCorrupt, Message: message}, "old", "new", "")
		if len(s.Failure) > 1024 || len(s.Failure) < 1018 || !utf8.ValidString(s.Failure) || !strings.HasSuffix(s.Failure, "...") {
			t.Errorf("shifted by %d: %d bytes, valid %v, ends in %q", shift, len(s.Failure), utf8.ValidString(s.Failure), s.Failure[len(s.Failure)-12:])
		}
	}
}
