package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/store"
)

// write makes files, and symbolic links of names that contain "->".
func write(t *testing.T, names ...string) *tree.Dir {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		name, to, isLink := strings.Cut(name, " -> ")
		content, _, _ := strings.Cut(filepath.Base(name), ".") // some bytes
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(to, path)
		default:
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := tree.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func files(kinds ...modcache.Kind) (f modcache.Files) {
	for _, k := range kinds {
		f = f.With(k)
	}
	return f
}

func version(path, v, dir string, f modcache.Files, zipSize int64) store.Version {
	return store.Version{Version: module.Version{Path: path, Version: v}, Dir: dir, Files: f, ZipSize: zipSize}
}

// remarks are the paths of remarks and their kinds.
func remarks(c store.Contents) map[string]modcache.RemarkKind {
	all := map[string]modcache.RemarkKind{}
	for _, r := range c.Remarks {
		all[r.Path] = r.Kind
	}
	return all
}

func TestScan(t *testing.T) {
	all := files(modcache.Info, modcache.Mod, modcache.Zip)
	for name, tt := range map[string]struct {
		layout   store.Layout
		files    []string
		versions []store.Version
		lists    []string
		remarks  map[string]modcache.RemarkKind
	}{
		"goproxy": {
			layout: store.Goproxy,
			files: []string{
				"example.com/!upper/@v/list", "example.com/!upper/@v/v1.0.0.mod", "example.com/!upper/@v/v1.0.0.zip", "example.com/!upper/@latest",
				"example.com/a/@v/v1.0.0-!r!c1.info", "example.com/a/@v/v1.0.0-!r!c1.mod", "example.com/a/@v/v1.0.0-!r!c1.zip",
				"sumdb/db.test/latest", ".gocache-store", ".quarantine/x", "lost+found/x",
				"example.com/a/@v/.v2.0.0.zip.tmp.123", "example.com/a/@v/README", "example.com/README",
			},
			versions: []store.Version{
				version("example.com/Upper", "v1.0.0", "example.com/!upper/@v", files(modcache.Mod, modcache.Zip), 2),
				version("example.com/a", "v1.0.0-RC1", "example.com/a/@v", all, 2),
			},
			lists: []string{"example.com/!upper/@v/list"},
			remarks: map[string]modcache.RemarkKind{
				"example.com/a/@v/.v2.0.0.zip.tmp.123": modcache.RemarkTemp,
				"example.com/a/@v/README":              modcache.RemarkStray, "example.com/README": modcache.RemarkStray,
			},
		},
		"athens": {
			layout: store.Athens,
			files: []string{
				"example.com/b/v1.2.0/go.mod", "example.com/b/v1.2.0/source.zip", "example.com/b/v1.2.0/v1.2.0.info",
				"example.com/Upper/v1.0.0/source.zip", "example.com/Upper/v0.9.0/v0.9.0.info", "example.com/a/v1.0.0/go.mod",
				".hidden/x/go.mod", "lost+found/x/go.mod",
			},
			versions: []store.Version{
				version("example.com/Upper", "v0.9.0", "example.com/Upper/v0.9.0", files(modcache.Info), 0),
				version("example.com/Upper", "v1.0.0", "example.com/Upper/v1.0.0", files(modcache.Zip), 6),
				version("example.com/a", "v1.0.0", "example.com/a/v1.0.0", files(modcache.Mod), 0),
				version("example.com/b", "v1.2.0", "example.com/b/v1.2.0", all, 6),
			},
			remarks: map[string]modcache.RemarkKind{},
		},
		"athens, what is no part of it": {
			layout: store.Athens,
			files: []string{
				"go.mod",                       // in no version's directory
				"example.com/a/v1.0.0/go.mod",  // the version
				"example.com/a/v1.0.0/v1.info", // of another version
				"example.com/a/v1.0.0/LICENSE", "example.com/link -> /", "example.com/a/.hidden",
				"example.com/deep/lost+found/v1.0.0/go.mod", // only the one at the top is the file system's
				"UPPER space/v1.0.0/go.mod",                 // no module path
			},
			versions: []store.Version{
				version("example.com/a", "v1.0.0", "example.com/a/v1.0.0", files(modcache.Mod), 0),
			},
			remarks: map[string]modcache.RemarkKind{
				"go.mod": modcache.RemarkStray, "example.com/a/v1.0.0/v1.info": modcache.RemarkStray, "example.com/a/v1.0.0/LICENSE": modcache.RemarkStray,
				"example.com/link": modcache.RemarkNotRegular, "example.com/a/.hidden": modcache.RemarkStray,
				"example.com/deep/lost+found/v1.0.0": modcache.RemarkStray, "UPPER space/v1.0.0": modcache.RemarkStray,
			},
		},
		"empty": {layout: store.Athens, remarks: map[string]modcache.RemarkKind{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := store.Scan(write(t, tt.files...), tt.layout)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.versions, got.Versions); diff != "" {
				t.Errorf("versions (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tt.lists, got.Lists); diff != "" {
				t.Errorf("lists (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(tt.remarks, remarks(got)); diff != "" {
				t.Errorf("remarks (-want +got)\n%s", diff)
			}
		})
	}
}

// A directory that cannot be listed at all is an error, not an empty store.
func TestScanFails(t *testing.T) {
	for _, layout := range []store.Layout{store.Goproxy, store.Athens} {
		d, err := tree.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if c, err := store.Scan(d, layout); err == nil {
			t.Errorf("%s: a closed directory holds %+v", layout, c)
		}
	}
}

func TestName(t *testing.T) {
	v := &store.Version{Version: module.Version{Path: "example.com/a", Version: "v1.0.0-RC1"}}
	for layout, want := range map[store.Layout]map[modcache.Kind]string{
		store.Goproxy: {modcache.Info: "v1.0.0-!r!c1.info", modcache.Mod: "v1.0.0-!r!c1.mod", modcache.Zip: "v1.0.0-!r!c1.zip"},
		store.Athens:  {modcache.Info: "v1.0.0-RC1.info", modcache.Mod: "go.mod", modcache.Zip: "source.zip"},
	} {
		for kind, name := range want {
			if got := layout.Name(v, kind); got != name {
				t.Errorf("%s: %q, want %q", layout, got, name)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, name := range []string{"goproxy", "athens"} {
		if got, err := store.Parse(name); err != nil || string(got) != name {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "Athens", "disk"} {
		if got, err := store.Parse(name); err == nil || got != "" {
			t.Errorf("%q: %q, %v; want an error", name, got, err)
		}
	}
}
