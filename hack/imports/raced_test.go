package imports

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// concurrent are imports of what has goroutines of its own, or shares memory with some.
var concurrent = []string{"sync", "sync/atomic", "golang.org/x/sync/errgroup", "net/http/httptest"}

// TestRaced holds that of the processes beside the manager each package in which
// goroutines run is tested under the race detector: those that start some, in a test or
// not, and those that import such a package of ours.
func TestRaced(t *testing.T) {
	touch(t)
	processes := regexp.MustCompile(`/internal/(agent|domain|proxy|router)(/|$)`)
	raced := racedPackages(t)
	all := packages(t)
	starts := map[string]bool{}
	for _, p := range all {
		starts[p.ImportPath] = hasGoroutines(t, p.Dir, false)
	}
	seen := 0
	for _, p := range all {
		if !processes.MatchString(p.ImportPath) {
			continue
		}
		isRaced := raced.MatchString(p.ImportPath)
		if isRaced {
			seen++
		}
		for _, of := range append(slices.Clone(p.Deps), p.ImportPath) {
			if starts[of] && !isRaced {
				t.Errorf("%s is tested without the race detector, and %s has goroutines: add it to RACED in hack/make/test.mk", p.ImportPath, of)
			}
		}
		if !isRaced && hasGoroutines(t, p.Dir, true) {
			t.Errorf("%s is tested without the race detector, and its tests have goroutines: add it to RACED in hack/make/test.mk", p.ImportPath)
		}
	}
	if seen < 20 {
		t.Errorf("%d packages are tested under the race detector: %s does not match what it should", seen, raced)
	}
}

// racedPackages is the expression in hack/make/test.mk.
func racedPackages(t *testing.T) *regexp.Regexp {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "hack", "make", "test.mk"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^RACED := (.+)$`).FindSubmatch(text)
	if found == nil {
		t.Fatal("hack/make/test.mk sets no RACED")
	}
	return regexp.MustCompile(strings.ReplaceAll(string(found[1]), "$$", "$"))
}

// hasGoroutines reports whether the files of a package start goroutines, or import what
// has some: its tests, or all others.
func hasGoroutines(t *testing.T, dir string, tests bool) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") != tests {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool {
			return slices.Contains(concurrent, strings.Trim(i.Path.Value, `"`))
		})
		ast.Inspect(file, func(n ast.Node) bool {
			_, isGo := n.(*ast.GoStmt)
			call, isCall := n.(*ast.CallExpr)
			found = found || isGo || isCall && isParallel(call)
			return !found
		})
		if found {
			return true
		}
	}
	return false
}

// isParallel reports whether a call is t.Parallel().
func isParallel(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	return ok && selector.Sel.Name == "Parallel" && len(call.Args) == 0
}
