package main

import (
	"regexp"
	"strings"
)

var (
	fence       = regexp.MustCompile("^\\s*(```|~~~)")
	startOfItem = regexp.MustCompile(`^\s*([-*+] |\d+\. |#+ |\||> )`)
	inlineCode  = regexp.MustCompile("(?s)(``.*?``|`[^`]*`)")
	linkTarget  = regexp.MustCompile(`\]\([^)\s]*\)`)
	htmlComment = regexp.MustCompile(`(?s)<!--.*?-->`)
	address     = regexp.MustCompile(`https?://\S+`)
)

// markdown splits a page into paragraphs, list items, headings and table rows.
func markdown(file, page string) []text {
	var all []text
	var block []string
	first := 0
	flush := func() {
		content := prose(strings.Join(block, "\n"))
		if strings.TrimSpace(content) != "" {
			all = append(all, text{file: file, scope: "prose", line: first, content: content})
		}
		block = nil
	}
	var inFence, generated bool
	for i, line := range strings.Split(page, "\n") {
		switch {
		case fence.MatchString(line):
			flush()
			inFence = !inFence
			continue
		case strings.HasPrefix(line, "<!-- generated:"):
			flush()
			generated = true
		case strings.HasPrefix(line, "<!-- end -->"):
			generated = false
			continue
		}
		if inFence || generated {
			continue
		}
		indented := len(block) == 0 && strings.HasPrefix(line, "    ")
		if strings.TrimSpace(line) == "" || startOfItem.MatchString(line) || indented {
			flush()
		}
		if indented && !startOfItem.MatchString(line) || strings.TrimSpace(line) == "" {
			continue // a code block, or an empty line
		}
		if len(block) == 0 {
			first = i + 1
		}
		block = append(block, line)
	}
	flush()
	return all
}

// prose blanks what is no prose, and keeps the line breaks.
func prose(block string) string {
	for _, e := range []*regexp.Regexp{inlineCode, htmlComment, linkTarget, address} {
		block = e.ReplaceAllStringFunc(block, func(s string) string {
			return "`" + strings.Repeat("\n", strings.Count(s, "\n"))
		})
	}
	return block
}
