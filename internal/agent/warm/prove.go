package warm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/warmup"
)

// ErrNoGo means that there is no go command.
var ErrNoGo = errors.New("there is no go command here")

// ErrNoSources means that no warm-up has recorded what it built.
var ErrNoSources = errors.New("the volume bears no record of what the last warm-up built")

// Rebuild repeats the builds of the last warm-up from what it recorded, with no
// proxy, and counts what is compiled: in a warm cache nothing is.
//
// With dry nothing is run or written; then the count includes what depends on
// what would be compiled. Of the options only those count that name the caches,
// the root, the go command, clock and environment; a cache that is not named
// takes no part.
func Rebuild(ctx context.Context, o Options, dry bool) (compiled int64, err error) {
	if _, err := exec.LookPath(o.Go); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoGo, err)
	}
	sources, err := record.ReadSources(o.Root)
	if err != nil {
		return 0, err
	}
	if len(sources) == 0 {
		return 0, ErrNoSources
	}
	temp, err := os.MkdirTemp("", "rebuild-")
	if err != nil {
		return 0, fmt.Errorf("making a private directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	w := &warming{Options: o}
	r := rebuild{withModules: o.ModCache != "", withBuild: o.BuildCache != "", flag: "-x"}
	if dry {
		r.flag = "-n"
	}
	if !r.withModules {
		w.ModCache = filepath.Join(temp, "mod")
	}
	if !r.withBuild {
		w.BuildCache = filepath.Join(temp, "build")
	}
	r.goCmd = goCommand{path: o.Go, env: append(w.env(temp), "GOPROXY=off"), out: &r.count}
	for i, source := range sources {
		if err := r.source(ctx, source, filepath.Join(temp, fmt.Sprintf("source%d", i))); err != nil {
			return r.count.compiled, err
		}
	}
	return r.count.compiled, nil
}

type rebuild struct {
	withModules, withBuild bool
	flag                   string
	goCmd                  goCommand
	count                  counter
}

func (r *rebuild) source(ctx context.Context, source record.Source, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, data := range source {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	list, err := packages(filepath.Join(dir, record.Packages))
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("the record of the last warm-up names no packages")
	}
	if _, ok := source[record.GoMod]; ok {
		if _, err := dropLocal(dir); err != nil {
			return err
		}
	}
	b, err := recordedBuild(source)
	if err != nil {
		return err
	}
	g := r.goCmd.in(&target{dir: dir}, b)
	look := append([]string{r.flag}, b.Flags...)
	var module []string
	for _, p := range list {
		switch {
		case p != "std":
			module = append(module, p)
		case r.withBuild:
			if err := g.build(ctx, look, nil, []string{"std"}); err != nil {
				return err
			}
		}
	}
	switch {
	case len(module) == 0 || !r.withModules:
		return nil
	case !r.withBuild: // then all it can show is that no source is missing
		return g.run(ctx, slices.Concat([]string{"list", "-deps", "-mod=readonly", "-f", "{{.ImportPath}}"}, uncovered(b.Flags), module)...)
	}
	return g.build(ctx, look, []string{"-mod=readonly"}, module)
}

// recordedBuild is how a source was built. Whatever wrote the record, the go
// command gets no other flags and variables than a warm-up gives it.
func recordedBuild(source record.Source) (warmup.Build, error) {
	b := warmup.Build{Env: map[string]string{}}
	lines := func(name string) []string {
		return strings.FieldsFunc(string(source[name]), func(r rune) bool { return r == '\n' })
	}
	b.Flags = lines(record.Flags)
	for _, line := range lines(record.Environ) {
		name, value, _ := strings.Cut(line, "=")
		b.Env[name] = value
	}
	if err := b.Validate(); err != nil {
		return warmup.Build{}, fmt.Errorf("the record of the last warm-up: %w", err)
	}
	return b, nil
}

// counter counts the compile commands in what go build -x or -n prints.
type counter struct {
	compiled int64
	line     []byte // its beginning, as far as it was written
}

var _ io.Writer = (*counter)(nil)

// maxPrefix of a line is kept: the path of the compiler.
const maxPrefix = 4 << 10

// Write never fails.
func (c *counter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, complete := bytes.Cut(p, []byte("\n"))
		if room := maxPrefix - len(c.line); room > 0 {
			c.line = append(c.line, part[:min(room, len(part))]...)
		}
		if p = rest; !complete {
			break
		}
		if isCompile(string(c.line)) {
			c.compiled++
		}
		c.line = c.line[:0]
	}
	return n, nil
}

// isCompile reports whether a line runs the compiler.
func isCompile(line string) bool {
	command, _, ok := strings.Cut(line, " ")
	name := strings.Trim(filepath.Base(command), `"`)
	return ok && strings.Contains(command, "/") && (name == "compile" || name == "compile.exe")
}
