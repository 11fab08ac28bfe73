package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// collect reads the texts of the tree. With prefixes it reads only files whose
// path begins with one of them.
func collect(tree fs.FS, prefixes []string) ([]text, error) {
	var all []text
	err := fs.WalkDir(tree, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if file != "." && strings.HasPrefix(d.Name(), ".") || file == "bin" || file == "dist" || d.Name() == "testdata" {
				return fs.SkipDir
			}
			return nil
		case !selected(file, prefixes):
			return nil
		}
		switch {
		case strings.HasSuffix(file, ".go") && !strings.HasPrefix(d.Name(), "zz_generated"):
			texts, err := source(tree, file)
			all = append(all, texts...)
			return err
		case page(file):
			content, err := fs.ReadFile(tree, file)
			all = append(all, markdown(file, string(content))...)
			return err
		}
		return nil
	})
	return all, err
}

func selected(file string, prefixes []string) bool {
	return len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool {
		return strings.HasPrefix(file, strings.TrimPrefix(p, "./"))
	})
}

// page reports whether a file is a page of the documentation.
func page(file string) bool {
	return path.Ext(file) == ".md" && (!strings.Contains(file, "/") || strings.HasPrefix(file, "docs/"))
}

// gofile is one Go file that is read.
type gofile struct {
	name  string
	test  bool
	set   *token.FileSet
	texts []text
	seen  map[token.Pos]bool
	// named are the names that doc comments begin with, by position of the comment.
	named map[token.Pos][]string
}

// source returns the comments, strings and names of a Go file.
func source(tree fs.FS, file string) ([]text, error) {
	content, err := fs.ReadFile(tree, file)
	if err != nil {
		return nil, err
	}
	f := &gofile{name: file, test: strings.HasSuffix(file, "_test.go"), set: token.NewFileSet(), seen: map[token.Pos]bool{}, named: map[token.Pos][]string{}}
	syntax, err := parser.ParseFile(f.set, file, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f.add("name", 1, words(strings.TrimSuffix(file, ".go")), path.Base(file))
	ast.Inspect(syntax, f.documented)
	f.declarations(syntax)
	for _, group := range syntax.Comments {
		if !f.seen[group.Pos()] {
			f.comment(group, "comment")
		}
	}
	ast.Inspect(syntax, f.visit)
	return f.texts, nil
}

func (f *gofile) add(scope string, line int, content, from string) {
	f.texts = append(f.texts, text{file: f.name, scope: scope, line: line, content: content, from: from})
}

func (f *gofile) line(p token.Pos) int { return f.set.Position(p).Line }

// documented notes the names that a doc comment is for. Such a comment begins
// with a name, which is checked as a name and not as a word of the text.
func (f *gofile) documented(n ast.Node) bool {
	note := func(doc *ast.CommentGroup, names ...*ast.Ident) {
		for _, id := range names {
			if doc != nil && id != nil {
				f.named[doc.Pos()] = append(f.named[doc.Pos()], id.Name)
			}
		}
	}
	switch n := n.(type) {
	case *ast.FuncDecl:
		note(n.Doc, n.Name)
	case *ast.GenDecl:
		for _, s := range n.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				note(n.Doc, s.Name)
				note(s.Doc, s.Name)
			case *ast.ValueSpec:
				note(n.Doc, s.Names...)
				note(s.Doc, s.Names...)
			}
		}
	case *ast.Field:
		note(n.Doc, n.Names...)
	}
	return true
}

// declarations reads the package comment and the doc comments of exported names.
func (f *gofile) declarations(syntax *ast.File) {
	scope := "doc"
	if strings.HasPrefix(f.name, "api/") {
		scope = "field"
	}
	f.comment(syntax.Doc, "doc")
	for _, d := range syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && !f.test {
				f.comment(d.Doc, scope)
			}
		case *ast.GenDecl:
			f.comment(d.Doc, scope)
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.TypeSpec:
					f.comment(n.Doc, scope)
					return n.Name.IsExported()
				case *ast.ValueSpec:
					f.comment(n.Doc, scope)
				case *ast.Field:
					f.comment(n.Doc, scope)
				}
				return true
			})
		}
	}
}

