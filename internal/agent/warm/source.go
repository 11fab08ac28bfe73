package warm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/warmup"
)

const maxSourceFile = 32 << 20

// moduleFiles warms what a source asks for that is a go.mod and a go.sum alone.
func (w *warming) moduleFiles(ctx context.Context, s warmup.Source, dir string, r *result) error {
	packages, err := copySource(s.Dir, dir)
	if err != nil {
		return err
	}
	if len(s.Packages) > 0 {
		packages = s.Packages
	}
	dropped, err := dropLocal(dir)
	if err != nil {
		return err
	}
	if len(dropped) > 0 {
		r.note("left out " + strings.Join(dropped, ", ") + ": the go.mod replaces it by a directory, which is not in the source")
	}
	t := &target{dir: dir, packages: packages, flags: []string{"-mod=readonly"}}
	g := w.goCmd.in(t, warmup.Build{})
	if err := g.run(ctx, "mod", "download"); err != nil {
		return err
	}
	if err := w.use.modules(filepath.Join(dir, record.GoSum)); err != nil {
		return err
	}
	if note, err := restoreGoSum(s.Dir, dir); err != nil {
		return err
	} else if note != "" {
		r.note(note)
	}
	w.builds(ctx, s, t, r)
	if !s.All || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := g.run(ctx, "mod", "download", "all"); err != nil {
		return err
	}
	return w.use.modules(filepath.Join(dir, record.GoSum))
}

// copySource copies go.mod and go.sum of a source into a private directory,
// where the go command may write, and returns the packages to build.
//
// The source may be a mounted ConfigMap: flat, read-only, and each file a link.
func copySource(source, dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := copyFile(filepath.Join(source, "go.mod"), filepath.Join(dir, "go.mod")); err != nil {
		return nil, err
	}
	err := copyFile(filepath.Join(source, "go.sum"), filepath.Join(dir, "go.sum"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return packages(filepath.Join(source, "packages"))
}

func copyFile(from, to string) error {
	data, err := readSmall(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSourceFile {
		return nil, fmt.Errorf("%s: not a regular file of at most %d bytes", name, maxSourceFile)
	}
	return os.ReadFile(name) //nolint:gosec // the caller names the file
}

// dropLocal replaces modules that a go.mod replaces by directories by modules
// without packages, and returns their paths. The other modules keep their
// versions, as they would not without the requirement.
func dropLocal(dir string) (dropped []string, err error) {
	name := filepath.Join(dir, record.GoMod)
	data, err := readSmall(name)
	if err != nil {
		return nil, err
	}
	f, err := modfile.Parse(record.GoMod, data, nil)
	if err != nil {
		return nil, nil //nolint:nilerr // the go command reports it, in more words
	}
	for _, r := range f.Replace {
		if r.New.Version != "" {
			continue
		}
		stub := fmt.Sprintf("dropped-%d", len(dropped))
		dropped = append(dropped, r.Old.Path)
		if err := os.Mkdir(filepath.Join(dir, stub), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, stub, record.GoMod), []byte("module "+modfile.AutoQuote(r.Old.Path)+"\n"), 0o600); err != nil {
			return nil, err
		}
		if err := f.AddReplace(r.Old.Path, r.Old.Version, "./"+stub, ""); err != nil {
			return nil, err
		}
	}
	if len(dropped) == 0 {
		return nil, nil
	}
	if data, err = f.Format(); err != nil {
		return nil, err
	}
	return dropped, os.WriteFile(name, data, 0o600)
}

// required are the packages that are built of module files which come with no list:
// the standard library, and what can be built of the modules that the go.mod
// requires directly, or names as tools. Its go.sum may not have all that their other
// packages import.
func required(ctx context.Context, g *goCommand, flags []string) ([]string, error) {
	data, err := readSmall(filepath.Join(g.dir, record.GoMod))
	if err != nil {
		return nil, err
	}
	f, err := modfile.Parse(record.GoMod, data, nil)
	if err != nil {
		return nil, err
	}
	packages := []string{"std"}
	var patterns []string
	for _, r := range f.Require {
		if !r.Indirect {
			patterns = append(patterns, r.Mod.Path+"/...")
		}
	}
	tools := map[string]bool{}
	for _, tool := range f.Tool {
		patterns, tools[tool.Path] = append(patterns, tool.Path), true
	}
	if len(patterns) == 0 {
		return packages, nil
	}
	format := "{{if not (or .Error .DepsErrors)}}{{.Name}} {{.ImportPath}}{{end}}"
	list, err := g.output(ctx, slices.Concat([]string{"list", "-e", "-f", format}, uncovered(flags), patterns)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(list) {
		name, p, _ := strings.Cut(strings.TrimSpace(line), " ")
		if tools[p] || p != "" && name != "main" && importable(p) {
			packages = append(packages, p)
		}
	}
	return packages, nil
}

// packages reads the list of packages: separated by white space, # begins a
// comment. It is empty without the file.
func packages(name string) ([]string, error) {
	data, err := readSmall(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []string
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		line, _, _ := strings.Cut(scan.Text(), "#")
		for _, p := range strings.Fields(line) {
			if strings.HasPrefix(p, "-") {
				return nil, fmt.Errorf("%s: %q is a flag, not a package", name, p)
			}
			list = append(list, p)
		}
	}
	return list, nil
}

// restoreGoSum undoes what a download added to go.sum, so that builds see the
// source's own. It returns the missing lines: the go command checked those
// modules against the checksum database at most.
func restoreGoSum(source, dir string) (note string, err error) {
	want, err := readSmall(filepath.Join(source, "go.sum"))
	if errors.Is(err, fs.ErrNotExist) {
		want, err = nil, nil
	}
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "go.sum")
	got, err := readSmall(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || bytes.Equal(got, want) {
		return "", err
	}
	added := bytes.Count(got, []byte("\n")) - bytes.Count(want, []byte("\n"))
	return fmt.Sprintf("go.sum lacks %d lines for modules of go.mod", added), os.WriteFile(name, want, 0o600)
}
