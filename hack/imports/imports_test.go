package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// top is the top of the repository.
const top = "../.."

// TestImports checks the rules against the repository as it is.
func TestImports(t *testing.T) {
	touch(t)
	for _, violation := range Check(packages(t)) {
		t.Error(violation)
	}
}

// TestTop keeps the top level to what a user or contributor looks for.
func TestTop(t *testing.T) {
	entries, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !topLevel[e.Name()] {
			t.Errorf("%s is at the top of the repository: move it into the folder it belongs to, or name it in hack/imports/rules.go", e.Name())
		}
	}
}

// TestStarters keeps the programs thin: what is worth testing belongs into a
// package of its own.
func TestStarters(t *testing.T) {
	for _, p := range packages(t) {
		dir := dirOf(p.ImportPath)
		for _, limit := range lines {
			if dir != limit.dir && (limit.exact || !within(dir, limit.dir)) {
				continue
			}
			for _, file := range p.GoFiles {
				data, err := os.ReadFile(filepath.Join(p.Dir, file))
				if err != nil {
					t.Fatal(err)
				}
				if n := bytes.Count(data, []byte("\n")); n > limit.most {
					t.Errorf("%s/%s has %d lines, at most %d are wanted: move what it does into a package and leave the flags", dir, file, n, limit.most)
				}
			}
		}
	}
}

// packages lists the packages of this module.
func packages(t *testing.T) []Package {
	t.Helper()
	all, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// listed asks go list once for all tests; it compiles nothing.
var listed = sync.OnceValues(func() ([]Package, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Name,Doc,GoFiles,Imports,Deps", "./...")
	cmd.Dir = top
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, &stderr)
	}
	var all []Package
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read what go list says: %w", err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		return nil, errors.New("go list found no package")
	}
	return all, nil
})

