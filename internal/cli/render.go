package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"sigs.k8s.io/yaml"

	"gocache.dev/operator/internal/cli/status"
)

// Formats of an output, beside the one for people.
const (
	formatJSON = "json"
	formatYAML = "yaml"
	formatWide = "wide"
)

// knownFormat refuses an output that is neither JSON, YAML nor one of more.
func knownFormat(output string, more ...string) error {
	known := append([]string{formatJSON, formatYAML}, more...)
	if output == "" || slices.Contains(known, output) {
		return nil
	}
	last := len(known) - 1
	return fmt.Errorf("--output %q: want %s or %s", output, strings.Join(known[:last], ", "), known[last])
}

// encoded is a report as programs read it; ok is false if people do.
func encoded(output string, report any) (shown string, ok bool, err error) {
	var data []byte
	switch output {
	case formatJSON:
		data, err = json.MarshalIndent(report, "", "  ")
		data = append(data, '\n')
	case formatYAML:
		data, err = yaml.Marshal(report)
	default:
		return "", false, nil
	}
	return string(data), true, err
}

// signs of levels.
var signs = map[status.Level]string{status.LevelOK: "✓", status.LevelWarning: "⚠", status.LevelFailure: "✗"}

// sign of a level, in its color.
func (a *app) sign(level status.Level) string { return a.paint(level, signs[level]) }

// finding writes a line with its sign, and a line for each detail below it.
func (a *app) finding(to io.Writer, indent string, level status.Level, message string, details ...string) {
	_, _ = fmt.Fprintf(to, "%s%s %s\n", indent, a.sign(level), oneLine(message))
	for _, detail := range details {
		_, _ = fmt.Fprintf(to, "%s    %s\n", indent, detail)
	}
}

// oneLine is a text with single spaces: messages of the API may have several lines.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// paint colors text by urgency, where a terminal shows it.
func (a *app) paint(level status.Level, s string) string {
	colors := map[status.Level]text.Colors{
		status.LevelOK: {text.FgGreen}, status.LevelProgress: {text.FgCyan}, status.LevelWarning: {text.FgYellow}, status.LevelFailure: {text.FgRed, text.Bold},
	}
	if !a.color {
		return s
	}
	return colors[level].Sprint(s)
}

// newTable is a table in the style of kubectl.
func newTable(headers ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "   "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.AppendHeader(headers)
	return t
}
