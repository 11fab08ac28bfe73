package main

import (
	"go/ast"
	"io/fs"
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
}

// longestCell is how many bytes a cell of docs/design/where.md may have: a longer one
// is not read, and is better split into rows.
const longestCell = 500

// TestWhereNamesExist asserts that the names of Go and the files without a folder which
// docs/design/where.md has exist: a name in a file or folder that is named with it, any
// other anywhere.
func TestWhereNamesExist(t *testing.T) {
	const page = "docs/design/where.md"
	declared, files := declarations(t)
	name := regexp.MustCompile("`((?:[A-Za-z_]\\w*\\.)*([A-Za-z_]\\w*))`") // the second group is its last part
	within := regexp.MustCompile("((?:`[A-Za-z_][\\w.]*`(?:, | and )?)+) in `([^`]+)`")
	rows, names := 0, 0
	for _, row := range strings.Split(read(t, page), "\n") {
		if !strings.HasPrefix(row, "| ") {
			continue
		}
		rows++
		for _, cell := range strings.Split(strings.Trim(row, "| "), " | ") {
			if len(cell) > longestCell {
				t.Errorf("%s has a cell of %d bytes: split it into rows: %.80s", page, len(cell), cell)
			}
		}
		for _, m := range within.FindAllStringSubmatch(row, -1) {
			text, place := contents(t, m[2]), m[2]
			for _, of := range name.FindAllStringSubmatch(m[1], -1) {
				names++
				if !regexp.MustCompile(`\b` + of[2] + `\b`).MatchString(text) {
					t.Errorf("%s names %s in %s, which does not have it", page, of[1], place)
				}
			}
		}
		for _, m := range name.FindAllStringSubmatch(within.ReplaceAllString(row, ""), -1) {
			names++
			if !declared[m[2]] && !files[m[1]] && !strings.HasPrefix(m[1], "Test") { // of tests: TestCommandsExist
				t.Errorf("%s names %s, which is neither declared nor a file", page, m[1])
			}
		}
	}
	if rows < 20 || names < 100 {
		t.Errorf("%s has %d rows with %d names", page, rows, names)
	}
}

// declarations are all names that Go files of the programs declare, those of their
// fields in the API too, and the names of all files.
func declarations(t *testing.T) (declared, files map[string]bool) {
	t.Helper()
	declared, files = map[string]bool{}, map[string]bool{}
	parsed, err := parseSources(root)
	if err != nil {
		t.Fatal(err)
	}
	tag := regexp.MustCompile(`json:"([a-zA-Z]+)`)
	for _, f := range parsed.files {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				declared[n.Name.Name] = true
			case *ast.TypeSpec:
				declared[n.Name.Name] = true
			case *ast.ValueSpec:
				for _, name := range n.Names {
					declared[name.Name] = true
				}
			case *ast.Field:
				for _, name := range n.Names {
					declared[name.Name] = true
				}
				if n.Tag != nil {
					if m := tag.FindStringSubmatch(n.Tag.Value); m != nil {
						declared[m[1]] = true
					}
				}
			}
			return true
		})
	}
	for _, dir := range []string{"api", "config", "controllers", "hack", "internal", "test"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(_ string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				files[e.Name()] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return declared, files
}

// contents of a file, or of the Go files of a folder; empty if it does not exist.
func contents(t *testing.T, path string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, path))
	if err != nil || len(found) == 0 {
		return ""
	}
	if info, err := os.Stat(found[0]); err == nil && info.IsDir() {
		if found, err = filepath.Glob(filepath.Join(found[0], "*.go")); err != nil {
			t.Fatal(err)
		}
	}
	text := ""
	for _, name := range found {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text += string(data)
	}
	return text
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
