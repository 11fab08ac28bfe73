package buildinputs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/buildinputs"
	"gocache.dev/operator/internal/testing/cachetree"
)

func warmed() buildinputs.Build {
	return buildinputs.Build{Release: "go1.26.8", ModuleCache: "/gocache/mod", Inputs: map[string]string{
		"GOOS": "linux", "GOARCH": "amd64", "CGO_ENABLED": "0"}}
}

// TestDifferences asserts which inputs count, and that no other does.
func TestDifferences(t *testing.T) {
	for name, tt := range map[string]struct {
		env   map[string]string
		flags []string
		want  string // inputs, as names with both values
	}{
		"the same":                       {nil, nil, ""},
		"defaults, spelled out":          {map[string]string{"GOAMD64": "v1", "GOFIPS140": "off", "GOFLAGS": "-race=false"}, []string{"-buildmode=default", "-pgo=auto", "-trimpath=false"}, ""},
		"what does not count":            {map[string]string{"GOPROXY": "off", "GOFLAGS": "-mod=mod -v"}, []string{"-o=x", "-p=4", "-run=Test", "-count=1", "-json"}, ""},
		"a race build":                   {nil, []string{"-race"}, "-race true false"},
		"a race build by GOFLAGS":        {map[string]string{"GOFLAGS": "-race -v"}, nil, "-race true false"},
		"GOFLAGS, and against it":        {map[string]string{"GOFLAGS": "-race"}, []string{"-race=false"}, ""},
		"quoted GOFLAGS":                 {map[string]string{"GOFLAGS": `-v '-gcflags=all=-N -l' "-tags=a b"`}, nil, "-tags a,b unset; -gcflags all=-N -l unset"},
		"two dashes":                     {nil, []string{"--tags=b,a,a"}, "-tags a,b unset"},
		"cgo":                            {map[string]string{"CGO_ENABLED": "1"}, nil, "CGO_ENABLED 1 0"},
		"a newer processor":              {map[string]string{"GOAMD64": "v3"}, nil, "GOAMD64 v3 v1"},
		"a variable of another platform": {map[string]string{"GOARM64": "v9.0"}, nil, ""},
		"another platform":               {map[string]string{"GOARCH": "arm64"}, nil, "GOARCH arm64 amd64"},
		"coverage":                       {nil, []string{"-cover", "-coverpkg=./..."}, "-cover true false; -coverpkg ./... unset"},
		"linking":                        {nil, []string{"-ldflags=-s -w"}, "-ldflags -s -w unset"},
	} {
		b := warmed().With(tt.env, tt.flags...)
		if got := list(buildinputs.Differences(b, warmed())); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	for name, tt := range map[string]struct {
		change func(b, cached *buildinputs.Build)
		want   string
	}{
		"another release":             {func(b, _ *buildinputs.Build) { b.Release = "go1.26.9" }, "Go release go1.26.9 go1.26.8"},
		"a release that is not known": {func(_, c *buildinputs.Build) { c.Release = "" }, ""},
		"another path":                {func(b, _ *buildinputs.Build) { b.ModuleCache = "/root/go/pkg/mod" }, "GOMODCACHE /root/go/pkg/mod /gocache/mod"},
		"another path, both trimmed": {func(b, c *buildinputs.Build) {
			b.ModuleCache = "/x"
			*b, *c = b.With(nil, "-trimpath"), c.With(nil, "-trimpath")
		}, ""},
		"another path, one of trimmed": {func(b, _ *buildinputs.Build) { b.ModuleCache = "/x"; *b = b.With(nil, "-trimpath") }, "-trimpath true false; GOMODCACHE /x /gocache/mod"},
	} {
		b, cached := warmed(), warmed()
		tt.change(&b, &cached)
		if got := list(buildinputs.Differences(b, cached)); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func list(all []buildinputs.Difference) string {
	var parts []string
	for _, d := range all {
		parts = append(parts, d.Input+" "+d.Is+" "+d.Was)
	}
	return strings.Join(parts, "; ")
}

func TestFromGoEnvRefuses(t *testing.T) {
	for _, text := range []string{"", "GOOS=linux", `{"GOOS":"linux"}`, `[]`} {
		if b, err := buildinputs.FromGoEnv([]byte(text)); err == nil {
			t.Errorf("%q is taken for %+v", text, b)
		}
	}
}

// TestGoCommandAgrees asserts with the real go command that a build compiles
// something exactly if a difference is named, for modules that are found on disk: by
// another path of the module cache, and by flags in GOFLAGS.
func TestGoCommandAgrees(t *testing.T) {
	tree := cachetree.New(t)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.CopyFS(elsewhere, os.DirFS(tree.ModCache)); err != nil {
		t.Fatal(err)
	}
	run := func(env []string, args ...string) (out string) {
		t.Helper()
		cmd, err := tree.Command(args...)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, env...)
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", args, err, text)
		}
		return string(text)
	}
	read := func(env []string) buildinputs.Build {
		t.Helper()
		b, err := buildinputs.FromGoEnv([]byte(run(env, "env", "-json")))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	none := []string{"GOFLAGS="}
	// A package that is not linked, so that little is compiled.
	run(none, "build", "example.com/lib") // the tree has a build with -trimpath already
	cached := read(none)
	for name, tt := range map[string]struct {
		env  []string
		want string
	}{
		"the same":                {none, ""},
		"what does not count":     {[]string{"GOFLAGS=-v"}, ""},
		"another path":            {[]string{"GOFLAGS=", "GOMODCACHE=" + elsewhere}, "GOMODCACHE"},
		"trimmed at another path": {[]string{"GOFLAGS=-trimpath", "GOMODCACHE=" + elsewhere}, ""},
		"without optimization":    {[]string{"GOFLAGS=-gcflags=all=-N"}, "-gcflags"},
	} {
		was := cached
		if strings.Contains(tt.env[0], "-trimpath") {
			was = cached.With(nil, "-trimpath")
		}
		named := ""
		for _, d := range buildinputs.Differences(read(tt.env), was) {
			named += d.Input + " "
		}
		if !strings.Contains(named, tt.want) || (named == "") != (tt.want == "") {
			t.Errorf("%s: %q is named, want %q", name, named, tt.want)
		}
		// -n prints what would be run, and leaves the cache as it is.
		compiled := strings.Count(run(tt.env, "build", "-n", "example.com/lib"), "/compile ")
		if (compiled > 0) != (tt.want != "") {
			t.Errorf("%s: the go command would compile %d packages, and %q is named", name, compiled, named)
		}
	}
	// A race build needs a C compiler; what it would find is known without one.
	if got := list(buildinputs.Differences(read([]string{"GOFLAGS=-race"}), cached)); got != "-race true false" {
		t.Errorf("GOFLAGS=-race: %q is named", got)
	}
}
