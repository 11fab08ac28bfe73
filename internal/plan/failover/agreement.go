package failover

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Sums are the two h1 hashes that go.sum has of a module version; empty: not
// known.
type Sums struct{ Zip, Mod string }

// Served is what instances served for one module version. What a version holds
// never changes, so the answers need not be of the same moment.
type Served struct {
	// Module and its version, for a person.
	Module string
	// Sums of the served files, by instance. An instance that did not serve it
	// is absent.
	Sums map[string]Sums
	// Pinned are the sums that a person has given.
	Pinned Sums
	// Agreed are the sums that all instances had agreed on.
	Agreed Sums
}

// Agreement is what a comparison of instances found out.
type Agreement struct {
	// Outcomes by instance: Failed if it is singled out, Passed if it agrees
	// with all others, Unknown if the wrong instance cannot be determined or
	// there is no other instance to compare with.
	Outcomes map[string]Outcome
	// Differences describe, by instance, the contradictions to others; empty:
	// none. An instance that could not be compared is absent.
	Differences map[string]string
	// Agreed are the sums that all instances that served a module agree on, by
	// module.
	Agreed map[string]Sums
}

// Compare finds instances that contradict each other, and singles out the wrong
// one where that can be determined: by the sums in the spec, else by those that
// all had agreed on before, else by the majority of three or more.
func Compare(all []Served) Agreement {
	a := Agreement{Outcomes: map[string]Outcome{}, Differences: map[string]string{}, Agreed: map[string]Sums{}}
	for _, served := range all {
		if len(served.Sums) > 1 {
			a.add(served)
		}
	}
	return a
}

func (a *Agreement) add(served Served) {
	names := slices.Sorted(maps.Keys(served.Sums))
	if served.unanimous() {
		a.Agreed[served.Module] = served.Sums[names[0]]
		for _, name := range names {
			a.Differences[name] += ""
			a.note(name, Passed)
		}
		return
	}
	right, why := served.right()
	var parts, wrong []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s serves %s (go.mod %s)", name, served.Sums[name].Zip, served.Sums[name].Mod))
		if why != "" && !served.Sums[name].are(right) {
			wrong = append(wrong, name)
		}
	}
	text := served.Module + ": " + strings.Join(parts, ", ")
	if len(wrong) > 0 {
		text += fmt.Sprintf("; %s contradicts %s", strings.Join(wrong, ", "), why)
	} else {
		text += "; the correct one is unknown: set its sums in spec.probes.referenceModules"
	}
	for _, name := range names {
		a.differ(name, text)
		switch {
		case slices.Contains(wrong, name):
			a.note(name, Failed)
		case len(wrong) > 0:
			a.note(name, Passed)
		default:
			a.note(name, Unknown)
		}
	}
}

// note keeps a failure, then an unknown outcome, then success.
func (a *Agreement) note(name string, outcome Outcome) {
	rank := map[Outcome]int{Passed: 0, Unknown: 1, Failed: 2}
	if before, ok := a.Outcomes[name]; !ok || rank[outcome] > rank[before] {
		a.Outcomes[name] = outcome
	}
}

func (a *Agreement) differ(name, text string) {
	if a.Differences[name] != "" {
		text = a.Differences[name] + "; " + text
	}
	a.Differences[name] = text
}

func (t Served) unanimous() bool {
	one := Sums{}
	for _, sums := range t.Sums {
		if one == (Sums{}) {
			one = sums
		}
		if sums != one {
			return false
		}
	}
	return true
}

// right are the sums that ought to be served, and why; no why: they are not
// known, or no instance serves them.
func (t Served) right() (sums Sums, why string) {
	for _, known := range []struct {
		sums Sums
		why  string
	}{
		{t.Pinned, "the sums in spec.probes.referenceModules"},
		{t.Agreed, "what all instances had agreed on"},
		{t.majority(), "the majority"},
	} {
		if known.sums == (Sums{}) {
			continue
		}
		for _, served := range t.Sums {
			if served.are(known.sums) {
				return known.sums, known.why
			}
		}
	}
	return Sums{}, ""
}

// majority is what more than half of three or more instances serve.
func (t Served) majority() Sums {
	votes := map[Sums]int{}
	for _, sums := range t.Sums {
		if votes[sums]++; len(t.Sums) >= 3 && 2*votes[sums] > len(t.Sums) {
			return sums
		}
	}
	return Sums{}
}

// are reports whether sums are the known ones, as far as those are known.
func (s Sums) are(known Sums) bool {
	return (known.Zip == "" || s.Zip == known.Zip) && (known.Mod == "" || s.Mod == known.Mod)
}
