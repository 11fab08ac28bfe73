package cleanup_test

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gocache.dev/operator/internal/agent/cleanup"
	"gocache.dev/operator/internal/agent/warm"
	"gocache.dev/operator/internal/domain/buildcache"
	report "gocache.dev/operator/internal/domain/cleanup"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/warmup"
	"gocache.dev/operator/internal/testing/cachetree"
)

const month = 30 * 24 * time.Hour

// volume is a pair of caches that a warm-up has filled, beside what others
// left there a month ago: a program that is no longer built, with all that it is
// linked from, and a module version that no go.sum names.
type volume struct {
	*cachetree.Tree
	t      *testing.T
	source string
}

func newVolume(t *testing.T) *volume {
	t.Helper()
	v := &volume{Tree: cachetree.New(t), t: t, source: t.TempDir()}
	if out, err := v.Go("mod", "download", "example.com/Upper/dep@v1.1.0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	v.age(month)
	for name, from := range map[string]string{"go.mod": filepath.Join(v.Main, "go.mod"), "go.sum": v.GoSum()} {
		data, err := os.ReadFile(from) //nolint:gosec // of the test's tree
		if err != nil {
			t.Fatal(err)
		}
		v.write(filepath.Join(v.source, name), string(data))
	}
	v.write(filepath.Join(v.source, "packages"), "example.com/lib\nexample.com/lib/sub\nexample.com/Upper/dep\n")
	v.warm()
	return v
}

func (v *volume) write(name, text string) {
	v.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		v.t.Fatal(err)
	}
}

// age moves the times of all files into the past.
func (v *volume) age(d time.Duration) {
	v.t.Helper()
	then := time.Now().Add(-d)
	for _, dir := range []string{v.BuildCache, filepath.Join(v.ModCache, "cache")} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chtimes(path, then, then)
		})
		if err != nil {
			v.t.Fatal(err)
		}
	}
}

func (v *volume) warm() {
	v.t.Helper()
	r, err := warm.Run(context.Background(), warm.Options{
		ModCache: v.ModCache, BuildCache: v.BuildCache, Root: v.Root, Sources: []warmup.Source{{Name: "s", Dir: v.source, Builds: []warmup.Build{{Name: "plain"}}}}, Go: "go", Umask: 0o002,
		Clock: time.Now, Env: v.Env(), Stdout: io.Discard, Stderr: io.Discard,
	})
	if err != nil || r.Outcome != warmup.Succeeded {
		v.t.Fatalf("%+v, %v", r, err)
	}
}

func (v *volume) options() cleanup.Options {
	return cleanup.Options{
		ModCache: v.ModCache, BuildCache: v.BuildCache, Root: v.Root, MaxAge: month / 2, Go: "go", Umask: 0o002,
		TerminationLog: filepath.Join(v.Root, "log"), Clock: time.Now, Env: v.Env(), Stdout: io.Discard,
	}
}

// run cleans, and reads the report as the operator does.
func (v *volume) run(o cleanup.Options) report.Report {
	v.t.Helper()
	r, err := cleanup.Run(context.Background(), o)
	if err != nil {
		v.t.Fatal(err)
	}
	data, err := os.ReadFile(o.TerminationLog)
	if err != nil || len(data) > integrity.TerminationLimit {
		v.t.Fatalf("%d bytes, %v", len(data), err)
	}
	output, err := report.Parse(data)
	if err != nil {
		v.t.Fatalf("%v: %s", err, data)
	}
	if diff := cmp.Diff(r, output); diff != "" {
		v.t.Errorf("the report in the log:\n%s", diff)
	}
	return r
}

func (v *volume) check() integrity.Verdict {
	v.t.Helper()
	verdict, err := integrity.Check(context.Background(), integrity.Options{ModCache: v.ModCache, BuildCache: v.BuildCache, Now: time.Now()})
	if err != nil || verdict.Verdict != integrity.Intact || verdict.Recoverable > 0 {
		v.t.Fatalf("%s, %v: %+v", verdict.Verdict, err, verdict.Examples)
	}
	return verdict
}

// size is what the caches hold, in bytes as a plan counts them.
func size(p *report.Plan) int64 { return p.Modules.BeforeBytes + p.Build.BeforeBytes }

