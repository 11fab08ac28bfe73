package integrity_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/testing/cachetree"
)

const checkLimit = 30 * time.Second

// git runs the real git with no configuration of a user.
func git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// plantVCS makes a bare repository where the go command keeps those of modules
// that it fetches directly, with a configuration that runs a command.
func plantVCS(t *testing.T, mod string) {
	t.Helper()
	repository := filepath.Join(mod, "cache", "vcs", "0123abcd")
	git(t, "init", "--quiet", "--bare", repository)
	ran := filepath.Join(t.TempDir(), "ran")
	git(t, "-C", repository, "config", "core.fsmonitor", "touch "+ran)
	git(t, "-C", repository, "config", "core.sshCommand", "touch "+ran+"; false")
	git(t, "-C", repository, "config", "remote.origin.url", "git@example.com:m.git")
	cmd := exec.Command("git", "fetch", "origin") // as the go command does
	cmd.Dir = repository
	if err := cmd.Run(); err == nil {
		t.Fatal("the fetch succeeded")
	}
	if _, err := os.Stat(ran); err != nil {
		t.Fatalf("the planted configuration runs no command: %v", err)
	}
}

// A volume that only the operator writes to holds nothing that a go command
// could read besides what is checked.
func TestVolumeHoldsNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(t *testing.T, root string)
		cache integrity.Cache
		path  string
	}{
		"repository of a direct fetch": {func(t *testing.T, root string) { plantVCS(t, filepath.Join(root, "mod")) }, integrity.Modules, "cache/vcs"},
		"link for repositories": {func(t *testing.T, root string) {
			symlink(t, t.TempDir(), filepath.Join(root, "mod", "cache", "vcs"))
		}, integrity.Modules, "cache/vcs"},
		"unknown directory of the module cache": {func(t *testing.T, root string) { put(t, filepath.Join(root, "mod", "cache", "new", "x"), nil) }, integrity.Modules, "cache/new"},
		"link for the lock":                     {func(t *testing.T, root string) { symlink(t, "/dev/null", filepath.Join(root, "mod", "cache", "lock")) }, integrity.Modules, "cache/lock"},
		"file at the root":                      {func(t *testing.T, root string) { put(t, filepath.Join(root, "go.work"), nil) }, integrity.Volume, "go.work"},
		"repository at the root":                {func(t *testing.T, root string) { git(t, "init", "--quiet", root) }, integrity.Volume, ".git"},
		"link for a cache":                      {func(t *testing.T, root string) { symlink(t, t.TempDir(), filepath.Join(root, "build")) }, integrity.Volume, "build"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			mod := mkdir(t, root, "mod")
			mkdir(t, mod, "cache", "download")
			mkdir(t, root, ".gocache")
			mkdir(t, root, "lost+found")
			o := integrity.Options{ModCache: mod, BuildCache: filepath.Join(root, "build"), Volume: root}
			if name != "link for a cache" {
				mkdir(t, root, "build")
				put(t, filepath.Join(mod, "cache", "lock"), nil)
				if v := within(t, checkLimit, o); v.Verdict != integrity.Intact || len(v.Notes) > 0 {
					t.Fatalf("before: %s: %+v", v.Verdict, v.Examples)
				}
				if filepath.Base(c.path) == "lock" {
					if err := os.Remove(filepath.Join(mod, "cache", "lock")); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.plant(t, root)
			v := within(t, checkLimit, o)
			if v.Verdict != integrity.OutcomeCorrupt || len(v.Examples) == 0 || v.Examples[0].Cache != c.cache || v.Examples[0].Path != c.path {
				t.Errorf("%s: %s: %+v", v.Verdict, v.Message, v.Examples)
			}
		})
	}
}

// A user's own cache holds such repositories for good reason.
func TestOwnCacheHoldsRepositories(t *testing.T) {
	root := t.TempDir()
	mod := mkdir(t, root, "mod")
	plantVCS(t, mod)
	v := within(t, checkLimit, integrity.Options{ModCache: mod})
	if v.Verdict != integrity.Intact || v.Notes[integrity.Unverifiable] != 1 {
		t.Errorf("%s: %+v", v.Verdict, v.Examples)
	}
}

