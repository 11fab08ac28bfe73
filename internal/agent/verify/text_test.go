package verify

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

func TestHeadline(t *testing.T) {
	some := integrity.Counts{Modules: 1}
	for _, c := range []struct {
		v    integrity.Verdict
		want string
	}{
		{integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Corrupt: 2, Recoverable: 3, Unreadable: 4}, "2 things are corrupt:"},
		{integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Corrupt: 1}, "1 thing is corrupt:"},
		{integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Recoverable: 3, Unreadable: 4}, "3 things are recoverable, which counts as Corrupt"},
		{integrity.Verdict{Verdict: integrity.Inconclusive, Unreadable: 1, Message: "m"}, "1 thing is unreadable:"},
		{integrity.Verdict{Verdict: integrity.Inconclusive, Message: "no volume"}, "nothing was checked: no volume"},
		{integrity.Verdict{Verdict: integrity.Intact}, "there is nothing in it."},
		{integrity.Verdict{Verdict: integrity.Intact, Counts: some}, "everything is what the go command put there."},
		{integrity.Verdict{Verdict: integrity.Intact, Counts: some, Recoverable: 1}, "1 thing is recoverable: the go command creates it again;"},
	} {
		if got := headline(c.v); !strings.HasPrefix(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.v, got, c.want)
		}
	}
}

// A line for each cache that was given, and how fast its content was read.
func TestChecked(t *testing.T) {
	v := integrity.Verdict{
		Counts: integrity.Counts{Modules: 1234, Zips: 1200, Dirs: 1100, BuildEntries: 5678},
		Bytes:  3_000_000, DurationSeconds: 2,
	}
	for name, c := range map[string]struct {
		change func(*integrity.Verdict)
		of     caches.Flags
		want   string
	}{
		"two caches": {nil, caches.Flags{ModCache: "/mod", BuildCache: "/cache/build"}, `
  module cache  /mod          1,234 versions: 1,200 zips, 1,100 extracted
  build cache   /cache/build  5,678 entries
  3.0 MB hashed in 2.0 s (1.5 MB/s)
`},
		"a store": {func(v *integrity.Verdict) { v.Counts.Raw = 1 }, caches.Flags{Store: "/store"}, `
  store         /store  1,234 versions: 1,200 zips, 1 of them as in the baseline
  3.0 MB hashed in 2.0 s (1.5 MB/s)
`},
		"in no time": {func(v *integrity.Verdict) { v.DurationSeconds, v.Counts.Raw = 0, 7 }, caches.Flags{ModCache: "/mod"}, `
  module cache  /mod  1,234 versions: 1,200 zips, 7 of them as in the baseline, 1,100 extracted
  3.0 MB hashed in 0.0 s
`},
	} {
		v := v
		if c.change != nil {
			c.change(&v)
		}
		var b strings.Builder
		checked(&b, v, c.of)
		if b.String() != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, b.String(), c.want)
		}
	}
}

// example is a finding, of no detail unless it is given.
func example(class integrity.Class, of integrity.Severity, cache integrity.Cache, path string, detail ...string) integrity.Example {
	return integrity.Example{Class: class, Severity: of.String(), Cache: cache, Path: path, Detail: strings.Join(detail, "")}
}