var (
	marker     = regexp.MustCompile(`^\s*\+[a-z]`)
	markerText = regexp.MustCompile(`\b(?:name|description|message)=("(?:[^"\\]|\\.)*"|'[^']*')`)
	firstName  = regexp.MustCompile(`^\s*\w+`)
	directive  = regexp.MustCompile(`^//(?:[a-z]+:|nolint)`)
)

// comment reads a comment once. Of markers only what people read counts, and
// indented lines are code.
func (f *gofile) comment(group *ast.CommentGroup, scope string) {
	if group == nil || f.seen[group.Pos()] {
		return
	}
	f.seen[group.Pos()] = true
	if f.test && scope != "name" {
		scope = "comment"
	}
	var lines []string
	first := f.line(group.Pos())
	for _, c := range group.List {
		for i, line := range strings.Split(c.Text, "\n") {
			line = strings.TrimPrefix(strings.TrimPrefix(line, "//"), "/*")
			switch {
			case directive.MatchString(c.Text):
				lines = append(lines, "")
			case marker.MatchString(line):
				for _, m := range markerText.FindAllStringSubmatch(line, -1) {
					f.add("message", f.line(c.Pos())+i, strings.Trim(m[1], `"'`), "")
				}
				lines = append(lines, "")
			case strings.HasPrefix(line, "\t"):
				lines = append(lines, "")
			default:
				lines = append(lines, line)
			}
		}
	}
	content := strings.Join(lines, "\n")
	if name := firstName.FindString(content); slices.Contains(f.named[group.Pos()], strings.TrimSpace(name)) {
		content = "_" + content[len(name):] // no back quote, which would begin code
	}
	f.add(scope, first, prose(content), "")
}

// visit reads literals and declared names.
func (f *gofile) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec:
		f.ident(n.Name)
		return false
	case *ast.File:
		f.ident(n.Name)
	case *ast.FuncDecl:
		f.ident(n.Name)
	case *ast.TypeSpec:
		f.ident(n.Name)
	case *ast.ValueSpec:
		f.ident(n.Names...)
	case *ast.Field:
		f.ident(n.Names...)
		if n.Tag != nil {
			f.tag(n.Tag)
			n.Tag = nil
		}
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE {
			f.exprs(n.Lhs...)
		}
	case *ast.RangeStmt:
		if n.Tok == token.DEFINE {
			f.exprs(n.Key, n.Value)
		}
	case *ast.BasicLit:
		f.literal(n)
	}
	return true
}

func (f *gofile) exprs(all ...ast.Expr) {
	for _, e := range all {
		if id, ok := e.(*ast.Ident); ok {
			f.ident(id)
		}
	}
}

func (f *gofile) ident(all ...*ast.Ident) {
	for _, id := range all {
		if id != nil && id.Name != "_" {
			f.add("name", f.line(id.Pos()), words(id.Name), id.Name)
		}
	}
}

// tag reads the field names in a struct tag.
func (f *gofile) tag(lit *ast.BasicLit) {
	value, err := strconv.Unquote(lit.Value)
	if err == nil {
		f.add("name", f.line(lit.Pos()), words(value), value)
	}
}

func (f *gofile) literal(lit *ast.BasicLit) {
	if lit.Kind != token.STRING || f.test {
		return
	}
	value, err := strconv.Unquote(lit.Value)
	if strings.HasPrefix(lit.Value, `"`) {
		value = strings.ReplaceAll(value, "\n", " ") // the literal is one line of the file
	}
	switch {
	case err != nil || value == "":
	case strings.Contains(strings.TrimSpace(value), " "):
		f.add("message", f.line(lit.Pos()), value, "")
	default:
		f.add("name", f.line(lit.Pos()), words(value), value)
	}
}

// words splits a name: at upper-case letters, and at all that is no letter.
func words(name string) string {
	var out strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r):
			out.WriteRune(' ')
			continue
		case unicode.IsUpper(r) && i > 0 &&
			(unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			out.WriteRune(' ')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}
