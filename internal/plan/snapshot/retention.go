package snapshot

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Kept is a snapshot as retention sees it.
type Kept struct {
	// Name of the snapshot.
	Name string
	// Created is when it was created.
	Created time.Time
	// Verified: proven Intact. Pending: its verdict may still come. Neither:
	// it will never be offered.
	Verified, Pending bool
	// Protected: pinned, in use, or not made by the policy.
	Protected bool
}

// Retention is how much is kept.
type Retention struct {
	// Last is how many of the newest are kept.
	Last int
	// MaxAge drops what is older; 0: no limit.
	MaxAge time.Duration
	// Hourly, Daily, Weekly and Monthly keep the newest of each of so many
	// periods that have one.
	Hourly, Daily, Weekly, Monthly int
}

// Newest is the newest verified snapshot, or "".
func Newest(all []Kept) string {
	for _, s := range newestFirst(all) {
		if s.Verified {
			return s.Name
		}
	}
	return ""
}

// First is the oldest verified snapshot, or "": what was first seen.
func First(all []Kept) string {
	sorted := newestFirst(all)
	slices.Reverse(sorted)
	for _, s := range sorted {
		if s.Verified {
			return s.Name
		}
	}
	return ""
}

// Reference is the snapshot that another one of the same source is compared
// with as first seen: the first. While there is none it may be an older one
// that still waits for its verdict, which is to be awaited. With neither, the
// snapshot becomes the first itself.
func Reference(self Kept, others []Kept) (first, pending string) {
	if first = First(others); first != "" {
		return first, ""
	}
	for _, s := range newestFirst(others) {
		if s.Pending && older(s, self) {
			pending = s.Name
		}
	}
	return "", pending
}

// older reports whether a snapshot was created before another.
func older(a, b Kept) bool {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name)) < 0
}

// Drop names the snapshots to drop: those that were not verified first, then
// the oldest first.
func Drop(all []Kept, r Retention, now time.Time) []string {
	sorted := newestFirst(all)
	verified := slices.DeleteFunc(slices.Clone(sorted), func(s Kept) bool { return !s.Verified })
	keep := r.keep(verified, now)

	var unproven, old []string
	failed, last := 0, max(r.Last, 1) // the newest verified one always stays
	for _, s := range sorted {
		switch {
		case s.Pending:
		case !s.Verified:
			// Evidence is kept while it is recent: a failed snapshot goes when
			// as many newer verified ones exist as are kept, or newer failed ones.
			failed++
			superseded := len(verified) >= last && s.Created.Before(verified[last-1].Created)
			if !s.Protected && (superseded || failed > last) {
				unproven = append(unproven, s.Name)
			}
		case !s.Protected && !keep[s.Name]:
			old = append(old, s.Name)
		}
	}
	slices.Reverse(unproven)
	slices.Reverse(old)
	return append(unproven, old...)
}

// keep is the set of verified snapshots that stay; they come newest first.
func (r Retention) keep(verified []Kept, now time.Time) map[string]bool {
	keep := map[string]bool{}
	for i, s := range verified {
		if i < r.Last {
			keep[s.Name] = true
		}
	}
	for _, rule := range []struct {
		n      int
		period func(time.Time) string
	}{
		{r.Hourly, func(t time.Time) string { return t.Format("2006-01-02T15") }},
		{r.Daily, func(t time.Time) string { return t.Format("2006-01-02") }},
		{r.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprint(y, "-", w) }},
		{r.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
	} {
		seen := map[string]bool{}
		for _, s := range verified {
			if len(seen) == rule.n {
				break
			}
			if period := rule.period(s.Created.UTC()); !seen[period] {
				seen[period] = true
				keep[s.Name] = true
			}
		}
	}
	for i, s := range verified {
		if r.MaxAge > 0 && now.Sub(s.Created) > r.MaxAge {
			delete(keep, s.Name)
		}
		if i == 0 { // never the newest
			keep[s.Name] = true
		}
	}
	return keep
}

func newestFirst(all []Kept) []Kept {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b Kept) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.Name, a.Name))
	})
	return sorted
}
