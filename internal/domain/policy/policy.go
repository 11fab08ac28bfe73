package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// Mode is what a decision leads to.
type Mode string

// The modes.
const (
	// Enforce refuses what the rules refuse.
	Enforce Mode = "Enforce"
	// DryRun serves it, and reports what would be refused.
	DryRun Mode = "DryRun"
)

// Names of the rules that have none of their own, in decisions.
const (
	AllowRule      = "allow"
	MinimumAgeRule = "minimumAge"
)

// MaxSize bounds the text of a policy, in bytes: a ConfigMap holds it.
const MaxSize = 900 << 10

// Policy is what a proxy serves.
type Policy struct {
	Mode Mode   `json:"mode"`
	Deny []Rule `json:"deny,omitempty"`
	// Advisories deny the versions that they are about.
	Advisories []Advisory `json:"advisories,omitempty"`
	Allow      []Rule     `json:"allow,omitempty"`
	// MinimumAge of a version; empty: any. In the syntax of time.ParseDuration.
	MinimumAge string `json:"minimumAge,omitempty"`
	// MinimumAgeExempt are patterns of modules that may be younger.
	MinimumAgeExempt []string `json:"minimumAgeExempt,omitempty"`
	// Vetted are versions, as MODULE@VERSION, that may be younger.
	Vetted []string `json:"vetted,omitempty"`

	minimumAge time.Duration
	exempt     string
	vetted     map[string]bool
	// advised is what the advisories are about, by the path in lower case: there
	// may be thousands, and a list asks for each of its versions.
	advised map[string][]advised
}

// Rule matches versions of modules.
type Rule struct {
	Name     string   `json:"name"`
	Modules  []string `json:"modules"`
	Versions []string `json:"versions,omitempty"`
	// Reason is for people whose request is refused.
	Reason string `json:"reason,omitempty"`

	patterns string
	// folded: paths match in any case of letters.
	folded bool
	ranges []versions
}

// Decision is whether a version is served. The zero value is that it is.
type Decision struct {
	// Rule that refuses it: deny/NAME, advisory/ID, [AllowRule] or [MinimumAgeRule].
	Rule string
	// Reason is a sentence for people.
	Reason string
}

// Refused reports whether the version is not served.
func (d Decision) Refused() bool { return d.Rule != "" }

// Parse reads a policy. The error names the field that is wrong.
func Parse(text []byte) (*Policy, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("the policy has %d bytes, of %d that are allowed: use patterns in place of single modules, and only advisories on modules that clients use", len(text), MaxSize)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var p Policy
	if err := decoder.Decode(&p); err != nil {
		return nil, fmt.Errorf("the policy is not valid JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the policy is followed by other text")
	}
	return &p, p.prepare()
}

// Format writes a policy as Parse reads it.
func (p *Policy) Format() ([]byte, error) { return json.Marshal(p) }

func (p *Policy) prepare() error {
	if p.Mode != Enforce && p.Mode != DryRun {
		return fmt.Errorf("mode %q is neither %s nor %s", p.Mode, Enforce, DryRun)
	}
	// Hosts of repositories ignore the case of letters, so that a module has a path for
	// each way of writing it. A deny rule is for all of them.
	for i := range p.Deny {
		p.Deny[i].folded = true
	}
	for list, rules := range map[string][]Rule{"deny": p.Deny, "allow": p.Allow} {
		for i := range rules {
			if err := rules[i].prepare(); err != nil {
				return fmt.Errorf("%s[%s].%w", list, rules[i].Name, err)
			}
		}
	}
	if err := p.prepareAdvisories(); err != nil {
		return err
	}
	if p.MinimumAge != "" {
		age, err := time.ParseDuration(p.MinimumAge)
		if err != nil || age <= 0 {
			return fmt.Errorf("minimumAge %q is no duration such as 168h", p.MinimumAge)
		}
		p.minimumAge = age
	}
	for i, pattern := range p.MinimumAgeExempt {
		if err := checkPattern(pattern); err != nil {
			return fmt.Errorf("minimumAgeExempt[%d]: %w", i, err)
		}
	}
	p.exempt = strings.Join(p.MinimumAgeExempt, ",")
	p.vetted = map[string]bool{}
	for _, v := range p.Vetted {
		p.vetted[v] = true
	}
	return nil
}

