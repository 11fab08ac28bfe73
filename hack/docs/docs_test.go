package main

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const example = `
required: [name]
properties:
  name: {type: string, minLength: 1, maxLength: 15, description: "name of\n  it."}
  mode: {type: string, enum: [A, B], default: A}
  size: {x-kubernetes-int-or-string: true, pattern: "^x$"}
  list:
    type: array
    maxItems: 2
    items:
      type: object
      properties: {weight: {type: integer, minimum: 1, maximum: 256, default: 100}}
      x-kubernetes-validations: [{rule: "true", message: set one of a|b}]
  tags: {type: array, items: {type: string, pattern: "^a|b$"}}
`

func parse(t *testing.T) schema {
	t.Helper()
	var s apiextensionsv1.JSONSchemaProps
	if err := yaml.UnmarshalStrict([]byte(example), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFields(t *testing.T) {
	got := fields(parse(t))
	for _, want := range []string{
		"| `name` | string |  | **required**, 1 to 15 characters | name of it. |",
		"| `mode` | string | `\"A\"` | `A` or `B` |  |",
		"| `size` | quantity |  |  |  |",
		"| `list` | list of object |  | at most 2 items |  |",
		"| `list[].weight` | integer | `100` | 1 to 256 |  |",
		"| `tags` | list of string |  | each `^a\\|b$` |  |",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no line %s in\n%s", want, got)
		}
	}
}

func TestRules(t *testing.T) {
	root := schema{Properties: map[string]schema{"spec": parse(t)}}
	if got, want := rules(root), "- `spec.list[]`: set one of a|b\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRenew(t *testing.T) {
	page := "before\n<!-- generated: spec -->\nold\n<!-- end -->\nafter\n"
	got, err := renew(page, map[string]string{"spec": "new $1\n"})
	if want := "before\n<!-- generated: spec -->\n\nnew $1\n\n<!-- end -->\nafter\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if again, _ := renew(got, map[string]string{"spec": "new $1\n"}); again != got {
		t.Errorf("a second time gives %q", again)
	}
	if _, err := renew(page, map[string]string{"spec": "new", "status": "lost"}); err == nil {
		t.Error("a page without the section status was accepted")
	}
}

func TestSummary(t *testing.T) {
	for _, tt := range []struct{ name, doc, want string }{
		{"apply", "Package apply brings objects.", "brings objects."},
		{"main", "Command docs writes.", "docs writes."},
		{"a", "Else.", "Else."},
	} {
		if got := summary(tt.name, tt.doc); got != tt.want {
			t.Errorf("%q becomes %q, want %q", tt.doc, got, tt.want)
		}
	}
}
