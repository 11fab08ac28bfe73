package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gocache.dev/operator/internal/domain/usage"
)

const usageName = "usage"

// WriteUsage records when what was last used.
func WriteUsage(root string, u *usage.Record) error {
	return replace(filepath.Join(root, Dir, usageName), func(f *os.File) error { return u.Write(f) })
}

// ErrNoUsage means that the volume has no record of use by a warm-up.
var ErrNoUsage = errors.New("the volume bears no record of what warm-ups used: a warm-up writes it")

// ReadUsage is what the last warm-up recorded.
func ReadUsage(root string) (*usage.Record, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	name := filepath.Join(Dir, usageName)
	info, err := r.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNoUsage
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	u, err := usage.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return u, nil
}
