package verify_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/verify"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// printed is what a person reads of a check.
func printed(t *testing.T, flags caches.Flags) string {
	t.Helper()
	var out bytes.Buffer
	o := verify.Options{Flags: flags, Clock: time.Now, Stdout: &out, Stderr: &out}
	if _, err := verify.Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A person reads what was found, what it means, how much more there is, and the
// command that repairs it, ready for a shell.
func TestReport(t *testing.T) {
	tree := cachetree.New(t)
	flags := caches.Flags{ModCache: tree.ModCache, BuildCache: tree.BuildCache, GoSum: []string{tree.GoSum()}}
	contains(t, printed(t, flags), "Intact: everything is what the go command put there.\n", "2 versions: 2 zips, 2 extracted\n", " entries\n")

	cachetree.Edit(t, cachetree.Archive(t, tree), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	cachetree.Edit(t, cachetree.IndexOf(t, tree), func(b []byte) []byte { return b[:10] })
	litter(t, tree, 20)
	entries, err := filepath.Glob(filepath.Join(tree.BuildCache, "*", "*-a"))
	if err != nil {
		t.Fatal(err)
	}
	then, emptied := time.Now().Add(-9*24*time.Hour), 0
	for _, name := range entries {
		if info, err := os.Stat(name); err == nil && info.ModTime().Before(then) { // litter
			cachetree.Edit(t, name, func([]byte) []byte { return nil })
			emptied++
		}
	}
	if emptied != 20 {
		t.Fatalf("%d of 20 entries emptied", emptied)
	}
	text := printed(t, flags)
	contains(t, text,
		"Corrupt: 1 thing is corrupt: builds use it silently, or fail on it every time.\n",
		"\nCorrupt:\n  Corrupt: the content does not match its own hash\n    build cache ",
		"\nRecoverable: the go command creates it again when it is needed:\n  Truncated: ", "    and 13 more\n", // 20 entries and an index, of which 8 are shown
		"\nHarmless, nothing to do:\n  Orphan: ", "    and 17 more\n", // of 20, the 3 that are shown
		"gocache-agent repair --modcache "+tree.ModCache+" --buildcache "+tree.BuildCache+" --gosum "+tree.GoSum()+"\n",
	)
	if strings.Index(text, "\nCorrupt:\n") > strings.Index(text, "\nRecoverable:") {
		t.Errorf("the worst comes last:\n%s", text)
	}

	contains(t, printed(t, caches.Flags{ModCache: filepath.Join(t.TempDir(), "none")}), "Inconclusive: nothing was checked: ", "is the volume mounted there?", "What to do:")
	contains(t, printed(t, caches.Flags{ModCache: t.TempDir()}), "Intact: there is nothing in it.")
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("does not say %q:\n%s", part, text)
		}
	}
}

// What cannot be read asks for another user or disk, not for a repair; a forgery
// is to be looked into first; and names go to a shell as they are.
func TestAdvice(t *testing.T) {
	for name, c := range map[string]struct {
		verdict integrity.Verdict
		text    []string
		not     string
	}{
		"unreadable": {
			integrity.Verdict{Verdict: integrity.Inconclusive, Unreadable: 1234, Findings: map[integrity.Class]int{integrity.Unreadable: 1234}},
			[]string{"Inconclusive: 1,234 things are unreadable", "input/output error"}, "repair",
		},
		"forged": {
			integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Corrupt: 1, Findings: map[integrity.Class]int{integrity.ChecksumMismatch: 1}},
			[]string{"Find out which", `--modcache '/it'\''s mine'`}, "Inconclusive",
		},
		"recoverable counts": {
			integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Recoverable: 1, Findings: map[integrity.Class]int{integrity.Truncated: 1}},
			[]string{"Corrupt: 1 thing is recoverable, which counts as Corrupt with --fail-on recoverable."}, "every time",
		},
	} {
		var out bytes.Buffer
		if err := verify.Print(&out, c.verdict, caches.Flags{ModCache: "/it's mine"}); err != nil {
			t.Fatal(err)
		}
		contains(t, out.String(), c.text...)
		if strings.Contains(out.String(), c.not) {
			t.Errorf("%s: says %q:\n%s", name, c.not, &out)
		}
	}
}

// Progress goes up to the whole, and ends with a clean line.
func TestProgress(t *testing.T) {
	tree := cachetree.New(t)
	var p integrity.Progress
	if cache, part := p.At(); cache != "" || part != 0 {
		t.Errorf("before the start: %s %f", cache, part)
	}
	for _, o := range []integrity.Options{{ModCache: tree.ModCache}, {BuildCache: tree.BuildCache}, {Store: tree.Proxy, Layout: "goproxy"}} {
		o.Progress, o.Now = &p, time.Now()
		if _, err := integrity.Check(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		if cache, part := p.At(); part != 1 || (cache == integrity.Modules) != (o.ModCache != "") || (cache == integrity.Store) != (o.Store != "") {
			t.Errorf("at the end: %s %f", cache, part)
		}
	}
	var out bytes.Buffer
	stop := verify.Show(&out, &p, time.Now)
	stop()
	if text := out.String(); !strings.HasSuffix(text, "\r\x1b[K") {
		t.Errorf("the line stays: %q", text)
	}
}
