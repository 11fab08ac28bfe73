package controllers_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/controllers/cachesnapshot"
	"gocache.dev/operator/controllers/gocache"
	"gocache.dev/operator/controllers/modproxy"
	"gocache.dev/operator/internal/plan/unimplemented"
)

// TestNotImplementedIsWrittenDown compares what the controllers call not
// implemented with the table that people read, both ways.
func TestNotImplementedIsWrittenDown(t *testing.T) {
	page := filepath.Join("..", "docs", "adr", "0001-first-path.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)<!-- not-implemented: begin -->\n\n\| kind \| field \|\n\|---\|---\|\n(.*?)\n<!-- not-implemented: end -->`).FindSubmatch(text)
	if table == nil {
		t.Fatalf("%s has no table between the lines not-implemented: begin and end", page)
	}
	var rows []string
	rows = append(rows, fields("GoCache", gocache.NotImplemented)...)
	rows = append(rows, fields("CacheSnapshot", cachesnapshot.NotImplemented)...)
	rows = append(rows, fields("ModProxy", modproxy.NotImplemented)...)
	want := strings.Join(rows, "")
	if diff := cmp.Diff(want, string(table[1])); diff != "" {
		t.Errorf("the table of %s is not what the code says (-code +page):\n%s\nit ought to be:\n%s", page, diff, want)
	}
}

func fields[T any](kind string, all []unimplemented.Field[T]) []string {
	var rows []string
	for _, f := range all {
		rows = append(rows, "| "+kind+" | `"+f.Path+"` |\n")
	}
	return rows
}
