package warm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const maxSourceFile = 32 << 20

// copySource copies go.mod and go.sum of a source into a private directory,
// where the go command may write, and returns the packages to build.
//
// The source may be a mounted ConfigMap: flat, read-only, and each file a link.
func copySource(source, dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := copyFile(filepath.Join(source, "go.mod"), filepath.Join(dir, "go.mod")); err != nil {
		return nil, err
	}
	err := copyFile(filepath.Join(source, "go.sum"), filepath.Join(dir, "go.sum"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return packages(filepath.Join(source, "packages"))
}

func copyFile(from, to string) error {
	data, err := readSmall(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSourceFile {
		return nil, fmt.Errorf("%s: not a regular file of at most %d bytes", name, maxSourceFile)
	}
	return os.ReadFile(name) //nolint:gosec // the caller names the file
}

// packages reads the list of packages: separated by white space, # begins a
// comment. Without the file it is std.
func packages(name string) ([]string, error) {
	data, err := readSmall(name)
	if errors.Is(err, fs.ErrNotExist) {
		return []string{"std"}, nil
	}
	if err != nil {
		return nil, err
	}
	var list []string
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		line, _, _ := strings.Cut(scan.Text(), "#")
		for _, p := range strings.Fields(line) {
			if strings.HasPrefix(p, "-") {
				return nil, fmt.Errorf("%s: %q is a flag, not a package", name, p)
			}
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		list = []string{"std"}
	}
	return list, nil
}

// restoreGoSum undoes what a download added to go.sum, so that builds see the
// source's own. It returns the missing lines: the go command checked those
// modules against the checksum database at most.
func restoreGoSum(source, dir string) (note string, err error) {
	want, err := readSmall(filepath.Join(source, "go.sum"))
	if errors.Is(err, fs.ErrNotExist) {
		want, err = nil, nil
	}
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "go.sum")
	got, err := readSmall(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || bytes.Equal(got, want) {
		return "", err
	}
	added := bytes.Count(got, []byte("\n")) - bytes.Count(want, []byte("\n"))
	return fmt.Sprintf("go.sum lacks %d lines for modules of go.mod", added), os.WriteFile(name, want, 0o600)
}
