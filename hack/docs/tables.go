package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

type schema = apiextensionsv1.JSONSchemaProps

// folded are fields that are the same as in every pod, so that listing what is
// below them would only hide what is ours.
var folded = map[string]bool{"affinity": true, "tolerations": true, "conditions": true}

// fields is the table of everything below a schema.
func fields(s schema) string {
	var b strings.Builder
	b.WriteString("| field | type | default | bounds | meaning |\n|---|---|---|---|---|\n")
	walk(s, "", func(path string, s schema, required bool) {
		limits := bounds(s)
		if required {
			limits = append([]string{"**required**"}, limits...)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", path, typeOf(s), defaultOf(s), strings.Join(limits, ", "), cell(s.Description))
	})
	return b.String()
}

// rules is the list of the rules that span several fields, with the messages
// of the API server.
func rules(root schema) string {
	var b strings.Builder
	list := func(path string, s schema) {
		for _, r := range s.XValidations {
			fmt.Fprintf(&b, "- `%s`: %s\n", path, r.Message)
		}
	}
	list("metadata.name", root)
	spec := root.Properties["spec"]
	list("spec", spec)
	walk(spec, "spec.", func(path string, s schema, _ bool) {
		list(path, s)
		if s.Items != nil && s.Items.Schema != nil {
			list(path+"[]", *s.Items.Schema)
		}
	})
	return b.String()
}

// columns is what kubectl get shows.
func columns(all []apiextensionsv1.CustomResourceColumnDefinition) string {
	var b strings.Builder
	b.WriteString("| column | from | shown |\n|---|---|---|\n")
	for _, c := range all {
		shown := "always"
		if c.Priority > 0 {
			shown = "with `-o wide`"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", strings.ToUpper(c.Name), cell(c.JSONPath), shown)
	}
	return b.String()
}

// walk visits every field below a schema, in the order of their names, parents
// first.
func walk(s schema, prefix string, visit func(path string, s schema, required bool)) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field := s.Properties[name]
		path := prefix + name
		visit(path, field, slices.Contains(s.Required, name))
		switch {
		case folded[name]:
		case field.Items != nil && field.Items.Schema != nil:
			walk(*field.Items.Schema, path+"[].", visit)
		default:
			walk(field, path+".", visit)
		}
	}
}

func typeOf(s schema) string {
	switch {
	case s.XIntOrString:
		return "quantity"
	case s.Type == "array" && s.Items != nil && s.Items.Schema != nil:
		return "list of " + typeOf(*s.Items.Schema)
	case s.Type == "object" && s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil:
		return "map to " + typeOf(*s.AdditionalProperties.Schema)
	case s.Format == "date-time":
		return "time"
	default:
		return s.Type
	}
}

func defaultOf(s schema) string {
	switch {
	case s.Default == nil:
		return ""
	case string(s.Default.Raw) == "{}":
		return "see below"
	default:
		return code(string(s.Default.Raw))
	}
}

// bounds lists what the API server refuses otherwise.
func bounds(s schema) []string {
	var b []string
	if len(s.Enum) > 0 {
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = code(strings.Trim(string(v.Raw), `"`))
		}
		b = append(b, strings.Join(values, " or "))
	}
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		b = append(b, fmt.Sprintf("%s to %s", number(*s.Minimum), number(*s.Maximum)))
	case s.Minimum != nil:
		b = append(b, "at least "+number(*s.Minimum))
	case s.Maximum != nil:
		b = append(b, "at most "+number(*s.Maximum))
	}
	b = append(b, between(s.MinLength, s.MaxLength, "characters")...)
	b = append(b, between(s.MinItems, s.MaxItems, "items")...)
	b = append(b, between(s.MinProperties, s.MaxProperties, "entries")...)
	if s.Pattern != "" && !s.XIntOrString {
		b = append(b, code(s.Pattern))
	}
	if s.Items != nil && s.Items.Schema != nil && s.Items.Schema.Type == "string" {
		for _, bound := range bounds(*s.Items.Schema) {
			b = append(b, "each "+bound)
		}
	}
	if s.Nullable {
		b = append(b, "may be null")
	}
	return b
}

func between(least, most *int64, what string) []string {
	switch {
	case least != nil && most != nil:
		return []string{fmt.Sprintf("%d to %d %s", *least, *most, what)}
	case most != nil:
		return []string{fmt.Sprintf("at most %d %s", *most, what)}
	case least != nil:
		return []string{fmt.Sprintf("at least %d %s", *least, what)}
	default:
		return nil
	}
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func code(s string) string { return "`" + cell(s) + "`" }

// cell makes text fit into one cell of a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
