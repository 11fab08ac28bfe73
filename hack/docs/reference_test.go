package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReferenceIsComplete compares the pages below docs/reference with the
// text of the sources, read without the parser that makes the pages: nothing
// that a user can meet is missing, and nothing else is listed.
func TestReferenceIsComplete(t *testing.T) {
	s, err := parseSources(root)
	if err != nil {
		t.Fatal(err)
	}
	api := read(t, "api/v1alpha1/condition_types.go")
	var text strings.Builder
	for _, f := range s.files {
		text.WriteString(read(t, f.path))
	}
	for page, want := range map[string][]string{
		"conditions": all(api, `(?m)^\t(?:Reason\w+|\w+Condition) += "(\w+)"`),
		"events":     all(text.String(), `event\.(?:Normal|Warning)\("(\w+)"`),
		"metrics":    all(text.String(), `"(gocache_(?:proxy|router|store|unpopulated)_[a-z_]+)"`),
		"labels":     all(read(t, "api/v1alpha1/metadata.go"), `= GroupName \+ "/([a-z-]+)"`),
	} {
		if len(want) < 10 {
			t.Errorf("%s: found %d names in the sources only: %v", page, len(want), want)
		}
		listed := read(t, "docs/reference/"+page+".md")
		for _, name := range want {
			if !strings.Contains(listed, name+"`") {
				t.Errorf("docs/reference/%s.md lacks %s: run make generate", page, name)
			}
		}
		made, err := listings[page](s)
		if err != nil {
			t.Errorf("%s: %v", page, err)
			continue
		}
		known := rowNames(made)
		for name := range rowNames(listed) {
			if !known[name] {
				t.Errorf("docs/reference/%s.md lists %s, which does not exist: run make generate", page, name)
			}
		}
		for name := range known {
			if !rowNames(listed)[name] {
				t.Errorf("docs/reference/%s.md lacks %s: run make generate", page, name)
			}
		}
	}
}

// TestReasonsOfEventsExist asserts that what reasonsOf lists by hand is a
// reason of the API.
func TestReasonsOfEventsExist(t *testing.T) {
	api := read(t, "api/v1alpha1/condition_types.go")
	for event, reasons := range reasonsOf {
		for _, r := range reasons {
			if !strings.Contains(r, " ") && !strings.Contains(api, `"`+r+`"`) {
				t.Errorf("%s: %s is no reason of a condition", event, r)
			}
		}
	}
}

// TestUnknownReasonIsRefused asserts that an event whose reason cannot be found
// in the sources stops the generation.
func TestUnknownReasonIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, d := range programs {
		if err := os.MkdirAll(filepath.Join(dir, d, "gocache"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "controllers", "gocache", "events.go")
	for code, refused := range map[string]bool{
		`var _ = event.Normal("Known", "Act", "Did %d of %s", 1, "x")`: false,
		`var _ = event.Normal(reason(), "Act", "Did")`:                 true,
	} {
		if err := os.WriteFile(file, []byte("package gocache\n"+code+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := parseSources(dir)
		if err != nil {
			t.Fatal(err)
		}
		table, err := events(s)
		if (err != nil) != refused {
			t.Errorf("%s: %v", code, err)
		}
		if !refused && !strings.Contains(table, "| `Known` | Normal | Did … of … |") {
			t.Errorf("no row in\n%s", table)
		}
	}
}

// all are the distinct first groups of an expression in a text.
func all(text, expression string) []string {
	seen := map[string]bool{}
	var names []string
	for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(text, -1) {
		if !seen[m[1]] {
			seen[m[1]] = true
			names = append(names, m[1])
		}
	}
	return names
}

var row = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

// rowNames are the names in the first column of the tables of a page.
func rowNames(page string) map[string]bool {
	names := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		names[m[1]] = true
	}
	return names
}

// TestTroubleshootingNamesWhatExists asserts that the conditions, reasons and
// events in the first column of the tables of docs/troubleshoot exist.
func TestTroubleshootingNamesWhatExists(t *testing.T) {
	known := rowNames(read(t, "docs/reference/conditions.md"))
	for name := range rowNames(read(t, "docs/reference/events.md")) {
		known[name] = true
	}
	first := regexp.MustCompile("(?m)^\\| ([^|]*`[A-Z][^|]*) \\|")
	name := regexp.MustCompile("`([A-Z][A-Za-z]+)`")
	_, text, _ := strings.Cut(read(t, "docs/troubleshoot/README.md"), "\n## All kinds\n")
	named := 0
	for _, row := range first.FindAllStringSubmatch(text, -1) {
		for _, m := range name.FindAllStringSubmatch(row[1], -1) {
			if strings.ToUpper(m[1]) == m[1] || strings.Contains(row[1], "volumeBindingMode") {
				continue // a column of kubectl get, or a field of another API
			}
			named++
			if !known[m[1]] {
				t.Errorf("docs/troubleshoot/README.md names %s, which is no condition, reason or event", m[1])
			}
		}
	}
	if named < 60 {
		t.Errorf("docs/troubleshoot/README.md names %d conditions, reasons and events only", named)
	}
}
