package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sources are the parsed Go files of the programs, without tests, and the
// string constants in them.
type sources struct {
	files []source
	// strings are the values of constants, by package and name, such as
	// v1alpha1.ReasonError.
	strings map[string]string
	docs    []constant
}

type source struct {
	path, pkg string
	syntax    *ast.File
}

// constant is one string constant.
type constant struct {
	path, pkg, name, value string
	// group is the comment of the const block, and doc that of the constant.
	group, doc string
}

// programs are the folders whose code runs in a cluster.
var programs = []string{"api", "controllers", "internal"}

// parseSources reads the programs below a folder.
func parseSources(top string) (*sources, error) {
	s := &sources{strings: map[string]string{}}
	set := token.NewFileSet()
	for _, dir := range programs {
		err := filepath.WalkDir(filepath.Join(top, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if e.IsDir() && (e.Name() == "testdata" || e.Name() == "testing") {
				return filepath.SkipDir
			}
			if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			f, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(top, path)
			if err != nil {
				return err
			}
			s.files = append(s.files, source{path: filepath.ToSlash(rel), pkg: f.Name.Name, syntax: f})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	// Twice: a constant may be made of one that is read later.
	for range 2 {
		s.docs = nil
		for _, f := range s.files {
			s.constants(f)
		}
	}
	return s, nil
}

// constants collects the string constants of a file.
func (s *sources) constants(f source) {
	for _, d := range f.syntax.Decls {
		block, ok := d.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST {
			continue
		}
		for _, spec := range block.Specs {
			v := spec.(*ast.ValueSpec) //nolint:forcetypeassert // a const block holds nothing else
			for i, name := range v.Names {
				if i >= len(v.Values) {
					continue
				}
				value, ok := s.value(f.pkg, v.Values[i])
				if !ok {
					continue
				}
				s.strings[f.pkg+"."+name.Name] = value
				c := constant{path: f.path, pkg: f.pkg, name: name.Name, value: value, group: block.Doc.Text(), doc: v.Doc.Text()}
				if !block.Lparen.IsValid() {
					c.group, c.doc = "", block.Doc.Text()
				}
				s.docs = append(s.docs, c)
			}
		}
	}
}

// value is what a constant string expression stands for.
func (s *sources) value(pkg string, e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.Ident:
		text, ok := s.strings[pkg+"."+e.Name]
		return text, ok
	case *ast.SelectorExpr:
		if from, ok := e.X.(*ast.Ident); ok {
			text, ok := s.strings[from.Name+"."+e.Sel.Name]
			return text, ok
		}
	case *ast.BinaryExpr:
		left, ok := s.value(pkg, e.X)
		right, too := s.value(pkg, e.Y)
		return left + right, ok && too && e.Op == token.ADD
	case *ast.CallExpr: // a conversion to a string type
		if len(e.Args) == 1 {
			return s.value(pkg, e.Args[0])
		}
	}
	return "", false
}

// sentence is the doc of a constant without its name, which it begins with.
func (c constant) sentence() string {
	text := strings.Join(strings.Fields(c.doc), " ")
	for _, prefix := range []string{c.name + ": ", c.name + " is ", c.name + " "} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			text = rest
			break
		}
	}
	if word, _, _ := strings.Cut(text, " "); word == "" || strings.Contains(strings.TrimRight(word, "."), ".") {
		return text // a field keeps its spelling
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// conditions is a table for each group of conditions and reasons.
func conditions(s *sources) (string, error) {
	var b strings.Builder
	group := ""
	for _, c := range s.docs {
		if c.pkg != "v1alpha1" || !strings.HasSuffix(c.path, "condition_types.go") {
			continue
		}
		if c.group != group {
			group = c.group
			first, _, _ := strings.Cut(group, ".")
			head := "reason"
			if strings.HasPrefix(first, "Condition types") {
				first, head = "Condition types", "type"
			}
			fmt.Fprintf(&b, "\n## %s\n\n| %s | meaning |\n|---|---|\n", strings.Join(strings.Fields(first), " "), head)
		}
		if c.doc == "" {
			return "", fmt.Errorf("%s: %s has no comment", c.path, c.name)
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", c.value, cell(c.sentence()))
	}
	return strings.TrimPrefix(b.String(), "\n"), nil
}

// labels is the table of the keys of metadata.
func labels(s *sources) (string, error) {
	var rows []string
	for _, c := range s.docs {
		if !strings.HasPrefix(c.value, "cache.gocache.dev/") || strings.HasPrefix(c.path, "internal/testing/") || strings.HasSuffix(c.value, "/v1alpha1") {
			continue
		}
		kind := ""
		for suffix, k := range map[string]string{"Label": "label", "Annotation": "annotation", "Finalizer": "finalizer"} {
			if strings.HasSuffix(c.name, suffix) {
				kind = k
			}
		}
		if kind == "" || c.doc == "" {
			return "", fmt.Errorf("%s: the name of %s must end with Label, Annotation or Finalizer, and it needs a comment", c.path, c.name)
		}
		use := "internal"
		if c.pkg == "v1alpha1" {
			use = "public"
		}
		key := c.value
		if strings.HasSuffix(key, "-") {
			key += "N"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", key, kind, use, cell(c.sentence())))
	}
	slices.Sort(rows)
	return "| key | kind | use | meaning |\n|---|---|---|---|\n" + strings.Join(rows, ""), nil
}
