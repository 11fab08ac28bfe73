package release

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeNotes copies this version's section of the changelog.
func writeNotes(o Options) error {
	data, err := os.ReadFile(filepath.Join(o.Root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	text := section(string(data), o.number())
	if text == "" && o.Untagged {
		text = section(string(data), "Unreleased")
	}
	if text == "" {
		return fmt.Errorf(`CHANGELOG.md has no text below "## [%s]": rename the section Unreleased, and begin another`, o.number())
	}
	return o.write("RELEASE_NOTES.md", []byte("# gocache-operator "+o.Version+"\n\n"+text+"\n"))
}

// section is the text below "## [NAME]", with or without a date behind it, up to
// the next version.
func section(changelog, name string) string {
	var lines []string
	inside := false
	for line := range strings.Lines(changelog) {
		if strings.HasPrefix(line, "## ") {
			inside = strings.HasPrefix(line, "## ["+name+"]")
			continue
		}
		if inside {
			lines = append(lines, line)
		}
	}
	return strings.TrimSpace(strings.Join(lines, ""))
}
