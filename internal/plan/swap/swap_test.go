package swap_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/snapshot"
	"gocache.dev/operator/internal/plan/swap"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// waiting is a swap whose new volume is verified and secured, and which waits
// for nobody.
func waiting(change func(*swap.Facts)) swap.Facts {
	f := swap.Facts{
		Now:    noon,
		Intent: swap.Intent{Old: "old", New: "new"},
		Live:   swap.Claim{Exists: true, Bound: true, Volume: "old"},
		Next:   swap.Claim{Exists: true, Bound: true, Volume: "new"},
		Old:    swap.Volume{Exists: true, Secured: true, Marked: true, Holder: swap.HeldByLive},
		New:    swap.Volume{Exists: true, Secured: true, Marked: true, Holder: swap.HeldByNext},
		Held:   true, Keep: true,
	}
	change(&f)
	return f
}

// preparing is a swap whose new volume is not there yet.
func preparing(change func(*swap.Facts)) swap.Facts {
	f := swap.Facts{
		Now:    noon,
		Intent: swap.Intent{Old: "old"},
		Live:   swap.Claim{Exists: true, Bound: true, Volume: "old"},
		Old:    swap.Volume{Exists: true, Holder: swap.HeldByLive},
	}
	change(&f)
	return f
}

// switched is a swap whose live claim has the new volume.
func switched(change func(*swap.Facts)) swap.Facts {
	return waiting(func(f *swap.Facts) {
		f.Live.Volume, f.Next = "new", swap.Claim{}
		f.New.Holder, f.Old.Holder = swap.HeldByLive, swap.HeldByGone
		change(f)
	})
}

// held is a volume that some claim holds.
func held(by swap.Holder) swap.Volume { return swap.Volume{Exists: true, Holder: by} }

