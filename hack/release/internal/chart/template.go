package chart

import (
	"fmt"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// namespace is that of config/default.
const namespace = "gocache-system"

// template collects the expressions that take the place of fields. A field is
// set to a mark first, which survives the conversion to YAML unquoted.
type template struct {
	inlines []string
	blocks  []block
}

// block makes the lines that replace the one line with its mark, at its indent.
type block func(indent string) []string

var (
	inlineMark = regexp.MustCompile(`inlinemark([0-9]+)end`)
	blockMark  = regexp.MustCompile(`^( *).*\bblockmark([0-9]+)end$`)
)

// inline is a mark for an expression in the place of a scalar.
func (t *template) inline(expression string) string {
	t.inlines = append(t.inlines, expression)
	return fmt.Sprintf("inlinemark%dend", len(t.inlines)-1)
}

// block is a mark for lines in the place of a field or of an item of a list.
func (t *template) block(b block) string {
	t.blocks = append(t.blocks, b)
	return fmt.Sprintf("blockmark%dend", len(t.blocks)-1)
}

// field is a mark for a whole field that a value has, and that is absent when
// the value is empty.
func (t *template) field(key, value string) string {
	return t.block(func(indent string) []string {
		return []string{
			"{{- with .Values." + value + " }}",
			indent + key + ":",
			fmt.Sprintf("%s  {{- toYaml . | nindent %d }}", indent, len(indent)+2),
			"{{- end }}",
		}
	})
}

// entries is a mark for the entries of a value, a map or a list, beside those
// that are there.
func (t *template) entries(value string) string {
	return t.block(func(indent string) []string {
		return []string{
			"{{- with .Values." + value + " }}",
			fmt.Sprintf("%s{{- toYaml . | nindent %d }}", indent, len(indent)),
			"{{- end }}",
		}
	})
}

// lines is a mark for lines that are there when a value is not empty; in them
// the value is the dot.
func (t *template) lines(value string, lines ...string) string {
	return t.block(func(indent string) []string {
		all := []string{"{{- with .Values." + value + " }}"}
		for _, line := range lines {
			all = append(all, indent+line)
		}
		return append(all, "{{- end }}")
	})
}

// render is the text of an object, with expressions in the place of marks.
func (t *template) render(o object) (string, error) {
	data, err := yaml.Marshal(o)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", o.kind(), o.name(), err)
	}
	text := strings.ReplaceAll(string(data), "{{", `{{ "{{" }}`)
	text = strings.ReplaceAll(text, namespace, "{{ .Release.Namespace }}")
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := blockMark.FindStringSubmatch(line); m != nil {
			out = append(out, t.blocks[number(m[2])](m[1])...)
			continue
		}
		out = append(out, inlineMark.ReplaceAllStringFunc(line, func(mark string) string {
			return t.inlines[number(inlineMark.FindStringSubmatch(mark)[1])]
		}))
	}
	return strings.Join(out, "\n") + "\n", nil
}

// number reads the number of a mark, which this package wrote.
func number(s string) int {
	n := 0
	for _, digit := range s {
		n = n*10 + int(digit-'0')
	}
	return n
}
