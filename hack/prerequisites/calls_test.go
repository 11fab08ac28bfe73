package prerequisites

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// present are commands that the list need not name, with the reason.
var present = map[string]string{
	"go":             "checked with its version",
	"bash":           "essential",
	"sh":             "essential",
	"env":            "coreutils, essential",
	"chmod":          "coreutils, essential",
	"cp":             "coreutils, essential",
	"du":             "coreutils, essential",
	"false":          "coreutils, essential",
	"sleep":          "coreutils, essential",
	"flock":          "util-linux, essential",
	"script":         "bsdutils, essential",
	"tail":           "coreutils, essential",
	"tar":            "essential",
	"dpkg-query":     "dpkg, essential",
	"ldd":            "libc-bin, essential",
	"modprobe":       "comes with every kernel that has modules",
	"/proc/self/exe": "the program itself",
}

// TestPackagesOfBefore: no package that continuous integration once installed
// is lost.
func TestPackagesOfBefore(t *testing.T) {
	t.Parallel()
	var packages []string
	for _, e := range list(t) {
		packages = append(packages, e.debian)
	}
	for _, p := range strings.Fields("runc containernetworking-plugins iptables nftables conntrack xfsprogs iproute2 procps " +
		"busybox-static haproxy ca-certificates git make gcc libc6-dev") {
		if !slices.Contains(packages, p) {
			t.Errorf("package %s is not in the list", p)
		}
	}
}

// TestEveryCommandIsInTheList reads the Go code of the repository: each command
// that it runs or looks up by name is in the list.
func TestEveryCommandIsInTheList(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, e := range list(t) {
		listed[e.name] = true
	}
	calls := commands(t)
	for name, position := range calls {
		if !listed[name] && present[name] == "" {
			t.Errorf("%s: the command %s is not in the list of hack/prerequisites/check.sh", position, name)
		}
	}
	// The search finds what it is for.
	for _, name := range []string{"haproxy", "runc", "mkfs.xfs", "xfs_growfs", "mount", "git", "busybox", "mkfs.ext4", "kubectl", "kind", "make"} {
		if calls[name] == "" {
			t.Errorf("no call of %s was found", name)
		}
	}
}

// lookups are the functions of os/exec that take the name of a command, and
// which of their arguments it is.
var lookups = map[string]int{"Command": 0, "CommandContext": 1, "LookPath": 0}

// commands are the names of commands in the code, each with a place.
func commands(t *testing.T) map[string]string {
	t.Helper()
	files := token.NewFileSet()
	packages := map[string][]*ast.File{}
	err := filepath.WalkDir(top(), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "bin", "dist", "testdata"}, d.Name()) && path != top():
			return filepath.SkipDir
		case filepath.Ext(path) != ".go":
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		packages[filepath.Dir(path)] = append(packages[filepath.Dir(path)], file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, p := range packages {
		around := wrappers(p)
		for _, file := range p {
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if name := named(call, around); name != "" {
						found[name] = files.Position(call.Pos()).String()
					}
				}
				return true
			})
		}
	}
	return found
}

// wrappers are the functions of a package that pass one of their parameters to
// os/exec as the name of a command, and which parameter it is.
func wrappers(p []*ast.File) map[string]int {
	found := map[string]int{}
	for _, file := range p {
		for _, d := range file.Decls {
			function, ok := d.(*ast.FuncDecl)
			if !ok || function.Body == nil {
				continue
			}
			var parameters []string
			for _, field := range function.Type.Params.List {
				for _, name := range field.Names {
					parameters = append(parameters, name.Name)
				}
			}
			ast.Inspect(function.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || !ofExec(call) {
					return true
				}
				index, ok := lookups[functionOf(call)]
				if !ok || index >= len(call.Args) {
					return true
				}
				if name, ok := call.Args[index].(*ast.Ident); ok && slices.Contains(parameters, name.Name) {
					found[function.Name.Name] = slices.Index(parameters, name.Name)
				}
				return true
			})
		}
	}
	return found
}

func functionOf(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

func ofExec(call *ast.CallExpr) bool {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := f.X.(*ast.Ident)
	return ok && x.Name == "exec"
}

// named is the command that a call names; empty if it names none.
func named(call *ast.CallExpr, around map[string]int) string {
	index, ok := around[functionOf(call)]
	if ofExec(call) {
		index, ok = lookups[functionOf(call)]
	}
	if !ok || index >= len(call.Args) {
		return ""
	}
	literal, ok := call.Args[index].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	name, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	if strings.HasPrefix(name, "/usr/sbin/") {
		return filepath.Base(name)
	}
	return name
}

// TestNetworkPluginsAreInTheList: the CNI plugins are named in a configuration.
func TestNetworkPluginsAreInTheList(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(top(), "hack", "devcluster", "internal", "config", "templates", "10-bridge.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Plugins []struct {
			Type string
			IPAM struct{ Type string }
		}
	}
	// The file is a template: what it inserts stands for any value.
	text = regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAll(text, []byte("0"))
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list(t) {
		names = append(names, e.name)
	}
	for _, p := range config.Plugins {
		for _, plugin := range []string{p.Type, p.IPAM.Type} {
			if plugin != "" && !slices.Contains(names, "/usr/lib/cni/"+plugin) {
				t.Errorf("plugin %s is not in the list", plugin)
			}
		}
	}
	if len(config.Plugins) == 0 {
		t.Error("no plugin was found")
	}
}
