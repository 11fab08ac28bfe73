package cleanup

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/agent/trim"
	"gocache.dev/operator/internal/domain/buildcache"
	"gocache.dev/operator/internal/domain/cleanup"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 123, time.UTC)

// small is a run on a volume with a build cache of one entry.
func small(t *testing.T) *run {
	t.Helper()
	root := t.TempDir()
	build := filepath.Join(root, "build")
	e := buildcache.Entry{Action: buildcache.ID{1}, Output: sha256.Sum256([]byte("content")), Size: 7, Time: now}
	for name, text := range map[string][]byte{e.Action.ActionPath(): e.Format(), e.Output.OutputPath(): []byte("content")} {
		name = filepath.Join(build, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return &run{Options: Options{Root: root, BuildCache: build, Clock: func() time.Time { return now }, Stdout: &bytes.Buffer{}}, now: now}
}

// TestSeal holds what is recorded of the caches that a cleanup leaves, and that it fails where
// that cannot be recorded.
func TestSeal(t *testing.T) {
	c := small(t)
	if err := c.seal(t.Context()); err != nil || c.made.Outcome != cleanup.Applied || c.made.BuildEntries != 2 || c.made.Modules != 0 || !strings.HasPrefix(c.made.ManifestDigest, "sha256:") {
		t.Errorf("%+v, %v", c.made, err)
	}
	if _, err := os.Stat(record.ManifestPath(c.Root)); err != nil {
		t.Errorf("the manifest: %v", err)
	}
	entry := filepath.Join(c.BuildCache, buildcache.ID{1}.ActionPath())
	if info, err := os.Stat(entry); err != nil || time.Until(info.ModTime()) < 365*24*time.Hour {
		t.Errorf("the entry may be trimmed: %v, %v", info, err)
	}
	c = small(t)
	if err := os.WriteFile(filepath.Join(c.BuildCache, buildcache.ID(sha256.Sum256([]byte("content"))).OutputPath()), []byte("CONTENT"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.seal(t.Context()); err != nil || c.made.Outcome != cleanup.Corrupt || c.made.Message == "" || c.made.ManifestDigest != "" {
		t.Errorf("corrupt: %+v, %v", c.made, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(c *run) error{
		"checking what is left: ": func(c *run) error {
			return os.MkdirAll(filepath.Join(record.ManifestPath(c.Root), "x"), 0o700)
		},
		"setting times in the build cache: ":                func(c *run) error { return os.RemoveAll(c.BuildCache) },
		"removing the repositories of direct fetches: open": func(c *run) error { c.ModCache, c.BuildCache = file, ""; return nil },
	} {
		c := small(t)
		if err := spoil(c); err != nil {
			t.Fatal(err)
		}
		if err := c.seal(t.Context()); err == nil || c.made.Outcome == cleanup.Applied || strings.HasPrefix(want, "checking") && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %+v, %v", want, c.made, err)
		}
	}
}

// TestVouched holds which caches a plan is not applied to.
func TestVouched(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*run)
		want   string
	}{
		"never sealed":         {func(c *run) { c.NeverSealed = true }, "no writer has recorded what it left in the caches: request a warm-up"},
		"not known":            {func(*run) {}, ""},
		"another content":      {func(c *run) { c.Sealed = "sha256:" + strings.Repeat("0", 64) }, "are not what the last writer left: request a warm-up"},
		"it cannot be checked": {func(c *run) { c.Sealed, c.BuildCache = "sha256:0", filepath.Join(c.Root, "none") }, "none"},
	} {
		c := small(t)
		tt.change(c)
		if err := c.sealed(t.Context()); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := small(t)
	c.Go = filepath.Join(c.Root, "none")
	c.prove(t.Context())
	if p := c.made.Proof; p == nil || p.Result != cleanup.Fail || !strings.Contains(p.Message, "there is no go command here") || p.Compiled != 0 {
		t.Errorf("a proof without a go command: %+v", p)
	}
}

// TestPlanned holds how a plan is reported: the sums of both caches, and times in seconds.
func TestPlanned(t *testing.T) {
	used, later := now, now.Add(time.Hour)
	p := planned(trim.Result{
		Digest: "sha256:1", AsOf: now, OverBytes: 5,
		Build:   &trim.Share{Entries: 2, Outputs: 3, Bytes: 100, BeforeBytes: 1000, Oldest: &used, Newest: &later},
		Modules: &trim.Share{Entries: 4, Bytes: 50, BeforeBytes: 500},
	})
	if p.Digest != "sha256:1" || !p.AsOf.Equal(now) || p.OverBytes != 5 || p.Entries != 6 || p.Bytes != 150 {
		t.Errorf("%+v", p)
	}
	if b := p.Build; b.Entries != 2 || b.Outputs != 3 || b.Bytes != 100 || b.BeforeBytes != 1000 || !b.Oldest.Equal(now.Truncate(time.Second)) || !b.Newest.Equal(later.Truncate(time.Second)) {
		t.Errorf("%+v", b)
	}
	if m := p.Modules; m.Entries != 4 || m.BeforeBytes != 500 || m.Oldest != nil {
		t.Errorf("%+v", m)
	}
	if p := planned(trim.Result{}); p.Build != nil || p.Modules != nil {
		t.Errorf("%+v", p)
	}
	if b := (&run{Options: Options{MaxAge: time.Hour}, now: now}).bounds(); !b.AsOf.Equal(now.Truncate(time.Second)) || !b.PlanOnly || !b.Exclusive {
		t.Errorf("%+v", b)
	}
	asOf := now.Add(-time.Hour)
	if b := (&run{Options: Options{AsOf: asOf}, now: now}).bounds(); !b.AsOf.Equal(asOf) {
		t.Errorf("%+v", b)
	}
}

// full is an output that takes nothing.
type full struct{}

var errFull = errors.New("the output is closed")

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestReports holds what is printed of a cleanup, and that a report that cannot be written is
// an error.
func TestReports(t *testing.T) {
	r := cleanup.Report{
		Outcome: cleanup.Applied, Message: "m", RemovedEntries: 3, FreedBytes: 5 << 20, Proof: &cleanup.Proof{Compiled: 2},
		Preflight: []cleanup.Check{{Name: "Index", Result: cleanup.Pass}}, Plan: &cleanup.Plan{Digest: "sha256:1", AsOf: now, Entries: 4, Bytes: 6 << 20},
	}
	want := string(cleanup.Applied) + ": m\n  Index      " + string(cleanup.Pass) + " \nplan sha256:1 as of 2026-11-28T12:00:00Z: 4 entries, 6 MiB\nremoved 3 files and versions, 5 MiB; a repeated build compiled 2 packages\n"
	if got := text(r); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := text(cleanup.Report{Outcome: cleanup.Planned}); got != string(cleanup.Planned)+"\n" {
		t.Errorf("%q", got)
	}
	var out bytes.Buffer
	log := filepath.Join(t.TempDir(), "log")
	o := Options{Stdout: &out, JSON: true, TerminationLog: log}
	var printed, left cleanup.Report
	if err := o.report(r); err != nil || json.Unmarshal(out.Bytes(), &printed) != nil || printed.Outcome != r.Outcome {
		t.Errorf("%v, %s", err, &out)
	}
	if data, err := os.ReadFile(log); err != nil || json.Unmarshal(data, &left) != nil || left.RemovedEntries != 3 {
		t.Errorf("%v, %s", err, data)
	}
	for _, asJSON := range []bool{true, false} {
		for _, log := range []string{"", log} {
			if err := (&Options{Stdout: full{}, JSON: asJSON, TerminationLog: log}).report(r); !errors.Is(err, errFull) {
				t.Errorf("an output that takes nothing: %v", err)
			}
		}
	}
	if err := (&Options{Stdout: &out, TerminationLog: filepath.Join(log, "x")}).report(r); err == nil {
		t.Error("a log below a file")
	}
}

// TestMissingBuildCache holds that a run on a volume without its build cache fails, and measures
// the volume and its time all the same.
func TestMissingBuildCache(t *testing.T) {
	clock := now
	root := t.TempDir()
	r, err := Run(t.Context(), Options{
		Root: root, BuildCache: filepath.Join(root, "none"), Umask: 0o022, Sealed: "sha256:1", Stdout: &bytes.Buffer{},
		Clock: func() time.Time { clock = clock.Add(1250 * time.Millisecond); return clock },
	})
	if err != nil || r.Outcome != cleanup.Failed || r.ManifestDigest != "sha256:1" || r.CapacityBytes == 0 || r.TreeBytes == 0 || r.DurationSeconds != 1.25 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(root, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}
