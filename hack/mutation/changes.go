package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// pkg is a package in the names of "go list -json".
type pkg struct {
	Dir          string
	ImportPath   string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	TestImports  []string
	XTestImports []string

	// judges are the packages whose tests are run, one after the other until one
	// notices.
	judges []*pkg
}

// server is the package that starts an API server for tests. Such tests take
// minutes for each change.
const server = "gocache.dev/operator/internal/testing/env"

// list asks the go command for packages. Those whose tests need an API server
// are left out unless servers is set.
func list(ctx context.Context, dir string, patterns []string, servers bool) ([]*pkg, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-json=Dir,ImportPath,GoFiles,TestGoFiles,XTestGoFiles,TestImports,XTestImports"}, patterns...)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var packages []*pkg
	for d := json.NewDecoder(strings.NewReader(string(text))); ; {
		p := &pkg{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			appoint(packages, servers)
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if servers || !p.startsServer() {
			packages = append(packages, p)
		}
	}
}

// appoint finds the judges of each package: itself, or for a part without tests the
// nearest package above it that has some. With servers, the nearest package above it
// whose tests start an API server is another one: they test a controller with its
// parts.
func appoint(packages []*pkg, servers bool) {
	byPath := map[string]*pkg{}
	for _, p := range packages {
		if p.tested() {
			byPath[p.ImportPath] = p
		}
	}
	for _, p := range packages {
		for above := p.ImportPath; above != "."; above = path.Dir(above) {
			if judge := byPath[above]; judge != nil && (len(p.judges) == 0 || judge.startsServer()) {
				p.judges = append(p.judges, judge)
				if !servers || judge.startsServer() {
					break
				}
			}
		}
	}
}

func (p *pkg) tested() bool { return len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 }

func (p *pkg) startsServer() bool {
	return slices.Contains(p.TestImports, server) || slices.Contains(p.XTestImports, server)
}

// change is one change to one file.
type change struct {
	pkg    *pkg
	file   string // absolute
	line   int
	in     string // the function, or the declaration
	kind   string
	from   string // the text that is replaced
	to     string
	offset int // of from in the file
}

// apply makes the change in the text of its file.
func (c *change) apply(text []byte) []byte {
	return slices.Concat(text[:c.offset], []byte(c.to), text[c.offset+len(c.from):])
}

// changes are all changes to a package, in the order of its files.
func (p *pkg) changes() ([]change, error) {
	var all []change
	for _, name := range p.GoFiles {
		name = filepath.Join(p.Dir, name)
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		found, err := changesIn(name, text)
		if err != nil {
			return nil, err
		}
		for i := range found {
			found[i].pkg = p
		}
		all = append(all, found...)
	}
	return all, nil
}

// changesIn finds the changes to one file. A generated file has none: its
// source is elsewhere.
func changesIn(name string, text []byte) ([]change, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if ast.IsGenerated(parsed) {
		return nil, nil
	}
	f := &finder{set: set, text: text, name: name}
	for _, d := range parsed.Decls {
		f.in = "declaration"
		switch d := d.(type) {
		case *ast.FuncDecl:
			f.in = d.Name.Name
			if d.Recv != nil && len(d.Recv.List) == 1 {
				f.in = strings.TrimPrefix(f.source(d.Recv.List[0].Type), "*") + "." + f.in
			}
			if d.Body != nil {
				f.function(d.Type, d.Body)
			}
		case *ast.GenDecl:
			if d.Tok == token.CONST || d.Tok == token.VAR {
				ast.Inspect(d, f.visit(nil))
			}
		}
	}
	slices.SortStableFunc(f.found, func(a, b change) int { return a.offset - b.offset })
	return f.found, nil
}

// finder gathers the changes to a file.
type finder struct {
	set   *token.FileSet
	text  []byte
	name  string
	in    string
	found []change
}

func (f *finder) source(n ast.Node) string {
	return string(f.text[f.set.Position(n.Pos()).Offset:f.set.Position(n.End()).Offset])
}

func (f *finder) add(kind string, n ast.Node, to string) {
	f.replace(kind, f.set.Position(n.Pos()), f.source(n), to)
}

func (f *finder) replace(kind string, at token.Position, from, to string) {
	f.found = append(f.found, change{file: f.name, line: at.Line, in: f.in, kind: kind, from: from, to: to, offset: at.Offset})
}

func (f *finder) function(signature *ast.FuncType, body *ast.BlockStmt) {
	ast.Inspect(body, f.visit(signature))
}

// visit looks at one node and reports whether to go on below it. signature is that
// of the function around it.
func (f *finder) visit(signature *ast.FuncType) func(ast.Node) bool {
	return func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			f.function(n.Type, n.Body)
			return false
		case *ast.IfStmt:
			f.negate(n.Cond)
		case *ast.SwitchStmt:
			f.cases(n)
		case *ast.BinaryExpr:
			f.operator(n)
		case *ast.ReturnStmt:
			f.dropError(signature, n)
		case *ast.BasicLit:
			f.literal(n)
		case *ast.ExprStmt:
			return !unimportant.MatchString(f.source(n))
		case *ast.BlockStmt:
			f.remove(n.List)
		case *ast.CaseClause:
			f.remove(n.Body)
		case *ast.CommClause:
			f.remove(n.Body)
		}
		return true
	}
}

