package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// allScopes lists the kinds of text that are checked.
var allScopes = []string{"prose", "field", "doc", "comment", "message", "name"}

// rule replaces one term.
type rule struct {
	// Term names the rule.
	Term string `json:"term"`
	// Pattern is a regular expression that finds the term. It ignores case,
	// unless CaseSensitive is set, and a space in it stands for any white space.
	// The default is Term as a word of its own.
	Pattern string `json:"pattern,omitempty"`
	// CaseSensitive makes Pattern distinguish upper and lower case.
	CaseSensitive bool `json:"caseSensitive,omitempty"`
	// Use is the replacement.
	Use string `json:"use"`
	// Reason is why.
	Reason string `json:"reason"`
	// Scopes that the rule checks; "text" is all but name.
	Scopes []string `json:"scopes"`
	// Path is a regular expression that limits the rule to some files.
	Path string `json:"path,omitempty"`
	// Example is a text with a finding. For names it is the words of a name.
	Example string `json:"example"`
	// Except lists what is allowed.
	Except []exception `json:"except,omitempty"`

	pattern, path *regexp.Regexp
}

// exception allows the findings that lie within a match of Match in a file that
// matches Path. One of both may be empty.
type exception struct {
	Match  string `json:"match,omitempty"`
	Path   string `json:"path,omitempty"`
	Reason string `json:"reason"`

	match, path *regexp.Regexp
}

// load reads the rules. A rule without a replacement, a reason, a scope or an
// example is an error.
func load(file string) ([]rule, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var rules []rule
	if err := yaml.UnmarshalStrict(data, &rules); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i := range rules {
		if err := rules[i].compile(); err != nil {
			return nil, fmt.Errorf("%s: rule %d (%s): %w", file, i+1, rules[i].Term, err)
		}
	}
	return rules, nil
}

func (r *rule) compile() error {
	if r.Term == "" || r.Use == "" || r.Reason == "" || r.Example == "" {
		return fmt.Errorf("term, use, reason and example are required")
	}
	if i := slices.Index(r.Scopes, "text"); i >= 0 {
		r.Scopes = slices.Replace(r.Scopes, i, i+1, "prose", "field", "doc", "comment", "message")
	}
	if len(r.Scopes) == 0 {
		return fmt.Errorf("scopes are required")
	}
	for _, scope := range r.Scopes {
		if !slices.Contains(allScopes, scope) {
			return fmt.Errorf("there is no scope %q: use text, %s", scope, strings.Join(allScopes, ", "))
		}
	}
	if r.Pattern == "" {
		r.Pattern = `\b` + regexp.QuoteMeta(r.Term) + `\b`
	}
	var err error
	if r.pattern, err = expression(r.Pattern, !r.CaseSensitive); err != nil {
		return err
	}
	if r.path, err = expression(r.Path, false); err != nil {
		return err
	}
	for i := range r.Except {
		e := &r.Except[i]
		if e.Reason == "" || e.Match == "" && e.Path == "" {
			return fmt.Errorf("an exception needs a reason, and a match or a path")
		}
		if e.match, err = expression(e.Match, true); err != nil {
			return err
		}
		if e.path, err = expression(e.Path, false); err != nil {
			return err
		}
	}
	return nil
}

func expression(text string, ignoreCase bool) (*regexp.Regexp, error) {
	text = strings.ReplaceAll(text, " ", `\s+`)
	if ignoreCase {
		text = "(?i)" + text
	}
	return regexp.Compile(text)
}
