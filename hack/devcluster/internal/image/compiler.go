package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// compilerPackages are the Debian packages that cgo and the race detector need.
var compilerPackages = []string{"gcc", "libc6-dev"}

// GolangC is [Golang] with the machine's C compiler, from the Debian packages that it
// came in, so that cgo and -race work in it.
func GolangC(ctx context.Context) (Recipe, error) {
	r, err := Golang(ctx)
	if err != nil {
		return Recipe{}, err
	}
	files, err := compilerFiles(ctx)
	if err != nil {
		return Recipe{}, err
	}
	fill := r.Fill
	r.Name = "golang-c"
	r.Config.Ref = strings.Replace(r.Config.Ref, "/golang:", "/golang-c:", 1)
	r.Config.Env = slices.DeleteFunc(slices.Clone(r.Config.Env), func(v string) bool { return strings.HasPrefix(v, "CGO_ENABLED=") })
	for _, f := range files {
		if info, err := os.Lstat(f); err == nil && info.Mode().IsRegular() {
			r.Inputs = append(r.Inputs, f)
		}
	}
	r.Fill = func(l *Layer) error {
		// First: of a program that is in both, the compiler's stays.
		if err := l.copyAll(ctx, files); err != nil {
			return err
		}
		return fill(l)
	}
	return r, nil
}

// compilerFiles are the files of the compiler, and of all that it needs.
func compilerFiles(ctx context.Context) ([]string, error) {
	packages, err := dependencies(ctx, compilerPackages...)
	if err != nil {
		return nil, err
	}
	return packageFiles(ctx, packages)
}

// copyAll adds files of the machine at their own paths.
func (l *Layer) copyAll(ctx context.Context, files []string) error {
	for _, f := range files {
		if err := l.copied(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// copied adds a file of the machine at its own path: a link as a link, and a program
// with what its loader looks for.
func (l *Layer) copied(ctx context.Context, file string) error {
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // such as what an administrator has had left out
	case err != nil:
		return err
	case path.Dir(file) == "/":
		return nil // a directory, or where it is merged a link to that below /usr: loaders look in both
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		return l.Link(file, target)
	case !info.Mode().IsRegular():
		return nil // a directory comes with its files
	case info.Mode()&0o111 != 0 && !strings.Contains(path.Base(file), ".so"):
		if err := l.Program(ctx, file, file); err == nil {
			return nil
		}
		return l.File(file, file) // a script
	default:
		return l.File(file, file)
	}
}

// dependencies are packages that are installed, with those that they need.
func dependencies(ctx context.Context, names ...string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "dpkg-query", "--show", "--showformat", "${Package}\t${Status}\t${Provides}\t${Depends}, ${Pre-Depends}\n").Output()
	if err != nil {
		return nil, fmt.Errorf("dpkg-query, for the packages of a C compiler: %w", err)
	}
	return closure(parsePackages(string(out)), names)
}

// installed is an installed package.
type installed struct {
	name string
	// needs are its dependencies, each a list of alternatives.
	needs [][]string
}

// parsePackages reads a line for each package, and finds each by all of its names.
func parsePackages(text string) map[string]installed {
	all := map[string]installed{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 4 || !strings.HasSuffix(fields[1], " installed") {
			continue
		}
		p := installed{name: fields[0]}
		for dependency := range strings.SplitSeq(fields[3], ",") {
			if alternatives := packageNames(dependency, "|"); len(alternatives) > 0 {
				p.needs = append(p.needs, alternatives)
			}
		}
		all[p.name] = p
		for _, other := range packageNames(fields[2], ",") {
			if _, real := all[other]; !real {
				all[other] = p
			}
		}
	}
	return all
}

// packageNames are the names in a list, without versions and architectures.
func packageNames(list, separator string) []string {
	var names []string
	for entry := range strings.SplitSeq(list, separator) {
		name, _, _ := strings.Cut(strings.TrimSpace(entry), " ")
		name, _, _ = strings.Cut(name, ":")
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// closure are packages with all that they need, in the order of their names.
func closure(all map[string]installed, names []string) ([]string, error) {
	found := map[string]bool{}
	for queue := slices.Clone(names); len(queue) > 0; queue = queue[1:] {
		p, ok := all[queue[0]]
		if !ok {
			return nil, fmt.Errorf("the Debian package %s is not installed: apt-get install %s", queue[0], strings.Join(compilerPackages, " "))
		}
		if found[p.name] {
			continue
		}
		found[p.name] = true
		for _, alternatives := range p.needs {
			at := slices.IndexFunc(alternatives, func(name string) bool { _, ok := all[name]; return ok })
			queue = append(queue, alternatives[max(at, 0)])
		}
	}
	packages := make([]string, 0, len(found))
	for name := range found {
		packages = append(packages, name)
	}
	slices.Sort(packages)
	return packages, nil
}

// packageFiles are the files of packages that a compiler reads or runs.
func packageFiles(ctx context.Context, packages []string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "dpkg-query", append([]string{"--listfiles"}, packages...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("dpkg-query --listfiles: %w", err)
	}
	var files []string
	for line := range strings.Lines(string(out)) {
		file := strings.TrimSpace(line)
		if strings.HasPrefix(file, "/") && file != "/." && !leftOut(file) {
			files = append(files, path.Clean(file))
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// leftOut is documentation; the licences stay.
func leftOut(file string) bool {
	if strings.HasSuffix(file, "/copyright") {
		return false
	}
	for _, dir := range []string{"/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/locale", "/usr/share/lintian", "/usr/share/bug", "/etc", "/var"} {
		if file == dir || strings.HasPrefix(file, dir+"/") {
			return true
		}
	}
	return false
}
