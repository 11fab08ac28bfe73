package integrity_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
)

// TestBuildCacheNames holds that a file of a shard whose name the go command does
// not look up there is noted, and nothing else.
func TestBuildCacheNames(t *testing.T) {
	id := strings.Repeat("0a", 32)
	for name, noted := range map[string]int{
		"0a/" + id + "-a": 0, "0b/" + id + "-a": 1, "0b/" + id + "-d": 1, "00/README": 1, "0a/" + id + "-x": 1, "0a/" + id[2:] + "-a": 1,
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, name), []byte("x"))
		v, err := integrity.Check(t.Context(), integrity.Options{BuildCache: dir, Now: time.Now(), Settle: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if v.Notes[integrity.Stray] != noted || noted > 0 && len(v.Findings) > 0 {
			t.Errorf("%s: findings %v, notes %v; want %d notes", name, v.Findings, v.Notes, noted)
		}
	}
}

// The go command puts more into a build cache than entries; what belongs there
// is not reported, and anything else is only noted.
func TestBuildCacheRoot(t *testing.T) {
	for name, want := range map[string]struct {
		class integrity.Class // "": no finding
		note  bool
	}{
		"README": {}, "log.txt": {}, "fuzz/x": {}, "00/": {}, "ff/": {}, "trim.txt": {integrity.Malformed, false},
		"LICENSE": {integrity.Stray, true}, "0/": {integrity.Stray, true}, "0g/": {integrity.Stray, true}, "FF/": {integrity.Stray, true}, "000/": {integrity.Stray, true},
		"a0": {integrity.Malformed, false}, "9f": {integrity.Malformed, false},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil && name[len(name)-1] == '/' {
			err = os.Mkdir(path, 0o700)
		} else if err == nil {
			err = os.WriteFile(path, []byte("x"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		v, err := integrity.Check(t.Context(), integrity.Options{BuildCache: dir, Now: time.Now(), Settle: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		found, noted := 0, 0
		for _, n := range v.Findings {
			found += n
		}
		for _, n := range v.Notes {
			noted += n
		}
		switch {
		case want.class == "" && found+noted > 0:
			t.Errorf("%s: %+v", name, v.Examples)
		case want.class != "" && want.note && (v.Notes[want.class] != 1 || found > 0 || v.Verdict != integrity.Intact):
			t.Errorf("%s: %s, findings %v, notes %v; want one note %s", name, v.Verdict, v.Findings, v.Notes, want.class)
		case want.class != "" && !want.note && (v.Findings[want.class] != 1 || noted > 0):
			t.Errorf("%s: %s, findings %v, notes %v; want one finding %s", name, v.Verdict, v.Findings, v.Notes, want.class)
		}
	}
}

// TestModesOfExecutables holds that an executable output which no user can run is
// found: the go command fails on it every time.
func TestModesOfExecutables(t *testing.T) {
	const content = "#!/bin/sh\n"
	id := fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	for name, c := range map[string]struct {
		dir, file os.FileMode
		want      integrity.Outcome
	}{
		"as made":                {0o755, 0o755, integrity.Intact},
		"of another umask":       {0o700, 0o700, integrity.Intact},
		"a file that is not run": {0o755, 0o644, integrity.OutcomeCorrupt},
		"a closed output":        {0o644, 0o755, integrity.OutcomeCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, id[:2], id+"-d")
			put(t, filepath.Join(dir, "tool"), []byte(content))
			for _, path := range []struct {
				at   string
				mode os.FileMode
			}{{filepath.Join(dir, "tool"), c.file}, {dir, c.dir}} {
				if err := os.Chmod(path.at, path.mode); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = os.Chmod(path.at, 0o700) }) //nolint:gosec // to remove it
			}
			v, err := integrity.Check(t.Context(), integrity.Options{BuildCache: root, Now: time.Now(), Settle: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Verdict; got != c.want && (os.Geteuid() == 0 || got == integrity.Intact) { // others cannot read it
				t.Errorf("%s %v", got, v.Examples)
			}
		})
	}
}
