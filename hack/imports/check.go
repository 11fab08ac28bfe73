package imports

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Package is the part of a package that the check reads, in the names of
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

// Check returns every violation of the rules, each as a sentence that names the
// package, what it did, the rule and the reason.
func Check(packages []Package) []string {
	var violations []string
	for _, p := range packages {
		dir := dirOf(p.ImportPath)
		r, ok := ruleOf(dir)
		if !ok {
			violations = append(violations, fmt.Sprintf("%s has no import rule: move it into a folder that has one, or add a rule with a reason to hack/imports/rules.go", dir))
			continue
		}
		violations = append(violations, ownImports(p, dir, r)...)
		violations = append(violations, bannedImports(p, dir, r)...)
		violations = append(violations, packageComment(p, dir)...)
	}
	return violations
}

// ownImports checks the imports from this repository.
func ownImports(p Package, dir string, r rule) []string {
	var violations []string
	for _, path := range p.Imports {
		if !within(path, module) {
			continue
		}
		imported := dirOf(path)
		switch {
		case within(imported, testHelpers) && !slices.ContainsFunc(mayUseTesting, func(d string) bool { return within(dir, d) }):
			violations = append(violations, fmt.Sprintf("%s imports %s: only tests import %s", dir, imported, testHelpers))
		case !allowed(dir, imported, r):
			violations = append(violations, fmt.Sprintf("%s imports %s: %s may import %s; %s", dir, imported, r.dir, list(r), r.why))
		}
	}
	return violations
}

func allowed(dir, imported string, r rule) bool {
	// A package may always use those that are part of it.
	if within(imported, dir) && !r.exact {
		return true
	}
	to, _ := ruleOf(imported)
	if to.dir == r.dir && to.exact == r.exact {
		return !r.isolated || part(dir, r) == part(imported, r)
	}
	return slices.ContainsFunc(r.may, func(may string) bool { return may == "*" || within(imported, may) })
}

// part is the folder directly below the rule's folder that a package belongs to:
// for controllers, one kind.
func part(dir string, r rule) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(dir, r.dir+"/"), "/")
	return first
}

// bannedImports checks the imports from elsewhere.
func bannedImports(p Package, dir string, r rule) []string {
	var violations []string
	for _, b := range r.bans {
		if i := slices.IndexFunc(p.Imports, b.covers); i >= 0 {
			violations = append(violations, fmt.Sprintf("%s imports %s: %s must do without it; %s", dir, p.Imports[i], r.dir, b.why))
			continue
		}
		if i := slices.IndexFunc(p.Deps, b.covers); b.deep && i >= 0 {
			violations = append(violations, fmt.Sprintf("%s links %s, by way of another package: %s must do without it; %s", dir, p.Deps[i], r.dir, b.why))
		}
	}
	return violations
}

func (b ban) covers(imported string) bool { return within(imported, b.path) }

// packageComment checks that a package has a comment, in doc.go. A package of
// one file may have it in that file.
func packageComment(p Package, dir string) []string {
	if p.Name == "main" {
		if p.Doc == "" {
			return []string{fmt.Sprintf("%s has no package comment: describe above \"package main\" what the program does", dir)}
		}
		return nil
	}
	if p.Doc == "" || len(p.GoFiles) > 1 && !slices.Contains(p.GoFiles, "doc.go") {
		return []string{fmt.Sprintf("%s has no doc.go with a package comment: describe what the package does, what it does not do, and where to start", dir)}
	}
	return nil
}

// ruleOf finds the rule for a folder: an exact one, else the longest.
func ruleOf(dir string) (rule, bool) {
	var found rule
	ok := false
	for _, r := range rules {
		switch {
		case r.exact && r.dir == dir:
			return r, true
		case !r.exact && within(dir, r.dir) && len(r.dir) > len(found.dir):
			found, ok = r, true
		}
	}
	return found, ok
}

// within reports whether p is parent or lies below it. Major versions lie below:
// k8s.io/klog/v2 is within k8s.io/klog.
func within(p, parent string) bool {
	return p == parent || strings.HasPrefix(p, parent+"/")
}

// dirOf turns an import path of this module into a folder.
func dirOf(importPath string) string {
	return path.Clean("./" + strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/"))
}

func list(r rule) string {
	if len(r.may) == 0 {
		return "nothing else of this repository"
	}
	return strings.Join(r.may, ", ")
}
