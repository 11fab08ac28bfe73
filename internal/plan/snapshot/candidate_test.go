package snapshot_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/snapshot"
	"gocache.dev/operator/internal/plan/verification"
)

// content is what the status of a CacheSnapshot may record of its content.
type content struct {
	name   string
	record func(*v1alpha1.CacheSnapshot)
	// proven, or settled and corrupt, or failed for good; none: the verdict may
	// still come.
	proven, corrupt, failed bool
}

var ci = v1alpha1.SnapshotSource{Kind: v1alpha1.GoCacheKind, Name: "ci"}

func offlineBuild(outcome v1alpha1.WorkOutcome, attempts int32) func(*v1alpha1.CacheSnapshot) {
	return func(c *v1alpha1.CacheSnapshot) {
		c.Status.Verification.Verdict = v1alpha1.VerdictIntact
		c.Spec.Verification.OfflineBuild = &v1alpha1.OfflineBuild{}
		c.Status.OfflineBuild = &v1alpha1.OfflineBuildStatus{WorkStatus: v1alpha1.WorkStatus{Outcome: outcome, Attempts: attempts}}
	}
}

func repair(outcome v1alpha1.WorkOutcome) func(*v1alpha1.CacheSnapshot) {
	return func(c *v1alpha1.CacheSnapshot) {
		c.Status.Verification.Verdict = v1alpha1.VerdictCorrupt
		c.Status.Repair = &v1alpha1.RepairStatus{WorkStatus: v1alpha1.WorkStatus{Outcome: outcome}}
	}
}

func contents() []content {
	verdict := func(v v1alpha1.Verdict, attempts int32) func(*v1alpha1.CacheSnapshot) {
		return func(c *v1alpha1.CacheSnapshot) {
			c.Status.Verification.Verdict, c.Status.Verification.Attempts = v, attempts
		}
	}
	return []content{
		{name: "no verdict", record: verdict("", 0)},
		{name: "intact", record: verdict(v1alpha1.VerdictIntact, 1), proven: true},
		{name: "corrupt", record: verdict(v1alpha1.VerdictCorrupt, 1), corrupt: true},
		{name: "inconclusive once", record: verdict(v1alpha1.VerdictInconclusive, 1)},
		{name: "inconclusive for good", record: verdict(v1alpha1.VerdictInconclusive, verification.MaxAttempts), failed: true},
		{name: "intact, no build yet", record: offlineBuild("", 0)},
		{name: "intact and built from", record: offlineBuild(v1alpha1.WorkSucceeded, 1), proven: true},
		{name: "intact, cannot build", record: offlineBuild(v1alpha1.WorkFailed, 1), failed: true},
		{name: "intact, build inconclusive once", record: offlineBuild(v1alpha1.WorkInconclusive, 1)},
		{name: "intact, build inconclusive for good", record: offlineBuild(v1alpha1.WorkInconclusive, verification.MaxAttempts), failed: true},
		{name: "corrupt, being repaired", record: repair("")},
		{name: "corrupt, repaired and not captured yet", record: repair(v1alpha1.WorkSucceeded)},
		{name: "corrupt, cannot be repaired", record: repair(v1alpha1.WorkFailed), corrupt: true},
		{name: "corrupt again after the repair", record: func(c *v1alpha1.CacheSnapshot) {
			repair(v1alpha1.WorkSucceeded)(c)
			c.Status.VolumeSnapshotName = "s-repaired"
		}, corrupt: true},
		{name: "intact after the repair", record: func(c *v1alpha1.CacheSnapshot) {
			repair(v1alpha1.WorkSucceeded)(c)
			c.Status.VolumeSnapshotName, c.Status.Verification.Verdict = "s-repaired", v1alpha1.VerdictIntact
		}, proven: true},
	}
}

