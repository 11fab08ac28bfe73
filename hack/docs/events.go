package main

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// reasonsOf lists the reasons of events that repeat a condition, by the
// object and the action of the event: the code takes them from the condition.
var reasonsOf = map[string][]string{
	"all kinds/Stall":           {"the reason of `Stalled`"},
	"GoCache/Grow":              {"GrowthRefused", "AtLimit", "OutOfInodes"},
	"CacheSnapshot/Verify":      {"QuotaExceeded", "CloneFailed"},
	"CacheSnapshot/Snapshot":    {"SnapshotFailed"},
	"ModProxy/Compare":          {"InstancesDisagree"},
	"ModProxy/ServeCertificate": {"CertificateRefused", "CertificateNameMismatch"},
	"ModProxy/Probe":            {"ChecksumDatabaseUnreachable"},
}

// objects name the kind on which the events of a folder are recorded.
var objects = []struct{ dir, kind string }{
	{"controllers/gocache/", "GoCache"},
	{"controllers/cachesnapshot/", "CacheSnapshot"},
	{"controllers/modproxy/", "ModProxy"},
	{"controllers/cacherequest/", "CacheRequest"},
	{"controllers/populator/", "PersistentVolumeClaim"},
	{"internal/kube/event/", "all kinds"},
	{"internal/", "GoCache, ModProxy"},
}

// happening is one call that records an event.
type happening struct{ object, reason, kind, message string }

// events is the table of all events, by object.
func events(s *sources) (string, error) {
	all, err := happenings(s)
	if err != nil {
		return "", err
	}
	slices.SortStableFunc(all, func(a, b happening) int { return strings.Compare(a.object+a.reason, b.object+b.reason) })
	var b strings.Builder
	object := ""
	for _, h := range slices.Compact(all) {
		if h.object != object {
			object = h.object
			name := object
			if name == "all kinds" {
				name = "All kinds"
			}
			fmt.Fprintf(&b, "\n## %s\n\n| reason | type | message |\n|---|---|---|\n", name)
		}
		reason := h.reason
		if !strings.Contains(reason, " ") {
			reason = "`" + reason + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", reason, h.kind, cell(h.message))
	}
	return strings.TrimPrefix(b.String(), "\n"), nil
}

// happenings are the events in the sources.
func happenings(s *sources) ([]happening, error) {
	var all []happening
	var problems []string
	for _, f := range s.files {
		object := ""
		for _, o := range objects {
			if strings.HasPrefix(f.path, o.dir) {
				object = o.kind
				break
			}
		}
		var cases []*ast.CaseClause
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if c, ok := n.(*ast.CaseClause); ok {
				cases = append(cases, c)
			}
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			kind, format := eventCall(f.pkg, call)
			if kind == "" || len(call.Args) <= format {
				return true
			}
			reasons := s.reasons(f.pkg, object, call, cases)
			if len(reasons) == 0 {
				problems = append(problems, fmt.Sprintf("%s: the reason of an event is not a constant; add what it may be to reasonsOf in hack/docs/events.go", f.path))
				return true
			}
			text, _ := s.value(f.pkg, call.Args[format])
			for _, r := range reasons {
				all = append(all, happening{object, r, kind, message(text)})
			}
			return true
		})
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s", strings.Join(problems, "\n"))
	}
	return all, nil
}

// eventCall is the type of the event that a call makes, and which argument
// its format is; "" if it makes none.
func eventCall(pkg string, call *ast.CallExpr) (kind string, format int) {
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		if from, ok := f.X.(*ast.Ident); ok && from.Name == "event" && (f.Sel.Name == "Normal" || f.Sel.Name == "Warning") {
			return f.Sel.Name, 2
		}
	case *ast.Ident:
		switch {
		case pkg == "event" && (f.Name == "Normal" || f.Name == "Warning"):
			return f.Name, 2
		case pkg == "populator" && (f.Name == "normal" || f.Name == "warning"):
			return strings.ToUpper(f.Name[:1]) + f.Name[1:], 1
		}
	}
	return "", 0
}

// reasons of the event that a call makes: the constant that it names, what
// the case that it is in compares with, or what reasonsOf lists.
func (s *sources) reasons(pkg, object string, call *ast.CallExpr, cases []*ast.CaseClause) []string {
	if text, ok := s.value(pkg, call.Args[0]); ok {
		return []string{text}
	}
	action, _ := s.value(pkg, call.Args[1])
	if listed, ok := reasonsOf[object+"/"+action]; ok {
		return listed
	}
	for _, c := range slices.Backward(cases) {
		if c.Pos() > call.Pos() || call.End() > c.End() {
			continue
		}
		var reasons []string
		for _, e := range c.List {
			if text, ok := s.value(pkg, e); ok {
				reasons = append(reasons, text)
			}
		}
		return reasons
	}
	return nil
}

var verb = regexp.MustCompile(`%[+#]?[a-z]`)

// message is a format as a person reads it.
func message(format string) string {
	if format == "%s" {
		return "(the message of the condition)"
	}
	if text := verb.ReplaceAllString(format, "…"); len(text) > len("T…") {
		return text
	}
	return "…"
}
