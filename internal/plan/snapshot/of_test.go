package snapshot_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/snapshot"
)

// object is a CacheSnapshot that a policy made and that was created so many
// hours ago.
func object(name string, hours int, changes ...func(*v1alpha1.CacheSnapshot)) v1alpha1.CacheSnapshot {
	s := v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{
		Name: name, CreationTimestamp: metav1.NewTime(ago(hours)),
		Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue},
	}}
	for _, change := range changes {
		change(&s)
	}
	return s
}

func condition(kind string, status metav1.ConditionStatus) func(*v1alpha1.CacheSnapshot) {
	return func(s *v1alpha1.CacheSnapshot) {
		s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{Type: kind, Status: status})
	}
}

var stalled = condition(v1alpha1.StalledCondition, metav1.ConditionTrue)

// verified records what the CacheSnapshot's controller does of one that is intact.
func verified(s *v1alpha1.CacheSnapshot) {
	s.Status.VolumeSnapshotName, s.Status.Source = s.Name, &v1alpha1.SourceRecord{PersistentVolumeClaimName: "ci"}
	s.Status.Verification.Verdict = v1alpha1.VerdictIntact
	condition(v1alpha1.VerifiedCondition, metav1.ConditionTrue)(s)
}

func pinned(s *v1alpha1.CacheSnapshot)   { s.Spec.Pinned = true }
func byUser(s *v1alpha1.CacheSnapshot)   { s.Labels = nil }
func deleting(s *v1alpha1.CacheSnapshot) { s.DeletionTimestamp = &metav1.Time{Time: now} }
func firstSeen(s *v1alpha1.CacheSnapshot) {
	s.Spec.Verification.Trust = &v1alpha1.Trust{FirstSeen: true}
}
func skipped(s *v1alpha1.CacheSnapshot) { s.Spec.Verification.Mode = v1alpha1.VerificationSkip }