// TestCandidate goes through every combination of what may be known of a
// CacheSnapshot. What each use may do with it is computed here from the rules, in
// their words, and not in the order of the code.
func TestCandidate(t *testing.T) {
	t.Parallel()
	bools := []bool{false, true}
	cases := 0
	for _, content := range contents() {
		for _, verified := range []metav1.ConditionStatus{"", metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown} {
			for bits := range 1 << 7 {
				bit := func(i int) bool { return bits>>i&1 == 1 }
				stalled, deleting, skip, foreign, weaker, lost, unnamed := bit(0), bit(1), bit(2), bit(3), bit(4), bit(5), bit(6)
				for _, csi := range []snapshot.CSI{snapshot.CSINotRead, snapshot.CSIGone, snapshot.CSINotReady, snapshot.CSIReady} {
					for _, bySource := range bools {
						cases++
						c := &v1alpha1.CacheSnapshot{}
						c.Name, c.Spec.SourceRef = "s", ci
						c.Status.CreationTime, c.Status.VolumeSnapshotName = &metav1.Time{Time: now}, "s"
						c.Status.Source = &v1alpha1.SourceRecord{PersistentVolumeClaimName: "ci"}
						content.record(c)
						condition := func(kind string, status metav1.ConditionStatus) {
							c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{Type: kind, Status: status})
						}
						if verified != "" {
							condition(v1alpha1.VerifiedCondition, verified)
						}
						if stalled {
							condition(v1alpha1.StalledCondition, metav1.ConditionTrue)
						}
						if lost {
							condition(v1alpha1.SnapshotReadyCondition, metav1.ConditionFalse)
						}
						if deleting {
							c.DeletionTimestamp = &metav1.Time{Time: now}
						}
						if skip {
							c.Spec.Verification.Mode = v1alpha1.VerificationSkip
						}
						if weaker {
							c.Status.WeakerThanPolicy = "offlineBuild: b"
						}
						if unnamed {
							c.Status.Source = nil
						}
						use := snapshot.Use{Of: ci, BySource: bySource, CSI: csi}
						if foreign {
							use.Of.Name = "other"
						}
						got := snapshot.Candidate(c, use)

						// Nothing is made from what was not verified on a clone of itself; the
						// Verified condition neither adds to that nor takes from it.
						proven := content.proven && !stalled && !skip && !foreign && !(weaker && bySource)
						usable := proven && !deleting && !lost && !unnamed && (csi == snapshot.CSIReady || csi == snapshot.CSINotRead)
						if got.Proven != proven || got.Usable() != usable {
							t.Fatalf("%s, %+v of %+v: %+v, want proven %t, usable %t", content.name, use, c, got, proven, usable)
						}
						// What may still become good is waited for, all else is refused for good.
						never := foreign || deleting || skip || content.corrupt || content.failed || lost || csi == snapshot.CSIGone ||
							weaker && bySource || stalled
						waits := got.Standing == snapshot.Pending || got.Standing == snapshot.NotReady
						if waits != (!usable && !never) {
							t.Fatalf("%s, %+v of %+v: %+v, want waits %t", content.name, use, c, got, !usable && !never)
						}
						// Corrupt is only what was found to be: inconclusive is neither good nor bad.
						if corrupt := got.Standing == snapshot.Corrupt; corrupt != (content.corrupt && !foreign && !deleting && !skip) {
							t.Fatalf("%s, %+v of %+v: %+v", content.name, use, c, got)
						}
						kept, counted := snapshot.Of(c, false)
						if want := !deleting && !skip; counted != want {
							t.Fatalf("%s: counted by retention %t, want %t", content.name, counted, want)
						}
						if want := content.proven && !stalled && !weaker && !lost && !unnamed; counted && kept.Verified != want {
							t.Fatalf("%s of %+v: verified for retention %t, want %t", content.name, c, kept.Verified, want)
						}
						if counted && kept.Verified && kept.Pending {
							t.Fatalf("%s: verified and pending at once", content.name)
						}
					}
				}
			}
		}
	}
	if want := len(contents()) * 4 * 128 * 4 * 2; cases != want {
		t.Fatalf("%d cases, want %d", cases, want)
	}
	if got := snapshot.Candidate(nil, snapshot.Use{}); got != (snapshot.Candidacy{}) || got.Standing != snapshot.Missing {
		t.Errorf("of none: %+v", got)
	}
}