func TestNext(t *testing.T) {
	gone := swap.Claim{}
	going := func(volume string) swap.Claim {
		return swap.Claim{Exists: true, Deleting: true, Volume: volume}
	}
	for name, tt := range map[string]struct {
		facts swap.Facts
		want  swap.Step
	}{
		"begin":                    {preparing(func(*swap.Facts) {}), swap.MakeNext},
		"the source is not ready":  {preparing(func(f *swap.Facts) { f.Source.Waits = "it" }), swap.AwaitSource},
		"the source never will be": {preparing(func(f *swap.Facts) { f.Source.Refused = "no" }), swap.GiveUp},
		"the source went when the clone was made": {preparing(func(f *swap.Facts) {
			f.Source.Refused, f.Next.Exists, f.Next.Bound, f.Check.Exists, f.Check.Run = "no", true, true, true, "1"
		}), swap.AwaitCheck},
		"only the claim was made":          {preparing(func(f *swap.Facts) { f.Next.Exists = true }), swap.MakeNext},
		"the check runs":                   {preparing(func(f *swap.Facts) { f.Next.Exists, f.Check.Exists, f.Check.Run = true, true, "1" }), swap.AwaitCheck},
		"the check has ended":              {preparing(func(f *swap.Facts) { f.Next.Exists = true; f.Check = swap.Check{Exists: true, Ended: true, Run: "1"} }), swap.BookCheck},
		"of a claim that somebody deleted": {preparing(func(f *swap.Facts) { f.Next = going("new"); f.Check = swap.Check{Exists: true, Ended: true, Run: "1"} }), swap.ClearCheck},
		"it could not tell": {preparing(func(f *swap.Facts) {
			f.Next.Exists, f.Check = true, swap.Check{Exists: true, Ended: true, Run: "1"}
			f.Intent.Booked, f.Intent.Attempts, f.Intent.BookedAt = "1", 1, noon
		}), swap.ClearCheck},
		"its claim goes too": {preparing(func(f *swap.Facts) {
			f.Next.Exists, f.Intent.Booked, f.Intent.Attempts, f.Intent.BookedAt = true, "1", 1, noon
		}), swap.DropNext},
		"a pause": {preparing(func(f *swap.Facts) { f.Intent.Booked, f.Intent.Attempts, f.Intent.BookedAt = "1", 1, noon }), swap.AwaitRetry},
		"again": {preparing(func(f *swap.Facts) {
			f.Intent.Booked, f.Intent.Attempts, f.Intent.BookedAt = "1", 1, noon.Add(-time.Minute)
		}), swap.MakeNext},
		"given up, with a claim": {preparing(func(f *swap.Facts) { f.Intent.GivenUp, f.Next.Exists = true, true }), swap.DropNext},
		"given up":               {preparing(func(f *swap.Facts) { f.Intent.GivenUp = true }), swap.Abandon},

		"no finalizer yet":      {waiting(func(f *swap.Facts) { f.Held = false }), swap.TakeHold},
		"new not secured":       {waiting(func(f *swap.Facts) { f.New.Secured = false }), swap.SecureNew},
		"old not secured":       {waiting(func(f *swap.Facts) { f.Old.Secured = false }), swap.SecureOld},
		"the check is in place": {waiting(func(f *swap.Facts) { f.Check.Leftovers = true }), swap.ClearCheck},
		"a writer runs":         {waiting(func(f *swap.Facts) { f.Busy = "writer"; f.Evict = true }), swap.AwaitBusy},
		"pods use it":           {waiting(func(f *swap.Facts) { f.Consumers = 1 }), swap.AwaitConsumers},
		"pods to be evicted":    {waiting(func(f *swap.Facts) { f.Consumers, f.Evict = 1, true }), swap.DropNext},
		"nobody uses it":        {waiting(func(*swap.Facts) {}), swap.DropNext},
		"next goes":             {waiting(func(f *swap.Facts) { f.Next = going("new") }), swap.AwaitNextGone},
		"next is gone":          {waiting(func(f *swap.Facts) { f.Next, f.New.Holder = gone, swap.HeldByGone }), swap.ReserveNew},
		"reserved":              {waiting(func(f *swap.Facts) { f.Next, f.New.Holder = gone, swap.HeldByLive }), swap.DropLive},
		"live goes":             {waiting(func(f *swap.Facts) { f.Next, f.New.Holder, f.Live = gone, swap.HeldByLive, going("old") }), swap.AwaitLiveGone},
		"live goes, pods to be evicted": {waiting(func(f *swap.Facts) {
			f.Next, f.New.Holder, f.Live, f.Consumers, f.Evict = gone, swap.HeldByLive, going("old"), 2, true
		}), swap.Evict},
		"live is gone":                      {waiting(func(f *swap.Facts) { f.Next, f.New.Holder, f.Live = gone, swap.HeldByLive, gone }), swap.MakeLive},
		"live was deleted before its time":  {waiting(func(f *swap.Facts) { f.Live = gone }), swap.DropNext},
		"live got a volume in the meantime": {waiting(func(f *swap.Facts) { f.Intent.Old, f.Old = "", swap.Volume{} }), swap.NoteOld},
		"live was given another volume":     {waiting(func(f *swap.Facts) { f.Live.Volume, f.Named = "another", held(swap.HeldByLive) }), swap.GiveUp},
		"live names a stranger's volume": {waiting(func(f *swap.Facts) {
			f.Intent.Old, f.Old, f.Live.Bound, f.Live.Volume, f.Named = "", swap.Volume{}, false, "strange", held(swap.HeldByStranger)
		}), swap.GiveUp},
		"live is being bound to the volume it names": {waiting(func(f *swap.Facts) {
			f.Intent.Old, f.Old, f.Live.Bound, f.Live.Volume, f.Named = "", swap.Volume{}, false, "its", held(swap.HeldByLive)
		}), swap.AwaitBusy},
		"live names a volume that is not there": {waiting(func(f *swap.Facts) {
			f.Intent.Old, f.Old, f.Live.Bound, f.Live.Volume = "", swap.Volume{}, false, "missing"
		}), swap.AwaitBusy},
		"live names a volume that is free": {waiting(func(f *swap.Facts) {
			f.Intent.Old, f.Old, f.Live.Bound, f.Live.Volume, f.Named = "", swap.Volume{}, false, "free", held(swap.HeldByNobody)
		}), swap.AwaitBusy},
		"live's volume turns out to be a stranger's": {waiting(func(f *swap.Facts) { f.Old = held(swap.HeldByStranger) }), swap.GiveUp},
		"new turns out to be a stranger's":           {waiting(func(f *swap.Facts) { f.New = held(swap.HeldByStranger) }), swap.GiveUp},
		"new is anybody's":                           {waiting(func(f *swap.Facts) { f.New = held(swap.HeldByNobody) }), swap.GiveUp},
		"old was never ours, and live is gone":       {waiting(func(f *swap.Facts) { f.Live, f.Old, f.Next = gone, held(swap.HeldByStranger), gone }), swap.ReserveNew},
		"neither is ours, and live is gone": {waiting(func(f *swap.Facts) {
			f.Live, f.Old, f.New, f.Next = gone, held(swap.HeldByStranger), held(swap.HeldByStranger), gone
		}), swap.GiveUp},
		"given up, and neither is ours": {waiting(func(f *swap.Facts) {
			f.Intent.GivenUp, f.Old, f.New, f.Next = true, held(swap.HeldByStranger), held(swap.HeldByStranger), gone
		}), swap.Abandon},
		"new was deleted":               {waiting(func(f *swap.Facts) { f.New = swap.Volume{} }), swap.GiveUp},
		"new was deleted, live is gone": {waiting(func(f *swap.Facts) { f.New, f.Next, f.Live, f.Old.Holder = swap.Volume{}, gone, gone, swap.HeldByGone }), swap.RevertOld},
		"and old is reserved again":     {waiting(func(f *swap.Facts) { f.New, f.Next, f.Live = swap.Volume{}, gone, gone }), swap.MakeLive},
		"both volumes were deleted":     {waiting(func(f *swap.Facts) { f.New, f.Old, f.Next, f.Live = swap.Volume{}, swap.Volume{}, gone, gone }), swap.GiveUp},

		"given up before the switch": {waiting(func(f *swap.Facts) { f.Intent.GivenUp = true }), swap.FreeOld},
		"then the new volume":        {waiting(func(f *swap.Facts) { f.Intent.GivenUp, f.Old.Marked, f.Old.Secured = true, false, false }), swap.FreeNew},
		"given up after it": {waiting(func(f *swap.Facts) {
			f.Intent.GivenUp, f.Next, f.Live, f.New.Holder = true, gone, gone, swap.HeldByLive
		}), swap.MakeLive},
		"owner goes before the switch": {waiting(func(f *swap.Facts) { f.Leaving = true }), swap.FreeOld},
		"owner goes after it":          {waiting(func(f *swap.Facts) { f.Leaving, f.Next, f.Live, f.New.Holder = true, gone, gone, swap.HeldByLive }), swap.MakeLive},
		"owner takes all with it":      {waiting(func(f *swap.Facts) { f.Leaving, f.Discard, f.Next, f.Live = true, true, gone, gone }), swap.FreeOld},
		"a seed whose owner goes":      {waiting(func(f *swap.Facts) { f.Leaving, f.Intent.Old, f.Old, f.Live = true, "", swap.Volume{}, gone }), swap.FreeNew},
		"made, and not bound":          {switched(func(f *swap.Facts) { f.Live.Bound = false }), swap.AwaitLive},
		"bound":                        {switched(func(*swap.Facts) {}), swap.FreeNew},
		"old is to be kept":            {switched(func(f *swap.Facts) { f.New.Marked = false }), swap.ReserveOld},
		"beside an earlier one": {switched(func(f *swap.Facts) {
			f.New.Marked, f.Previous = false, swap.Claim{Exists: true, Bound: true, Volume: "older"}
		}), swap.DropPrevious},
		"which goes":      {switched(func(f *swap.Facts) { f.New.Marked, f.Previous = false, going("older") }), swap.AwaitPreviousGone},
		"old is reserved": {switched(func(f *swap.Facts) { f.New.Marked, f.Old.Holder = false, swap.HeldByPrevious }), swap.MakePrevious},
		"its claim is made": {switched(func(f *swap.Facts) {
			f.New.Marked, f.Old.Holder, f.Previous = false, swap.HeldByPrevious, swap.Claim{Exists: true, Volume: "old"}
		}), swap.AwaitPrevious},
		"its claim is bound": {switched(func(f *swap.Facts) {
			f.New.Marked, f.Old.Holder, f.Previous = false, swap.HeldByPrevious, swap.Claim{Exists: true, Bound: true, Volume: "old"}
		}), swap.FreeOld},
		"old is not to be kept":           {switched(func(f *swap.Facts) { f.New.Marked, f.Keep = false, false }), swap.FreeOld},
		"all is settled":                  {switched(func(f *swap.Facts) { f.New.Marked, f.Old.Marked = false, false }), swap.Finish},
		"all is settled, though given up": {switched(func(f *swap.Facts) { f.New.Marked, f.Old.Marked, f.Intent.GivenUp = false, false, true }), swap.Finish},
	} {
		if got := swap.Next(tt.facts); got.Step != tt.want {
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
		got := swap.Judge("s", snapshot.Candidacy{Standing: standing})
		if (got.Refused != "") != tt.refused || (got.Waits != "") != tt.waits {
			t.Errorf("%s: %+v", standing, got)
		}
	}
}

func TestBook(t *testing.T) {
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
		"could not tell again": {verdict(v1alpha1.VerdictInconclusive, ""), swap.MaxAttempts - 1, false, true, "new"},
		// A check of a claim without a volume has checked nothing, whatever it says.
		"intact, and no volume":       {verdict(v1alpha1.VerdictIntact, "d"), 0, false, false, ""},
		"intact, and no volume again": {verdict(v1alpha1.VerdictIntact, "d"), swap.MaxAttempts - 1, false, true, ""},
	} {
		s := &v1alpha1.VolumeReplacementStatus{Check: v1alpha1.VerificationStatus{Attempts: tt.attempts}}
		swap.Book(s, tt.check, "old", tt.next, "d")
		if (s.NextVolume == "new" && s.PreviousVolume == "old") != tt.named || (s.Failure != "") != tt.failed || s.Check.Attempts != tt.attempts+1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestFailureIsCutBetweenCharacters holds that a failure fits the schema, and is
// valid UTF-8 wherever the bound falls.
func TestFailureIsCutBetweenCharacters(t *testing.T) {
	for shift := range 4 {
		var s v1alpha1.VolumeReplacementStatus
		message := strings.Repeat("x", shift) + strings.Repeat("é€😀", 500)
		swap.Book(&s, v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictCorrupt, Message: message}, "old", "new", "")
		if len(s.Failure) > 1024 || len(s.Failure) < 1018 || !utf8.ValidString(s.Failure) || !strings.HasSuffix(s.Failure, "...") {
			t.Errorf("shifted by %d: %d bytes, valid %v, ends in %q", shift, len(s.Failure), utf8.ValidString(s.Failure), s.Failure[len(s.Failure)-12:])
		}
	}
}
