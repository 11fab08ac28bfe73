package warm

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gocache.dev/operator/internal/domain/warmup"
)

// target is a directory in which the go command builds for a source.
type target struct {
	// name of the directory in errors; empty: the source's own.
	name string
	dir  string
	// env beside that of the warm-up, and flags before those of a build.
	env, flags []string
	// packages to build unless a build has its own. None: those of [required].
	packages []string
	// own: the packages are of the main modules, so that they are vetted and tested
	// themselves. Otherwise a package that imports them is.
	own bool
	// portable: the packages that it imports can be built from its go.mod alone.
	portable bool
}

// defaultBuild is what is built of a source that declares no builds.
var defaultBuild = warmup.Build{Vet: true, Tests: true}

// builds makes the builds of a source in one directory. What does not build
// fails the source, and keeps no other build from its turn.
func (w *warming) builds(ctx context.Context, s warmup.Source, t *target, r *result) {
	if len(s.Builds) == 0 {
		if err := w.build(ctx, t, defaultBuild, r); err != nil {
			r.fail(t.named(err))
		} else {
			r.warmed = true
		}
		return
	}
	for i, b := range s.Builds {
		if ctx.Err() != nil {
			return
		}
		begun, before := w.Clock(), w.entries()
		report := &r.Builds[i]
		if report.Message == notBuilt {
			report.Failed, report.Message = false, ""
		}
		if err := w.build(ctx, t, b, r); err != nil {
			err = t.named(err)
			report.Failed, report.Message = true, warmup.OneLine(err.Error())
			r.fail(fmt.Errorf("build %s: %w", b.Name, err))
		} else {
			r.warmed = true
		}
		report.Entries += w.entries() - before
		report.Seconds += seconds(w.Clock().Sub(begun))
	}
}

// named adds the directory to an error.
func (t *target) named(err error) error {
	if t.name == "" {
		return err
	}
	return fmt.Errorf("%s: %w", t.name, err)
}

// build builds packages in one way, and lets vet and test cache what they make
// of them. What does not vet, and tests that do not compile, are only noted:
// they are the repository's, and the cache is as warm as it can be.
func (w *warming) build(ctx context.Context, t *target, b warmup.Build, r *result) error {
	b.Flags = slices.DeleteFunc(slices.Clone(b.Flags), func(f string) bool { return strings.HasPrefix(f, stamping) })
	g := w.goCmd.in(t, b)
	packages := b.Packages
	if len(packages) == 0 {
		packages = t.packages
	}
	flags := slices.Concat(t.flags, b.Flags)
	if len(packages) == 0 {
		var err error
		if packages, err = required(ctx, g, flags); err != nil {
			return err
		}
	}
	if !w.keepsBuilds() {
		return w.download(ctx, g, t, b, flags, packages, r)
	}
	if err := g.build(ctx, nil, flags, packages); err != nil {
		return err
	}
	if err := w.use.target(ctx, g, t, b, packages); err != nil {
		return err
	}
	if !t.own {
		pattern, err := importer(ctx, g, flags, packages)
		if err != nil || pattern == "" {
			return err
		}
		packages = []string{pattern}
		// Linking needs packages that libraries do not, by the flags.
		if err := r.noted(ctx, g.build(ctx, nil, flags, packages)); err != nil {
			return err
		}
	}
	if b.Vet {
		err := g.run(ctx, slices.Concat([]string{"vet"}, uncovered(flags), packages)...)
		if err := r.noted(ctx, err); err != nil {
			return err
		}
	}
	if b.Tests {
		err := g.run(ctx, slices.Concat([]string{"test"}, flags, []string{"-count=1", "-exec=" + w.Instead}, packages)...)
		return r.noted(ctx, err)
	}
	return nil
}

// keepsBuilds reports whether the build cache is on the volume. Where it is not,
// it is gone with the pod, and nothing is compiled for it.
func (w *warming) keepsBuilds() bool {
	rel, err := filepath.Rel(w.Root, w.BuildCache)
	return err == nil && filepath.IsLocal(rel)
}