// TestProtected holds which snapshots retention does not touch, whatever they
// are: pinned ones, those in use, those of a person, and the first one where
// later ones are compared with it.
func TestProtected(t *testing.T) {
	t.Parallel()
	make := func(name string, hours int, change func(*v1alpha1.CacheSnapshot)) v1alpha1.CacheSnapshot {
		c := v1alpha1.CacheSnapshot{}
		c.Name, c.Spec.SourceRef, c.Labels = name, ci, map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue}
		c.Status.CreationTime, c.Status.VolumeSnapshotName = &metav1.Time{Time: now.Add(-time.Duration(hours) * time.Hour)}, name
		c.Status.Source = &v1alpha1.SourceRecord{PersistentVolumeClaimName: "ci"}
		c.Status.Verification.Verdict = v1alpha1.VerdictIntact
		if change != nil {
			change(&c)
		}
		return c
	}
	all := []v1alpha1.CacheSnapshot{
		make("weak", 9, func(c *v1alpha1.CacheSnapshot) { c.Status.WeakerThanPolicy = "trust.firstSeen" }),
		make("first", 8, nil),
		make("pinned", 7, func(c *v1alpha1.CacheSnapshot) { c.Spec.Pinned = true }),
		make("by-hand", 6, func(c *v1alpha1.CacheSnapshot) { c.Labels = nil }),
		make("used", 5, nil),
		make("plain", 4, nil),
		make("newest-and-weak", 1, func(c *v1alpha1.CacheSnapshot) { c.Status.WeakerThanPolicy = "trust.firstSeen" }),
	}
	kept := snapshot.All(all, &v1alpha1.Trust{FirstSeen: true}, func(name string) bool { return name == "used" })
	want := map[string]bool{"weak": false, "first": true, "pinned": true, "by-hand": true, "used": true, "plain": false, "newest-and-weak": false}
	for _, k := range kept {
		if k.Protected != want[k.Name] {
			t.Errorf("%s: protected %t, want %t", k.Name, k.Protected, want[k.Name])
		}
	}
	if got := snapshot.Newest(kept); got != "plain" {
		t.Errorf("the newest verified is %q, want plain", got)
	}
}

