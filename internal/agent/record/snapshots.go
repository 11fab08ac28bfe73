package record

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/module"

	"gocache.dev/operator/internal/domain/integrity"
	"gocache.dev/operator/internal/domain/modsum"
)

const (
	snapshotsName = "fips140.sum"
	maxSnapshots  = 64 << 10
)

// SnapshotsPath is where the checksums of the modules lie that go commands
// extracted from their own GOROOT, as lines of a go.sum file.
func SnapshotsPath(root string) string { return filepath.Join(root, Dir, snapshotsName) }

// WriteSnapshots adds checksums to those that are recorded. A version that is
// recorded already gets the new one: its zip in a GOROOT was just checked.
func WriteSnapshots(root string, sums map[module.Version]modsum.Sum) error {
	if len(sums) == 0 {
		return nil
	}
	kept, err := readSnapshots(root)
	if err != nil {
		kept = "" // without a line there is a note about the module, and no verdict
	}
	var lines []string
	for line := range strings.Lines(kept) {
		f := strings.Fields(line)
		if _, again := sums[module.Version{Path: f[0], Version: f[1]}]; !again {
			lines = append(lines, line)
		}
	}
	for m, sum := range sums {
		lines = append(lines, fmt.Sprintf("%s %s %s\n", m.Path, m.Version, sum))
	}
	slices.Sort(lines)
	return replace(SnapshotsPath(root), func(f *os.File) error {
		_, err := f.WriteString(strings.Join(lines, ""))
		return err
	})
}

// ReadSnapshots is what warm-ups recorded; a record that is missing or malformed
// names nothing.
func ReadSnapshots(root string) *integrity.Trust {
	trust := integrity.NewTrust()
	if text, err := readSnapshots(root); err == nil {
		_ = trust.AddProven(snapshotsName, strings.NewReader(text)) // was read once without an error
	}
	return trust
}

func readSnapshots(root string) (string, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	name := filepath.Join(Dir, snapshotsName)
	info, err := r.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSnapshots {
		return "", fmt.Errorf("%s is not a small regular file", name)
	}
	f, err := r.Open(name)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSnapshots))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return string(data), integrity.NewTrust().AddGoSum(name, strings.NewReader(string(data)))
}
