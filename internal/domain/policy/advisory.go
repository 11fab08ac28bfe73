package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// Advisory denies the versions of modules that it is about.
type Advisory struct {
	// ID is that of the advisory, such as GO-2026-0001.
	ID       string     `json:"id"`
	Affected []Affected `json:"affected"`
	// Reason is for people whose request is refused.
	Reason string `json:"reason,omitempty"`
}

// Affected are versions of one module.
type Affected struct {
	// Module is its whole path. It is compared in any case of letters, as the
	// patterns of deny rules are.
	Module string `json:"module"`
	// Versions as those of a [Rule]; none: all.
	Versions []string `json:"versions,omitempty"`
}

func (a *Advisory) rule() string { return "advisory/" + a.ID }

// advised are the versions of one module that an advisory is about.
type advised struct {
	rule, reason string
	ranges       []versions
}

func (p *Policy) prepareAdvisories() error {
	p.advised = map[string][]advised{}
	for i := range p.Advisories {
		a := &p.Advisories[i]
		if a.ID == "" {
			return fmt.Errorf("advisories[%d]: id is empty", i)
		}
		for n, affected := range a.Affected {
			entry, err := affected.prepare()
			if err != nil {
				return fmt.Errorf("advisories[%s].affected[%d]: %w", a.ID, n, err)
			}
			entry.rule, entry.reason = a.rule(), a.Reason
			path := strings.ToLower(affected.Module)
			p.advised[path] = append(p.advised[path], entry)
		}
	}
	return nil
}

func (a Affected) prepare() (advised, error) {
	var entry advised
	if a.Module == "" {
		return entry, errors.New("module is empty")
	}
	for i, text := range a.Versions {
		v, err := parseVersions(text)
		if err != nil {
			return entry, fmt.Errorf("versions[%d]: %w", i, err)
		}
		entry.ranges = append(entry.ranges, v)
	}
	return entry, nil
}

// advise is the decision of the advisories.
func (p *Policy) advise(m module.Version) Decision {
	for _, a := range p.advised[strings.ToLower(m.Path)] {
		reason := a.reason
		if reason == "" {
			reason = "an advisory is about it"
		}
		if len(a.ranges) == 0 {
			return Decision{a.rule, reason}
		}
		for _, v := range a.ranges {
			if !v.match(m.Version) {
				continue
			}
			if i := slices.IndexFunc(v, func(c comparison) bool { return c.operator == "<" }); i >= 0 {
				reason += "; fixed in " + v[i].version
			}
			return Decision{a.rule, reason}
		}
	}
	return Decision{}
}
