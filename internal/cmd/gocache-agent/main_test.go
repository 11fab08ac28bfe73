package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/trim"
	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// agent runs the command in this process.
func agent(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	return agentWith(t, "", args...)
}

// agentWith runs it with something to read.
func agentWith(t *testing.T, stdin string, args ...string) (stdout string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	err := root.ExecuteContext(context.Background())
	return out.String(), exitcode.Of(err)
}

func TestVerifyContract(t *testing.T) {
	tree := cachetree.New(t)
	log := filepath.Join(t.TempDir(), "termination-log")
	empty := t.TempDir()
	caches := []string{"--modcache", tree.ModCache, "--buildcache", tree.BuildCache, "--gosum", tree.GoSum(), "--json", "--termination-log", log}
	verify := func(args ...string) (integrity.Verdict, int) {
		t.Helper()
		out, code := agent(t, append([]string{"verify"}, args...)...)
		var v integrity.Verdict
		if strings.Count(out, "\n") > 1 {
			t.Errorf("JSON is one line: %s", out)
		}
		if out != "" {
			if err := json.Unmarshal([]byte(out), &v); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		return v, code
	}

	good, code := verify(caches...)
	if code != 0 || good.Verdict != integrity.Intact || good.Counts.Modules != 2 || good.Counts.Zips != 2 || good.Counts.Dirs != 2 || good.Counts.BuildEntries < 100 || good.Bytes == 0 {
		t.Errorf("good caches: exit %d, %+v", code, good)
	}
	output, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := integrity.ParseVerdict(output); err != nil || v.Digest != good.Digest {
		t.Errorf("termination log %s: %v", output, err)
	}
	if again, _ := verify(caches...); again.Digest != good.Digest {
		t.Errorf("the digest changes: %s, %s", again.Digest, good.Digest)
	}
	if v, code := verify("--modcache", empty, "--buildcache", empty, "--json"); code != 0 || v.Counts != (integrity.Counts{}) {
		t.Errorf("empty caches: exit %d, %+v", code, v)
	}
	if v, code := verify("--modcache", filepath.Join(empty, "none"), "--json", "--termination-log", log); code != 4 || v.Verdict != integrity.Inconclusive || v.Message == "" {
		t.Errorf("missing directory: exit %d, %+v", code, v)
	}
	for _, args := range [][]string{
		{}, {"--no-such-flag"}, {"--modcache", empty, "--fail-on", "all"}, {"--modcache", empty, "extra"}, {"--store", empty}, {"--store", empty, "--layout", "x"}, {"--modcache", empty, "--sumdb", "name-only"},
	} {
		if _, code := verify(args...); code != 2 {
			t.Errorf("%v: exit %d, want 2", args, code)
		}
	}

	archive := cachetree.Archive(t, tree)
	cachetree.Edit(t, archive, func(b []byte) []byte { return b[:len(b)-1] })
	if _, code := verify(caches...); code != 0 {
		t.Errorf("torn: exit %d", code)
	}
	if _, code := verify(append(caches, "--fail-on", "recoverable")...); code != 3 {
		t.Errorf("torn with --fail-on torn: exit %d", code)
	}
	cachetree.Edit(t, archive, func(b []byte) []byte { return append(b, 0) })
	cachetree.Edit(t, archive, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	bad, code := verify(caches...)
	if code != 3 || bad.Findings[integrity.Corrupt] != 1 || bad.Digest == good.Digest {
		t.Errorf("flipped archive: exit %d, %+v", code, bad)
	}
}

func TestCommandsTogether(t *testing.T) {
	tree := cachetree.New(t)
	dir := t.TempDir()
	before, after := filepath.Join(dir, "before.zst"), filepath.Join(dir, "after")
	if _, code := agent(t, "manifest", "--modcache", tree.ModCache, "--buildcache", tree.BuildCache, "--output", before); code != 0 {
		t.Fatalf("manifest: exit %d", code)
	}
	out, code := agent(t, "verify", "--json", "--modcache", tree.ModCache, "--buildcache", tree.BuildCache, "--baseline", before)
	var v integrity.Verdict
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v.Counts.Raw != 2 {
		t.Errorf("incremental: exit %d, %s, %v", code, out, err)
	}
	if _, code := agent(t, "verify", "--modcache", tree.ModCache, "--baseline", before, "--baseline-digest", "sha256:0"); code != 4 {
		t.Errorf("another baseline than expected: exit %d", code)
	}
	cachetree.Edit(t, cachetree.Archive(t, tree), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	if out, code := agent(t, "repair", "--buildcache", tree.BuildCache); code != 0 || !strings.Contains(out, "removed") {
		t.Errorf("repair: exit %d: %s", code, out)
	}
	text, code := agent(t, "manifest", "--modcache", tree.ModCache, "--buildcache", tree.BuildCache)
	if code != 0 || os.WriteFile(after, []byte(text), 0o600) != nil {
		t.Fatalf("manifest: exit %d", code)
	}
	if out, code := agent(t, "diff", before, after); code != 0 || strings.Count(out, "removed  d ") != 1 {
		t.Errorf("diff: exit %d: %s", code, out)
	}
	forged := strings.Replace(text, "example.com/lib v1.2.0 h1:g", "example.com/lib v1.2.0 h1:h", 1)
	if forged == text || os.WriteFile(after, []byte(forged), 0o600) != nil {
		t.Fatal("nothing was forged")
	}
	if out, code := agent(t, "diff", before, after); code != 3 || !strings.Contains(out, "changed  m example.com/lib@v1.2.0") {
		t.Errorf("diff with a forgery: exit %d: %s", code, out)
	}
}

// A session that breaks is reported to the go command by the exit code.
func TestProgContract(t *testing.T) {
	closing := `{"ID":1,"Command":"close"}` + "\n"
	for name, tt := range map[string]struct {
		stdin string
		args  []string
		code  int
	}{
		"closed":            {closing, []string{"--upper", t.TempDir()}, 0},
		"the stream is cut": {`{"ID":1,"Command":"put","BodySize":9}` + "\n\"AAAA", []string{"--upper", t.TempDir()}, 1},
		"no lower layer":    {closing, []string{"--upper", t.TempDir(), "--lower", filepath.Join(t.TempDir(), "none")}, 1},
		"no upper layer":    {closing, nil, 1},
		"an argument":       {closing, []string{"--upper", t.TempDir(), "x"}, 2},
	} {
		if out, code := agentWith(t, tt.stdin, append([]string{"prog"}, tt.args...)...); code != tt.code {
			t.Errorf("%s: exit %d, want %d: %s", name, code, tt.code, out)
		}
	}
}

// The flags of trim reach the plan.
func TestTrimContract(t *testing.T) {
	dir := t.TempDir()
	zip := filepath.Join(dir, "cache/download/example.com/a/@v/v1.0.0.zip")
	sum := filepath.Join(dir, "go.sum")
	for name, size := range map[string]int{zip: 100, sum: 0} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		goes int64
	}{
		"all goes":         {[]string{"--keep-gosum", sum}, 0, 100},
		"it fits":          {[]string{"--keep-gosum", sum, "--max-mod-size", "100"}, 0, 0},
		"it does not":      {[]string{"--keep-gosum", sum, "--max-mod-size", "99"}, 0, 100},
		"no keep-set":      {nil, 2, 0},
		"no size":          {[]string{"--keep-gosum", sum, "--max-mod-size", "x"}, 2, 0},
		"no time":          {[]string{"--keep-gosum", sum, "--as-of", "yesterday"}, 2, 0},
		"no such go.sum":   {[]string{"--keep-gosum", sum + "x"}, 1, 0},
		"at a time before": {[]string{"--keep-gosum", sum, "--as-of", "2026-01-02T03:04:05Z"}, 0, 100},
	} {
		out, code := agent(t, append([]string{"trim", "--plan", "--modcache", dir}, tt.args...)...)
		var r trim.Result
		if code == 0 {
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("%s: %v: %s", name, err, out)
			}
		}
		if code != tt.code || code == 0 && (r.Modules.Bytes != tt.goes || r.Applied) {
			t.Errorf("%s: exit %d, %s; want %d, %d bytes", name, code, out, tt.code, tt.goes)
		}
		if name == "at a time before" && !r.AsOf.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
			t.Errorf("as of %v", r.AsOf)
		}
	}
	if info, err := os.Stat(zip); err != nil || info.Size() != 100 {
		t.Errorf("a plan removed the zip: %v", err)
	}
}

func TestInstall(t *testing.T) {
	dir := t.TempDir()
	if _, code := agent(t, "install", dir); code != 0 {
		t.Fatalf("exit %d", code)
	}
	if info, err := os.Stat(filepath.Join(dir, "gocache-agent")); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestBytesValue(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "10Gi": 10 << 30, "1.5Mi": 3 << 19, "2k": 2000, "0": 0} {
		var b bytesValue
		if err := b.Set(text); err != nil || int64(b) != want {
			t.Errorf("%s is %d, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1e300", "NaN", "1Qi"} {
		var b bytesValue
		if err := b.Set(text); err == nil {
			t.Errorf("%q accepted as %d", text, b)
		}
	}
}
