package warm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/warmup"
)

const (
	goWork    = "go.work"
	goWorkSum = "go.work.sum"
)

// repository warms the modules of a repository: it downloads what they require,
// and builds, vets and compiles the tests of their packages. A directory that
// fails keeps no other from its turn.
func (w *warming) repository(ctx context.Context, s warmup.Source, _ string, r *result) error {
	top, err := filepath.Abs(s.Dir)
	if err == nil {
		top, err = filepath.EvalSymlinks(top)
	}
	if err != nil {
		return err
	}
	if err := fetched(top); err != nil {
		return err
	}
	directories := s.Directories
	if len(directories) == 0 {
		directories = []string{"."}
	}
	for _, name := range directories {
		if err := w.directory(ctx, s, top, name, r); err != nil {
			if name != "." {
				err = fmt.Errorf("%s: %w", name, err)
			}
			r.fail(err)
		}
	}
	return nil
}

// fetched reports why a repository could not be fetched.
func fetched(top string) error {
	report := filepath.Join(top, warmup.FetchFailed)
	switch info, err := os.Lstat(report); {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file, so that it is not known whether the repository was fetched", warmup.FetchFailed)
	}
	text, err := readSmall(report)
	if err != nil {
		return err
	}
	return errors.New(strings.TrimSpace(string(text)))
}

// directory warms one module of a repository, or one workspace.
func (w *warming) directory(ctx context.Context, s warmup.Source, top, name string, r *result) error {
	m, err := w.main(ctx, top, name)
	if err != nil {
		return err
	}
	kept, err := m.keep()
	if err != nil {
		return err
	}
	t := &target{dir: m.dir, env: m.env(), own: true, packages: s.Packages, portable: !m.vendored && m.workspace == ""}
	if len(t.packages) == 0 {
		t.packages = m.patterns()
	}
	if name != "." {
		t.name = name
	}
	g := w.goCmd.in(t, warmup.Build{})
	// In a workspace, it would download the versions that the modules require of
	// each other, which need not exist: builds download what they need.
	if m.workspace == "" && (!m.vendored || s.All) {
		if err := g.run(ctx, "mod", "download"); err != nil {
			return err
		}
		if err := w.use.modules(m.sums()...); err != nil {
			return err
		}
		if err := kept.restore(); err != nil { // builds see the repository's own
			return err
		}
	}
	w.builds(ctx, s, t, r)
	if !s.All || ctx.Err() != nil {
		return ctx.Err()
	}
	err = allModules(ctx, m, g, r)
	return errors.Join(err, w.use.modules(m.sums()...), kept.restore())
}

// allModules downloads what commands read that are about all modules.
func allModules(ctx context.Context, m mainModules, g *goCommand, r *result) error {
	mod := "-mod=mod" // a go.sum may lack what builds do not need
	if m.workspace != "" {
		mod = "-mod=readonly"
	}
	if err := g.run(ctx, "list", "-m", mod, "-f", "{{.Path}}", "all"); err != nil {
		return err
	}
	for _, dir := range m.modules {
		tidy := *g
		tidy.dir = dir
		err := tidy.run(ctx, "mod", "tidy")
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && m.workspace != "" { // its modules may not exist elsewhere
			r.note(warmup.OneLine(err.Error()))
		} else if err != nil {
			return err
		}
	}
	return nil
}

// mainModules are the modules that the go command builds in a directory.
type mainModules struct {
	dir string
	// workspace is the go.work file; empty: there is none.
	workspace string
	// modules are the directories of the go.mod files.
	modules []string
	// vendored: dependencies are in the repository.
	vendored bool
}

