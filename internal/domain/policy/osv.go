package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

const (
	// MaxOSV bounds a text of documents in the OSV format, in bytes: no ConfigMap
	// is larger.
	MaxOSV = 1 << 20
	// maxReason and maxAliases bound what people see of an advisory, in characters.
	maxReason  = 200
	maxAliases = 48
	// maxPath is longer than the path of any module that can be downloaded.
	maxPath = 512
)

// document is what is read of a document in the OSV format. The types that the
// authors of the format publish need protobuf, and have no evaluation of ranges.
type document struct {
	ID        string   `json:"id"`
	Summary   string   `json:"summary"`
	Aliases   []string `json:"aliases"`
	Withdrawn string   `json:"withdrawn"`
	Affected  []struct {
		Package struct {
			Ecosystem string `json:"ecosystem"`
			Name      string `json:"name"`
		} `json:"package"`
		Ranges   []eventRange `json:"ranges"`
		Versions []string     `json:"versions"`
	} `json:"affected"`
}

type eventRange struct {
	Type   string `json:"type"`
	Events []struct {
		Introduced   string `json:"introduced"`
		Fixed        string `json:"fixed"`
		LastAffected string `json:"last_affected"`
		Limit        string `json:"limit"`
	} `json:"events"`
}

// identifiers of advisories are in texts for clients and in metrics.
var identifier = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9._:]{0,63}$`)

// ParseOSV reads one document in the OSV format, or a JSON array of them, and
// returns an advisory for each that is about modules. Left out are those that are
// withdrawn, packages of other ecosystems, and the standard library and the go
// command ("stdlib" and "toolchain"), which are no modules that a proxy serves.
//
// The error has the index and the ID of the document and the field, and no other
// content of the text.
func ParseOSV(text []byte) ([]Advisory, error) {
	if len(text) > MaxOSV {
		return nil, fmt.Errorf("it has %d bytes, of %d that are allowed", len(text), MaxOSV)
	}
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '[' {
		a, err := convert(text)
		if err != nil || len(a.Affected) == 0 {
			return nil, err
		}
		return []Advisory{a}, nil
	}
	var documents []json.RawMessage
	if err := json.Unmarshal(text, &documents); err != nil {
		return nil, withoutContent(err)
	}
	var all []Advisory
	for i, d := range documents {
		a, err := convert(d)
		if err != nil {
			return nil, fmt.Errorf("[%d] %w", i, err)
		}
		if len(a.Affected) > 0 {
			all = append(all, a)
		}
	}
	return all, nil
}

// withoutContent is an error of the JSON decoder without what it quotes.
func withoutContent(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("it is not valid JSON at byte %d", syntax.Offset)
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("it is no document in the OSV format: the value before byte %d has another type", kind.Offset)
	}
	return errors.New("it is not valid JSON")
}

// convert reads one document.
func convert(text []byte) (Advisory, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return Advisory{}, withoutContent(err)
	}
	if !identifier.MatchString(d.ID) {
		return Advisory{}, errors.New("it has no id such as GO-2026-0001")
	}
	a := Advisory{ID: d.ID}
	if d.Withdrawn != "" {
		return a, nil
	}
	for i, affected := range d.Affected {
		name := affected.Package.Name
		if affected.Package.Ecosystem != "Go" || name == "stdlib" || name == "toolchain" {
			continue
		}
		if name == "" || len(name) > maxPath {
			return a, fmt.Errorf("%s: affected[%d].package.name is no path of a module", d.ID, i)
		}
		versions, all, err := affectedVersions(affected.Ranges, affected.Versions)
		if err != nil {
			return a, fmt.Errorf("%s: affected[%d].%w", d.ID, i, err)
		}
		if all || len(versions) > 0 {
			a.Affected = append(a.Affected, Affected{Module: name, Versions: versions})
		}
	}
	a.Reason = reasonOf(d)
	return a, nil
}

// affectedVersions are the versions of a rule; all: each version is affected.
func affectedVersions(ranges []eventRange, single []string) (versions []string, all bool, err error) {
	usable := 0
	for i, r := range ranges {
		if r.Type != "SEMVER" && r.Type != "ECOSYSTEM" { // the ecosystem's order is the same
			continue // commits: the versions that have them are in no file of a module
		}
		usable++
		spans, err := spansOf(r)
		if err != nil {
			return nil, false, fmt.Errorf("ranges[%d].%w", i, err)
		}
		versions = append(versions, spans...)
	}
	if usable == 0 && len(ranges) > 0 && len(single) == 0 {
		return nil, false, errors.New("ranges has only commits: add a range of type SEMVER, or versions")
	}
	for i, text := range single {
		v := module.CanonicalVersion(withV(text))
		if v == "" {
			return nil, false, fmt.Errorf("versions[%d] is no version such as 1.2.3", i)
		}
		versions = append(versions, v)
	}
	if len(ranges)+len(single) == 0 || slices.Contains(versions, "") {
		return nil, true, nil
	}
	return versions, false, nil
}

// event is one of a range, at a version; an empty version is before all others.
type event struct {
	version string
	kind    kind
}

type kind int

const (
	introduced kind = iota
	fixed
	lastAffected
	limit
)

// eventsOf are the events of a range, in the order of their versions.
func eventsOf(r eventRange) (events []event, err error) {
	unlimited := false
	for i, e := range r.Events {
		for _, at := range []event{{e.Introduced, introduced}, {e.Fixed, fixed}, {e.LastAffected, lastAffected}, {e.Limit, limit}} {
			switch {
			case at.version == "":
				continue
			case at == event{"*", limit}:
				unlimited = true
				continue
			case at == event{"0", introduced}:
				at.version = ""
			case semver.IsValid(withV(at.version)) && at.version != "0":
				at.version = withV(at.version)
			default:
				return nil, fmt.Errorf("events[%d] has no version such as 1.2.3", i)
			}
			events = append(events, at)
		}
	}
	if unlimited {
		events = slices.DeleteFunc(events, func(e event) bool { return e.kind == limit })
	}
	slices.SortStableFunc(events, func(a, b event) int {
		if order := semver.Compare(a.version, b.version); order != 0 {
			return order
		}
		switch { // last_affected holds after its version, and so after others of that version
		case a.kind == b.kind:
			return 0
		case a.kind == lastAffected:
			return 1
		case b.kind == lastAffected:
			return -1
		}
		return 0
	})
	return events, nil
}

// spansOf are the versions of a range as comparisons; "": all versions. It is the
// evaluation that the format defines: sorted by version, each event holds from its
// version on, last_affected after it, and the last one that holds decides. Versions
// at or above all limits are not affected.
func spansOf(r eventRange) (spans []string, err error) {
	events, err := eventsOf(r)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(events, func(e event) bool { return e.kind == introduced }) {
		return nil, errors.New("events has no introduced")
	}
	end := "" // below which versions are affected; empty: there is no limit
	for _, e := range events {
		if e.kind == limit {
			end = " <" + e.version
		}
	}
	from, open := "", false
	add := func(to string) {
		span := to + end
		if from != "" {
			span = ">=" + from + " " + span
		}
		spans = append(spans, strings.TrimSpace(span))
	}
	for _, e := range events {
		switch e.kind {
		case introduced:
			if !open {
				from, open = e.version, true
			}
		case fixed:
			if open && semver.Compare(from, e.version) < 0 {
				add("<" + e.version)
			}
			open = false
		case lastAffected:
			if open {
				add("<=" + e.version)
			}
			open = false
		case limit:
		}
	}
	if open {
		add("")
	}
	return spans, nil
}

// withV is a version of the format, which has no leading v, as the go command
// writes it. Some documents have the v all the same.
func withV(version string) string { return "v" + strings.TrimPrefix(version, "v") }

// reasonOf is what people see of an advisory: other names that it has, and its
// summary. Its text comes from elsewhere, and is printed on terminals.
func reasonOf(d document) string {
	names, length := []string{}, 0
	for _, alias := range d.Aliases {
		if length += len(alias) + 2; length <= maxAliases && identifier.MatchString(alias) {
			names = append(names, alias)
		}
	}
	summary := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, d.Summary)
	summary = strings.Join(strings.Fields(summary), " ")
	if runes := []rune(summary); len(runes) > maxReason {
		summary = string(runes[:maxReason-1]) + "…"
	}
	parts := []string{strings.Join(names, ", "), summary}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}