// What no warm-up used for long is planned twice alike, and goes once it is
// approved; what the last one used is there, and nothing needs to be compiled.
func TestByAge(t *testing.T) {
	v := newVolume(t)
	o := v.options()
	plan := v.run(o)
	// The warm-up links a program too, so what both programs are linked from stays.
	if plan.Outcome != report.Planned || plan.Plan.Build.Entries < 30 || plan.Plan.Modules.Entries != 1 || plan.Plan.Bytes < 1<<20 {
		t.Fatalf("%+v, %+v", plan, plan.Plan)
	}
	if age := time.Since(*plan.Plan.Build.Oldest); age < month || age > month+time.Hour {
		t.Errorf("the oldest was used %s ago", age)
	}
	before := v.check()
	if again := v.run(o); again.Plan.Digest != plan.Plan.Digest {
		t.Errorf("the same is planned under another digest: %s, %s", plan.Plan.Digest, again.Plan.Digest)
	}
	o.Approved, o.AsOf = "sha256:other", plan.Plan.AsOf
	if r := v.run(o); r.Outcome != report.Changed || r.Plan.Digest != plan.Plan.Digest {
		t.Errorf("another plan was approved: %+v", r)
	}
	if after := v.check(); after.Digest != before.Digest {
		t.Fatal("something went unapproved")
	}
	o.Approved = plan.Plan.Digest
	done := v.run(o)
	if done.Outcome != report.Applied || done.Proof.Result != report.Pass || done.Proof.Compiled != 0 || done.FreedBytes != plan.Plan.Bytes {
		t.Fatalf("%+v, %+v", done, done.Proof)
	}
	after := v.check()
	if after.Digest != done.ManifestDigest || after.Counts.Zips != before.Counts.Zips-1 || after.Counts.Modules != before.Counts.Modules-1 {
		t.Errorf("left: %+v of %+v", after.Counts, before.Counts)
	}
	o.Approved, o.AsOf = "", time.Time{}
	if r := v.run(o); r.Outcome != report.Planned || !r.Plan.Empty() || size(r.Plan) != size(plan.Plan)-plan.Plan.Bytes {
		t.Errorf("after it: %+v, %+v", r, r.Plan)
	}
	// What is left bears its last use still: a later go command trims nothing.
	info, err := os.Stat(cachetree.Archive(t, v.Tree))
	if err != nil || time.Until(buildcache.LastUsed(info.ModTime(), time.Now())) > 0 || time.Until(info.ModTime()) < month {
		t.Errorf("%v, %v", info.ModTime(), err)
	}
}

// By size the least recently used goes first, from both caches; never what the
// last warm-up used, and the plan reports the part of the target that cannot be reached.
func TestBySize(t *testing.T) {
	v := newVolume(t)
	o := v.options()
	o.MaxAge, o.MaxSize = 0, 1<<40
	r := v.run(o)
	if r.Outcome != report.Planned || !r.Plan.Empty() || r.Plan.OverBytes != 0 {
		t.Fatalf("%+v, %+v", r, r.Plan)
	}
	all := size(r.Plan)
	o.MaxSize = all - 1
	if r = v.run(o); r.Plan.Bytes == 0 || r.Plan.OverBytes != 0 || r.Plan.Bytes > 8<<20 {
		t.Errorf("one byte too many: %+v", r.Plan)
	}
	o.MaxSize = 1
	if r = v.run(o); r.Plan.OverBytes != all-r.Plan.Bytes-1 || r.Plan.OverBytes < 10_000 || r.Plan.Modules.Entries != 1 {
		t.Errorf("what cannot be reached: %+v", r.Plan)
	}
	o.Approved, o.AsOf = r.Plan.Digest, r.Plan.AsOf
	if r = v.run(o); r.Outcome != report.Applied || r.Proof.Result != report.Pass {
		t.Errorf("%+v, %+v", r, r.Proof)
	}
	v.check()
}

