package snapshot_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gocache.dev/operator/api/v1alpha1"
	"gocache.dev/operator/internal/plan/schedule"
	"gocache.dev/operator/internal/plan/snapshot"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	daily, err := schedule.Parse(v1alpha1.Schedule{Schedule: "@daily"}, "")
	if err != nil {
		t.Fatal(err)
	}
	warmed := snapshot.Observation{Now: now, Cache: "ci", SuccessRun: "r1", SuccessTime: now.Add(-time.Minute), Created: now.Add(-time.Hour)}
	with := func(f func(*snapshot.Observation)) snapshot.Observation {
		c := warmed
		f(&c)
		return c
	}
	tests := []struct {
		name        string
		observation snapshot.Observation
		want        string
		wake        time.Time
	}{
		{"never warmed", snapshot.Observation{Now: now, Cache: "ci", AfterWarmUp: true}, "", time.Time{}},
		{"no policy", warmed, "", time.Time{}},
		{"after a warm-up", with(func(f *snapshot.Observation) { f.AfterWarmUp = true }), "ci-20261121-115900", time.Time{}},
		{"once per warm-up", with(func(f *snapshot.Observation) { f.AfterWarmUp = true; f.SnapshottedRun = "r1" }), "", time.Time{}},
		{"scheduled, not yet", with(func(f *snapshot.Observation) { f.Schedule = daily }), "", now.Add(12 * time.Hour)},
		{"scheduled", with(func(f *snapshot.Observation) { f.Schedule = daily; f.Created = now.AddDate(0, 0, -1) }), "ci-20261121-000000", time.Time{}},
		{"scheduled anew for an old cache", with(func(f *snapshot.Observation) { f.Schedule = daily; f.Created = now.AddDate(-1, 0, 0) }), "ci-20261121-000000", time.Time{}},
		{"scheduled, asked again a while later", with(func(f *snapshot.Observation) {
			f.Schedule = daily
			f.Created, f.Now = now.AddDate(0, 0, -1), now.Add(time.Hour)
		}), "ci-20261121-000000", time.Time{}},
		{"scheduled and taken", with(func(f *snapshot.Observation) {
			f.Schedule = daily
			f.Created, f.LastScheduled = now.AddDate(0, 0, -2), now
		}), "", now.Add(12 * time.Hour)},
		{"requested before any warm-up", snapshot.Observation{Now: now, Cache: "ci", Request: "1"}, "ci-request-6b86b273", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			due, wake := snapshot.Decide(tt.observation)
			got := ""
			if due != nil {
				got = due.Name
			}
			if got != tt.want || !wake.Equal(tt.wake) {
				t.Errorf("got %q, wake %v; want %q, %v", got, wake, tt.want, tt.wake)
			}
		})
	}
}

func ago(hours int) time.Time { return now.Add(-time.Duration(hours) * time.Hour) }

