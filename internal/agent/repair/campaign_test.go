package repair_test

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/testing/cachetree"
)

// campaign is how many random faults a test makes: a few always, and as many as
// GOCACHE_CAMPAIGN sets in the campaign.
func campaign(t *testing.T, always int) int {
	t.Helper()
	text := os.Getenv("GOCACHE_CAMPAIGN")
	if text == "" {
		return always
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("GOCACHE_CAMPAIGN: %v", err)
	}
	return n
}

// matters lists the files that the go command uses the contents of: all but
// .info and list, which builds never read, and marks.
func matters(t *testing.T, tree *cachetree.Tree) []string {
	t.Helper()
	var files []string
	for _, root := range []string{tree.ModCache, tree.BuildCache} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err != nil || info.Size() == 0 {
				return err
			}
			inDownloads := strings.Contains(path, "/cache/download/")
			switch filepath.Ext(path) {
			case ".zip", ".ziphash", ".mod":
				files = append(files, path)
			default:
				isEntry := strings.HasSuffix(path, "-a") || strings.HasSuffix(path, "-d") || strings.Contains(path, "-d/")
				if root == tree.ModCache && !inDownloads || root == tree.BuildCache && isEntry {
					files = append(files, path)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// Every randomly inverted bit and every truncation is found, and nothing but the
// damaged file is reported. What is not found without an earlier manifest must
// be nothing that the go command reads: the time in an action entry, or fields
// of a zip besides names and contents; the latter are found with a manifest.
func TestRandomDamage(t *testing.T) {
	n := campaign(t, 80)
	tree := cachetree.New(t)
	var first bytes.Buffer
	o := options(t, tree, true)
	o.Manifest = &first
	good := check(t, o)
	baseline, err := integrity.NewBaseline(manifest.NewReader(&first), manifest.Module)
	if err != nil {
		t.Fatal(err)
	}
	files := matters(t, tree)
	rng := rand.New(rand.NewPCG(uint64(n), 20260101))
	neutral, recoverable, wrong, times := 0, 0, 0, 0
	for i := range n {
		// Half of the faults hit the module cache, which has fewer files.
		name := files[rng.IntN(len(files))]
		for (i%2 == 0) != strings.HasPrefix(name, tree.ModCache) {
			name = files[rng.IntN(len(files))]
		}
		before, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at, bit, length := rng.IntN(len(before)), rng.IntN(8), i%4 == 3
		cachetree.Edit(t, name, func(b []byte) []byte {
			if length {
				return b[:at]
			}
			b[at] ^= 1 << bit
			return b
		})
		o := options(t, tree, true)
		o.Settle = time.Millisecond
		v := check(t, o)
		what := "flip of bit " + strconv.Itoa(bit)
		if length {
			what = "cut"
		}
		switch {
		case v.Corrupt > 0:
			wrong++
		case v.Recoverable > 0:
			recoverable++
		case strings.HasSuffix(name, "-a") && !length && at >= 154 && at < 174:
			times++
		case strings.HasSuffix(name, ".zip") && !length:
			neutral++
			if v.Digest == good.Digest {
				t.Errorf("%s at %d of %s: not even the digest changed", what, at, name)
			}
			o.Baseline = baseline
			if v := check(t, o); v.Notes[integrity.Inconsistent] != 1 {
				t.Errorf("%s at %d of %s: not found with a manifest: %+v", what, at, name, v)
			}
		default:
			t.Errorf("%s at %d of %s (%d bytes): not found", what, at, name, len(before))
		}
		onlyReports(t, v, name)
		cachetree.Edit(t, name, func([]byte) []byte { return before })
	}
	if v := check(t, options(t, tree, true)); v.Digest != good.Digest || v.Verdict != integrity.Intact {
		t.Errorf("afterwards: %s, %+v", v.Verdict, v.Examples)
	}
	t.Logf("%d faults: %d corrupt, %d recoverable, %d in unused fields of zips, %d in times of entries", n, wrong, recoverable, neutral, times)
}

// onlyReports checks that all findings are about the damaged file, or about the
// version or entry that it is a part of.
func onlyReports(t *testing.T, v integrity.Verdict, name string) {
	t.Helper()
	for _, e := range v.Examples {
		if e.Severity == "note" {
			continue
		}
		module := ""
		for _, m := range []string{"example.com/lib", "example.com/!upper/dep"} {
			if strings.Contains(name, m+"@") || strings.Contains(name, m+"/@v") {
				module = m
			}
		}
		if module != "" && strings.HasPrefix(strings.TrimPrefix(e.Path, "cache/download/"), module) || strings.Contains(name, e.Path) {
			continue
		}
		t.Errorf("damage of %s accuses %s: %s", name, e.Path, e.Detail)
	}
	if v.Corrupt+v.Recoverable > 2 {
		t.Errorf("damage of %s leads to %d findings: %+v", name, v.Corrupt+v.Recoverable, v.Examples)
	}
}

// The caches of other Go releases are intact to us, and each fault in them is
// found as well.
func TestOtherReleases(t *testing.T) {
	if os.Getenv("GOCACHE_CAMPAIGN") == "" {
		t.Skip("needs other Go releases: part of the campaign")
	}
	for _, release := range []string{"go1.26.7", "go1.25.4", "go1.24.9", "go1.23.12"} {
		t.Run(release, func(t *testing.T) {
			clean := cachetree.NewFor(t, release)
			want, out, err := clean.Build()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if v := check(t, options(t, clean, true)); v.Verdict != integrity.Intact || v.Recoverable > 0 || len(v.Notes) > 0 {
				t.Fatalf("%s: %v %+v", v.Verdict, v.Notes, v.Examples)
			}
			for _, fault := range append(cachetree.ModuleFaults(), cachetree.BuildFaults()...) {
				t.Run(fault.Name, func(t *testing.T) {
					tree := cachetree.NewFor(t, release)
					fault.Inflict(t, tree)
					if trusted := fault.Trusted; trusted != "" {
						fault.Class, fault.Severity = trusted, "recoverable"
					}
					expect(t, fault, check(t, options(t, tree, true)))
					heal(t, tree, want)
				})
			}
		})
	}
}

// A check of a cache that is not there is an error, not a verdict.
func TestNoCache(t *testing.T) {
	if _, err := integrity.Check(context.Background(), integrity.Options{ModCache: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("accepted")
	}
}
