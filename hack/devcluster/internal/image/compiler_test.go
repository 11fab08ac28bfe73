package image

import (
	"archive/tar"
	"context"
	"errors"
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

// TestCompilerInTheImage makes the image, and builds a program with cgo and with the race
// detector in its files alone, as its user.
func TestCompilerInTheImage(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"gcc", "dpkg-query", "busybox", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("only root can change the root directory of a process")
	}
	r, err := GolangC(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	unpackLayer(t, r, root)
	writeFile(t, filepath.Join(root, "tmp/m/go.mod"), "module m\n\ngo 1.21\n", 0o644)
	writeFile(t, filepath.Join(root, "tmp/m/main.go"), `package main

// #include <stdlib.h>
// static int twice(int n) { return abs(2 * n); }
import "C"

func main() { println(C.twice(21)) }
`, 0o644)
	for _, args := range [][]string{{"env", "CGO_ENABLED"}, {"build", "-buildvcs=false", "-o", "/tmp/m/plain", "."}, {"build", "-buildvcs=false", "-race", "-o", "/tmp/m/race", "."}} {
		if out, err := inRoot(root, r.Config.Env, filepath.Join("/usr/local/go/bin", "go"), args...); err != nil || args[0] == "env" && strings.TrimSpace(out) != "1" {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	for _, name := range []string{"plain", "race"} {
		if out, err := inRoot(root, r.Config.Env, "/tmp/m/"+name); err != nil || strings.TrimSpace(out) != "42" {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// inRoot runs a program in a directory as its root, as the user of the image.
func inRoot(root string, env []string, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)                                                                                          //nolint:gosec // of the test
	cmd.Path, cmd.Err = program, nil                                                                                               // which is below the root
	cmd.Dir, cmd.Env = "/tmp/m", append(slices.Clone(env), "HOME=/tmp", "GOFLAGS=-p=2", "GOROOT=/usr/local/go", "GOTELEMETRY=off") // which it finds by /proc in a container
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: NonRoot, Gid: NonRoot, NoSetGroups: true}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// unpackLayer writes the files of an image below a directory.
func unpackLayer(t *testing.T, r Recipe, root string) {
	t.Helper()
	reader, writer := io.Pipe()
	go func() {
		l := newLayer(writer)
		_ = writer.CloseWithError(errors.Join(r.Fill(l), l.tar.Close()))
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
	// The go command opens it; a node of its own needs no mount.
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "dev"), 0o755))
	must(syscall.Mknod(filepath.Join(root, "dev/null"), syscall.S_IFCHR|0o666, 1<<8|3))
	must(os.Chmod(filepath.Join(root, "dev/null"), 0o666))
	must(os.MkdirAll(filepath.Join(root, "tmp/m"), 0o777))
	must(os.Chmod(filepath.Join(root, "tmp/m"), 0o777))
}
