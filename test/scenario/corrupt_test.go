package scenario

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInvertTwice holds that a second run of the task does not undo what the first one did,
// as when the demo is shown once more on the same cluster.
func TestInvertTwice(t *testing.T) {
	dir := t.TempDir()
	for n := range 2 {
		data := append([]byte("!<arch>\n"), bytes.Repeat([]byte{byte(n)}, 70_000)...)
		name := filepath.Join(dir, fmt.Sprintf("%x-d", sha256.Sum256(data)))
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damaged := map[string]bool{}
	for range 2 {
		out, err := exec.Command("sh", "-c", strings.ReplaceAll(invert, mount+"/build", dir)).CombinedOutput() //nolint:gosec // our own script
		file, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "inverted ./")
		if err != nil || !ok {
			t.Fatalf("%v: %s", err, out)
		}
		damaged[file] = true
	}
	if len(damaged) != 2 {
		t.Errorf("both runs changed %v", damaged)
	}
	for file := range damaged {
		data, err := os.ReadFile(filepath.Join(dir, file)) //nolint:gosec // of this test
		if err != nil || fmt.Sprintf("%x-d", sha256.Sum256(data)) == file {
			t.Errorf("%s is intact, %v", file, err)
		}
	}
	for file := range damaged { // and back
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(invertBack, mount, dir)) //nolint:gosec // our own script
		cmd.Env = append(os.Environ(), "FILE="+file)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, file)) //nolint:gosec // of this test
		if err != nil || fmt.Sprintf("%x-d", sha256.Sum256(data)) != file {
			t.Errorf("%s is not intact again, %v", file, err)
		}
	}
	for file := range damaged {
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("sh", "-c", strings.ReplaceAll(invert, mount+"/build", dir)).CombinedOutput(); err == nil { //nolint:gosec // our own script
		t.Errorf("nothing is left to change: %s", out)
	}
}