// A warm-up between plan and approval changes the plan if it used what would
// go: that is not applied.
func TestUsedMeanwhile(t *testing.T) {
	v := newVolume(t)
	o := v.options()
	plan := v.run(o)
	v.write(filepath.Join(v.source, "go.sum"), read(t, v.GoSum())+"example.com/Upper/dep v1.1.0 h1:"+strings.Repeat("A", 43)+"=\n")
	v.warm()
	o.Approved, o.AsOf = plan.Plan.Digest, plan.Plan.AsOf
	if r := v.run(o); r.Outcome != report.Changed || r.Plan.Modules.Entries != 0 {
		t.Errorf("%+v, %+v", r, r.Plan)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name) //nolint:gosec // of the test's tree
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Each preflight check pauses the cleanup by itself and reports why; then nothing
// is planned and nothing goes.
func TestPreflight(t *testing.T) {
	for name, c := range map[string]struct {
		check   string
		result  report.Result
		message string
		change  func(*testing.T, *volume, *cleanup.Options)
	}{
		"not writable": {report.Ownership, report.Fail, "build/17 (uid ", func(t *testing.T, v *volume, _ *cleanup.Options) {
			chmod(t, filepath.Join(v.BuildCache, "17"), 0o500)
		}},
		"no build cache": {report.Index, report.Fail, "256 of the 256 directories", func(t *testing.T, v *volume, _ *cleanup.Options) {
			for _, shard := range shards(t, v) {
				if err := os.RemoveAll(shard); err != nil {
					t.Fatal(err)
				}
			}
		}},
		"malformed": {report.Index, report.Fail, "are malformed, such as", func(t *testing.T, v *volume, _ *cleanup.Options) {
			for _, shard := range shards(t, v) {
				v.write(filepath.Join(shard, "stray"), "")
			}
		}},
		"not warm": {report.Reuse, report.Fail, "let a warm-up run", func(t *testing.T, v *volume, _ *cleanup.Options) {
			if err := os.Remove(cachetree.Archive(t, v.Tree)); err != nil {
				t.Fatal(err)
			}
		}},
		"module gone": {report.Reuse, report.Fail, "cannot be repeated offline", func(t *testing.T, v *volume, _ *cleanup.Options) {
			cachetree.RemoveAll(t, filepath.Join(v.ModCache, "example.com"))
			cachetree.RemoveAll(t, filepath.Join(v.ModCache, "cache"))
		}},
		"no record": {report.Reuse, report.Fail, "a warm-up writes it", func(t *testing.T, v *volume, _ *cleanup.Options) {
			cachetree.RemoveAll(t, filepath.Join(v.Root, ".gocache"))
		}},
		"truncated record": {report.Reuse, report.Unknown, "truncated", func(_ *testing.T, v *volume, _ *cleanup.Options) {
			v.write(filepath.Join(v.Root, ".gocache", "usage"), "gocache-usage 1\n")
		}},
		"no toolchain": {report.Reuse, report.Unknown, "no go command here", func(_ *testing.T, _ *volume, o *cleanup.Options) { o.Go = "/nowhere/go" }},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVolume(t)
			o := v.options()
			c.change(t, v, &o)
			r := v.run(o)
			failing := r.Failing()
			if r.Outcome != report.Paused || r.Plan != nil || len(r.Preflight) != 3 || failing == nil {
				t.Fatalf("%+v", r)
			}
			if failing.Name != c.check || failing.Result != c.result || !strings.Contains(failing.Message, c.message) {
				t.Errorf("%+v", failing)
			}
		})
	}
}

func chmod(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func shards(t *testing.T, v *volume) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(v.BuildCache, "[0-9a-f][0-9a-f]"))
	if err != nil || len(found) != 256 {
		t.Fatalf("%d directories, %v", len(found), err)
	}
	return found
}

// A volume that holds one of the caches alone is cleaned alike.
func TestOneLayer(t *testing.T) {
	v := newVolume(t)
	o := v.options()
	o.BuildCache = ""
	if r := v.run(o); r.Outcome != report.Planned || r.Plan.Build != nil || r.Plan.Modules.Entries != 1 {
		t.Errorf("modules: %+v, %+v", r, r.Plan)
	}
	o = v.options()
	o.ModCache = ""
	if r := v.run(o); r.Outcome != report.Planned || r.Plan.Modules != nil || r.Plan.Build.Entries == 0 {
		t.Errorf("builds: %+v, %+v", r, r.Plan)
	}
}
