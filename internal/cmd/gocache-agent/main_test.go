package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocache.dev/operator/internal/domain/exitcode"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// agent runs the command in this process.
func agent(t *testing.T, args ...string) (stdout string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
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
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := integrity.ParseVerdict(said); err != nil || v.Digest != good.Digest {
		t.Errorf("termination log %s: %v", said, err)
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
	if _, code := verify(append(caches, "--fail-on", "torn")...); code != 3 {
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
