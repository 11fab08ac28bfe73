package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func rulesOf(t *testing.T) []rule {
	t.Helper()
	rules, err := load("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// TestRules holds that each rule finds its own example.
func TestRules(t *testing.T) {
	rules := rulesOf(t)
	for i := range rules {
		r := rules[i]
		for _, scope := range r.Scopes {
			found := text{file: "internal/plan/x/x.go", scope: scope, line: 1, content: r.Example}.check([]rule{r})
			if len(found) != 1 {
				t.Errorf("rule %q, scope %s: %d findings in its example %q", r.Term, scope, len(found), r.Example)
			}
		}
	}
}

var tree = fstest.MapFS{
	"README.md": {Data: []byte("# Title\n\nThe drill and\nthe `claim` of the\nclaim. [claims](docs/claim.md)\n\n" +
		"```\nthe claim\n```\n\n    the claim\n\n<!-- generated: spec -->\nthe claim\n<!-- end -->\n")},
	"docs/page.md":    {Data: []byte("What is stale is removed. What is it?\n\n| wrong |\n")},
	"test/note.md":    {Data: []byte("a claim\n")},
	"bin/note.go":     {Data: []byte("no Go")},
	"api/v1/types.go": {Data: []byte("package v1\n\n// Cache is a claim.\n// +kubebuilder:printcolumn:name=\"Canaries\",type=string,JSONPath=`.spec.claim`\ntype Cache struct {\n\t// size of the claim.\n\tSize int `json:\"drillSize\"`\n}\n")},
	"internal/a_cut.go": {Data: []byte("// Package a is a claim.\npackage a\n\nimport \"fmt\"\n\n// Run tells something:\n//\n//\tclaim code\nfunc Run() error {\n\t// It tells.\n\tswapDone := \"InstanceConvicted\"\n" +
		"\treturn fmt.Errorf(\"the claim %s\\nis torn\", swapDone)\n}\n")},
	"internal/b.go": {Data: []byte("package b\n\n// Claim is a volume of a claim.\ntype Claim struct {\n\t// Claim of the claim.\n\tClaim string\n}\n\n" +
		"// claim is one more.\nconst (\n\tclaim = 1\n)\n\n// claim returns a claim.\nfunc other() {}\n")},
	"internal/a_test.go": {Data: []byte("package a\n\nfunc TestItIsTold() { _ = \"the claim\" }\n")},
}

func TestCheck(t *testing.T) {
	texts, err := collect(tree, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range check(rulesOf(t), texts, allScopes) {
		got = append(got, strings.SplitN(f.String(), ": use ", 2)[0])
	}
	want := []string{
		`README.md:3: prose: "drill"`,
		`README.md:5: prose: "claim"`,
		`README.md:5: prose: "claims"`,
		`api/v1/types.go:3: field: "claim"`,
		`api/v1/types.go:4: message: "Canaries"`,
		`api/v1/types.go:6: field: "claim"`,
		`api/v1/types.go:7: name: "json:\"drillSize\""`,
		`docs/page.md:1: prose: "What is stale is removed."`,
		`docs/page.md:3: prose: "| wrong"`,
		`internal/a_cut.go:1: name: "a_cut.go"`,
		`internal/a_cut.go:1: doc: "claim"`,
		`internal/a_cut.go:6: doc: "tells"`,
		`internal/a_cut.go:10: comment: "tells"`,
		`internal/a_cut.go:11: name: "swapDone"`,
		`internal/a_cut.go:11: name: "InstanceConvicted"`,
		`internal/a_cut.go:12: message: "claim"`,
		`internal/a_cut.go:12: message: "torn"`,
		`internal/a_test.go:3: name: "TestItIsTold"`,
		`internal/b.go:3: doc: "claim"`,
		`internal/b.go:5: doc: "claim"`,
		`internal/b.go:14: comment: "claim"`,
		`internal/b.go:14: comment: "claim"`,
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAllowed lists what looks like a finding and is none.
func TestAllowed(t *testing.T) {
	rules := rulesOf(t)
	for scope, contents := range map[string][]string{
		"prose": {
			"A bit flip was found.", "there is room for one clone", "if you want to", "people who use it",
			"the whole cache", "a PersistentVolumeClaim", "What does it cost?", "known faults", "wrong answers",
			`the intermediate PVC ("PVC prime" in the populator library)`,
		},
		"message": {"got %d, want %d", "unknown field"},
		"name":    {words("claimName"), words("got"), words("want"), words("recommended"), words("PersistentVolumeClaim")},
	} {
		for _, content := range contents {
			for _, f := range (text{file: "x.go", scope: scope, line: 1, content: content}).check(rules) {
				t.Errorf("%s: %q: %s", scope, content, f)
			}
		}
	}
}

func TestSplitWords(t *testing.T) {
	for name, want := range map[string]string{
		"AwaitCut": "await cut", "PVCName": "pvc name", "testHTTPServer2": "test http server ", "a_b-c.d": "a b c d",
	} {
		if got := words(name); got != want {
			t.Errorf("words(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestBadRule(t *testing.T) {
	for name, r := range map[string]rule{
		"no reason":    {Term: "a", Use: "b", Example: "a", Scopes: []string{"name"}},
		"no scope":     {Term: "a", Use: "b", Reason: "c", Example: "a"},
		"other scope":  {Term: "a", Use: "b", Reason: "c", Example: "a", Scopes: []string{"code"}},
		"bad pattern":  {Term: "a", Use: "b", Reason: "c", Example: "a", Scopes: []string{"name"}, Pattern: "("},
		"no exception": {Term: "a", Use: "b", Reason: "c", Example: "a", Scopes: []string{"name"}, Except: []exception{{Reason: "d"}}},
	} {
		if r.compile() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSummary(t *testing.T) {
	rules := rulesOf(t)
	texts, err := collect(tree, []string{"README.md"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	summarize(&out, check(rules, texts, []string{"prose"}))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 || strings.Join(strings.Fields(lines[3]), " ") != "all 3 0 0 0 0 0 3" {
		t.Errorf("summary:\n%s", out.String())
	}
}
