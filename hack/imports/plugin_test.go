package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestPluginForWindows holds that none of our packages in the plugin of kubectl needs what
// only Unix has: a release builds it for Windows, which is too much for each change.
func TestPluginForWindows(t *testing.T) {
	touch(t)
	for _, p := range onWindows(t, "./internal/cmd/kubectl-gocache") {
		if !strings.HasPrefix(p.ImportPath, module+"/") {
			continue
		}
		if slices.Contains(p.Imports, "golang.org/x/sys/unix") {
			t.Errorf("%s imports golang.org/x/sys/unix, and the plugin imports it, which cannot be built for Windows then", p.ImportPath)
		}
		if len(p.GoFiles) == 0 {
			t.Errorf("%s has no file for Windows, and the plugin imports it", p.ImportPath)
		}
	}
}

// onWindows lists a program and all that is built into it for Windows.
func onWindows(t *testing.T, program string) (all []Package) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,GoFiles,Imports", program) //nolint:gosec // of this test
	cmd.Dir, cmd.Env = top, append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p Package
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
