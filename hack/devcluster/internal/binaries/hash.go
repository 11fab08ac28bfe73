package binaries

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// hashLength is how many hexadecimal digits of the hash name a folder.
const hashLength = 16

// hashSource names the content of a module folder as it matters to a build: its
// Go files except tests, go.mod and go.sum, and the given circumstances (Go
// release, architecture, flags). Times, modes, and other files do not matter.
func hashSource(dir string, circumstances ...string) (string, error) {
	sum := sha256.New()
	for _, c := range circumstances {
		fmt.Fprintf(sum, "with %q\n", c)
	}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.Type().IsRegular() || !isSource(entry.Name()) {
			return nil
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		content, err := hashFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "file %q %s\n", filepath.ToSlash(rel), content)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("hash the sources in %s: %w", dir, err)
	}
	return hex.EncodeToString(sum.Sum(nil))[:hashLength], nil
}

func isSource(name string) bool {
	switch name {
	case "go.mod", "go.sum":
		return true
	}
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // only read
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
