package gitrepo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckEmpty holds that the directory of a submodule is nothing but an empty one, or
// absent, whatever has been written before: names that differ may be one on a volume.
func TestCheckEmpty(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "here")
	for _, name := range []string{"here/deep/empty", "here/full", "outside/empty"} {
		if err := os.MkdirAll(filepath.Join(filepath.Dir(dir), name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "full", "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"out": "../outside", "in": "deep", "gone": "nowhere", "deep/up": "../../outside/empty"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"deep/empty": "", "none": "", "none/below": "", "deep/none": "",
		"full": "it holds file", "deep": "it holds", "full/file": "full/file is a link or a file", "full/file/below": "full/file is a link or a file",
		"out": "out is a link", "out/empty": "out is a link", "out/none": "out is a link", "in": "in is a link", "in/empty": "in is a link",
		"gone": "gone is a link", "gone/below": "gone is a link", "deep/up": "deep/up is a link", "../outside/empty": "escapes",
	} {
		if err := checkEmpty(dir, name); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
