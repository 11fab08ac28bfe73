package main

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// metricName is how the name of every metric of the programs begins.
var metricName = regexp.MustCompile(`^gocache_[a-z_]+[a-z]$`)

// servers name the program that serves the metrics of a folder, and where.
var servers = []struct{ dir, what string }{
	{"internal/proxy", "`gocache-proxy`, port 9104"},
	{"internal/agent", "`gocache-agent` beside a store, port 9103"},
	{"internal/router", "`gocache-router` beside HAProxy, port 9778"},
	{"controllers", "the manager, port 8443"},
	{"internal", "the manager, port 8443"},
}

// metrics is the table of all metrics.
func metrics(s *sources) (string, error) {
	rows := map[string]string{}
	for _, f := range s.files {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			name, help := s.metric(f.pkg, call)
			if !metricName.MatchString(name) || help == "" {
				return true
			}
			if _, done := rows[name]; !done {
				rows[name] = fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", name, metricKind(call), s.metricLabels(f.pkg, call), server(f.path), cell(help))
			}
			return true
		})
	}
	if len(rows) == 0 {
		return "", fmt.Errorf("found no metric")
	}
	names := make([]string, 0, len(rows))
	for name := range rows {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString("| metric | type | labels | served by | meaning |\n|---|---|---|---|---|\n")
	for _, name := range names {
		b.WriteString(rows[name])
	}
	return b.String(), nil
}

// metric is the name and the help text of a call that makes a metric: from
// options with Name and Help, or from its first two arguments.
func (s *sources) metric(pkg string, call *ast.CallExpr) (name, help string) {
	if options, ok := call.Args[0].(*ast.CompositeLit); ok {
		for _, e := range options.Elts {
			pair, ok := e.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			text, _ := s.value(pkg, pair.Value)
			switch key, _ := pair.Key.(*ast.Ident); {
			case key == nil:
			case key.Name == "Name":
				name = text
			case key.Name == "Help":
				help = text
			}
		}
		return name, help
	}
	if len(call.Args) > 1 {
		name, _ = s.value(pkg, call.Args[0])
		help, _ = s.value(pkg, call.Args[1])
	}
	return name, help
}

func metricKind(call *ast.CallExpr) string {
	name := ""
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		name = f.Sel.Name
	case *ast.Ident:
		name = f.Name
	}
	for _, kind := range []string{"Counter", "Histogram", "Summary"} {
		if strings.Contains(name, kind) {
			return strings.ToLower(kind)
		}
	}
	return "gauge"
}

func (s *sources) metricLabels(pkg string, call *ast.CallExpr) string {
	var names []string
	for _, a := range call.Args[1:] {
		list, ok := a.(*ast.CompositeLit)
		if !ok {
			continue
		}
		for _, e := range list.Elts {
			if text, ok := s.value(pkg, e); ok {
				names = append(names, "`"+text+"`")
			}
		}
	}
	return strings.Join(names, ", ")
}

func server(path string) string {
	for _, s := range servers {
		if strings.HasPrefix(path, s.dir+"/") {
			return s.what
		}
	}
	return ""
}
