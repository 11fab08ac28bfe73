package modcache_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"gocache.dev/operator/internal/domain/integrity/tree"
	"gocache.dev/operator/internal/domain/modcache"
	"gocache.dev/operator/internal/domain/modsum"
)

var someModule = module.Version{Path: "example.com/m", Version: "v1.0.0"}

// writeModule makes a module's zip and extracted directory below a root.
func writeModule(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, content := range files {
		full := someModule.Path + "@" + someModule.Version + "/" + name
		f, err := w.Create(full)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, "dir", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "m.zip"), buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

// Hashing must agree with dirhash, whole and streamed, in each of the three
// ways a sum is made.
func TestSumsAgreeWithDirhash(t *testing.T) {
	files := map[string]string{"go.mod": "module example.com/m\n", "empty": "", "sub/deep/x.go": "package x\n"}
	for i := range 50 {
		files[fmt.Sprintf("f%02d/g.txt", i)] = string(bytes.Repeat([]byte{byte(i), 'a', byte(i * 7)}, i*i*20))
	}
	files["large.bin"] = string(bytes.Repeat([]byte("0123456789abcdef!"), 20_000))
	root := writeModule(t, files)
	want, err := dirhash.HashZip(filepath.Join(root, "m.zip"), dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int64{0, 16 << 20} {
		d, err := tree.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := d.Sub("dir")
		if err != nil {
			t.Fatal(err)
		}
		f, err := d.Open("m.zip")
		if err != nil {
			t.Fatal(err)
		}
		f2, err := d.Open("m.zip")
		if err != nil {
			t.Fatal(err)
		}
		h := modcache.NewHasher(limit)
		zipSum, same, err := h.Pair(&f, sub, someModule)
		if err != nil || !same || zipSum.H1.String() != want {
			t.Errorf("limit %d: Pair = %v, same %t, %v; want %s", limit, zipSum.H1, same, err, want)
		}
		if modcache.SumGoMod([]byte(files["go.mod"])) == (modsum.Sum{}) || zipSum.GoMod == [32]byte{} {
			t.Errorf("limit %d: go.mod was not seen", limit)
		}
		alone, err := h.Zip(&f2, someModule)
		if err != nil || alone.H1.String() != want || alone.Raw != zipSum.Raw {
			t.Errorf("limit %d: Zip = %v, %v; want %s", limit, alone.H1, err, want)
		}
		dir, err := h.Dir(sub, someModule)
		if err != nil || dir.H1.String() != want {
			t.Errorf("limit %d: Dir = %v, %v; want %s", limit, dir.H1, err, want)
		}
	}
}

func opener(data []byte) func(string) (io.ReadCloser, error) {
	return func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

// A file that was hashed as it is can be hashed as a zip afterwards.
func TestZipAfterRaw(t *testing.T) {
	root := writeModule(t, map[string]string{"go.mod": "module example.com/m\n"})
	d, err := tree.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Open("m.zip")
	if err != nil {
		t.Fatal(err)
	}
	h := modcache.NewHasher(1 << 20)
	raw, _, err := h.Raw(&f)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := h.Zip(&f, someModule)
	if err != nil || sum.Raw != raw || sum.Files != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// The go command adds files to a toolchain that it runs; only exact copies, or
// empty ones that are being made, are none of the module's.
func TestToolchainCopies(t *testing.T) {
	m := module.Version{Path: modcache.Toolchain, Version: "v0.0.1-go1.2.3.linux-amd64"}
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, name := range []string{"src/_go.mod", "src/cmd/_go.mod", "src/x.go"} {
		f, err := w.Create(m.String() + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("module " + name + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		extra map[string]string
		same  bool
		gone  string
	}{
		"none":               {same: true},
		"originals are gone": {extra: map[string]string{"src/go.mod": "module src/_go.mod\n", "src/cmd/go.mod": "module src/cmd/_go.mod\n"}, gone: "src/_go.mod"},
		"copies":             {extra: map[string]string{"src/go.mod": "module src/_go.mod\n", "src/cmd/go.mod": "module src/cmd/_go.mod\n"}, same: true},
		"being made":         {extra: map[string]string{"src/cmd/go.mod": ""}, same: true},
		"altered":            {extra: map[string]string{"src/go.mod": "module src/_go.moe\n"}, same: false},
		"no original":        {extra: map[string]string{"src/other/go.mod": "module src/_go.mod\n"}, same: false},
		"other file":         {extra: map[string]string{"src/y.go": "module src/_go.mod\n"}, same: false},
	} {
		root := t.TempDir()
		files := map[string]string{"dir/src/_go.mod": "module src/_go.mod\n", "dir/src/cmd/_go.mod": "module src/cmd/_go.mod\n", "dir/src/x.go": "module src/x.go\n", "m.zip": buf.String()}
		for extra, content := range c.extra {
			files["dir/"+extra] = content
		}
		delete(files, "dir/"+c.gone)
		for file, content := range files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d, err := tree.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := d.Sub("dir")
		if err != nil {
			t.Fatal(err)
		}
		f, err := d.Open("m.zip")
		if err != nil {
			t.Fatal(err)
		}
		h := modcache.NewHasher(1 << 20)
		sum, same, err := h.Pair(&f, sub, m)
		if err != nil {
			t.Fatal(err)
		}
		dir, err := h.Dir(sub, m)
		if err != nil {
			t.Fatal(err)
		}
		// What Pair does not call the same, Dir decides.
		if got := same || dir.H1 == sum.H1; got != c.same {
			t.Errorf("%s: same %t, want %t", name, got, c.same)
		}
	}
}

// Whatever is accepted as a zip has the sum that dirhash gives it.
func FuzzZip(f *testing.F) {
	for _, data := range []string{"", "package x\n"} {
		var buf bytes.Buffer
		w := zip.NewWriter(&buf)
		out, err := w.Create(someModule.String() + "/x.go")
		if err != nil {
			f.Fatal(err)
		}
		if _, err := out.Write([]byte(data)); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(buf.Bytes())
	}
	root := f.TempDir()
	name := filepath.Join(root, "m.zip")
	d, err := tree.Open(root)
	if err != nil {
		f.Fatal(err)
	}
	h := modcache.NewHasher(1 << 20)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := d.Open("m.zip")
		if err != nil {
			t.Fatal(err)
		}
		sum, err := h.Zip(&file, someModule)
		if closeErr := file.Close(); closeErr != nil {
			t.Fatal(closeErr)
		}
		if err != nil {
			return
		}
		if want, err := dirhash.HashZip(name, dirhash.Hash1); err != nil || sum.H1.String() != want {
			t.Fatalf("%x has the sum %s, dirhash says %s, %v", data, sum.H1, want, err)
		}
	})
}
