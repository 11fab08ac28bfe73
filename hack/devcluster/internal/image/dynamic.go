package image

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Program copies a dynamically linked program of the machine with its loader
// and every shared library it needs, each at the path where it looks for it.
func (l *Layer) Program(ctx context.Context, name, from string) error {
	libraries, err := sharedLibraries(ctx, from)
	if err != nil {
		return err
	}
	if err := l.File(name, from); err != nil {
		return err
	}
	for _, library := range libraries {
		if err := l.File(library, library); err != nil {
			return err
		}
	}
	return nil
}

// sharedLibraries asks the machine's loader, which is the only one to decide where to
// find them.
func sharedLibraries(ctx context.Context, program string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", program).CombinedOutput()
	if err != nil {
		if bytes.Contains(out, []byte("not a dynamic executable")) || bytes.Contains(out, []byte("statically linked")) {
			return nil, nil
		}
		return nil, fmt.Errorf("ldd %s: %w: %s", program, err, bytes.TrimSpace(out))
	}
	return parseLdd(out)
}

// parseLdd reads lines of three forms: "name => path (address)", "path
// (address)", and "linux-vdso.so.1 (address)", which is not a file.
func parseLdd(out []byte) ([]string, error) {
	var paths []string
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		name, found, linked := strings.Cut(line, " => ")
		if !linked {
			found = name
		}
		if strings.HasPrefix(found, "not found") {
			return nil, fmt.Errorf("shared library %s is not on this machine", name)
		}
		file, _, _ := strings.Cut(found, " (")
		if strings.HasPrefix(file, "/") {
			paths = append(paths, file)
		}
	}
	return paths, nil
}
