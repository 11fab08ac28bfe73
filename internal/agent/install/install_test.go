package install_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"gocache.dev/operator/internal/agent/install"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestRun(t *testing.T) {
	self := filepath.Join(t.TempDir(), "self")
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	for _, content := range []string{"first", "second version"} { // the second run replaces a file that is read-only
		if err := os.WriteFile(self, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := install.Run(self, dir); err != nil {
			t.Fatal(err)
		}
		installed := filepath.Join(dir, install.Name)
		got, err := os.ReadFile(installed)
		if err != nil || string(got) != content {
			t.Errorf("installed %q, %v; want %q", got, err, content)
		}
		if info, err := os.Stat(installed); err != nil || info.Mode() != 0o555 {
			t.Errorf("mode %v, %v; want 0555", info.Mode(), err)
		}
		if all := names(t, dir); len(all) != 1 {
			t.Errorf("the directory holds %v", all)
		}
	}
}

// A copy that fails is reported, and leaves no file behind.
func TestRunFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	occupied := t.TempDir() // with a directory in the place of the agent
	if err := os.MkdirAll(filepath.Join(occupied, install.Name, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		self, dir string
		want      error
		left      int // files in dir
	}{
		"no such program":        {filepath.Join(t.TempDir(), "none"), t.TempDir(), fs.ErrNotExist, 0},
		"a directory for source": {t.TempDir(), t.TempDir(), syscall.EISDIR, 0},
		"a file for directory":   {file, file, syscall.ENOTDIR, -1},
		"the name is taken":      {file, occupied, fs.ErrExist, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if err := install.Run(tt.self, tt.dir); !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
			if tt.left < 0 {
				return
			}
			if all := names(t, tt.dir); len(all) != tt.left {
				t.Errorf("the directory holds %v", all)
			}
		})
	}
}
