package verify

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/domain/integrity"
)

// Print writes a verdict for a person: what it is, what was checked, what was
// found, and what to do about it.
func Print(w io.Writer, v integrity.Verdict, of caches.Flags) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", v.Verdict, headline(v))
	if v.Digest != "" {
		checked(&b, v, of)
	}
	for _, s := range sections(v) {
		s.write(&b, v)
	}
	if steps := advice(v, of); len(steps) > 0 {
		fmt.Fprintf(&b, "\nWhat to do:\n")
		for _, step := range steps {
			fmt.Fprintf(&b, "  - %s\n", step)
		}
	}
	if v.Digest != "" {
		fmt.Fprintf(&b, "\nDigest of the contents: %s\n", v.Digest)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// headline is the verdict in a sentence.
func headline(v integrity.Verdict) string {
	switch {
	case v.Verdict == integrity.OutcomeCorrupt && v.Corrupt > 0:
		return things(v.Corrupt) + " corrupt: builds use it silently, or fail on it every time."
	case v.Verdict == integrity.OutcomeCorrupt:
		return things(v.Recoverable) + " recoverable, which counts as Corrupt with --fail-on recoverable."
	case v.Unreadable > 0:
		return things(v.Unreadable) + " unreadable: this proves nothing, neither good nor bad."
	case v.Verdict == integrity.Inconclusive:
		return "nothing was checked: " + v.Message
	case v.Counts == integrity.Counts{}:
		return "there is nothing in it."
	case v.Recoverable > 0:
		return things(v.Recoverable) + " recoverable: the go command creates it again; everything else is what the go command put there."
	}
	return "everything is what the go command put there."
}

func things(n int) string {
	if n == 1 {
		return "1 thing is"
	}
	return grouped(n) + " things are"
}

// checked prints what was checked.
func checked(w io.Writer, v integrity.Verdict, of caches.Flags) {
	_, _ = fmt.Fprintln(w)
	c := v.Counts
	width := max(len(of.ModCache), len(of.BuildCache), len(of.Store))
	row := func(name, path, format string, args ...any) {
		if path != "" {
			_, _ = fmt.Fprintf(w, "  %-12s  %-*s  %s\n", name, width, path, fmt.Sprintf(format, args...))
		}
	}
	known := ""
	if c.Raw > 0 {
		known = fmt.Sprintf(", %s of them as in the baseline", grouped(c.Raw))
	}
	row("module cache", of.ModCache, "%s versions: %s zips%s, %s extracted", grouped(c.Modules), grouped(c.Zips), known, grouped(c.Dirs))
	row("store", of.Store, "%s versions: %s zips%s", grouped(c.Modules), grouped(c.Zips), known)
	row("build cache", of.BuildCache, "%s entries", grouped(c.BuildEntries))
	rate := ""
	if v.DurationSeconds > 0 {
		rate = fmt.Sprintf(" (%s/s)", size(int64(float64(v.Bytes)/v.DurationSeconds)))
	}
	_, _ = fmt.Fprintf(w, "  %s hashed in %.1f s%s\n", size(v.Bytes), v.DurationSeconds, rate)
}

// section is what was found of one severity.
type section struct {
	title   string
	found   []integrity.Example
	counted map[integrity.Class]int // all there are, by class
}

// sections sorts what was found, the worst first.
func sections(v integrity.Verdict) []section {
	var out []section
	for _, s := range []struct {
		severity integrity.Severity
		title    string
		counted  map[integrity.Class]int
	}{
		{integrity.SeverityCorrupt, "Corrupt", v.Findings},
		{integrity.SeverityUnreadable, "Unreadable", v.Findings},
		{integrity.Recoverable, "Recoverable: the go command creates it again when it is needed", v.Findings},
		{integrity.Note, "Harmless, nothing to do", v.Notes},
	} {
		part := section{title: s.title, counted: s.counted}
		for _, e := range v.Examples {
			if e.Severity == s.severity.String() {
				part.found = append(part.found, e)
			}
		}
		if len(part.found) > 0 {
			out = append(out, part)
		}
	}
	return out
}

// few is how many of the harmless are shown.
const few = 3

func (s section) write(w io.Writer, v integrity.Verdict) {
	_, _ = fmt.Fprintf(w, "\n%s:\n", s.title)
	byClass := map[integrity.Class][]integrity.Example{}
	for _, e := range s.found {
		byClass[e.Class] = append(byClass[e.Class], e)
	}
	for _, c := range slices.Sorted(maps.Keys(byClass)) {
		shown := byClass[c]
		if s.found[0].Severity == integrity.Note.String() {
			shown = shown[:min(few, len(shown))]
		}
		_, _ = fmt.Fprintf(w, "  %s: %s\n", c, c.Meaning())
		for _, e := range shown {
			_, _ = fmt.Fprintf(w, "    %s %s%s\n", title(e.Cache), e.Path, detail(e))
		}
		if more := s.counted[c] - len(shown) - elsewhere(v, c, s); more > 0 {
			_, _ = fmt.Fprintf(w, "    and %s more\n", grouped(more))
		}
	}
}

// detail is what an example adds to the meaning of its class.
func detail(e integrity.Example) string {
	if e.Detail == "" || e.Class == integrity.Orphan {
		return ""
	}
	return ": " + e.Detail
}

// elsewhere counts the examples of a class that another section shows.
func elsewhere(v integrity.Verdict, c integrity.Class, s section) int {
	n := 0
	for _, e := range v.Examples {
		note := integrity.Note.String()
		if e.Class == c && e.Severity != s.found[0].Severity && e.Severity != note && s.found[0].Severity != note {
			n++
		}
	}
	return n
}

// advice lists what a user can do about a verdict other than Intact.
func advice(v integrity.Verdict, of caches.Flags) []string {
	var steps []string
	add := func(format string, args ...any) { steps = append(steps, fmt.Sprintf(format, args...)) }
	if v.Findings[integrity.ChecksumMismatch] > 0 {
		add("ChecksumMismatch: the module was forged, or published twice with different content. Find out which\n    before you remove it: keep a copy, and compare with the checksum database. A repair removes it.")
	}
	if v.Corrupt > 0 {
		add("%s\n    removes the corrupt and recoverable entries (with --dry-run it only reports them); the go command then creates them again.", command("repair", of))
	}
	if v.Corrupt > 0 && of.ModCache != "" {
		add("Let no build use the module cache while it is repaired. What is private or deleted upstream cannot be fetched\n    again: restore that from a snapshot.")
	}
	if v.Unreadable > 0 {
		add("For what could not be read: \"permission denied\" needs a user who may read it; \"input/output error\" is a disk\n    that fails: copy what can be read, and replace it. Then check again.")
	}
	if v.Verdict == integrity.Inconclusive && v.Unreadable == 0 {
		add("Fix the cause above and check again: an Inconclusive verdict proves nothing, neither good nor bad.")
	}
	return steps
}

// command is an agent's command on the same caches, to be copied to a shell.
func command(verb string, of caches.Flags) string {
	words := []string{"gocache-agent", verb}
	for _, f := range []struct{ flag, value string }{
		{"--modcache", of.ModCache}, {"--buildcache", of.BuildCache}, {"--store", of.Store}, {"--layout", of.Layout},
	} {
		if f.value != "" {
			words = append(words, f.flag, quoted(f.value))
		}
	}
	for _, name := range of.GoSum {
		words = append(words, "--gosum", quoted(name))
	}
	for _, key := range of.SumDB {
		words = append(words, "--sumdb", quoted(key))
	}
	if of.SumDBLatest != "" {
		words = append(words, "--sumdb-latest", quoted(of.SumDBLatest))
	}
	return strings.Join(words, " ")
}

// quoted is a word that a shell takes as it is.
func quoted(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