func TestDrop(t *testing.T) {
	verified := func(name string, hours int) snapshot.Kept {
		return snapshot.Kept{Name: name, Created: ago(hours), Verified: true}
	}
	failed := func(name string, hours int) snapshot.Kept { return snapshot.Kept{Name: name, Created: ago(hours)} }
	at := func(name string, after time.Duration) snapshot.Kept {
		return snapshot.Kept{Name: name, Created: now.Add(after), Verified: true}
	}
	tests := []struct {
		name string
		all  []snapshot.Kept
		r    snapshot.Retention
		want []string
	}{
		{"nothing", nil, snapshot.Retention{Last: 1}, nil},
		{"the last two", []snapshot.Kept{verified("a", 3), verified("b", 2), verified("c", 1)}, snapshot.Retention{Last: 2}, []string{"a"}},
		{"failed ones do not count", []snapshot.Kept{verified("a", 3), failed("b", 2), verified("c", 1)}, snapshot.Retention{Last: 2}, nil},
		{"failed before old, oldest first", []snapshot.Kept{verified("a", 5), failed("b", 4), verified("c", 3), verified("d", 2)}, snapshot.Retention{Last: 1}, []string{"b", "a", "c"}},
		{"a recent failure is evidence", []snapshot.Kept{verified("a", 3), failed("b", 1)}, snapshot.Retention{Last: 1}, nil},
		{"many failures are not", []snapshot.Kept{failed("a", 3), failed("b", 2), failed("c", 1)}, snapshot.Retention{Last: 2}, []string{"a"}},
		{"the newest verified, however old", []snapshot.Kept{verified("a", 99)}, snapshot.Retention{Last: 1, MaxAge: time.Hour}, nil},
		{"too old", []snapshot.Kept{verified("a", 99), verified("b", 50)}, snapshot.Retention{Last: 5, MaxAge: time.Hour}, []string{"a"}},
		{"pinned", []snapshot.Kept{{Name: "a", Created: ago(9), Verified: true, Protected: true}, verified("b", 1)}, snapshot.Retention{Last: 1}, nil},
		{"pending", []snapshot.Kept{{Name: "a", Created: ago(9), Pending: true}, verified("b", 1)}, snapshot.Retention{Last: 1}, nil},
		{"daily", []snapshot.Kept{verified("a", 60), verified("b", 37), verified("c", 36), verified("d", 1)}, snapshot.Retention{Last: 1, Daily: 2}, []string{"a", "b"}},
		{"three of one hour", []snapshot.Kept{at("a", 10*time.Minute), at("b", 20*time.Minute), at("c", 30*time.Minute)}, snapshot.Retention{Last: 1, Hourly: 3}, []string{"a", "b"}},
		{"two hours", []snapshot.Kept{at("a", -61*time.Minute), at("b", -time.Minute), at("c", 0)}, snapshot.Retention{Last: 1, Hourly: 2}, []string{"a"}},
		{"three of one day", []snapshot.Kept{verified("a", 9), verified("b", 6), verified("c", 1)}, snapshot.Retention{Last: 1, Daily: 3}, []string{"a", "b"}},
		{"two of each of two days", []snapshot.Kept{verified("a", 34), verified("b", 30), verified("c", 9), verified("d", 1)}, snapshot.Retention{Last: 1, Daily: 2}, []string{"a", "c"}},
		{"three of one week", []snapshot.Kept{verified("a", 5*24), verified("b", 4*24), verified("c", 24)}, snapshot.Retention{Last: 1, Weekly: 3}, []string{"a", "b"}},
		{"a Sunday and a Monday are of two weeks", []snapshot.Kept{verified("a", 6*24), verified("b", 5*24)}, snapshot.Retention{Last: 1, Weekly: 2}, nil},
		{"three of one month", []snapshot.Kept{verified("a", 20*24), verified("b", 10*24), verified("c", 24)}, snapshot.Retention{Last: 1, Monthly: 3}, []string{"a", "b"}},
		{"two months", []snapshot.Kept{verified("a", 22*24), verified("b", 21*24), verified("c", 24)}, snapshot.Retention{Last: 1, Monthly: 2}, []string{"a"}},
		{"as old as may be", []snapshot.Kept{verified("a", 50), verified("b", 1)}, snapshot.Retention{Last: 5, MaxAge: 50 * time.Hour}, nil},
		{"as many newer verified ones as are kept", []snapshot.Kept{failed("a", 3), verified("b", 2), verified("c", 1)}, snapshot.Retention{Last: 2}, []string{"a"}},
		{"no number of the last, and the newest one stays", []snapshot.Kept{failed("a", 3), verified("b", 2), verified("c", 1)}, snapshot.Retention{}, []string{"a", "b"}},
		{"failed, made by a user", []snapshot.Kept{{Name: "a", Created: ago(3), Protected: true}, verified("b", 1)}, snapshot.Retention{Last: 1}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, snapshot.Drop(tt.all, tt.r, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDropKeepsThePromise holds for any history: the newest verified snapshot
// stays, protected and pending ones stay, and dropping again drops nothing.
func TestDropKeepsThePromise(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2))
		all := make([]snapshot.Kept, r.IntN(30))
		for i := range all {
			all[i] = snapshot.Kept{
				Name: fmt.Sprint(i), Created: ago(r.IntN(2000)),
				Verified: r.IntN(2) == 0, Protected: r.IntN(8) == 0,
			}
			all[i].Pending = !all[i].Verified && r.IntN(4) == 0
		}
		rule := snapshot.Retention{
			Last: r.IntN(6), MaxAge: time.Duration(r.IntN(3)) * 500 * time.Hour,
			Hourly: r.IntN(4), Daily: r.IntN(4), Weekly: r.IntN(4), Monthly: r.IntN(4),
		}
		drop := snapshot.Drop(all, rule, now)
		if slices.Contains(drop, snapshot.Newest(all)) && snapshot.Newest(all) != "" {
			t.Fatalf("seed %d: the newest verified snapshot is dropped", seed)
		}
		left := slices.DeleteFunc(slices.Clone(all), func(s snapshot.Kept) bool { return slices.Contains(drop, s.Name) })
		for _, s := range all {
			if (s.Protected || s.Pending) && slices.Contains(drop, s.Name) {
				t.Fatalf("seed %d: %+v is dropped", seed, s)
			}
		}
		if again := snapshot.Drop(left, rule, now); len(again) > 0 {
			t.Fatalf("seed %d: a second look drops %v", seed, again)
		}
	}
}

func TestReference(t *testing.T) {
	self := snapshot.Kept{Name: "self", Created: ago(5), Pending: true}
	verified := func(name string, hours int) snapshot.Kept {
		return snapshot.Kept{Name: name, Created: ago(hours), Verified: true}
	}
	pending := func(name string, hours int) snapshot.Kept {
		return snapshot.Kept{Name: name, Created: ago(hours), Pending: true}
	}
	for _, tt := range []struct {
		name           string
		others         []snapshot.Kept
		first, pending string
	}{
		{"the very first", nil, "", ""},
		{"others that failed", []snapshot.Kept{{Name: "a", Created: ago(9)}}, "", ""},
		{"the oldest verified", []snapshot.Kept{verified("b", 8), verified("a", 9), verified("c", 1)}, "a", ""},
		{"a verified one that is younger", []snapshot.Kept{verified("c", 1)}, "c", ""},
		{"an older one under way", []snapshot.Kept{pending("b", 8), pending("a", 9)}, "", "a"},
		{"a younger one under way", []snapshot.Kept{pending("c", 1)}, "", ""},
		{"one of the same moment under way", []snapshot.Kept{pending("a", 5), pending("z", 5)}, "", "a"},
		{"verified before under way", []snapshot.Kept{pending("a", 9), verified("b", 8)}, "b", ""},
	} {
		if first, pending := snapshot.Reference(self, tt.others); first != tt.first || pending != tt.pending {
			t.Errorf("%s: compared with %q, awaits %q; want %q, %q", tt.name, first, pending, tt.first, tt.pending)
		}
	}
}

// TestOneIsFirst holds that of any snapshots under way exactly one is compared
// with none: else two first ones could contradict each other.
func TestOneIsFirst(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		all := make([]snapshot.Kept, 1+r.IntN(6))
		for i := range all {
			all[i] = snapshot.Kept{Name: fmt.Sprint(i), Created: ago(r.IntN(4)), Pending: true}
		}
		free := 0
		for i, self := range all {
			others := slices.Delete(slices.Clone(all), i, i+1)
			if first, pending := snapshot.Reference(self, others); first == "" && pending == "" {
				free++
			}
		}
		if free != 1 {
			t.Fatalf("seed %d: %d of %v may begin", seed, free, all)
		}
	}
}

// TestLatest holds that of snapshots of the same second always the same one is
// the latest, in whatever order a cache lists them: a status that goes to and
// fro is written forever.
func TestLatest(t *testing.T) {
	at := func(name string, hours int) v1alpha1.CacheSnapshot {
		return v1alpha1.CacheSnapshot{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(ago(hours))}}
	}
	deleting := at("z", 1)
	deleting.DeletionTimestamp = &metav1.Time{Time: now}
	all := []v1alpha1.CacheSnapshot{at("a", 2), at("b", 2), at("c", 2), at("d", 3), deleting}
	for seed := range uint64(20) {
		rand.New(rand.NewPCG(seed, 4)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if got := snapshot.Latest(all); got != "c" {
			t.Fatalf("seed %d: the latest is %q", seed, got)
		}
	}
	if got := snapshot.Latest([]v1alpha1.CacheSnapshot{deleting}); got != "" {
		t.Errorf("one that is being deleted is the latest: %q", got)
	}
}