// main finds the main modules of a directory as the go command does, and
// refuses files that would have it write elsewhere.
func (w *warming) main(ctx context.Context, top, name string) (mainModules, error) {
	dir, err := filepath.EvalSymlinks(filepath.Join(top, name))
	if err != nil {
		return mainModules{}, fmt.Errorf("the repository has no directory %s: %w", name, err)
	}
	if !within(top, dir) {
		return mainModules{}, errors.New("it is a link to a directory outside of the repository")
	}
	m := mainModules{dir: dir}
	if lookup(w.Env, "GOWORK") != "off" {
		m.workspace = workspaceOf(top, dir)
	}
	isModule := exists(filepath.Join(dir, record.GoMod))
	switch {
	case m.workspace != "":
		t := &target{dir: dir, env: m.env()}
		list, err := w.goCmd.in(t, warmup.Build{}).output(ctx, "list", "-m", "-f", "{{.Dir}}")
		if err != nil {
			return mainModules{}, err
		}
		m.modules = strings.Split(list, "\n")
		m.vendored = vendored(filepath.Dir(m.workspace), "")
	case isModule:
		m.modules = []string{dir}
		m.vendored = vendored(dir, record.GoMod)
	case exists(filepath.Join(dir, goWork)):
		return mainModules{}, errors.New("it has no go.mod, and its go.work is not used because GOWORK is off: use isolation Standard, or list the directories of its modules")
	default:
		return mainModules{}, errors.New("it needs a go.mod or a go.work at its top, or a list of the directories that have one")
	}
	for _, file := range m.files() { // the go command writes them
		if info, err := os.Lstat(file); err == nil && !info.Mode().IsRegular() {
			return mainModules{}, fmt.Errorf("its %s is a link or worse, and must be a file", filepath.Base(file))
		}
		if real, err := filepath.EvalSymlinks(filepath.Dir(file)); err != nil || !within(top, real) {
			return mainModules{}, fmt.Errorf("%s is outside of the repository", file)
		}
	}
	return m, nil
}

// env lets the go command find the workspace, and no other.
func (m mainModules) env() []string {
	if m.workspace == "" {
		return []string{"GOWORK=off"}
	}
	return []string{"GOWORK=" + m.workspace}
}

// patterns of all packages: at the top of a workspace those of each module.
func (m mainModules) patterns() []string {
	if m.workspace == "" || exists(filepath.Join(m.dir, record.GoMod)) && m.dir != filepath.Dir(m.workspace) {
		return []string{"./..."}
	}
	var patterns []string
	for _, dir := range m.modules {
		patterns = append(patterns, filepath.ToSlash(dir)+"/...")
	}
	return patterns
}

// sums are the go.sum files.
func (m mainModules) sums() []string {
	var names []string
	for _, dir := range m.modules {
		names = append(names, filepath.Join(dir, record.GoSum))
	}
	if m.workspace != "" {
		names = append(names, filepath.Join(filepath.Dir(m.workspace), goWorkSum))
	}
	return names
}

// files are those that the go command may write.
func (m mainModules) files() []string {
	names := m.sums()
	for _, dir := range m.modules {
		names = append(names, filepath.Join(dir, record.GoMod))
	}
	if m.workspace != "" {
		names = append(names, m.workspace)
	}
	return names
}

// workspaceOf is the go.work file that the go command finds from a directory,
// as far up as the top of the repository.
func workspaceOf(top, dir string) string {
	for ; within(top, dir); dir = filepath.Dir(dir) {
		if name := filepath.Join(dir, goWork); exists(name) {
			return name
		}
		if dir == top {
			break
		}
	}
	return ""
}

// vendored reports whether the go command uses the directory vendor by default:
// modules do since Go 1.14.
func vendored(dir, mod string) bool {
	info, err := os.Lstat(filepath.Join(dir, "vendor", "modules.txt"))
	if err != nil || !info.Mode().IsRegular() || mod == "" {
		return err == nil && info.Mode().IsRegular()
	}
	data, err := readSmall(filepath.Join(dir, mod))
	if err != nil {
		return false
	}
	f, err := modfile.ParseLax(mod, data, nil)
	return err == nil && f.Go != nil && semver.Compare("v"+f.Go.Version, "v1.14") >= 0
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func within(top, dir string) bool {
	rel, err := filepath.Rel(top, dir)
	return err == nil && filepath.IsLocal(rel)
}

// keep reads the files that the go command may write.
func (m mainModules) keep() (keptFiles, error) {
	var all keptFiles
	for _, name := range m.files() {
		k, err := keep(name)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// keptFiles are files as they were.
type keptFiles []kept

func (all keptFiles) restore() error {
	var errs []error
	for _, k := range all {
		errs = append(errs, k.restore())
	}
	return errors.Join(errs...)
}

// kept is a file as it was; nil content: it was not there.
type kept struct {
	name    string
	content []byte
}

func keep(name string) (kept, error) {
	if !exists(name) {
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
