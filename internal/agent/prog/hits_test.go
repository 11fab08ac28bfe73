package prog_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"gocache.dev/operator/internal/testing/cachetree"
)

// TestStatsOfABuild asserts with the real go command that the line of counts shows a
// warm build without misses, and a damaged entry as one.
func TestStatsOfABuild(t *testing.T) {
	bin := agent(t)
	tree := cachetree.New(t)
	if _, out, err := tree.Build(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line := regexp.MustCompile(`(?m)^gocache-agent prog: ([1-9][0-9]*) lookups, ([0-9]+) hits \(([0-9]+) of them shared, ([0-9]+) private\), ([0-9]+) misses, ([0-9]+) stored, ([0-9]+) damaged$`)
	stats := func(upper string) []string {
		t.Helper()
		_, compiled, log := build(t, tree, bin, tree.BuildCache, upper+" --stats")
		found := line.FindAllStringSubmatch(log, -1)
		if len(found) != 1 {
			t.Fatalf("%d lines of counts in\n%s", len(found), log)
		}
		return append(found[0][2:], strings.Join(compiled, " "))
	}
	if got := stats(t.TempDir()); got[0] != got[1] || got[0] == "0" || got[2] != "0" || got[5] != "0" || got[6] != "" {
		t.Errorf("a warm build: hits, shared, private, misses, stored, damaged, compiled: %q", got)
	}
	archive := cachetree.Archive(t, tree)
	cachetree.Edit(t, archive, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	upper := t.TempDir()
	if got := stats(upper); got[3] == "0" || got[5] == "0" || got[6] != "example.com/lib" {
		t.Errorf("with a damaged archive: hits, shared, private, misses, stored, damaged, compiled: %q", got)
	}
	if got := stats(upper); got[2] == "0" || got[6] != "" {
		t.Errorf("what was compiled before: hits, shared, private, misses, stored, damaged, compiled: %q", got)
	}
}

// TestCountsOnAClone runs the commands of docs/ci/hits.md with the real go command, in
// a shell that ends at the first error, as the steps of many CI systems do: nothing is compiled on a warm cache, and exactly what is damaged on another.
func TestCountsOnAClone(t *testing.T) {
	page, err := os.ReadFile("../../../docs/ci/hits.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Fatalf("the page has %d scripts, want that which counts and that which lists", len(blocks))
	}
	tree := cachetree.New(t)
	if _, out, err := tree.Build(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(script string) string {
		t.Helper()
		cmd := exec.Command("sh", "-ec", script) //nolint:gosec // of the page
		cmd.Dir, cmd.Env = tree.Main, tree.Env()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, script, out)
		}
		return strings.TrimSpace(string(out))
	}
	counts := regexp.MustCompile(`^([1-9][0-9]*) packages: ([0-9]+) from the cache, ([0-9]+) compiled$`)
	got := counts.FindStringSubmatch(run(blocks[0][1]))
	if got == nil || got[1] != got[2] || got[3] != "0" {
		t.Errorf("on a warm cache: %q", got)
	}
	forget := func() { // the entries of the archive of a module, of which nothing else is compiled again
		t.Helper()
		if err := os.Remove(cachetree.Archive(t, tree)); err != nil {
			t.Fatal(err)
		}
	}
	forget()
	if got := counts.FindStringSubmatch(run(blocks[0][1])); got == nil || got[3] != "1" {
		t.Errorf("without one archive: %q", got)
	}
	forget()
	if got := run(blocks[1][1]); got != "example.com/lib" {
		t.Errorf("compiled: %q, want example.com/lib", got)
	}
}
