package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// text is one piece that is checked: a paragraph, a comment, a literal, a name.
type text struct {
	file, scope string
	// line of the first character.
	line int
	// content, with its line breaks. A name is split into words.
	content string
	// from is what the content was made of, if it is not the content.
	from string
}

// finding is one use of a replaced term.
type finding struct {
	file, scope string
	line        int
	term        string
	rule        *rule
}

func (f finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %q: use %s (%s)", f.file, f.line, f.scope, f.term, f.rule.Use, f.rule.Reason)
}

// check applies the rules to the texts. Of overlapping findings the one of the
// earlier rule counts.
func check(rules []rule, texts []text, scopes []string) []finding {
	var found []finding
	for _, t := range texts {
		if !slices.Contains(scopes, t.scope) {
			continue
		}
		found = append(found, t.check(rules)...)
	}
	slices.SortStableFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	return found
}

func (t text) check(rules []rule) []finding {
	var found []finding
	var covered [][]int
	for i := range rules {
		r := &rules[i]
		if !slices.Contains(r.Scopes, t.scope) || !r.path.MatchString(t.file) {
			continue
		}
		for _, at := range r.pattern.FindAllStringIndex(t.content, -1) {
			if overlaps(covered, at) {
				continue
			}
			covered = append(covered, at)
			if r.allows(t, at) {
				continue
			}
			term := strings.Join(strings.Fields(t.content[at[0]:at[1]]), " ")
			if t.from != "" {
				term = t.from
			}
			line := t.line + strings.Count(t.content[:at[0]], "\n")
			found = append(found, finding{t.file, t.scope, line, term, r})
		}
	}
	return found
}

// allows reports whether an exception covers the match.
func (r *rule) allows(t text, at []int) bool {
	for _, e := range r.Except {
		if !e.path.MatchString(t.file) {
			continue
		}
		if e.Match == "" {
			return true
		}
		for _, around := range e.match.FindAllStringIndex(t.content, -1) {
			if around[0] <= at[0] && at[1] <= around[1] {
				return true
			}
		}
	}
	return false
}

func overlaps(all [][]int, one []int) bool {
	return slices.ContainsFunc(all, func(other []int) bool { return one[0] < other[1] && other[0] < one[1] })
}