// What writers that were killed, real go commands and file systems leave on a
// volume is not Corrupt on the volume that the next writer cleans.
func TestIntactVolumes(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, tree *cachetree.Tree, root string)
		class   integrity.Class // of the only finding that is Recoverable; empty: there is none
	}{
		"nothing":                         {func(*testing.T, *cachetree.Tree, string) {}, ""},
		"repositories of a killed writer": {func(t *testing.T, tree *cachetree.Tree, _ string) { direct(t, tree) }, integrity.Unexpected},
		"a killed cleanup": {func(t *testing.T, tree *cachetree.Tree, _ string) {
			put(t, filepath.Join(tree.ModCache, "cache", "trim-trash", "0", "x.go"), nil)
		}, ""},
		"test results and their expiration": {func(t *testing.T, tree *cachetree.Tree, _ string) {
			goRun(t, tree, "vet", "./...")
			goRun(t, tree, "test", "./...")
			goRun(t, tree, "clean", "-testcache")
		}, ""},
		"a corpus of fuzzing": {func(t *testing.T, tree *cachetree.Tree, _ string) {
			put(t, filepath.Join(tree.BuildCache, "fuzz", "example.com", "m", "FuzzX", "0123"), nil)
		}, ""},
		"directories of file systems": {func(t *testing.T, _ *cachetree.Tree, root string) {
			for _, dir := range []string{"lost+found", ".snapshot", ".snapshots"} {
				mkdir(t, root, dir)
			}
			put(t, filepath.Join(root, ".nfs0000000001"), nil)
		}, ""},
		"records of writers": {func(t *testing.T, _ *cachetree.Tree, root string) {
			put(t, filepath.Join(root, ".gocache", ".new-1"), nil)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tree := cachetree.New(t)
			root := t.TempDir()
			for _, dir := range []*string{&tree.ModCache, &tree.BuildCache} {
				to := filepath.Join(root, filepath.Base(*dir))
				if err := os.Rename(*dir, to); err != nil {
					t.Fatal(err)
				}
				*dir = to
			}
			t.Cleanup(func() { cachetree.RemoveAll(t, tree.ModCache) })
			c.prepare(t, tree, root)
			v := within(t, checkLimit, integrity.Options{ModCache: tree.ModCache, BuildCache: tree.BuildCache, Volume: root, Live: true})
			if v.Verdict != integrity.Intact || len(v.Findings) > 0 != (c.class != "") || c.class != "" && v.Findings[c.class] == 0 {
				t.Errorf("%s: %+v", v.Verdict, v.Examples)
			}
		})
	}
}

// direct lets a real go command fetch a module from its git repository.
func direct(t *testing.T, tree *cachetree.Tree) {
	t.Helper()
	origin := t.TempDir()
	put(t, filepath.Join(origin, "go.mod"), []byte("module example.com/private.git\n\ngo 1.21\n"))
	put(t, filepath.Join(origin, "p.go"), []byte("package private\n"))
	git(t, "init", "--quiet", origin)
	git(t, "-C", origin, "add", ".")
	git(t, "-C", origin, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "-m", "Add it")
	cmd, err := tree.Command("mod", "download", "example.com/private.git@HEAD")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, "GOPRIVATE=example.com/private.git",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://"+origin+".insteadOf", "GIT_CONFIG_VALUE_0=https://example.com/private")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	if _, err := os.Stat(filepath.Join(tree.ModCache, "cache", "vcs")); err != nil {
		t.Fatal(err)
	}
}

func goRun(t *testing.T, tree *cachetree.Tree, args ...string) {
	t.Helper()
	if out, err := tree.Go(args...); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}

func symlink(t *testing.T, to, name string) {
	t.Helper()
	mkdir(t, filepath.Dir(name))
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// TestWorkUnderWayOnVolume holds that a lock of the go command, or a file that keeps
// changing, excuses nothing on a volume that only the operator writes to: no writer runs
// while it is checked, and content that was not verified is never intact.
func TestWorkUnderWayOnVolume(t *testing.T) {
	tree := cachetree.New(t)
	cachetree.Edit(t, filepath.Join(tree.Extracted(cachetree.Lib), "lib.go"), func(b []byte) []byte { return append(b, "// edited\n"...) })
	lock, err := os.OpenFile(filepath.Join(tree.ModCache, "cache", "download", "example.com", "lib", "@v", "v1.2.0.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil { //nolint:gosec // a descriptor
		t.Fatal(err)
	}
	root := t.TempDir() // with nothing but the caches
	mod := filepath.Join(root, "mod")
	if err := os.Rename(tree.ModCache, mod); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cachetree.RemoveAll(t, mod) })
	for volume, want := range map[string]integrity.Outcome{"": integrity.Intact, root: integrity.Inconclusive} {
		if v := within(t, checkLimit, integrity.Options{Volume: volume, ModCache: mod}); v.Verdict != want {
			t.Errorf("volume %q: %s, want %s: %+v", volume, v.Verdict, want, v.Examples)
		}
	}
}
