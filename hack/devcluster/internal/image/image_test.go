package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func writeFile(t *testing.T, file, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// entries reads an archive and checks that each blob is named by its digest.
func entries(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	all := map[string]string{}
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if digest, isBlob := strings.CutPrefix(header.Name, blobDir); isBlob && digest != hex.EncodeToString(sum[:]) {
			t.Errorf("blob %s has digest %x", header.Name, sum)
		}
		if _, twice := all[header.Name]; twice {
			t.Errorf("%s is there twice", header.Name)
		}
		all[header.Name] = string(b)
	}
}

func open(t *testing.T, file string) *os.File {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestAnArchiveIsWhatBothReadersExpect(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := writeFile(t, filepath.Join(dir, "manager"), "program", 0o700)
	file := filepath.Join(dir, "out", "image.tar")
	recipe := Binaries("gocache.dev/operator:dev", "/manager", program)
	if err := Write(file, recipe.Config, recipe.Fill); err != nil {
		t.Fatal(err)
	}
	all := entries(t, open(t, file))
	info, err := Inspect(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Ref != "gocache.dev/operator:dev" || all[blobDir+strings.TrimPrefix(info.Digest, "sha256:")] == "" {
		t.Errorf("index names %+v, which is not in the archive", info)
	}
	var docker []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal([]byte(all["manifest.json"]), &docker); err != nil {
		t.Fatal(err)
	}
	var config struct {
		Config struct {
			User       string
			Entrypoint []string
			Env        []string
		} `json:"config"`
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal([]byte(all[docker[0].Config]), &config); err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/manager" {
		t.Errorf("config %+v", config)
	}
	if got, want := docker[0].Layers[0], blobDir+strings.TrimPrefix(config.RootFS.DiffIDs[0], "sha256:"); got != want {
		t.Errorf("layer %s, want %s", got, want)
	}
	layer := entries(t, strings.NewReader(all[docker[0].Layers[0]]))
	if layer["manager"] != "program" || !strings.Contains(layer["etc/passwd"], "nonroot:x:65532") {
		t.Errorf("layer has %d entries, manager %q", len(layer), layer["manager"])
	}
	if _, ok := layer["tmp/"]; !ok {
		t.Error("there is no /tmp")
	}
}

func TestTheSameContentMakesTheSameDigest(t *testing.T) {
	t.Parallel()
	digest := func() string {
		dir := t.TempDir()
		program := writeFile(t, filepath.Join(dir, "p"), "program", 0o755)
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(program, old, old); err != nil {
			t.Fatal(err)
		}
		recipe := Binaries("x:1", "", program)
		file := filepath.Join(dir, "image.tar")
		if err := Write(file, recipe.Config, recipe.Fill); err != nil {
			t.Fatal(err)
		}
		info, err := Inspect(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Digest
	}
	if a, b := digest(), digest(); a != b {
		t.Errorf("%s and %s", a, b)
	}
}

func TestAFailedWriteRemovesItsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	recipe := Binaries("x:1", "", filepath.Join(dir, "missing"))
	if err := Write(filepath.Join(dir, "image.tar"), recipe.Config, recipe.Fill); err == nil {
		t.Error("a missing program is no error")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestInspectReportsMissingFields(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "docker.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(f)
	if err := errors.Join(archive.WriteHeader(fileHeader("manifest.json", 0)), archive.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(file); !errors.Is(err, ErrNoIndex) {
		t.Errorf("a docker archive: %v", err)
	}
	text := writeFile(t, filepath.Join(dir, "text"), strings.Repeat("not a tar ", 100), 0o600)
	if _, err := Inspect(text); err == nil || errors.Is(err, ErrNoIndex) {
		t.Errorf("a text: %v", err)
	}
}

func TestTreeKeepsLinksAndRefusesDevices(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "plain"), "x", 0o600)
	writeFile(t, filepath.Join(dir, "left-out"), "x", 0o600)
	if err := os.Symlink("../../etc/shadow", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	layer := newLayer(&out)
	err := layer.Tree("/opt/x", dir, func(rel string, _ bool) bool { return rel == "left-out" })
	if err := errors.Join(err, layer.tar.Close()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for archive := tar.NewReader(strings.NewReader(out.String())); ; {
		header, err := archive.Next()
		if err != nil {
			break
		}
		got[header.Name] = header.Linkname
	}
	want := map[string]string{"opt/": "", "opt/x/": "", "opt/x/plain": "", "opt/x/link": "../../etc/shadow"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := newLayer(io.Discard).File("/zero", "/dev/zero"); err == nil {
		t.Error("an endless device was taken for a file")
	}
}

func TestParseLdd(t *testing.T) {
	t.Parallel()
	got, err := parseLdd([]byte("\tlinux-vdso.so.1 (0x7ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := parseLdd([]byte("\tlibx.so => not found\n")); err == nil || !strings.Contains(err.Error(), "libx.so") {
		t.Errorf("a missing library: %v", err)
	}
}

func TestTheCacheMakesAnArchiveOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := writeFile(t, filepath.Join(dir, "p"), "one", 0o755)
	cache := Cache{Dir: filepath.Join(dir, "cache")}
	archive := func(wantMade bool) string {
		t.Helper()
		file, made, err := cache.Archive(Binaries("x:1", "", program))
		if err != nil || made != wantMade {
			t.Errorf("made %v, %v, want %v", made, err, wantMade)
		}
		return file
	}
	first := archive(true)
	if archive(false) != first {
		t.Error("another file the second time")
	}
	for i := range 3 {
		writeFile(t, program, strings.Repeat("x", i+1), 0o755)
		// Within the resolution of the file system's times, sizes differ.
		if archive(true) == first {
			t.Error("other content, same archive")
		}
	}
	files, err := os.ReadDir(cache.Dir)
	if err != nil || len(files) != keepArchives {
		t.Errorf("%d archives are kept, %v", len(files), err)
	}
}

func TestGorootIsLeftWithWhatBuildsNeed(t *testing.T) {
	t.Parallel()
	for rel, want := range map[string]bool{
		"test": true, "api": true, "src/fmt/testdata": true, "src/fmt/testdata.go": false,
		"src/testing": false, "pkg/tool": false, "go.env": false, "bin": false, "lib": false,
	} {
		if got := skipInGoroot(rel, !strings.HasSuffix(rel, ".go")); got != want {
			t.Errorf("%s: skipped %v, want %v", rel, got, want)
		}
	}
}

func TestStaticProgramsNeedNoLibraries(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// This test's own program is static when built without cgo, and may not be otherwise.
	if _, err := sharedLibraries(context.Background(), self); err != nil {
		t.Error(err)
	}
}
