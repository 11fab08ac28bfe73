package modcache_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
)

// write makes files of three bytes, directories of names that end with a
// slash, and symbolic links of names that contain "->".
func write(t *testing.T, names ...string) *tree.Dir {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		name, to, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(to, path)
		case strings.HasSuffix(name, "/"):
			err = os.Mkdir(path, 0o700)
		default:
			err = os.WriteFile(path, []byte("abc"), 0o600)
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

func of(path, version string) module.Version { return module.Version{Path: path, Version: version} }

func compare(t *testing.T, want, got modcache.Contents) {
	t.Helper()
	order := cmpopts.SortSlices(func(a, b modcache.Remark) bool { return a.Path < b.Path })
	texts := cmpopts.IgnoreFields(modcache.Remark{}, "Detail")
	names := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	if diff := cmp.Diff(want, got, order, texts, names, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The root of a store is also the root of a volume: what belongs to the file
// system or to the server there is not reported, and only there.
func TestScanProxy(t *testing.T) {
	got, err := modcache.ScanProxy(write(t,
		"lost+found/x/@v/v1.0.0.mod", ".quarantine/x/@v/v1.0.0.mod", ".gocache-store", "sumdb/db.test/latest", "sumdb/notes",
		"example.com/!b/@v/v1.0.0.mod", "example.com/!b/@v/v1.0.0.zip", "example.com/!b/@v/list", "example.com/!b/@latest",
		"example.com/a/@v/v1.0.0.info", "example.com/a/@v/v1.0.0.ziphash", "example.com/a/@v/v1.0.0.lock", "example.com/a/@v/v1.0.0.partial/",
		"example.com/a/@v/v2.0.0+incompatible.mod", "example.com/a/@v/.v1.1.0.zip.tmp.1", "example.com/a/@v/v1.1.0.zip.tmp", "example.com/a/@v/LICENSE",
		"example.com/a/@v/V3.0.0.mod", "example.com/A/@v/v1.0.0.mod", "example.com/.hidden", "example.com/lost+found/@v/v1.0.0.mod",
		"README", "link -> /", "x.tmp", "sumdb2 -> sumdb",
	))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, modcache.Contents{
		Versions: []modcache.Version{
			{Version: of("example.com/B", "v1.0.0"), Files: files(modcache.Mod, modcache.Zip), ZipSize: 3},
			{Version: of("example.com/a", "v1.0.0"), Files: files(modcache.Info, modcache.Ziphash, modcache.Lock, modcache.Partial)},
			{Version: of("example.com/a", "v2.0.0+incompatible"), Files: files(modcache.Mod)},
		},
		Lists:  []string{"example.com/!b/@v/list"},
		Latest: []modcache.Query{{Version: module.Version{Path: "example.com/B", Version: "latest"}, File: "example.com/!b/@latest"}},
		Sumdb:  []string{"db.test"},
		Remarks: []modcache.Remark{
			{Path: "sumdb/notes", Kind: modcache.RemarkStray}, {Path: "README", Kind: modcache.RemarkStray}, {Path: "example.com/.hidden", Kind: modcache.RemarkStray},
			{Path: "link", Kind: modcache.RemarkNotRegular}, {Path: "sumdb2", Kind: modcache.RemarkNotRegular},
			{Path: "x.tmp", Kind: modcache.RemarkTemp}, {Path: "example.com/a/@v/.v1.1.0.zip.tmp.1", Kind: modcache.RemarkTemp}, {Path: "example.com/a/@v/v1.1.0.zip.tmp", Kind: modcache.RemarkTemp},
			{Path: "example.com/a/@v/LICENSE", Kind: modcache.RemarkStray}, {Path: "example.com/a/@v/V3.0.0.mod", Kind: modcache.RemarkStray},
			{Path: "example.com/a/@v/v1.0.0.partial", Kind: modcache.RemarkNotRegular},
			{Path: "example.com/A/@v", Kind: modcache.RemarkStray}, {Path: "example.com/lost+found/@v", Kind: modcache.RemarkStray},
		},
	}, got)
}

// Scan joins what is downloaded and what is extracted of the same version.
func TestScan(t *testing.T) {
	got, err := modcache.Scan(write(t,
		"cache/download/example.com/a/@v/v1.0.0.zip", "cache/lock", "example.com/a@v1.0.0/a.go", "example.com/!b/c@v1.2.0/x.go",
		"example.com/a@V1.0.0/x.go", "file", "example.com/link@v1.0.0 -> a@v1.0.0", "example.com/empty/",
		"cache/vcs/0123abcd/config", "cache/vcs/0123abcd.lock", "cache/new/x",
	))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, modcache.Contents{
		Versions: []modcache.Version{
			{Version: of("example.com/B/c", "v1.2.0"), Extracted: true},
			{Version: of("example.com/a", "v1.0.0"), Extracted: true, Files: files(modcache.Zip), ZipSize: 3},
		},
		Remarks: []modcache.Remark{
			{Path: "example.com/a@V1.0.0", Kind: modcache.RemarkStray}, {Path: "file", Kind: modcache.RemarkStray},
			{Path: "example.com/link@v1.0.0", Kind: modcache.RemarkNotRegular},
			{Path: "cache/vcs", Kind: modcache.RemarkVCS}, {Path: "cache/new", Kind: modcache.RemarkForeign},
		},
	}, got)
}

// A directory that cannot be listed at all is an error, not an empty cache.
func TestScanFails(t *testing.T) {
	for name, scan := range map[string]func(*tree.Dir) (modcache.Contents, error){"cache": modcache.Scan, "proxy": modcache.ScanProxy} {
		d, err := tree.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if c, err := scan(d); err == nil {
			t.Errorf("%s: a closed directory holds %+v", name, c)
		}
	}
}