// The worst comes first; of what is harmless a few are shown, of the rest all that
// the verdict names; and the number of the others is what no section shows.
func TestFindings(t *testing.T) {
	v := integrity.Verdict{
		Verdict: integrity.OutcomeCorrupt, Digest: "sha256:0", Corrupt: 2, Unreadable: 1, Recoverable: 4,
		Findings: map[integrity.Class]int{integrity.Corrupt: 1, integrity.Inconsistent: 1001, integrity.Unreadable: 1, integrity.Truncated: 4},
		Notes:    map[integrity.Class]int{integrity.Orphan: 5, integrity.Stray: 3},
		Examples: []integrity.Example{
			example(integrity.Stray, integrity.Note, integrity.Modules, "s1", "who knows"),
			example(integrity.Stray, integrity.Note, integrity.Modules, "s2"),
			example(integrity.Stray, integrity.Note, integrity.Volume, "s3"),
			example(integrity.Orphan, integrity.Note, integrity.Build, "o1", "not shown"),
			example(integrity.Orphan, integrity.Note, integrity.Build, "o2"),
			example(integrity.Orphan, integrity.Note, integrity.Build, "o3"),
			example(integrity.Orphan, integrity.Note, integrity.Build, "o4"),
			example(integrity.Truncated, integrity.Recoverable, integrity.Store, "t1"),
			example(integrity.Truncated, integrity.Recoverable, integrity.Store, "t2"),
			example(integrity.Truncated, integrity.Recoverable, integrity.Store, "t3"),
			example(integrity.Truncated, integrity.Recoverable, integrity.Store, "t4"),
			example(integrity.Inconsistent, integrity.Recoverable, integrity.Build, "i1"),
			example(integrity.Unreadable, integrity.SeverityUnreadable, integrity.Build, "u1", "permission denied"),
			example(integrity.Inconsistent, integrity.SeverityCorrupt, integrity.Build, "i2"),
			example(integrity.Corrupt, integrity.SeverityCorrupt, integrity.Modules, "c1"),
		},
	}
	var b strings.Builder
	if err := Print(&b, v, caches.Flags{}); err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(b.String(), "hashed in 0.0 s\n")
	text, _, _ = strings.Cut(text, "\nWhat to do:")
	want := `
Corrupt:
  Corrupt: the content does not match its own hash
    module cache c1
  Inconsistent: two parts contradict each other
    build cache i2
    and 999 more

Unreadable:
  Unreadable: it could not be read
    build cache u1: permission denied

Recoverable: the go command creates it again when it is needed:
  Inconsistent: two parts contradict each other
    build cache i1
    and 999 more
  Truncated: it ends early, is empty, or was filled with zeros by a crash
    store t1
    store t2
    store t3
    store t4

Harmless, nothing to do:
  Orphan: an output that no action entry names: the go command's own trim takes it in time
    build cache o1
    build cache o2
    build cache o3
    and 2 more
  Stray: the go command never looks at it
    module cache s1: who knows
    module cache s2
    volume s3
`
	if text != want {
		t.Errorf("%s\nwant:\n%s", text, want)
	}
	if !strings.HasSuffix(b.String(), "\nDigest of the contents: sha256:0\n") {
		t.Errorf("no digest at the end:\n%s", b.String())
	}
}

