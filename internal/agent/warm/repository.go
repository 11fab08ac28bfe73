package warm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Repository is a directory with a whole module, where the go command may
// write, and what to build of it.
type Repository struct {
	// Dir that holds go.mod.
	Dir string
	// Packages in the module; none is all of it.
	Packages []string
}

// ParseRepository reads a flag: DIR, or DIR=PACKAGE,PACKAGE.
func ParseRepository(text string) (Repository, error) {
	dir, list, _ := strings.Cut(text, "=")
	r := Repository{Dir: dir}
	if dir == "" {
		return r, fmt.Errorf("%q names no directory", text)
	}
	if list != "" {
		r.Packages = strings.Split(list, ",")
	}
	for _, p := range r.Packages {
		if p == "" || strings.HasPrefix(p, "-") {
			return r, fmt.Errorf("%q is a flag or nothing, not a package", p)
		}
	}
	return r, nil
}

// repository downloads all modules that a repository needs, and builds, vets
// and compiles the tests of its packages. What does not build fails the warm-up;
// what does not vet, and tests that do not compile, are only noted: they are
// the repository's, and the cache is as warm as it can be.
func (w *warming) repository(ctx context.Context, r Repository) error {
	dir, err := filepath.Abs(r.Dir)
	if err != nil {
		return err
	}
	packages := r.Packages
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	mod, sums := filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum")
	if _, err := os.Lstat(mod); err != nil {
		return fmt.Errorf("it needs a go.mod at its top: %w", err)
	}
	for _, name := range []string{mod, sums} { // the go command writes them
		if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("its %s is a link or worse, and must be a file", filepath.Base(name))
		}
	}
	own, err := keep(sums)
	if err != nil {
		return err
	}
	w.goCmd.dir = dir
	if err := w.goCmd.run(ctx, "mod", "download"); err != nil {
		return err
	}
	if err := w.use.modules(dir); err != nil {
		return err
	}
	if err := own.restore(); err != nil { // builds see the repository's own
		return err
	}
	if err := w.build(ctx, dir, packages); err != nil {
		return err
	}
	if err := w.use.repository(ctx, &w.goCmd, packages); err != nil {
		return err
	}
	for _, look := range [][]string{{"vet", "-mod=readonly"}, {"test", "-mod=readonly", "-c", "-o", os.DevNull}} {
		err := w.goCmd.run(ctx, append(look, packages...)...)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			w.notes = append(w.notes, filepath.Base(dir)+": "+firstLine(err.Error()))
		}
	}
	return nil
}

// kept is a file as it was; nil content: it was not there.
type kept struct {
	name    string
	content []byte
}

func keep(name string) (kept, error) {
	if _, err := os.Lstat(name); os.IsNotExist(err) {
		return kept{name: name}, nil
	}
	content, err := readSmall(name)
	return kept{name, content}, err
}

func (k kept) restore() error {
	if k.content == nil {
		if err := os.Remove(k.name); err != nil && !os.IsNotExist(err) {
			return err
		}
		return nil
	}
	return os.WriteFile(k.name, k.content, 0o600)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
