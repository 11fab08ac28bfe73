package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// root is the top of the repository, from this folder.
const root = "../.."

// TestLinks resolves every relative link and every anchor in the pages of the
// repository.
func TestLinks(t *testing.T) {
	pages := pagesOf(t)
	if len(pages) < 20 {
		t.Fatalf("found %d pages only: %v", len(pages), pages)
	}
	links := 0
	for _, page := range pages {
		for _, link := range linksOf(read(t, page)) {
			links++
			if problem := broken(t, page, link); problem != "" {
				t.Errorf("%s: the link to %s is broken: %s", page, link, problem)
			}
		}
	}
	if links < 50 {
		t.Errorf("found %d links only", links)
	}
}

// TestPagesAreReached asserts that links lead from README.md to every page
// below docs.
func TestPagesAreReached(t *testing.T) {
	reached := map[string]bool{}
	var visit func(page string)
	visit = func(page string) {
		if reached[page] {
			return
		}
		reached[page] = true
		for _, link := range linksOf(read(t, page)) {
			path, _, _ := strings.Cut(link, "#")
			target := filepath.Join(filepath.Dir(page), path)
			if info, err := os.Stat(filepath.Join(root, target)); err == nil && info.IsDir() {
				target = filepath.Join(target, "README.md")
			}
			if strings.HasSuffix(target, ".md") {
				if _, err := os.Stat(filepath.Join(root, target)); err == nil {
					visit(target)
				}
			}
		}
	}
	visit("README.md")
	for _, page := range pagesOf(t) {
		if strings.HasPrefix(page, "docs/") && !reached[page] {
			t.Errorf("no page links to %s", page)
		}
	}
}

// TestPicturesHaveSources asserts that every picture was drawn from a source
// beside it.
func TestPicturesHaveSources(t *testing.T) {
	pictures, err := filepath.Glob(filepath.Join(root, "docs", "pictures", "*"))
	if err != nil || len(pictures) == 0 {
		t.Fatalf("no pictures: %v", err)
	}
	for _, p := range pictures {
		bare := strings.TrimSuffix(p, filepath.Ext(p))
		for _, kind := range []string{".d2", ".svg"} {
			if _, err := os.Stat(bare + kind); err != nil {
				t.Errorf("%s has no %s beside it: run make pictures", p, kind)
			}
		}
	}
}

// pagesOf are the Markdown files of the repository.
func pagesOf(t *testing.T) []string {
	t.Helper()
	var pages []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && slices.Contains([]string{".git", "bin", "dist", "testdata", "node_modules"}, e.Name()) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			pages = append(pages, strings.TrimPrefix(path, root+"/"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

func read(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	fence = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	span  = regexp.MustCompile("`[^`\n]*`")
	link  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	title = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
)

// linksOf are the relative links of a page, outside of code.
func linksOf(text string) []string {
	text = span.ReplaceAllString(fence.ReplaceAllString(text, ""), "code")
	var links []string
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(m[1], ":") {
			links = append(links, m[1])
		}
	}
	return links
}

// broken explains why a link leads nowhere.
func broken(t *testing.T, page, link string) string {
	t.Helper()
	path, anchor, _ := strings.Cut(link, "#")
	target := page
	if path != "" {
		target = filepath.Join(filepath.Dir(page), path)
	}
	info, err := os.Stat(filepath.Join(root, target))
	if err != nil {
		return "there is no " + target
	}
	if anchor == "" {
		return ""
	}
	if info.IsDir() || filepath.Ext(target) != ".md" {
		return target + " has no headings"
	}
	if !slices.Contains(anchors(read(t, target)), anchor) {
		return target + " has no heading #" + anchor
	}
	return ""
}

// anchors are the names that GitHub gives to the headings of a page.
func anchors(text string) []string {
	seen := map[string]bool{}
	var names []string
	for _, m := range title.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := anchor(m[1])
		if !seen[name] {
			names = append(names, name)
		}
		seen[name] = true
	}
	return names
}

func anchor(heading string) string {
	heading = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '-':
			return '-'
		case r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, heading)
}

func TestBroken(t *testing.T) {
	for link, want := range map[string]bool{
		"LICENSE":                 false,
		"README.md#nothing-such":  true,
		"docs/nothing.md":         true,
		"docs/install.md#install": false,
		"docs#install":            true,
	} {
		if got := broken(t, "README.md", link) != ""; got != want {
			t.Errorf("%s: broken is %t, want %t", link, got, want)
		}
	}
	text := "[a](b.md) `[c](d.md)`\n```\n[e](f.md)\n```\n[`g`](h.md#i) <https://example.com> [j](https://example.com)\n"
	if got, want := linksOf(text), []string{"b.md", "h.md#i"}; !slices.Equal(got, want) {
		t.Errorf("links %v, want %v", got, want)
	}
	if got, want := anchors("# A `b`: c, d\n## [E](f.md) G_h\n```\n# no\n```\n"), []string{"a-b-c-d", "e-g_h"}; !slices.Equal(got, want) {
		t.Errorf("anchors %v, want %v", got, want)
	}
}
