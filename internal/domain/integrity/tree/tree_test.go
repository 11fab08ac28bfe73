package tree_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"gocache.dev/operator/internal/domain/integrity/tree"
)

func open(t *testing.T, dir string) *tree.Dir {
	t.Helper()
	d, err := tree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestNeverLeadsOut(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(outside, "f"), []byte("x"), 0o600),
		os.Symlink(outside, filepath.Join(root, "dir")),
		os.Symlink(filepath.Join(outside, "f"), filepath.Join(root, "file")),
		syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600),
		os.Mkdir(filepath.Join(root, "real"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, root)
	for _, name := range []string{"dir", "dir/x", "..", "real/..", "real/../..", "/", "", "real//x", "."} {
		if sub, err := d.Sub(name); err == nil {
			t.Errorf("Sub(%q) led to %s", name, sub.Path())
		}
	}
	for _, name := range []string{"file", "pipe", "real"} {
		if _, err := d.Open(name); !errors.Is(err, tree.ErrNotRegular) {
			t.Errorf("Open(%q): %v", name, err)
		}
	}
	// What was listed as a file, and is none when it is opened.
	for _, name := range []string{"file", "pipe", "real"} {
		if _, err := d.OpenEntry(tree.Entry{Name: name, Type: tree.Regular}); !errors.Is(err, tree.ErrNotRegular) {
			t.Errorf("OpenEntry(%q): %v", name, err)
		}
	}
	types := map[string]tree.Type{}
	if err := d.Each(func(e tree.Entry) error { types[e.Name] = e.Type; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(types) != 4 || types["dir"] != tree.Symlink || types["pipe"] != tree.Special || types["real"] != tree.Directory {
		t.Errorf("%v", types)
	}
}

func TestReads(t *testing.T) {
	root := t.TempDir()
	content := []byte("some content of a file")
	if err := os.WriteFile(filepath.Join(root, "f"), content, 0o640); err != nil {
		t.Fatal(err)
	}
	d := open(t, root)
	for _, size := range []int{0, 1, len(content), len(content) + 1, 100} {
		data, info, err := d.ReadFile("f", make([]byte, 0, size), 1000)
		if err != nil || !slices.Equal(data, content) || info.Size != int64(len(content)) || info.Mode != 0o640 {
			t.Errorf("buffer of %d: %q, %+v, %v", size, data, info, err)
		}
	}
	for limit, want := range map[int]error{5: tree.ErrTooLarge, len(content) - 1: tree.ErrTooLarge, len(content): nil, len(content) + 1: nil} {
		for _, size := range []int{0, len(content), 100} {
			if data, _, err := d.ReadFile("f", make([]byte, 0, size), int64(limit)); !errors.Is(err, want) || want == nil && !slices.Equal(data, content) {
				t.Errorf("limit %d, buffer of %d: %q, %v; want %v", limit, size, data, err, want)
			}
		}
	}
	if _, err := d.Open("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, _, err := d.ReadFile("none", nil, 1000); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	f, err := d.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	part := make([]byte, 4)
	if n, err := f.ReadAt(part, 5); n != 4 || err != nil || string(part) != "cont" {
		t.Errorf("ReadAt: %d, %v, %q", n, err, part)
	}
	if n, err := f.ReadAt(part, 20); n != 2 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt at the end: %d, %v", n, err)
	}
	first, err := f.ReadAll(nil, 100)
	if err != nil || f.Rewind() != nil {
		t.Fatal(err)
	}
	if again, err := f.ReadAll(nil, 100); err != nil || !slices.Equal(first, again) {
		t.Errorf("after Rewind: %q, %v", again, err)
	}
}

func TestManyNames(t *testing.T) {
	root := t.TempDir()
	for i := range 3000 {
		if err := os.WriteFile(filepath.Join(root, string(rune('a'+i%26))+string(rune(0x4e00+i))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := open(t, root)
	for range 2 { // a directory can be listed again
		n := 0
		if err := d.Each(func(tree.Entry) error { n++; return nil }); err != nil || n != 3000 {
			t.Errorf("%d names, %v", n, err)
		}
	}
}
