package warmup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Source is what a warm-up fills the caches from.
type Source struct {
	// Name of the source in the report.
	Name string `json:"name"`
	// Missing is why there is nothing to warm it from; empty: there is.
	Missing string `json:"missing,omitempty"`
	// Dir holds go.mod, go.sum and a list of packages, or a repository.
	Dir string `json:"dir,omitempty"`
	// Repository means that Dir holds whole modules, whose own packages are built,
	// and that the go command may write there.
	Repository bool `json:"repository,omitempty"`
	// Packages to build, as arguments of go build. None: of a repository all; of
	// module files those in the file "packages" of Dir, or the standard library and
	// all packages of the modules that the go.mod requires directly.
	Packages []string `json:"packages,omitempty"`
	// Directories of a repository that hold a go.mod or a go.work, relative to Dir.
	// None: Dir.
	Directories []string `json:"directories,omitempty"`
	// All means that all modules are downloaded that commands such as go list -m all
	// and go mod tidy read, not only those that builds need.
	All bool `json:"all,omitempty"`
	// Builds of the packages. None: one [Build] by the defaults of the go command,
	// with vet and tests.
	Builds []Build `json:"builds,omitempty"`
}

// Build is one way of building: the go command keeps a result for each.
type Build struct {
	// Name of the build in the report.
	Name string `json:"name"`
	// Packages in place of the source's.
	Packages []string `json:"packages,omitempty"`
	// Flags of go build, one an element: each matches [AllowedFlag].
	Flags []string `json:"flags,omitempty"`
	// Env of the go command: names are in [AllowedEnv].
	Env map[string]string `json:"env,omitempty"`
	// Vet and Tests: what go vet and go test make is cached as well. Tests are not
	// run.
	Vet   bool `json:"vet,omitempty"`
	Tests bool `json:"tests,omitempty"`
}

// Flag is the source as an argument of the agent. The kubelet expands $(NAME) in
// arguments, so that no $ is left in it.
func (s Source) Flag() string {
	data, err := json.Marshal(s)
	if err != nil { // strings and lists of strings: cannot fail
		panic("source: " + err.Error())
	}
	return strings.ReplaceAll(string(data), "$", `\u0024`)
}

// ParseSource reads an argument: the JSON of a Source, or the directory of one
// that is no repository.
func ParseSource(text string) (Source, error) {
	if !strings.HasPrefix(text, "{") {
		s := Source{Name: text, Dir: text}
		return s, s.Validate()
	}
	var s Source
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields() // what another release asks for must not be left out silently
	if err := d.Decode(&s); err != nil {
		return Source{}, fmt.Errorf("a source: %w", err)
	}
	return s, s.Validate()
}

// Validate refuses what must not reach the go command: the first argument that
// is a flag, for one, could have it run another program.
func (s Source) Validate() error {
	if s.Missing != "" {
		return nil
	}
	if s.Dir == "" {
		return errors.New("a source without a directory")
	}
	for _, dir := range s.Directories {
		if !filepath.IsLocal(dir) {
			return fmt.Errorf("directory %q is not below the repository", dir)
		}
	}
	for _, b := range s.Builds {
		if err := b.Validate(); err != nil {
			return fmt.Errorf("build %s: %w", b.Name, err)
		}
	}
	return packages(s.Packages)
}

// AllowedFlag matches the flags that a build may have: those that choose what is
// compiled, and none that names a program, a file to write, or a directory.
var AllowedFlag = regexp.MustCompile(`^-((race|msan|asan|trimpath|cover)(=(true|false))?|covermode=(set|count|atomic)|coverpkg=[A-Za-z0-9._~/,-]+|tags=[A-Za-z0-9_.,]+|buildmode=(default|exe|pie)|buildvcs=(auto|false)|pgo=(auto|off)|mod=(readonly|vendor)|ldflags=` +
	ldflag + `( ` + ldflag + `)*|gcflags=` + pattern + gcflag + `( ` + gcflag + `)*|asmflags=` + pattern + trimpath + `)$`)

const (
	pattern  = `([A-Za-z0-9._~/-]+=)?`
	trimpath = `-trimpath=[A-Za-z0-9._~/;=>-]+`
	gcflag   = `(-N|-l|-dwarf=(true|false)|` + trimpath + `)`
	ldflag   = `(-s|-w|-buildid=|-extldflags=-static|-X[ =][A-Za-z0-9._~/-]+=[A-Za-z0-9._~/:+@-]*)`
)

// AllowedEnv are the variables that a build may set. GOFLAGS holds flags that
// match [AllowedFlag], GOWORK is off.
var AllowedEnv = []string{
	"CGO_ENABLED", "GO386", "GOAMD64", "GOARCH", "GOARM", "GOARM64", "GOEXPERIMENT", "GOFIPS140", "GOFLAGS", "GOMIPS", "GOMIPS64", "GOOS",
	"GOPPC64", "GORISCV64", "GOWASM", "GOWORK",
}

var envValue = regexp.MustCompile(`^[A-Za-z0-9._,=~/:;+@> -]*$`)

// Validate refuses what must not reach the go command.
func (b Build) Validate() error {
	flags := b.Flags
	for _, name := range slices.Sorted(maps.Keys(b.Env)) {
		value := b.Env[name]
		switch {
		case !slices.Contains(AllowedEnv, name):
			return fmt.Errorf("the variable %s is not one that a build may set: %s", name, strings.Join(AllowedEnv, ", "))
		case !envValue.MatchString(value), name == "GOWORK" && value != "off":
			return fmt.Errorf("%s=%q is not allowed", name, value)
		case name == "GOFLAGS":
			flags = append(slices.Clone(flags), strings.Fields(value)...)
		}
	}
	for _, flag := range flags {
		if !AllowedFlag.MatchString(flag) {
			return fmt.Errorf("the flag %q is not one that a build may have", flag)
		}
	}
	return packages(b.Packages)
}

// Environ is the environment of the build, sorted.
func (b Build) Environ() []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(b.Env)) {
		env = append(env, name+"="+b.Env[name])
	}
	return env
}

func packages(list []string) error {
	for _, p := range list {
		if p == "" || strings.HasPrefix(p, "-") {
			return fmt.Errorf("%q is a flag or empty, not a package", p)
		}
	}
	return nil
}

// FetchFailed is a file at the top of a repository that could not be fetched:
// it holds the reason.
const FetchFailed = "gocache-fetch-failed"
