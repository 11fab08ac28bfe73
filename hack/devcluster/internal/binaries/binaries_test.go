package binaries

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gocache.dev/operator/hack/devcluster/internal/filelock"
)

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHashIsOfWhatABuildDependsOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module m\n")
	write(t, filepath.Join(dir, "a", "main.go"), "package main\n")
	hash := func(circumstances ...string) string {
		t.Helper()
		h, err := hashSource(dir, circumstances...)
		if err != nil {
			t.Fatal(err)
		}
		if len(h) != hashLength || !entryRE.MatchString(h) {
			t.Fatalf("hash %q cannot name an entry", h)
		}
		return h
	}
	first := hash("go1", "flags")

	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "go.mod"), old, old); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a", "main_test.go"), "package main\n")
	write(t, filepath.Join(dir, "README.md"), "words\n")
	if hash("go1", "flags") != first {
		t.Error("times, tests or documents change the hash")
	}
	if hash("go2", "flags") == first || hash("go1", "other") == first || hash("go1flags") == first {
		t.Error("the Go release or the flags do not change the hash")
	}
	write(t, filepath.Join(dir, "a", "main.go"), "package main // changed\n")
	changed := hash("go1", "flags")
	if changed == first {
		t.Error("a source file does not change the hash")
	}
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if hash("go1", "flags") == changed {
		t.Error("a file's name does not change the hash")
	}
}

func TestEvictionKeepsTheLastTwoAndThoseInUse(t *testing.T) {
	t.Parallel()
	store := &Store{Dir: t.TempDir()}
	names := []string{"0000000000000001", "0000000000000002", "0000000000000003", "0000000000000004"}
	for i, n := range names {
		write(t, filepath.Join(store.Dir, n, "in-use"), "")
		used := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(store.Dir, n), used, used); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(store.Dir, "images", "x.tar"), "")
	lock, err := filelock.TryShared(filepath.Join(store.Dir, names[0], "in-use"))
	if err != nil || lock == nil {
		t.Fatal(lock, err)
	}
	if err := store.evict(Entry{dir: filepath.Join(store.Dir, names[3])}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{names[0]: true, names[1]: false, names[2]: true, names[3]: true, "images": true} {
		_, err := os.Stat(filepath.Join(store.Dir, name))
		if (err == nil) != want {
			t.Errorf("%s: there is %v, want %v", name, err == nil, want)
		}
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := store.evict(Entry{dir: filepath.Join(store.Dir, names[3])}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(store.Dir, names[0])); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not in use any more, but still there: %v", err)
	}
}

func TestVersionIsThatOfTheModule(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join("..", "..", "binaries", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "k8s.io/kubernetes "+KubernetesVersion+"\n") {
		t.Errorf("binaries/go.mod does not require k8s.io/kubernetes %s", KubernetesVersion)
	}
	if want := "v" + kubernetesMajor + "." + kubernetesMinor + "."; !strings.HasPrefix(KubernetesVersion, want) {
		t.Errorf("version %s does not begin with %s", KubernetesVersion, want)
	}
	for _, p := range All {
		if !strings.HasPrefix(p.Package, "./") && !strings.Contains(string(mod), p.Package+"\n") {
			t.Errorf("%s is not a tool of binaries/go.mod", p.Package)
		}
	}
}

func TestBuildLogSeparatesProgressFromErrors(t *testing.T) {
	t.Parallel()
	log := &buildLog{}
	log.read(strings.NewReader("go: downloading k8s.io/api v0.36.3\nk8s.io/api/core/v1\nk8s.io/client-go\n# k8s.io/x\nx.go:1:2: undefined: y\n"))
	got := log.summary(t.TempDir(), 3)
	if want := "0 of 3 linked, 2 packages compiled, 1 modules downloaded, now k8s.io/client-go"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := "# k8s.io/x\nx.go:1:2: undefined: y"; log.tail() != want {
		t.Errorf("got %q, want %q", log.tail(), want)
	}
}