func (r *Rule) prepare() error {
	if len(r.Modules) == 0 {
		return errors.New("modules is empty: name at least one pattern")
	}
	for i, pattern := range r.Modules {
		if err := checkPattern(pattern); err != nil {
			return fmt.Errorf("modules[%d]: %w", i, err)
		}
	}
	r.patterns = r.fold(strings.Join(r.Modules, ","))
	for i, text := range r.Versions {
		v, err := parseVersions(text)
		if err != nil {
			return fmt.Errorf("versions[%d]: %w", i, err)
		}
		r.ranges = append(r.ranges, v)
	}
	return nil
}

// checkPattern is what the go command would silently never match.
func checkPattern(pattern string) error {
	_, err := path.Match(pattern, "")
	if err != nil || pattern == "" || strings.ContainsAny(pattern, ", \t\r\n") || strings.HasPrefix(pattern, "/") {
		return fmt.Errorf("%q is no pattern of module paths, such as example.com/m or *.example.com", pattern)
	}
	return nil
}

// Rules are the names of all rules, as decisions have them.
func (p *Policy) Rules() map[string]bool {
	names := map[string]bool{AllowRule: true, MinimumAgeRule: true}
	for _, r := range p.Deny {
		names[denyRule(r)] = true
	}
	for i := range p.Advisories {
		names[p.Advisories[i].rule()] = true
	}
	return names
}

func denyRule(r Rule) string { return "deny/" + r.Name }

// Decide is the decision of the lists. The age is decided by [Policy.Young].
func (p *Policy) Decide(m module.Version) Decision {
	for _, r := range p.Deny {
		if r.matches(m) {
			reason := r.Reason
			if reason == "" {
				reason = "it is denied"
			}
			return Decision{denyRule(r), reason}
		}
	}
	if d := p.advise(m); d.Refused() {
		return d
	}
	for _, r := range p.Allow {
		if r.matches(m) {
			return Decision{}
		}
	}
	if len(p.Allow) == 0 {
		return Decision{}
	}
	return Decision{AllowRule, "no allow rule matches it"}
}

// AgeOf is the age that a version must have; 0: any.
func (p *Policy) AgeOf(m module.Version) time.Duration {
	if module.MatchPrefixPatterns(p.exempt, m.Path) || p.vetted[m.String()] {
		return 0
	}
	return p.minimumAge
}

// Young is the decision on a version that was published at a time; zero: that is
// not known. It may differ from Decide's only by the age.
func (p *Policy) Young(m module.Version, published, now time.Time) Decision {
	minimum := p.AgeOf(m)
	if minimum == 0 {
		return Decision{}
	}
	if published.IsZero() {
		return Decision{MinimumAgeRule, fmt.Sprintf("its age is not known, and versions must be at least %s old", short(minimum))}
	}
	if now.Sub(published) >= minimum {
		return Decision{}
	}
	return Decision{MinimumAgeRule, fmt.Sprintf("it is of %s, and versions must be at least %s old: it is served from %s",
		published.UTC().Format(time.RFC3339), short(minimum), published.Add(minimum).UTC().Format(time.RFC3339))}
}

// short writes whole hours as users do.
func short(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

// fold is a text in the case of letters in which paths and patterns are compared.
func (r Rule) fold(text string) string {
	if r.folded {
		return strings.ToLower(text)
	}
	return text
}

func (r Rule) matches(m module.Version) bool {
	if !module.MatchPrefixPatterns(r.patterns, r.fold(m.Path)) {
		return false
	}
	for _, v := range r.ranges {
		if v.match(m.Version) {
			return true
		}
	}
	return len(r.ranges) == 0
}

// versions are comparisons that must all hold.
type versions []comparison

type comparison struct{ operator, version string }

var operators = []string{"<=", ">=", "<", ">", "="}

func parseVersions(text string) (versions, error) {
	var all versions
	for _, field := range strings.Fields(text) {
		c := comparison{"=", field}
		for _, operator := range operators {
			if rest, ok := strings.CutPrefix(field, operator); ok {
				c = comparison{operator, rest}
				break
			}
		}
		if !semver.IsValid(c.version) || c.operator == "=" && module.CanonicalVersion(c.version) != c.version {
			return nil, fmt.Errorf("%q is no version such as v1.2.3, and no range such as \">=v1.2.0 <v1.4.0\"", text)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("it is empty: name a version such as v1.2.3")
	}
	return all, nil
}

func (v versions) match(version string) bool {
	for _, c := range v {
		order := semver.Compare(version, c.version)
		holds := map[string]bool{"=": order == 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[c.operator]
		if !holds {
			return false
		}
	}
	return true
}
