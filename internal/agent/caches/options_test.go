package caches_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/caches"
	"gocache.dev/operator/internal/agent/record"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

// TestFlagsThatContradict holds which flags are refused as a wrong use, before
// anything is read.
func TestFlagsThatContradict(t *testing.T) {
	const missing = "/none" // nothing of it is read
	for name, tt := range map[string]struct {
		flags caches.Flags
		want  string
	}{
		"nothing to check":                {caches.Flags{}, "give --modcache, --buildcache or --store"},
		"another severity":                {caches.Flags{ModCache: missing, FailOn: "note"}, `--fail-on "note"`},
		"a seal that there is and is not": {caches.Flags{ModCache: missing, Volume: missing, Sealed: "sha256:aa", NeverSealed: true}, "--sealed-digest and --never-sealed"},
		"a seal without its volume":       {caches.Flags{ModCache: missing, Sealed: "sha256:aa"}, "--sealed-digest needs --volume"},
		"a store of no layout":            {caches.Flags{Store: missing}, "--store needs --layout"},
		"a store and a module cache":      {caches.Flags{Store: missing, Layout: "goproxy", ModCache: missing}, "check them one by one"},
		"a database without its key":      {caches.Flags{ModCache: missing, SumDB: []string{"sum.example.com"}}, "--sumdb: "},
	} {
		var usage *caches.UsageError
		if _, err := tt.flags.Options(t.Context(), time.Now()); !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	tree := t.TempDir()
	for severity, want := range map[string]integrity.Severity{"": 0, "corrupt": 0, "recoverable": integrity.Recoverable} {
		f := caches.Flags{ModCache: tree, FailOn: severity}
		if o, err := f.Options(t.Context(), time.Now()); err != nil || o.FailOn != want {
			t.Errorf("--fail-on %q: %v, %v", severity, o.FailOn, err)
		}
	}
}

// TestDirectoriesThatAreNot holds that a cache which is not there is no empty one,
// and that a link is left to the check of a volume, which reports it.
func TestDirectoriesThatAreNot(t *testing.T) {
	root := t.TempDir()
	file, link := filepath.Join(root, "file"), filepath.Join(root, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	var usage *caches.UsageError
	for name, tt := range map[string]struct {
		flags caches.Flags
		want  string // empty: it is accepted
	}{
		"a cache that is not there":     {caches.Flags{BuildCache: filepath.Join(root, "none")}, "--buildcache " + filepath.Join(root, "none") + ": there is no such directory"},
		"a file":                        {caches.Flags{ModCache: file}, "--modcache " + file + ": is not a directory"},
		"below a file":                  {caches.Flags{Store: filepath.Join(file, "store"), Layout: "goproxy"}, "--store: "},
		"a link to a file":              {caches.Flags{ModCache: link}, "is not a directory"},
		"a link to a file, on a volume": {caches.Flags{ModCache: link, Volume: root}, ""},
		"a volume that is not there":    {caches.Flags{ModCache: root, Volume: filepath.Join(root, "none")}, "--volume "},
		"a volume that is a link":       {caches.Flags{ModCache: root, Volume: link}, "--volume " + link + ": is not a directory"},
	} {
		_, err := tt.flags.Options(t.Context(), time.Now())
		if (err != nil) != (tt.want != "") || err != nil && (!strings.Contains(err.Error(), tt.want) || errors.As(err, &usage)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestGoSumFiles holds that a go.sum file which has to be there is one without
// which nothing is checked.
func TestGoSumFiles(t *testing.T) {
	dir := t.TempDir()
	good, bad, none := filepath.Join(dir, "good"), filepath.Join(dir, "bad"), filepath.Join(dir, "none")
	line := cachetree.Lib.Path + " " + cachetree.Lib.Version + " h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
	if err := errors.Join(os.WriteFile(good, []byte(line), 0o600), os.WriteFile(bad, []byte("no checksum\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		required, optional []string
		trusts             bool
		want               string // of the error
	}{
		"none":               {nil, nil, false, ""},
		"one":                {[]string{good}, nil, true, ""},
		"an optional one":    {nil, []string{none, good}, true, ""},
		"one that is absent": {[]string{none}, nil, false, "--gosum: "},
		"one that is bad":    {[]string{good, bad}, nil, false, "--gosum: "},
		"an optional one that is bad": {
			nil, []string{bad}, false, "--gosum-if-present: ",
		},
	} {
		f := caches.Flags{ModCache: dir, GoSum: tt.required, OptionalGoSum: tt.optional}
		o, err := f.Options(t.Context(), time.Now())
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if err != nil {
			continue
		}
		if trusts := o.Trust != nil; trusts != tt.trusts {
			t.Errorf("%s: there are trust data: %t", name, trusts)
		} else if trusts {
			if contents, _ := o.Trust.Has(cachetree.Lib); !contents {
				t.Errorf("%s: the line is not trusted", name)
			}
		}
	}
}

// TestBaseline holds that an earlier manifest is used if it is the expected one
// only: what it holds is not looked at again.
func TestBaseline(t *testing.T) {
	tree := cachetree.New(t)
	var is string
	name := filepath.Join(t.TempDir(), "manifest.zst")
	if err := record.WriteManifest(name, func(w io.Writer) error { is = digest(t, tree, w); return nil }); err != nil {
		t.Fatal(err)
	}
	for expected, refused := range map[string]bool{"": false, is: false, "sha256:00": true} {
		f := caches.Flags{ModCache: tree.ModCache, Baseline: name, BaselineDigest: expected}
		o, err := f.Options(t.Context(), time.Now())
		if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "--baseline: its digest is "+is) {
			t.Errorf("expected %q: %v", expected, err)
		}
		if err != nil {
			continue
		}
		if v, err := integrity.Check(t.Context(), o); err != nil || v.Verdict != integrity.Intact || v.Counts.Raw == 0 {
			t.Errorf("expected %q: %+v, %v: no zip was as in the baseline", expected, v, err)
		}
	}
	// That of a store names what a store holds.
	if err := record.WriteManifest(name, func(w io.Writer) error {
		_, err := integrity.Check(t.Context(), integrity.Options{Store: tree.Proxy, Layout: "goproxy", Now: time.Now(), Manifest: w})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	f := caches.Flags{Store: tree.Proxy, Layout: "goproxy", Baseline: name}
	o, err := f.Options(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if v, err := integrity.Check(t.Context(), o); err != nil || v.Counts.Raw == 0 {
		t.Errorf("a store: %+v, %v: no zip was as in the baseline", v, err)
	}
	for _, bad := range []string{filepath.Join(t.TempDir(), "none"), tree.GoSum()} {
		f := caches.Flags{ModCache: tree.ModCache, Baseline: bad}
		if _, err := f.Options(t.Context(), time.Now()); err == nil || !strings.HasPrefix(err.Error(), "--baseline: ") {
			t.Errorf("the baseline %s: %v", bad, err)
		}
	}
}
