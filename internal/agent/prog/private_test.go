package prog_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/testing/cachetree"
)

// through builds packages through an upper layer alone, and returns the error.
func through(t *testing.T, tree *cachetree.Tree, bin, flags string, packages ...string) (string, error) {
	t.Helper()
	cmd, err := tree.Command(append([]string{"build"}, packages...)...)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "GOCACHE="+t.TempDir(), "GOCACHEPROG="+bin+" prog "+flags)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// onDisk is what the files of a directory take of the disk.
func onDisk(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	out, err := exec.Command("du", "-s", "-B1", dir).Output() //nolint:gosec // of a test
	if err != nil {
		t.Fatal(err)
	}
	bytes, err = strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// TestUpperOfAnother holds that an upper layer is used for what it was made for
// alone, and that one with entries and without a name is not used for anything
// that has one.
func TestUpperOfAnother(t *testing.T) {
	bin := agent(t)
	tree := cachetree.New(t)
	upper := t.TempDir()
	if out, err := through(t, tree, bin, "--upper "+upper+" --upper-of program/feature", "cmp"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := through(t, tree, bin, "--upper "+upper+" --upper-of program/feature", "cmp"); err != nil {
		t.Errorf("again: %v\n%s", err, out)
	}
	for _, other := range []string{"program/main", "program/featur", "program/feature2"} {
		if out, err := through(t, tree, bin, "--upper "+upper+" --upper-of "+other, "cmp"); err == nil || !strings.Contains(out, `it is of "program/feature"`) {
			t.Errorf("the layer of program/feature is used for %s: %v\n%s", other, err, out)
		}
	}
	unnamed := t.TempDir()
	if out, err := through(t, tree, bin, "--upper "+unnamed, "cmp"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := through(t, tree, bin, "--upper "+unnamed+" --upper-of program/feature", "cmp"); err == nil || !strings.Contains(out, "it has entries") {
		t.Errorf("a layer of nothing is used: %v\n%s", err, out)
	}
}

// TestUpperIsBounded holds with the real go command that an upper layer is within
// its limit after each go command, that what was used last stays, that what a
// killed one left is removed, and that nothing is removed while another one uses
// the layer.
func TestUpperIsBounded(t *testing.T) {
	const large, atLeast = "fmt", 20 << 20 // with all that it imports, and far more than directories take
	bin := agent(t)
	tree := cachetree.New(t)
	upper := t.TempDir()
	flags := "--stats --upper " + upper + " --upper-bytes "
	if out, err := through(t, tree, bin, flags+"1073741824", large); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	full := onDisk(t, upper)
	t.Logf("%s takes %d bytes", large, full)
	if full < atLeast {
		t.Fatalf("%s takes %d bytes", large, full)
	}
	limit := full / 2
	// Another go command uses the layer.
	lock, err := os.OpenFile(filepath.Join(upper, ".lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	if out, err := through(t, tree, bin, flags+strconv.FormatInt(limit, 10), "cmp"); err != nil || strings.Contains(out, "evicted") {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := onDisk(t, upper); got < full {
		t.Errorf("%d bytes of %d were removed while another go command used the layer", full-got, full)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(upper, ".put-1234"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	counts := regexp.MustCompile(`upper layer has ([0-9]+) entries, ([0-9]+) MiB; ([0-9]+) evicted`)
	out, err := through(t, tree, bin, flags+strconv.FormatInt(limit, 10), "cmp") // it removes at its start
	if err != nil || !counts.MatchString(out) {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := onDisk(t, upper); got > limit+2<<20 { // directories of shards
		t.Errorf("%d bytes, limit %d", got, limit)
	}
	if left, _ := filepath.Glob(filepath.Join(upper, ".put-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	// What was just used stays, whatever else was removed.
	line := regexp.MustCompile(`, ([0-9]+) misses, ([0-9]+) stored`)
	out, err = through(t, tree, bin, flags+strconv.FormatInt(limit, 10), "cmp")
	if got := line.FindStringSubmatch(out); err != nil || got == nil || got[1] != "0" {
		t.Errorf("%v: %q", err, out)
	}
	// The build that needs more than the limit works all the same.
	if out, err := through(t, tree, bin, flags+strconv.FormatInt(limit, 10), large); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if got := onDisk(t, upper); got > limit+2<<20 {
		t.Errorf("%d bytes after a build that needs more, limit %d", got, limit)
	}
}
