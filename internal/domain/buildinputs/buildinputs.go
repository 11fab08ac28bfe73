package buildinputs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gocache.dev/operator/internal/domain/goenv"
)

// Build is one way of building.
type Build struct {
	// Release of Go, such as go1.26.8; empty: not known.
	Release string
	// ModuleCache is GOMODCACHE; empty: not known.
	ModuleCache string
	// Inputs are variables and flags by name, such as GOARCH or -race. A boolean flag
	// that is set has the value true. One that is absent has its default.
	Inputs map[string]string
}

// Difference is an input that two builds do not share.
type Difference struct {
	// Input is the name of the flag or variable.
	Input string
	// Is its value in the build that looks for results, and Was the value with which
	// they were made; both are readable, such as "unset".
	Is, Was string
	// Effect is what is compiled again.
	Effect string
}

// The effects of differences.
const (
	everything = "all packages are compiled again"
	modules    = "all packages of modules are compiled again; those of the standard library are not"
	selected   = "packages with files that this selects, and all that import them, are compiled again"
	cgo        = "packages with cgo variants, such as net and os/user, and all that import them, are compiled again"
	covered    = "packages whose coverage is measured, and all that import them, are compiled again"
	matched    = "packages that the flag applies to, and all that import them, are compiled again"
	assembly   = "packages with assembly, and all that import them, are compiled again"
	linked     = "programs are linked again; no package is compiled again"
)

// input is what is known of one input.
type input struct {
	// effect of a difference.
	effect string
	// unset is the value that the go command takes if it is not set.
	unset string
	// only on this GOARCH; empty: on all.
	arch string
}

// inputs are all that count, by name. Of GOOS and GOARCH, and of what the go command
// of another platform would take, there are no defaults.
var inputs = map[string]input{
	"GOOS": {effect: everything}, "GOARCH": {effect: everything},
	"GOEXPERIMENT": {effect: everything}, "GOFIPS140": {effect: everything, unset: "off"},
	"GO386": {everything, "sse2", "386"}, "GOAMD64": {everything, "v1", "amd64"}, "GOARM": {everything, "7", "arm"},
	"GOARM64": {everything, "v8.0", "arm64"}, "GOMIPS": {everything, "hardfloat", "mips"}, "GOMIPS64": {everything, "hardfloat", "mips64"},
	"GOPPC64": {everything, "power8", "ppc64"}, "GORISCV64": {everything, "rva20u64", "riscv64"},
	"CGO_ENABLED": {effect: cgo},
	"-race":       {effect: everything, unset: "false"}, "-msan": {effect: everything, unset: "false"}, "-asan": {effect: everything, unset: "false"},
	"-trimpath": {effect: everything, unset: "false"}, "-buildmode": {effect: everything, unset: "exe"},
	"-tags":  {effect: selected},
	"-cover": {effect: covered, unset: "false"}, "-covermode": {effect: covered}, "-coverpkg": {effect: covered},
	"-gcflags": {effect: matched}, "-asmflags": {effect: assembly}, "-pgo": {effect: matched, unset: "auto"},
	"-ldflags": {effect: linked},
}

// FromGoEnv is the build of a go command with this output of go env -json. Flags are
// those of its command line, one an item.
func FromGoEnv(output []byte, flags ...string) (Build, error) {
	var env map[string]string
	if err := json.Unmarshal(output, &env); err != nil {
		return Build{}, fmt.Errorf("read the output of go env -json: %w", err)
	}
	if env["GOVERSION"] == "" || env["GOOS"] == "" || env["GOARCH"] == "" {
		return Build{}, fmt.Errorf("the output of go env -json has no GOVERSION, GOOS or GOARCH: run go env -json without names of variables")
	}
	b := Build{Release: env["GOVERSION"], ModuleCache: env["GOMODCACHE"], Inputs: map[string]string{}}
	return b.With(env, flags...), nil
}

// With is the build with other values of variables, and more flags. As of the go
// command, flags of GOFLAGS count less than others.
func (b Build) With(env map[string]string, flags ...string) Build {
	out := b
	out.Inputs = maps.Clone(b.Inputs)
	if out.Inputs == nil {
		out.Inputs = map[string]string{}
	}
	for name, value := range env {
		if _, counts := inputs[name]; counts && value != "" {
			out.Inputs[name] = value
		}
	}
	if goflags, ok := env["GOFLAGS"]; ok {
		for name := range inputs { // GOFLAGS as a whole is replaced
			if strings.HasPrefix(name, "-") {
				delete(out.Inputs, name)
			}
		}
		flags = append(split(goflags), flags...)
	}
	for _, flag := range flags {
		name, value, ok := strings.Cut(flag, "=")
		name = "-" + strings.TrimLeft(name, "-")
		if _, counts := inputs[name]; !counts {
			continue
		}
		if !ok {
			value = "true"
		}
		out.Inputs[name] = normal(name, value)
	}
	return out
}

// normal is the one way to write a value.
func normal(name, value string) string {
	switch name {
	case "-tags":
		tags := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(tags)
		return strings.Join(slices.Compact(tags), ",")
	case "-buildmode":
		if value == "default" {
			return "exe"
		}
	}
	return value
}

// split splits GOFLAGS: at spaces, but not in quotes, which begin an item.
func split(text string) []string {
	var items []string
	for {
		text = strings.TrimLeft(text, " \t\r\n")
		if text == "" {
			return items
		}
		if quote := text[:1]; quote == `'` || quote == `"` {
			item, rest, _ := strings.Cut(text[1:], quote)
			items, text = append(items, item), rest
			continue
		}
		end := strings.IndexAny(text, " \t\r\n")
		if end < 0 {
			end = len(text)
		}
		items, text = append(items, text[:end]), text[end:]
	}
}

// Differences are the inputs by which a build does not find the results of another
// one, those that reach most first.
func Differences(b, cached Build) []Difference {
	var all []Difference
	if b.Release != "" && cached.Release != "" && !goenv.IsRelease(b.Release, cached.Release) {
		all = append(all, Difference{"Go release", b.Release, cached.Release, everything})
	}
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		is, was := b.value(name), cached.value(name)
		if is == was || inputs[name].arch != "" && (inputs[name].arch != b.Inputs["GOARCH"] || b.Inputs["GOARCH"] != cached.Inputs["GOARCH"]) {
			continue
		}
		all = append(all, Difference{name, readable(is), readable(was), inputs[name].effect})
	}
	// With -trimpath a package is known by its module and version.
	trimmed := b.value("-trimpath") == "true" && cached.value("-trimpath") == "true"
	if !trimmed && b.ModuleCache != "" && cached.ModuleCache != "" && b.ModuleCache != cached.ModuleCache {
		all = append(all, Difference{"GOMODCACHE", b.ModuleCache, cached.ModuleCache, modules})
	}
	reach := []string{everything, modules, cgo, selected, matched, covered, assembly, linked}
	slices.SortStableFunc(all, func(x, y Difference) int { return slices.Index(reach, x.Effect) - slices.Index(reach, y.Effect) })
	return all
}

// value is the value of an input, or that of the go command if it is not set.
func (b Build) value(name string) string {
	if value, ok := b.Inputs[name]; ok {
		return value
	}
	return inputs[name].unset
}

func readable(value string) string {
	if value == "" {
		return "unset"
	}
	return value
}
