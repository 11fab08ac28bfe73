package warm_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

// exceptStd is a go command that does not build the standard library as a whole,
// which takes minutes, nor the program that imports all of it.
func exceptStd(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "go")
	script := fmt.Sprintf("#!/bin/sh\ncase \"$1 $*\" in build*' std'|build*gocache-imports) exit 0;; esac\nexec %s \"$@\"\n", path)
	if err := os.WriteFile(name, []byte(script), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	return name
}

// TestDefaultPackages builds, of a source that is module files and names no
// packages, the standard library and the packages of the modules that it requires
// itself, but none whose imports its go.sum does not have.
func TestDefaultPackages(t *testing.T) {
	for name, tt := range map[string]struct {
		goMod string
		sum   func(line string) bool
		want  string
	}{
		"what it requires": {"require (\n\texample.com/Upper/dep v1.3.0\n\texample.com/lib v1.2.0\n)", nil, "std example.com/Upper/dep example.com/lib example.com/lib/sub"},
		"not what is required by others alone": {
			"require (\n\texample.com/Upper/dep v1.3.0 // indirect\n\texample.com/lib v1.2.0\n)", nil, "std example.com/lib example.com/lib/sub",
		},
		"go.sum has no content for an import": {
			"require (\n\texample.com/Upper/dep v1.3.0 // indirect\n\texample.com/lib v1.2.0\n)",
			func(line string) bool { return strings.HasPrefix(line, "example.com/Upper/dep v1.3.0 h1:") }, "std example.com/lib/sub",
		},
		"it requires nothing": {"", nil, "std"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.NewWithStdAlone(t)
			var sums strings.Builder
			for line := range strings.Lines(read(t, tree.GoSum())) {
				if tt.sum == nil || !tt.sum(line) {
					sums.WriteString(line)
				}
			}
			source := configMap(t, map[string]string{"go.mod": "module example.com/main\n\ngo 1.21\n\n" + tt.goMod + "\n", "go.sum": sums.String()})
			o := options(t, tree, source)
			o.Go = exceptStd(t)
			if r := run(t, o); r.Outcome != warmup.Succeeded || len(r.FailedSources()) > 0 {
				t.Fatalf("%s: %s", r.Outcome, r.Summary())
			}
			got := strings.Join(strings.Fields(read(t, filepath.Join(tree.Root, ".gocache", "warmed", "0", "packages"))), " ")
			if got != tt.want {
				t.Errorf("built %s\nwant  %s", got, tt.want)
			}
			if tt.want == "std example.com/Upper/dep example.com/lib example.com/lib/sub" {
				coldIs(t, tree, nil, "build", "-o", os.DevNull, "example.com/lib/...", "example.com/Upper/dep")
			}
		})
	}
}