func TestOf(t *testing.T) {
	type changes = []func(*v1alpha1.CacheSnapshot)
	for _, tt := range []struct {
		name    string
		changes changes
		used    bool
		want    snapshot.Kept // of the name "s"; no name: retention does not see it
	}{
		{"new", nil, false, snapshot.Kept{Name: "s", Created: ago(5), Pending: true}},
		{"verified", changes{verified}, false, snapshot.Kept{Name: "s", Created: ago(5), Verified: true}},
		{"not verified yet", changes{condition(v1alpha1.VerifiedCondition, metav1.ConditionFalse)}, false, snapshot.Kept{Name: "s", Created: ago(5), Pending: true}},
		{"stalled", changes{stalled}, false, snapshot.Kept{Name: "s", Created: ago(5)}},
		{"verified, and stalled since", changes{verified, stalled}, false, snapshot.Kept{Name: "s", Created: ago(5)}},
		{"not stalled any more", changes{condition(v1alpha1.StalledCondition, metav1.ConditionFalse)}, false, snapshot.Kept{Name: "s", Created: ago(5), Pending: true}},
		{"created by the driver later", changes{verified, func(s *v1alpha1.CacheSnapshot) {
			s.Status.CreationTime = &metav1.Time{Time: ago(4)}
		}}, false, snapshot.Kept{Name: "s", Created: ago(4), Verified: true}},

		{"pinned", changes{verified, pinned}, false, snapshot.Kept{Name: "s", Created: ago(5), Verified: true, Protected: true}},
		{"made by a user", changes{verified, byUser}, false, snapshot.Kept{Name: "s", Created: ago(5), Verified: true, Protected: true}},
		{"made by another program", changes{verified, func(s *v1alpha1.CacheSnapshot) {
			s.Labels[v1alpha1.ManagedByLabel] = "helm"
		}}, false, snapshot.Kept{Name: "s", Created: ago(5), Verified: true, Protected: true}},
		{"made by a user and pinned", changes{verified, byUser, pinned}, false, snapshot.Kept{Name: "s", Created: ago(5), Verified: true, Protected: true}},
		{"in use", changes{verified}, true, snapshot.Kept{Name: "s", Created: ago(5), Verified: true, Protected: true}},

		{"being deleted", changes{verified, deleting}, true, snapshot.Kept{}},
		{"exempt from verification", changes{skipped}, true, snapshot.Kept{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := object("s", 5, tt.changes...)
			got, ok := snapshot.Of(&s, tt.used)
			if ok != (tt.want.Name != "") {
				t.Fatalf("retention sees it: %v", ok)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAll(t *testing.T) {
	trust := &v1alpha1.Trust{FirstSeen: true}
	three := []v1alpha1.CacheSnapshot{object("c", 1, verified), object("a", 3, verified), object("b", 2, verified)}
	for _, tt := range []struct {
		name      string
		snapshots []v1alpha1.CacheSnapshot
		policy    *v1alpha1.Trust
		used      string
		protected []string
	}{
		{"none", nil, trust, "", nil},
		{"no trust", three, nil, "", nil},
		{"another trust", three, &v1alpha1.Trust{ChecksumDatabase: "db"}, "", nil},
		{"compared with the first by the policy", three, trust, "", []string{"a"}},
		{"compared with the first by a later snapshot", []v1alpha1.CacheSnapshot{object("b", 2, verified), object("a", 3, verified), object("c", 1, firstSeen)}, nil, "", []string{"a"}},
		{"compared with the first by one that is exempt", []v1alpha1.CacheSnapshot{object("a", 3, verified), object("c", 1, firstSeen, skipped)}, nil, "", []string{"a"}},
		{"the first failed", []v1alpha1.CacheSnapshot{object("a", 3, stalled), object("b", 2, verified)}, trust, "", []string{"b"}},
		{"none is verified", []v1alpha1.CacheSnapshot{object("a", 3), object("b", 2, stalled)}, trust, "", nil},
		{"one of each protection", []v1alpha1.CacheSnapshot{object("a", 4, verified, pinned), object("b", 3, verified, byUser), object("c", 2, verified), object("d", 1, verified)}, nil, "c", []string{"a", "b", "c"}},
		{"one of each protection, beside the first", []v1alpha1.CacheSnapshot{object("a", 4, verified), object("b", 3, verified, byUser), object("c", 2, verified, pinned), object("d", 1, verified)}, trust, "", []string{"a", "b", "c"}},
		{"one is being deleted", []v1alpha1.CacheSnapshot{object("a", 3, verified, deleting), object("b", 2, verified)}, trust, "", []string{"b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, k := range snapshot.All(tt.snapshots, tt.policy, func(name string) bool { return name == tt.used }) {
				if k.Protected {
					got = append(got, k.Name)
				}
			}
			if diff := cmp.Diff(tt.protected, got); diff != "" {
				t.Errorf("protected: %s", diff)
			}
		})
	}
}

func TestRule(t *testing.T) {
	for _, tt := range []struct {
		declared v1alpha1.Retention
		want     snapshot.Retention
	}{
		{v1alpha1.Retention{KeepLast: 2}, snapshot.Retention{Last: 2}},
		{
			v1alpha1.Retention{KeepLast: 1, KeepHourly: 2, KeepDaily: 3, KeepWeekly: 4, KeepMonthly: 5, MaxAge: &metav1.Duration{Duration: time.Hour}},
			snapshot.Retention{Last: 1, Hourly: 2, Daily: 3, Weekly: 4, Monthly: 5, MaxAge: time.Hour},
		},
	} {
		if diff := cmp.Diff(tt.want, snapshot.Rule(tt.declared)); diff != "" {
			t.Error(diff)
		}
	}
}

// TestNewestAndFirst holds that only a verified snapshot is either, and that of
// two of the same time always the same one is.
func TestNewestAndFirst(t *testing.T) {
	v := func(name string, hours int) snapshot.Kept {
		return snapshot.Kept{Name: name, Created: ago(hours), Verified: true}
	}
	for _, tt := range []struct {
		name          string
		all           []snapshot.Kept
		newest, first string
	}{
		{"none", nil, "", ""},
		{"none is verified", []snapshot.Kept{{Name: "a", Created: ago(1)}, {Name: "b", Created: ago(2), Pending: true}}, "", ""},
		{"others at both ends", []snapshot.Kept{{Name: "z", Created: ago(0)}, v("b", 2), v("a", 3), {Name: "0", Created: ago(9)}}, "b", "a"},
		{"of the same time", []snapshot.Kept{v("b", 2), v("c", 2), v("a", 2)}, "c", "a"},
	} {
		if newest, first := snapshot.Newest(tt.all), snapshot.First(tt.all); newest != tt.newest || first != tt.first {
			t.Errorf("%s: newest %q, first %q; want %q, %q", tt.name, newest, first, tt.newest, tt.first)
		}
	}
}

// TestInUseAfterClone holds that a snapshot is kept for an hour after its last clone,
// and that many clones within minutes are noted once.
func TestInUseAfterClone(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		noted string
		inUse bool
		note  bool
	}{
		"never cloned":   {"", false, true},
		"just now":       {"2026-11-28T12:00:00Z", true, false},
		"minutes ago":    {"2026-11-28T11:51:00Z", true, false},
		"a while ago":    {"2026-11-28T11:45:00Z", true, true},
		"long ago":       {"2026-11-28T10:00:00Z", false, true},
		"in the future":  {"2999-01-01T00:00:00Z", false, true},
		"not a time":     {"yesterday", false, true},
		"an hour ago":    {"2026-11-28T10:59:00Z", true, true},
		"over the limit": {"2026-11-28T10:50:00Z", false, true},
	} {
		c := &v1alpha1.CacheSnapshot{}
		c.Annotations = map[string]string{v1alpha1.ClonedAtAnnotation: tt.noted}
		if got := !snapshot.InUseUntil(c, now).IsZero(); got != tt.inUse {
			t.Errorf("%s: in use %v, want %v", name, got, tt.inUse)
		}
		if got := snapshot.NoteClone(c, now); got != tt.note {
			t.Errorf("%s: noted %v, want %v", name, got, tt.note)
		}
	}
}