// touch looks at every Go file of the repository. What go list reads is
// unknown to the cache of test results, which would then repeat an old answer;
// what the test itself looks at is not.
func touch(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := d.Name(); {
		case d.IsDir() && (name == ".git" || name == "bin" || name == "dist" || name == "testdata"):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".go") || name == "go.mod":
			_, err = os.Stat(path)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRefusals tests the test: packages that break one rule each must be
// refused, with the words that help.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name, path string
		imports    []string
		deps       []string
		want       string // part of the only violation; empty: none
	}{
		{"an unknown folder", "internal/util", nil, nil, "has no import rule"},
		{"an unknown folder at the top", "pkg", nil, nil, "has no import rule"},
		{"domain that knows Kubernetes", "internal/domain/a", []string{"k8s.io/api/core/v1"}, nil, "domain/a imports k8s.io/api/core/v1|this code must not depend on Kubernetes"},
		{"domain that links Kubernetes", "internal/domain/a", nil, []string{"sigs.k8s.io/yaml"}, "by way of another package"},
		{"domain that names the API", "internal/domain/a", []string{module + "/api/v1alpha1"}, nil, "internal/domain/a imports api/v1alpha1"},
		{"domain within domain", "internal/domain/a", []string{module + "/internal/domain/b/c"}, nil, ""},
		{"a plan with a client", "internal/plan/a", []string{"sigs.k8s.io/controller-runtime/pkg/client"}, nil, "a plan has no client"},
		{"a plan that waits", "internal/plan/a", []string{"context"}, nil, "a plan never waits"},
		{"a plan that reads the environment", "internal/plan/a", []string{"os"}, nil, "no environment"},
		{"a plan that throws dice", "internal/plan/a", []string{"math/rand/v2"}, nil, "repeatable"},
		{"a plan that logs", "internal/plan/a", []string{"log/slog"}, nil, "reports through its result"},
		{"a plan that acts", "internal/plan/a", []string{module + "/internal/kube/apply"}, nil, "plan decides from values alone"},
		{"a plan that links os by way of fmt", "internal/plan/a", []string{"fmt"}, []string{"os", "context"}, ""},
		{"a plan of the API's values", "internal/plan/a", []string{module + "/api/v1alpha1", module + "/internal/domain/a"}, nil, ""},
		{"kube that conducts", "internal/kube/a", []string{module + "/controllers/gocache"}, nil, "kube carries out decisions"},
		{"kube that writes weights", "internal/kube/route", []string{module + "/internal/router/weights"}, nil, ""},
		{"kube that routes", "internal/kube/route", []string{module + "/internal/router"}, nil, "kube carries out decisions"},
		{"a prober that thresholds concern", "internal/prober", []string{module + "/internal/plan/failover", module + "/internal/domain/probe"}, nil, ""},
		{"a prober that knows the API", "internal/prober", []string{module + "/api/v1alpha1"}, nil, "it handles targets and outcomes"},
		{"a prober that calls a controller", "internal/prober", []string{module + "/controllers/modproxy"}, nil, "internal/prober imports controllers/modproxy"},
		{"a controller with a prober", "controllers/modproxy", []string{module + "/internal/prober"}, nil, ""},
		{"an agent that decides", "internal/agent/a", []string{module + "/internal/plan/a"}, nil, "the agent runs in pods"},
		{"a proxy with a client", "internal/proxy", []string{"k8s.io/client-go/rest"}, nil, "this code must not depend on Kubernetes"},
		{"a router with a client", "internal/router", []string{"k8s.io/client-go/rest", module + "/internal/router/weights"}, nil, ""},
		{"a router with a manager", "internal/router", []string{"sigs.k8s.io/controller-runtime"}, nil, "the router watches one object"},
		{"weights that know the router", "internal/router/weights", []string{module + "/internal/router"}, nil, "the format of the weights"},
		{"controllers that meet in code", "controllers/gocache", []string{module + "/controllers/modproxy"}, nil, "controllers meet through API objects only"},
		{"a controller in its own folder", "controllers/gocache", []string{module + "/controllers/gocache/internal/a"}, nil, ""},
		{"a part of a controller that imports another part", "controllers/gocache/snapshots", []string{module + "/controllers/gocache/provision"}, nil, "only by the controller's hand"},
		{"a part of a controller with what parts share", "controllers/gocache/snapshots", []string{module + "/controllers/gocache/pass", module + "/internal/kube/csisnapshot"}, nil, ""},
		{"a part of another controller", "controllers/modproxy", []string{module + "/controllers/gocache/snapshots"}, nil, "controllers/modproxy imports controllers/gocache/snapshots"},
		{"a controller that starts an agent", "controllers/gocache", []string{module + "/internal/agent/warm"}, nil, "controllers/gocache imports internal/agent/warm"},
		{"the list of controllers", "controllers", []string{module + "/controllers/gocache", module + "/internal/kube/images"}, nil, ""},
		{"a command line that runs a controller", "internal/cli/a", []string{module + "/controllers/gocache"}, nil, "runs no controller"},
		{"a program within another", "internal/cmd/a", []string{module + "/internal/cmd/manager"}, nil, "each program starts itself alone"},
		{"an agent that links Kubernetes", "internal/cmd/gocache-agent", nil, []string{"k8s.io/apimachinery/pkg/types"}, "links k8s.io/apimachinery/pkg/types"},
		{"a helper of tests in the product", "internal/cmd/manager", []string{module + "/internal/testing/clock"}, nil, "only tests import internal/testing"},
		{"a helper of tests in a tool", "hack/demo", []string{module + "/internal/testing/env"}, nil, "only tests import internal/testing"},
		{"a helper of tests in a helper", "internal/testing/a", []string{module + "/internal/testing/env"}, nil, ""},
		{"a name that only begins alike", "internal/domain/a", []string{"k8s.iox/a"}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Check([]Package{{
				ImportPath: module + "/" + tt.path, Name: "a", Doc: "Package a.", GoFiles: []string{"doc.go"},
				Imports: tt.imports, Deps: append(tt.deps, tt.imports...),
			}})
			if tt.want == "" {
				if len(got) != 0 {
					t.Errorf("refused: %q", got)
				}
				return
			}
			if len(got) != 1 {
				t.Fatalf("%d violations, want one: %q", len(got), got)
			}
			for part := range strings.SplitSeq(tt.want, "|") {
				if !strings.Contains(got[0], part) {
					t.Errorf("%q does not say %q", got[0], part)
				}
			}
		})
	}
}

// TestPackageComments refuses packages without a package comment in its place.
func TestPackageComments(t *testing.T) {
	for _, tt := range []struct {
		name    string
		p       Package
		refused bool
	}{
		{"a package with a doc.go", Package{Name: "a", Doc: "Package a.", GoFiles: []string{"a.go", "doc.go"}}, false},
		{"a package of one file", Package{Name: "a", Doc: "Package a.", GoFiles: []string{"a.go"}}, false},
		{"one file without a word", Package{Name: "a", GoFiles: []string{"a.go"}}, true},
		{"a comment elsewhere", Package{Name: "a", Doc: "Package a.", GoFiles: []string{"a.go", "b.go"}}, true},
		{"an empty doc.go", Package{Name: "a", GoFiles: []string{"doc.go"}}, true},
		{"nothing but tests", Package{Name: "a"}, true},
		{"a program", Package{Name: "main", Doc: "Command a.", GoFiles: []string{"main.go"}}, false},
		{"a program without a word", Package{Name: "main", GoFiles: []string{"main.go"}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.p.ImportPath = module + "/hack/a"
			if got := Check([]Package{tt.p}); (len(got) > 0) != tt.refused {
				t.Errorf("violations %q, want refused: %v", got, tt.refused)
			}
		})
	}
}