func (f *finder) negate(condition ast.Expr) {
	f.add("condition negated", condition, "!("+f.source(condition)+")")
}

// cases negates the conditions of a switch that is a chain of them.
func (f *finder) cases(s *ast.SwitchStmt) {
	if s.Tag != nil {
		return
	}
	for _, clause := range s.Body.List {
		for _, condition := range clause.(*ast.CaseClause).List {
			f.negate(condition)
		}
	}
}

// operator exchanges && and ||, and moves a bound by one.
func (f *finder) operator(b *ast.BinaryExpr) {
	other, ok := map[token.Token]string{
		token.LAND: "||", token.LOR: "&&", token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">",
	}[b.Op]
	if !ok {
		return
	}
	if b.Op == token.LAND || b.Op == token.LOR {
		f.add(b.Op.String()+" for "+other, b, "(("+f.source(b.X)+") "+other+" ("+f.source(b.Y)+"))")
		return
	}
	f.replace("bound moved", f.set.Position(b.OpPos), b.Op.String(), other)
}

// dropError returns nil in the place of an error. The expression is evaluated
// all the same, so that the change compiles and its effects stay.
func (f *finder) dropError(signature *ast.FuncType, r *ast.ReturnStmt) {
	if signature == nil || signature.Results == nil || len(r.Results) == 0 {
		return
	}
	results := signature.Results.List
	if t, ok := results[len(results)-1].Type.(*ast.Ident); !ok || t.Name != "error" || signature.Results.NumFields() != len(r.Results) {
		return
	}
	last := r.Results[len(r.Results)-1]
	if f.source(last) == "nil" {
		return
	}
	f.add("error dropped", last, "func() error { _ = "+f.source(last)+"; return nil }()")
}

// literal adds one to a number. Octal numbers are modes of files.
func (f *finder) literal(l *ast.BasicLit) {
	if l.Kind != token.INT || strings.HasPrefix(l.Value, "0o") {
		return
	}
	if n, err := strconv.ParseInt(l.Value, 0, 64); err == nil {
		f.add("number off by one", l, strconv.FormatInt(n+1, 10))
	}
}

// unimportant are calls that only log, and panics, after which Go requires no
// return.
var unimportant = regexp.MustCompile(`^panic\(|(^|[.(])(?i:log|logger|klog)(\(.*\))?\.`)

// remove takes each call and each assignment away. It stays as code that never
// runs, so that what it uses stays in use.
func (f *finder) remove(list []ast.Stmt) {
	for _, statement := range list {
		kind := ""
		switch s := statement.(type) {
		case *ast.ExprStmt:
			if _, ok := s.X.(*ast.CallExpr); ok && !unimportant.MatchString(f.source(s)) {
				kind = "call removed"
			}
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE && !blank(s.Lhs) {
				kind = "assignment removed"
			}
		}
		if kind != "" {
			f.add(kind, statement, "if false { "+f.source(statement)+" }")
		}
	}
}

func blank(all []ast.Expr) bool {
	return !slices.ContainsFunc(all, func(e ast.Expr) bool {
		name, ok := e.(*ast.Ident)
		return !ok || name.Name != "_"
	})
}
