package integrity

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/manifest"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
)

// TestUnsealedParts holds which files of a module version are removed when it
// differs from what the writer left, and that only what the writer had left in
// another form is Corrupt: what was added may be right.
func TestUnsealedParts(t *testing.T) {
	at, err := modcache.Escape(module.Version{Path: "example.com/lib", Version: "v1.2.0"})
	if err != nil {
		t.Fatal(err)
	}
	const version = "the version"
	dir, mod := []string{at.Dir()}, []string{at.File(modcache.Mod)}
	zip := []string{at.File(modcache.Zip), at.File(modcache.Ziphash)}
	join := func(parts ...[]string) (all []string) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	sum := func(b byte) (s modsum.Sum) { s[0] = b; return s }
	type record = manifest.Record
	for name, tt := range map[string]struct {
		was, is  record
		remove   []string
		severity Severity // Note: there is no finding
		path     string
	}{
		"the same":                       {was: record{Zip: sum(1), Dir: sum(1), GoMod: sum(2)}, is: record{Zip: sum(1), Dir: sum(1), GoMod: sum(2)}},
		"extracted again":                {was: record{Zip: sum(1), GoMod: sum(2)}, is: record{Zip: sum(1), Dir: sum(1), GoMod: sum(2)}},
		"the zip of what was extracted":  {was: record{Dir: sum(1)}, is: record{Zip: sum(1), Dir: sum(1)}},
		"the go.mod of a zip":            {was: record{Zip: sum(1)}, is: record{Zip: sum(1), GoMod: sum(2)}},
		"parts are gone":                 {was: record{Zip: sum(1), Dir: sum(1), GoMod: sum(2)}, is: record{GoMod: sum(2)}},
		"another directory":              {record{Zip: sum(1), Dir: sum(1)}, record{Zip: sum(1), Dir: sum(3)}, dir, SeverityCorrupt, version},
		"a directory that has no zip":    {record{Dir: sum(1)}, record{Dir: sum(3)}, dir, SeverityCorrupt, version},
		"another zip":                    {record{Zip: sum(1)}, record{Zip: sum(3)}, zip, SeverityCorrupt, version},
		"another zip and its directory":  {record{Zip: sum(1)}, record{Zip: sum(3), Dir: sum(3)}, join(dir, zip), SeverityCorrupt, version},
		"another go.mod":                 {record{GoMod: sum(2)}, record{GoMod: sum(4)}, mod, SeverityCorrupt, at.File(modcache.Mod)},
		"another zip and another go.mod": {record{Zip: sum(1), GoMod: sum(2)}, record{Zip: sum(3), GoMod: sum(4)}, join(zip, mod), SeverityCorrupt, version},
		"a zip that was added":           {record{GoMod: sum(2)}, record{Zip: sum(3), GoMod: sum(2)}, zip, SeverityUnreadable, version},
		"a directory that was added":     {record{GoMod: sum(2)}, record{Dir: sum(3), GoMod: sum(2)}, dir, SeverityUnreadable, version},
		"a go.mod that was added":        {record{Dir: sum(1)}, record{Dir: sum(1), GoMod: sum(4)}, mod, SeverityUnreadable, at.File(modcache.Mod)},
		"both that were added":           {record{}, record{Dir: sum(3), GoMod: sum(4)}, join(dir, mod), SeverityUnreadable, version},
	} {
		f, found := unsealedParts(Finding{Severity: SeverityCorrupt, Path: version}, &manifest.Change{Was: tt.was, Is: tt.is}, at)
		if found != (tt.severity != Note) {
			t.Errorf("%s: found %v: %+v", name, found, f)
		}
		if !found {
			continue
		}
		if diff := cmp.Diff(tt.remove, f.Remove); diff != "" || f.Severity != tt.severity || f.Path != tt.path || f.Detail == "" {
			t.Errorf("%s: severity %d at %s (%s), want %d at %s\n%s", name, f.Severity, f.Path, f.Detail, tt.severity, tt.path, diff)
		}
	}
}