func TestGap(t *testing.T) {
	t.Parallel()
	sums := func(names ...string) (refs []v1alpha1.LocalReference) {
		for _, n := range names {
			refs = append(refs, v1alpha1.LocalReference{Name: n})
		}
		return refs
	}
	build := func(name string, vendor bool) *v1alpha1.OfflineBuild {
		return &v1alpha1.OfflineBuild{ConfigMapRef: v1alpha1.LocalReference{Name: name}, Vendor: vendor}
	}
	all := v1alpha1.Verification{
		Trust:        &v1alpha1.Trust{GoSumRefs: sums("a", "b"), ChecksumDatabase: "db+key", FirstSeen: true},
		OfflineBuild: build("prog", true),
	}
	for name, tt := range map[string]struct {
		policy, own v1alpha1.Verification
		want        string
	}{
		"nothing is asked":       {v1alpha1.Verification{}, v1alpha1.Verification{}, ""},
		"more than asked":        {v1alpha1.Verification{}, all, ""},
		"the same":               {all, all, ""},
		"policy of no checks":    {v1alpha1.Verification{Mode: v1alpha1.VerificationSkip, Trust: all.Trust}, v1alpha1.Verification{}, ""},
		"nothing is done":        {all, v1alpha1.Verification{}, "trust.goSumRefs: a, trust.goSumRefs: b, trust.checksumDatabase: db+key, trust.firstSeen, offlineBuild: prog"},
		"one sum missing":        {v1alpha1.Verification{Trust: &v1alpha1.Trust{GoSumRefs: sums("a", "b")}}, v1alpha1.Verification{Trust: &v1alpha1.Trust{GoSumRefs: sums("b", "c")}}, "trust.goSumRefs: a"},
		"another database":       {v1alpha1.Verification{Trust: &v1alpha1.Trust{ChecksumDatabase: "x"}}, v1alpha1.Verification{Trust: &v1alpha1.Trust{ChecksumDatabase: "y"}}, "trust.checksumDatabase: x"},
		"another program":        {v1alpha1.Verification{OfflineBuild: build("p", false)}, v1alpha1.Verification{OfflineBuild: build("q", false)}, "offlineBuild: p"},
		"vendor too":             {v1alpha1.Verification{OfflineBuild: build("p", true)}, v1alpha1.Verification{OfflineBuild: build("p", false)}, "offlineBuild.vendor"},
		"another way of finding": {v1alpha1.Verification{OnCorrupt: v1alpha1.SnapshotFail}, v1alpha1.Verification{OnCorrupt: v1alpha1.SnapshotRepair}, ""},
	} {
		if got := snapshot.Gap(tt.policy, tt.own); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestRepeatedSelection holds which of several snapshots a policy verifies again.
func TestRepeatedSelection(t *testing.T) {
	made := func(name string, minute int, change func(*v1alpha1.CacheSnapshot)) v1alpha1.CacheSnapshot {
		c := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.CacheSnapshotSpec{SourceRef: ci}}
		created := metav1.NewTime(time.Unix(int64(60*minute), 0))
		c.Status = v1alpha1.CacheSnapshotStatus{
			CreationTime: &created, VolumeSnapshotName: name, Source: &v1alpha1.SourceRecord{},
			Verification: v1alpha1.VerificationStatus{Verdict: v1alpha1.VerdictIntact},
		}
		if change != nil {
			change(&c)
		}
		return c
	}
	all := []v1alpha1.CacheSnapshot{
		made("old", 1, nil),
		made("new", 2, nil),
		made("unreadable", 3, func(c *v1alpha1.CacheSnapshot) { c.Status.Repeat = &v1alpha1.RepeatStatus{Unreadable: true} }),
		made("weaker", 4, func(c *v1alpha1.CacheSnapshot) { c.Status.WeakerThanPolicy = "trust.firstSeen" }),
		made("withdrawn", 5, func(c *v1alpha1.CacheSnapshot) {
			c.Status.Verification.Verdict = v1alpha1.VerdictCorrupt
			c.Status.Repeat = &v1alpha1.RepeatStatus{Verdict: v1alpha1.VerdictCorrupt}
		}),
		made("of another source", 6, func(c *v1alpha1.CacheSnapshot) { c.Spec.SourceRef.Name = "other" }),
	}
	for which, want := range map[v1alpha1.RepeatedSnapshots]string{
		v1alpha1.RepeatNewest: "new unreadable of another source",
		v1alpha1.RepeatAll:    "old new unreadable weaker of another source",
		v1alpha1.RepeatNone:   "",
	} {
		var got []string
		for i := range all {
			if snapshot.Repeated(&all[i], &v1alpha1.RepeatPolicy{Snapshots: which}, all) {
				got = append(got, all[i].Name)
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: %q, want %q", which, got, want)
		}
	}
	if snapshot.Repeated(&all[1], nil, all) {
		t.Error("without a policy")
	}
	// A snapshot that was withdrawn is no evidence against the content it was created of.
	if content := snapshot.ContentOf(all[4:5], "ci", time.Unix(0, 0), 0); content.Failed != "withdrawn" || content.Corrupt {
		t.Errorf("content %+v", content)
	}
}
