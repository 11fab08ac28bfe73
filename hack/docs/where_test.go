package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPathsExist asserts that every path which a page names exists. Decision
// records are left out: they name what existed then.
func TestPathsExist(t *testing.T) {
	path := regexp.MustCompile("`((?:api|config|controllers|docs|hack|internal|test)/[^`<>* ]*)`")
	for _, page := range pagesOf(t) {
		if strings.HasPrefix(page, "docs/design/adr/0") || strings.HasPrefix(page, "hack/") || page == "CHANGELOG.md" {
			continue
		}
		named := path.FindAllStringSubmatch(read(t, page), -1)
		if page == "docs/design/where.md" && len(named) < 20 {
			t.Errorf("%s names %d paths only", page, len(named))
		}
		for _, m := range named {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names %s, which does not exist", page, m[1])
			}
		}
	}
	rows := strings.Count(read(t, "docs/design/where.md"), "\n| ")
	if rows < 20 {
		t.Errorf("docs/design/where.md has %d rows", rows)
	}
}

// TestStepsExist asserts that the steps which docs/operate/volume-replacement.md
// names are steps of a volume replacement.
func TestStepsExist(t *testing.T) {
	steps := read(t, "internal/plan/replacement/decision.go")
	_, table, _ := strings.Cut(read(t, "docs/operate/volume-replacement.md"), "\n## Steps\n")
	table, _, _ = strings.Cut(table, "\n## ")
	named := 0
	for _, row := range regexp.MustCompile("(?m)^\\| (`[A-Z].*?) \\|").FindAllStringSubmatch(table, -1) {
		for _, m := range regexp.MustCompile("`([A-Z][A-Za-z]+)`").FindAllStringSubmatch(row[1], -1) {
			named++
			if !strings.Contains(steps, `Step = "`+m[1]+`"`) {
				t.Errorf("docs/operate/volume-replacement.md names the step %s, which does not exist", m[1])
			}
		}
	}
	if named < 4 {
		t.Errorf("docs/operate/volume-replacement.md names %d steps", named)
	}
}
