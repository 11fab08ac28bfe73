package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCommandsExist asserts that every make target and every test which a page
// names exists.
func TestCommandsExist(t *testing.T) {
	targets := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "hack", "make", "*.mk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, filepath.Join(root, "Makefile")) {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`).FindAllStringSubmatch(string(text), -1) {
			targets[m[1]] = true
		}
	}
	tests := testNames(t)

	code := regexp.MustCompile("(?s)```.*?```|`[^`\n]+`")
	command := regexp.MustCompile(`(?m)(?:^|[=\w] |\x60)make((?: [a-z][a-z0-9-]*)+)`)
	test := regexp.MustCompile(`\bTest[A-Z]\w*`)
	named := 0
	for _, page := range pagesOf(t) {
		for _, span := range code.FindAllString(read(t, page), -1) {
			for _, m := range command.FindAllStringSubmatch(span, -1) {
				for _, target := range strings.Fields(m[1]) {
					named++
					if !targets[target] {
						t.Errorf("%s names make %s, which does not exist", page, target)
					}
				}
			}
			for _, name := range test.FindAllString(span, -1) {
				named++
				if !tests[name] {
					t.Errorf("%s names %s, which does not exist", page, name)
				}
			}
		}
	}
	if named < 40 {
		t.Errorf("the pages name %d commands and tests only", named)
	}
}

// testNames are the names of all tests.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(`)
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && e.Name() == ".git" {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
