package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestClosure holds which packages an image with a compiler is made of: those that are
// needed, by their real names, and of alternatives one that is installed.
func TestClosure(t *testing.T) {
	t.Parallel()
	const line = "\tinstall ok installed\t"
	all := parsePackages(strings.Join([]string{
		"gcc" + line + "c-compiler, gcc-x86 (= 4:12)\tcpp (= 4:12), gcc-12 (>= 12) | gcc-11, ",
		"gcc-12" + line + "\tlibc6:any (>= 2.36), binutils, ",
		"cpp" + line + "\tlibc6, none | binutils, libc6",
		"libc6" + line + "\t, libgcc-s1",
		"libgcc-s1" + line + "libgcc1 (= 1:12)\t, ",
		"binutils" + line + "\tlibgcc1 (>= 1), ",
		"libc6-dev" + line + "libc-dev\tlibc6 (= 2.36), ",
		"unused" + line + "\tgcc, ",
		"removed\tdeinstall ok config-files\t\tgcc, ",
		"",
	}, "\n"))
	got, err := closure(all, []string{"c-compiler", "libc6-dev"})
	if want := []string{"binutils", "cpp", "gcc", "gcc-12", "libc6", "libc6-dev", "libgcc-s1"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if _, err := closure(all, []string{"removed"}); err == nil || !strings.Contains(err.Error(), "apt-get install gcc libc6-dev") {
		t.Errorf("a package that is not installed: %v", err)
	}
}

// TestCompilerInTheImage compiles, links and runs a C program in the files of the
// compiler alone, as the user of the image. What the go command makes of it is shown
// by make test-cgo, which compiles the standard library.
func TestCompilerInTheImage(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"gcc", "dpkg-query"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("only root can change the root directory of a process")
	}
	files, err := compilerFiles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	unpackLayer(t, root, func(l *Layer) error { return errors.Join(l.copyAll(t.Context(), files), l.Base()) })
	// What runtime/cgo includes and links to.
	writeFile(t, filepath.Join(root, "tmp/m/main.c"), `#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *twice(void *n) { *(int *)n = abs(-2 * *(int *)n); return NULL; }

int main(void) {
	int n = 21;
	pthread_t thread;
	if (pthread_create(&thread, NULL, twice, &n) || pthread_join(thread, NULL)) return 1;
	return printf("%d\n", n) < 0;
}
`, 0o644)
	if out, err := inRoot(t, root, "/usr/bin/gcc", "-O2", "-g", "-pthread", "-o", "/tmp/m/main", "main.c"); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	if out, err := inRoot(t, root, "/tmp/m/main"); err != nil || out != "42\n" {
		t.Errorf("the program printed %q: %v", out, err)
	}
}

// TestCgoInTheImage: the image leaves it to the go command to find the compiler.
func TestCgoInTheImage(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"gcc", "dpkg-query", "busybox", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	r, err := GolangC(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Golang(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(plain.Config.Ref, "golang:", "golang-c:", 1); r.Config.Ref != want {
		t.Errorf("image %s, want %s", r.Config.Ref, want)
	}
	cgo := func(v string) bool { return strings.HasPrefix(v, "CGO_ENABLED=") }
	if slices.ContainsFunc(r.Config.Env, cgo) || !slices.ContainsFunc(plain.Config.Env, cgo) {
		t.Errorf("environment %q, and without a compiler %q", r.Config.Env, plain.Config.Env)
	}
}

// inRoot runs a program and its arguments in a directory as its root, as the user of the
// image, and returns its standard output.
func inRoot(t *testing.T, root string, command ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...) //nolint:gosec // of the test
	cmd.Path, cmd.Err = command[0], nil                                 // which is below the root
	cmd.Dir, cmd.Env = "/tmp/m", []string{"PATH=/usr/bin:/bin", "HOME=/tmp"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: NonRoot, Gid: NonRoot, NoSetGroups: true}}
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, failed.Stderr)
	}
	return string(out), err
}

// unpackLayer writes the files of a layer below a directory.
func unpackLayer(t *testing.T, root string, fill func(*Layer) error) {
	t.Helper()
	reader, writer := io.Pipe()
	go func() {
		l := newLayer(writer)
		_ = writer.CloseWithError(errors.Join(fill(l), l.tar.Close()))
	}()
	archive := tar.NewReader(reader)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(root, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(name, 0o755)
			if err == nil && h.Mode&0o1000 != 0 {
				err = os.Chmod(name, 0o777|fs.ModeSticky)
			}
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, name)
		default:
			var f *os.File
			if f, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY, fs.FileMode(h.Mode)&fs.ModePerm); err == nil { //nolint:gosec // a mode
				_, err = io.Copy(f, archive) //nolint:gosec // our own files
				err = errors.Join(err, f.Close())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{os.MkdirAll(filepath.Join(root, "tmp/m"), 0o777), os.Chmod(filepath.Join(root, "tmp/m"), 0o777)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}
