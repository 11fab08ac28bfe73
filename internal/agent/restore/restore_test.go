package restore_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gocache.dev/operator/internal/agent/restore"
	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

func options(tree *cachetree.Tree, to string) restore.Options {
	return restore.Options{From: tree.Root, To: to, ModDir: "mod", BuildDir: "build", Clock: time.Now}
}

// A restored copy has the digest of its source, is not trimmed, and builds the
// same binary without a network.
func TestRestore(t *testing.T) {
	tree := cachetree.New(t)
	want, out, err := tree.Build()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	source, err := integrity.Check(context.Background(), integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree.ModCache, "cache/download/example.com/lib/@v/v1.2.0.zip7.tmp"), []byte("PK"), 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "restored")
	t.Cleanup(func() { cachetree.RemoveAll(t, to) })
	r, err := restore.Run(context.Background(), options(tree, to))
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.Verdict != integrity.Intact || r.Verdict.Digest != source.Digest || r.Skipped != 1 || r.Bytes == 0 {
		t.Errorf("restored %+v with %+v, want digest %s", r, r.Verdict, source.Digest)
	}
	entry, err := filepath.Glob(filepath.Join(to, "build", "*", "*-d"))
	if err != nil || len(entry) == 0 {
		t.Fatal(err)
	}
	if info, err := os.Stat(entry[0]); err != nil || time.Until(info.ModTime()) < 365*24*time.Hour {
		t.Errorf("an entry would be trimmed: %v, %v", info.ModTime(), err)
	}
	moved := *tree
	moved.ModCache, moved.BuildCache, moved.Offline = filepath.Join(to, "mod"), filepath.Join(to, "build"), true
	if got, out, err := moved.Build(); err != nil || got != want {
		t.Errorf("build from the copy: %s, want %s: %v\n%s", got, want, err, out)
	}
}

// A damaged source is copied and found Corrupt; an extraction under way is left
// out.
func TestRestoreOfDamage(t *testing.T) {
	tree := cachetree.New(t)
	cachetree.Edit(t, cachetree.Archive(t, tree), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	if err := os.WriteFile(filepath.Join(tree.ModCache, "cache/download/example.com/lib/@v/v1.2.0.partial"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "restored")
	t.Cleanup(func() { cachetree.RemoveAll(t, to) })
	r, err := restore.Run(context.Background(), options(tree, to))
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.Verdict != integrity.OutcomeCorrupt || r.Verdict.Corrupt != 1 || r.Verdict.Counts.Dirs != 1 {
		t.Errorf("verdict %+v", r.Verdict)
	}
	if _, err := restore.Run(context.Background(), options(tree, to)); err == nil {
		t.Error("restored over a copy that was there")
	}
}

// TestRestoreAfterKill holds that a run which was killed leaves nothing that
// keeps the next one from restoring. The killed run is a process of this test,
// which kills itself when the clock is asked for the second time: everything is
// copied then, and read-only where the source is, but not yet checked.
func TestRestoreAfterKill(t *testing.T) {
	if to := os.Getenv("RESTORE_TO"); to != "" {
		asked := 0
		clock := func() time.Time {
			if asked++; asked == 2 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return time.Now()
		}
		_, err := restore.Run(context.Background(), restore.Options{From: os.Getenv("RESTORE_FROM"), To: to, ModDir: "mod", BuildDir: "build", Clock: clock})
		t.Fatalf("it was not killed: %v", err)
	}
	tree := cachetree.New(t)
	to := filepath.Join(t.TempDir(), "restored")
	t.Cleanup(func() { cachetree.RemoveAll(t, to) })
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestRestoreAfterKill$")
	cmd.Env = append(os.Environ(), "RESTORE_TO="+to, "RESTORE_FROM="+tree.Root)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled() || !holds(to, "mod") {
		t.Fatalf("not killed with a copy there: %v\n%s", err, out)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(to, "mod", "half"), []byte("of an earlier run"), 0o600), os.Mkdir(filepath.Join(to, "mod", "\xff"), 0o500)); err != nil {
		t.Fatal(err)
	}
	r, err := restore.Run(context.Background(), options(tree, to))
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.Verdict != integrity.Intact || holds(to, ".gocache-restore-unfinished") || holds(to, "mod/half") {
		t.Errorf("restored %+v with %+v", r, r.Verdict)
	}
	if _, err := restore.Run(context.Background(), options(tree, to)); err == nil {
		t.Error("restored over a complete copy")
	}
}

func holds(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}
