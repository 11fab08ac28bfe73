package rooms

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Package is what the check needs to know of a package, in the names of
// "go list -json".
type Package struct {
	ImportPath string
	Dir        string
	Name       string
	Doc        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// Check returns every breach of the rules, each as a sentence that names the
// package, what it did, the rule and the reason.
func Check(packages []Package) []string {
	var breaches []string
	for _, p := range packages {
		dir := dirOf(p.ImportPath)
		r, ok := roomOf(dir)
		if !ok {
			breaches = append(breaches, fmt.Sprintf("%s is in no room: put it into one, or give the folder a rule and a reason in hack/rooms/rules.go", dir))
			continue
		}
		breaches = append(breaches, ownImports(p, dir, r)...)
		breaches = append(breaches, bannedImports(p, dir, r)...)
		breaches = append(breaches, door(p, dir)...)
	}
	return breaches
}

// ownImports checks the imports from this repository.
func ownImports(p Package, dir string, r room) []string {
	var breaches []string
	for _, path := range p.Imports {
		if !within(path, module) {
			continue
		}
		imported := dirOf(path)
		switch {
		case within(imported, testHelpers) && !slices.ContainsFunc(mayUseTesting, func(d string) bool { return within(dir, d) }):
			breaches = append(breaches, fmt.Sprintf("%s imports %s: only tests import %s", dir, imported, testHelpers))
		case !allowed(dir, imported, r):
			breaches = append(breaches, fmt.Sprintf("%s imports %s: room %s may import %s; %s", dir, imported, r.dir, list(r), r.why))
		}
	}
	return breaches
}

func allowed(dir, imported string, r room) bool {
	// A package may always use those that are part of it.
	if within(imported, dir) && !r.exact {
		return true
	}
	to, _ := roomOf(imported)
	if to.dir == r.dir && to.exact == r.exact {
		return !r.isolated || part(dir, r) == part(imported, r)
	}
	return slices.ContainsFunc(r.may, func(may string) bool { return may == "*" || within(imported, may) })
}

// part is the folder directly below the room that a package belongs to: for
// controllers, one kind.
func part(dir string, r room) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(dir, r.dir+"/"), "/")
	return first
}

// bannedImports checks the imports from elsewhere.
func bannedImports(p Package, dir string, r room) []string {
	var breaches []string
	for _, b := range r.bans {
		if i := slices.IndexFunc(p.Imports, b.covers); i >= 0 {
			breaches = append(breaches, fmt.Sprintf("%s imports %s: room %s must do without; %s", dir, p.Imports[i], r.dir, b.why))
			continue
		}
		if i := slices.IndexFunc(p.Deps, b.covers); b.deep && i >= 0 {
			breaches = append(breaches, fmt.Sprintf("%s links %s, by way of another package: room %s must do without; %s", dir, p.Deps[i], r.dir, b.why))
		}
	}
	return breaches
}

func (b ban) covers(imported string) bool { return within(imported, b.path) }

// door checks that a reader finds the package's comment where every package
// has it. A package of one file may have it there.
func door(p Package, dir string) []string {
	if p.Name == "main" {
		if p.Doc == "" {
			return []string{fmt.Sprintf("%s has no package comment: say above \"package main\" what the program does", dir)}
		}
		return nil
	}
	if p.Doc == "" || len(p.GoFiles) > 1 && !slices.Contains(p.GoFiles, "doc.go") {
		return []string{fmt.Sprintf("%s has no doc.go with a package comment: say what the package knows, what it does not, and where to start", dir)}
	}
	return nil
}

// roomOf finds the rule for a folder: an exact one, else the longest.
func roomOf(dir string) (room, bool) {
	var found room
	ok := false
	for _, r := range rooms {
		switch {
		case r.exact && r.dir == dir:
			return r, true
		case !r.exact && within(dir, r.dir) && len(r.dir) > len(found.dir):
			found, ok = r, true
		}
	}
	return found, ok
}

// within tells whether p is parent or lies below it. Major versions lie below:
// k8s.io/klog/v2 is within k8s.io/klog.
func within(p, parent string) bool {
	return p == parent || strings.HasPrefix(p, parent+"/")
}

// dirOf turns an import path of this module into a folder.
func dirOf(importPath string) string {
	return path.Clean("./" + strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/"))
}

func list(r room) string {
	if len(r.may) == 0 {
		return "nothing else of this repository"
	}
	return strings.Join(r.may, ", ")
}