// What was found gives what to do; what is intact asks for nothing.
func TestSteps(t *testing.T) {
	const forged, repair, offline, disk, again = "ChecksumMismatch:", "gocache-agent repair", "Let no build use", "For what could not", "Fix the cause"
	mod, build := caches.Flags{ModCache: "/m"}, caches.Flags{BuildCache: "/b"}
	for name, c := range map[string]struct {
		v    integrity.Verdict
		of   caches.Flags
		want []string
	}{
		"intact":             {integrity.Verdict{Verdict: integrity.Intact, Recoverable: 2}, mod, nil},
		"a corrupt build":    {integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Corrupt: 1}, build, []string{repair}},
		"corrupt modules":    {integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Corrupt: 1}, mod, []string{repair, offline}},
		"forged":             {integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Corrupt: 1, Findings: map[integrity.Class]int{integrity.ChecksumMismatch: 1}}, build, []string{forged, repair}},
		"unreadable":         {integrity.Verdict{Verdict: integrity.Inconclusive, Unreadable: 1}, mod, []string{disk}},
		"unreadable as well": {integrity.Verdict{Verdict: integrity.OutcomeCorrupt, Corrupt: 1, Unreadable: 1}, build, []string{repair, disk}},
		"inconclusive":       {integrity.Verdict{Verdict: integrity.Inconclusive}, mod, []string{again}},
	} {
		got := advice(c.v, c.of)
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestCommand(t *testing.T) {
	all := caches.Flags{
		ModCache: "/m c", BuildCache: "/b", Store: "/s", Layout: "athens", GoSum: []string{"/1/go.sum", "/2/go.sum"},
		SumDB: []string{"sum.example.com+033de0ae+key", "a b"}, SumDBLatest: "/latest",
	}
	want := "gocache-agent verify --modcache '/m c' --buildcache /b --store /s --layout athens --gosum /1/go.sum --gosum /2/go.sum" +
		" --sumdb sum.example.com+033de0ae+key --sumdb 'a b' --sumdb-latest /latest"
	if got := command("verify", all); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := command("repair", caches.Flags{}); got != "gocache-agent repair" {
		t.Errorf("without flags: %s", got)
	}
	for word, want := range map[string]string{"": "", "a-Z_0.9:@=+/": "a-Z_0.9:@=+/", "$x": "'$x'", "it's": `'it'\''s'`, "a;b": "'a;b'"} {
		if got := quoted(word); got != want {
			t.Errorf("%s: %s, want %s", word, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 999: "999 bytes", 1000: "1.0 kB", 1_550_000: "1.6 MB", 1_000_000: "1.0 MB", 999_949: "999.9 kB", 1_000_000_000: "1.0 GB", 25_000_000_000: "25.0 GB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 100_000: "100,000", 1_234_567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestTitle(t *testing.T) {
	for cache, want := range map[integrity.Cache]string{
		integrity.Modules: "module cache", integrity.Build: "build cache", integrity.Store: "store", integrity.Volume: "volume", "x": "x",
	} {
		if got := title(cache); got != want {
			t.Errorf("%s: %s", cache, got)
		}
	}
}

// The line names the cache once its content is known, and how much is done.
func TestLine(t *testing.T) {
	var p integrity.Progress
	p.Done.Store(1500)
	p.Bytes.Store(2_500_000)
	if got, want := line(&p, 1600*time.Millisecond), "listing  1,500 checked, 2.5 MB read, 2 s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	o := integrity.Options{ModCache: cachetree.New(t).ModCache, Now: time.Now(), Progress: &p}
	if _, err := integrity.Check(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := line(&p, 0); !strings.HasPrefix(got, "module cache 100 %  1,50") {
		t.Errorf("%q", got)
	}
}

func TestCommonParent(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"/v/mod", "/v/build", "/v"}, {"/v/mod/", "/v/build", "/v"}, {"/v/mod", "/v/build/", "/v"},
		{"/v/mod", "", "/v"}, {"/v/mod/", "", "/v"}, {"", "/w/build/", "/w"}, {"/v/mod", "/w/build", ""},
	} {
		if got := commonParent(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %q, want %q", c.a, c.b, got, c.want)
		}
	}
}

// ran runs a check whose clock goes on by a second each time it is read, and
// returns what was left for the kubelet as well.
func ran(t *testing.T, o Options) (v integrity.Verdict, left string, out string, err error) {
	t.Helper()
	now := time.Now()
	o.Clock = func() time.Time { now = now.Add(time.Second); return now }
	var b strings.Builder
	o.Stdout, o.Stderr = &b, &b
	o.TerminationLog = filepath.Join(t.TempDir(), "log")
	v, err = Run(t.Context(), o)
	data, readErr := os.ReadFile(o.TerminationLog)
	if readErr != nil {
		t.Fatal(readErr)
	}
	return v, string(data), b.String(), err
}

// A wrong use of flags is an error, and the kubelet gets what is wrong.
func TestWrongUse(t *testing.T) {
	_, left, out, err := ran(t, Options{})
	var usage *caches.UsageError
	if !errors.As(err, &usage) || out != "" {
		t.Errorf("%v, printed %q", err, out)
	}
	v, err := integrity.ParseVerdict([]byte(left))
	if err != nil || v.Verdict != integrity.Inconclusive || !strings.HasPrefix(v.Message, "nothing to check:") {
		t.Errorf("left %q (%v)", left, err)
	}
}

// A check measures the volume whose root it was given, and reports how long it took.
func TestRunOnce(t *testing.T) {
	tree := cachetree.New(t)
	root := filepath.Dir(tree.ModCache)
	flags := caches.Flags{ModCache: tree.ModCache}
	v, left, out, err := ran(t, Options{Flags: flags, Root: root, JSON: true})
	if err != nil || v.Verdict != integrity.Intact || v.CapacityBytes == 0 || v.UsedBytes == 0 || v.AvailableBytes == 0 || v.TreeBytes < v.Bytes {
		t.Errorf("%+v (%v)", v, err)
	}
	if v.DurationSeconds != 1 {
		t.Errorf("took %f s", v.DurationSeconds)
	}
	var printed integrity.Verdict
	if err := json.Unmarshal([]byte(out), &printed); err != nil || printed.Digest != v.Digest || printed.TreeBytes != v.TreeBytes {
		t.Errorf("%v: %s", err, out)
	}
	if read, err := integrity.ParseVerdict([]byte(left)); err != nil || read.Digest != v.Digest {
		t.Errorf("left %q (%v)", left, err)
	}

	v, _, out, err = ran(t, Options{Flags: flags})
	if err != nil || v.CapacityBytes != 0 || !strings.HasPrefix(out, "Intact: everything is") {
		t.Errorf("without a root: %+v (%v)\n%s", v, err, out)
	}
}

// A manifest is written complete, or not at all.
func TestManifest(t *testing.T) {
	tree := cachetree.New(t)
	name := filepath.Join(t.TempDir(), "manifest")
	v, _, _, err := ran(t, Options{Flags: caches.Flags{ModCache: tree.ModCache}, Manifest: name})
	plain, _, _, plainErr := ran(t, Options{Flags: caches.Flags{ModCache: tree.ModCache}})
	if err != nil || plainErr != nil || v.Digest == "" || v.Digest != plain.Digest {
		t.Errorf("%+v (%v); without a manifest: %+v (%v)", v, err, plain, plainErr)
	}
	if info, err := os.Stat(name); err != nil || info.Size() == 0 {
		t.Errorf("no manifest: %v", err)
	}
	none := filepath.Join(name, "none") // below a file
	if v, _, _, err := ran(t, Options{Flags: caches.Flags{ModCache: tree.ModCache}, Manifest: none}); err != nil || v.Verdict != integrity.Inconclusive || v.Message == "" {
		t.Errorf("no place for it: %+v (%v)", v, err)
	}
}