// download loads packages as a build does, which downloads the modules that it
// needs, and compiles nothing.
func (w *warming) download(ctx context.Context, g *goCommand, t *target, b warmup.Build, flags, packages []string, r *result) error {
	args := slices.Concat([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}, uncovered(flags))
	if err := g.run(ctx, slices.Concat(args, packages)...); err != nil {
		return err
	}
	if err := w.use.target(ctx, g, t, b, packages); err != nil {
		return err
	}
	if !t.own || !b.Vet && !b.Tests {
		return nil
	}
	return r.noted(ctx, g.run(ctx, slices.Concat(args, []string{"-test"}, packages)...))
}

// build builds packages; std in a run of its own, since it is no part of the
// module.
func (g *goCommand) build(ctx context.Context, look, flags, packages []string) error {
	args := slices.Concat([]string{"build"}, look, flags)
	var module []string
	for _, p := range packages {
		if p != "std" {
			module = append(module, p)
			continue
		}
		if err := g.run(ctx, append(slices.Clip(args), "std")...); err != nil {
			return err
		}
	}
	if len(module) == 0 {
		return nil
	}
	// One main package given alone would be linked and written out.
	return g.run(ctx, slices.Concat(args, []string{"-o", os.DevNull}, module)...)
}

// stamping is the flag for what version control has of a repository. With it the go
// command runs programs, which run what the directory of a repository names.
const stamping = "-buildvcs"

// in is the go command in a directory, with the environment of a build, and without
// version control. Of what is cached it changes only the packages main, whose programs
// have the commit in them; they would be compiled again for the next one.
func (g goCommand) in(t *target, b warmup.Build) *goCommand {
	g.dir, g.env = t.dir, slices.Concat(g.env, t.env, b.Environ())
	g.env = append(g.env, "GOFLAGS="+strings.TrimSpace(lookup(g.env, "GOFLAGS")+" "+stamping+"=false"))
	return &g
}

// uncovered leaves out the flags that go vet and go list do not have.
func uncovered(flags []string) []string {
	return slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return strings.HasPrefix(f, "-cover") })
}

// importerDir always has the same name: a cached result of the program is found
// by its import path.
const importerDir = "gocache-imports"

// importer makes a program that imports packages, as those of builds do, and
// returns its pattern: what go vet and go test make of packages that are
// imported differs from what they make of packages that they are given. It is
// empty if none can be imported. The program has a statement, or no coverage of it
// would be counted.
func importer(ctx context.Context, g *goCommand, flags, packages []string) (pattern string, err error) {
	args := slices.Concat([]string{"list"}, uncovered(flags), []string{"-f", `{{if ne .Name "main"}}{{.ImportPath}}{{end}}`}, packages)
	list, err := g.output(ctx, args...)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, p := range strings.Fields(list) {
		if importable(p) {
			fmt.Fprintf(&text, "import _ %q\n", p)
		}
	}
	if text.Len() == 0 {
		return "", nil
	}
	dir := filepath.Join(g.dir, importerDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for file, content := range map[string]string{
		"imports.go":      "package main\n\n" + text.String() + "\nfunc main() { println() }\n",
		"imports_test.go": "package main\n\nimport \"testing\"\n\nfunc TestNothing(*testing.T) {}\n",
	} {
		if err := writeDated(filepath.Join(dir, file), content); err != nil {
			return "", err
		}
	}
	return "./" + importerDir, nil
}

// writeDated writes a file of a program that each warm-up makes again, with a time that
// depends on its content alone: what the go command reads of files that are older than
// two seconds it caches by their names, sizes and times, and each warm-up would add others.
func writeDated(file, content string) error {
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(content))
	date := time.Unix(int64(binary.BigEndian.Uint32(sum[:])&(1<<30-1)), int64(binary.BigEndian.Uint32(sum[4:])%1e9)) // before 2005
	return os.Chtimes(file, date, date)
}

// importable reports whether packages of other modules can import a package,
// whatever they are built with.
func importable(p string) bool {
	switch elements := strings.Split(p, "/"); {
	case elements[0] == "vendor", slices.Contains(elements, "internal"):
		return false
	case path.Dir(p) == "runtime" && slices.Contains([]string{"race", "msan", "asan", "cgo"}, path.Base(p)):
		return false
	}
	return p != "builtin" && p != "plugin"
}
